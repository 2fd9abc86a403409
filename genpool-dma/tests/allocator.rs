//! Collections in a pool.

mod common;

use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use common::{peek, seen_in, unseen};
use genpool_core::Pool;
use genpool_dma::allocator_api2;
use genpool_dma::{MemoryPool, SharedPool, VirtAddr};
use hashbrown::HashMap;

const PAGE: usize = 4096;

fn pool(order: u32, pages: usize) -> MemoryPool {
    pool_with(order, pages, false)
}

fn pool_with(order: u32, pages: usize, tracked: bool) -> MemoryPool {
    let pool = empty_pool(order, tracked);
    pool.add(unseen(pages * PAGE).0).unwrap();
    pool
}

fn empty_pool(order: u32, tracked: bool) -> MemoryPool {
    let builder = Pool::builder().order(order);
    let builder = match tracked {
        true => builder.boundary_tracking(),
        false => builder,
    };
    MemoryPool::build(builder).unwrap()
}

#[test]
fn a_vec_grows_in_place_and_comes_back() {
    let pool = pool(6, 16);
    let mut list = Vec::new_in(&pool);
    for number in 0..4000_u32 {
        list.push(number);
    }
    assert!(list.iter().copied().eq(0..4000));
    let first = list.as_ptr().addr();
    assert!(pool.contains(first, 16_000));
    list.truncate(3);
    list.shrink_to_fit();
    assert_eq!((list.capacity(), &list[..]), (3, &[0, 1, 2][..]));
    assert_eq!(pool.avail(), pool.size() - 64);
    list.extend(3..1000);
    assert_eq!(list.as_ptr().addr(), first, "what follows it was free");
    // The granule after the block is taken, so the block moves.
    let after = Box::new_in([7_u8; 64], &pool);
    list.reserve(2000);
    assert!(list.iter().copied().eq(0..1000));
    drop((list, after));
    assert_eq!(pool.avail(), pool.size());
}

/// Two regions that are adjacent by accident: the lower one is full, the upper one free.
#[test]
fn blocks_do_not_grow_over_the_border_of_a_chunk() {
    for tracked in [false, true] {
        let pool = empty_pool(12, tracked);
        let (region, _watch) = unseen(16 * PAGE);
        let start = region.start();
        let windows = [(0, 0x10_0000, 8 * PAGE), (8, 0x50_0000, 8 * PAGE)];
        let region = seen_in(region, &windows);
        pool.add(region).unwrap();
        // The newest chunk is the upper one, so while it is held the list is allocated in the lower one.
        let upper = pool.dma_alloc(8 * PAGE).unwrap();
        assert!(upper.virt() > start);
        let mut list: Vec<u8, _> = Vec::with_capacity_in(8 * PAGE, &pool);
        list.resize(8 * PAGE, 1);
        drop(upper);
        let refused = list.try_reserve_exact(1);
        assert!(refused.is_err(), "no chunk has nine pages: {tracked}");
        assert_eq!(list.capacity(), 8 * PAGE);
        assert!(list.iter().all(|&byte| byte == 1));
        assert_eq!(pool.avail(), 8 * PAGE);
        drop(list);
        assert_eq!(pool.avail(), pool.size());
    }
}

#[test]
fn a_map_in_a_pool() {
    let pool = SharedPool::new(pool(6, 64));
    let mut map: HashMap<u32, Vec<u8, SharedPool>, _, SharedPool> = HashMap::new_in(pool.clone());
    for key in 0..100 {
        let mut value = Vec::new_in(pool.clone());
        value.resize(key as usize, key as u8);
        map.insert(key, value);
    }
    assert!(map.iter().all(|(key, value)| value.len() == *key as usize));
    let used = pool.size() - pool.avail();
    assert!(used > 100 * 64, "{used}");
    drop(map);
    assert_eq!(pool.avail(), pool.size());
}

#[test]
fn alignments_and_sizes_of_all_kinds() {
    #[repr(align(1024))]
    struct Aligned([u8; 1024]);

    let pool = pool(6, 16);
    let small = Box::new_in(1_u8, &pool);
    let aligned = Box::new_in(Aligned([3; 1024]), &pool);
    assert!((&raw const *aligned).addr().is_multiple_of(1024));
    assert_eq!(aligned.0[1023], 3);
    let empty: Box<[u64], _> = Vec::new_in(&pool).into_boxed_slice();
    let nothing = Box::new_in((), &pool);
    drop((small, aligned, empty, nothing));
    assert_eq!(pool.avail(), pool.size());
}

#[test]
fn zeroed_blocks_are_zero() {
    use allocator_api2::alloc::Allocator;
    use std::alloc::Layout;

    let pool = pool(6, 1);
    let layout = Layout::from_size_align(100, 8).unwrap();
    let block = pool.allocate_zeroed(layout).unwrap();
    // SAFETY: a block of at least 100 bytes, all of them zeroed.
    let bytes = unsafe { std::slice::from_raw_parts(block.cast::<u8>().as_ptr(), block.len()) };
    assert_eq!((block.len(), bytes), (128, &[0; 128][..]));
    // SAFETY: allocated above.
    unsafe { pool.deallocate(block.cast(), layout) };
    assert_eq!(pool.avail(), pool.size());
}

#[test]
fn tracked_blocks_grow_and_shrink_in_place() {
    let pool = pool_with(6, 16, true);
    let mut list = Vec::new_in(&pool);
    list.extend(0..2000_u32);
    let first = list.as_ptr();
    list.truncate(10);
    list.shrink_to_fit();
    assert_eq!(list.as_ptr(), first);
    assert!(list.iter().copied().eq(0..10));
    list.extend(10..1000);
    assert_eq!(list.as_ptr(), first);
    let live = pool.live().unwrap();
    assert_eq!((live.len(), live[0].addr), (1, first.addr()));
    drop(list);
    assert_eq!(pool.avail(), pool.size());
}

#[test]
fn shrinking_needs_no_memory() {
    for tracked in [false, true] {
        let pool = pool_with(12, 2, tracked);
        let mut list: Vec<u8, _> = Vec::with_capacity_in(2 * PAGE, &pool);
        list.extend((0..100).map(|number| number as u8));
        assert_eq!(pool.avail(), 0);
        let first = list.as_ptr();
        // Within the last granule, from two granules to one, within that one, and to zero bytes.
        for (to, left) in [
            (2 * PAGE - 1, 0),
            (PAGE + 1, 0),
            (PAGE, PAGE),
            (100, PAGE),
            (0, 2 * PAGE),
        ] {
            list.truncate(to);
            list.shrink_to(to);
            assert_eq!((list.capacity(), pool.avail()), (to, left), "{tracked}");
            assert!(list.is_empty() || list.as_ptr() == first);
            assert!(list.iter().copied().eq(0..list.len() as u8));
        }
        drop(list);
        assert_eq!(pool.avail(), pool.size());
    }
}

/// Calls that the trait allows but collections do not make, in a full pool.
#[test]
fn calls_of_the_trait_in_a_full_pool() {
    use allocator_api2::alloc::Allocator;
    use std::alloc::Layout;

    let layout = |size, align| Layout::from_size_align(size, align).unwrap();
    for tracked in [false, true] {
        let pool = pool_with(12, 4, tracked);
        let (whole, two) = (layout(4 * PAGE, 8), layout(2 * PAGE, 8));
        let first = pool.allocate(whole).unwrap().cast::<u8>();
        assert!(pool.allocate(layout(1, 1)).is_err());
        let nothing = pool.allocate(layout(0, 4 * PAGE)).unwrap();
        assert!(nothing.cast::<u8>().addr().get().is_multiple_of(4 * PAGE));

        // Each call is on a block of this pool, with the layout of the call before. A shrink asks for no more than
        // that layout, and a grow for no less.
        let grow = |block, from, to| {
            // SAFETY: see above.
            unsafe { pool.grow(block, from, to) }.map(|block| block.len())
        };
        let shrink = |block, from, to| {
            // SAFETY: see above.
            unsafe { pool.shrink(block, from, to) }.map(|block| block.len())
        };
        assert!(grow(first, whole, layout(4 * PAGE + 1, 8)).is_err());
        // The heap memory is aligned to 64 KiB, so the first block has every alignment up to that.
        let aligned = layout(3 * PAGE + 1, 4 * PAGE);
        assert_eq!(shrink(first, whole, aligned), Ok(4 * PAGE));
        assert_eq!(shrink(first, aligned, two), Ok(2 * PAGE));
        // The granules that were given back are free.
        let other = pool.allocate(two).unwrap().cast::<u8>();
        assert_eq!(other.addr().get(), first.addr().get() + 2 * PAGE);
        // The block does not have this alignment, and there is no room to move it.
        assert!(shrink(other, two, layout(PAGE, 4 * PAGE)).is_err());
        assert_eq!(pool.avail(), 0, "a refusal changes nothing");
        let nothing = layout(0, 4 * PAGE);
        assert_eq!(shrink(other, two, nothing), Ok(0));
        assert_eq!(shrink(other, nothing, layout(0, 1)), Ok(0));
        assert_eq!(pool.avail(), 2 * PAGE);

        assert_eq!(grow(first, two, layout(2 * PAGE, 8)), Ok(2 * PAGE));
        // SAFETY: see above.
        let grown = unsafe { pool.grow_zeroed(first, two, whole) }.unwrap();
        assert_eq!((grown.cast(), grown.len()), (first, 4 * PAGE));
        let bytes = peek(VirtAddr::of(first.as_ptr()), 4 * PAGE);
        assert!(bytes[..2 * PAGE].iter().all(|&byte| byte == 0xa5));
        assert!(bytes[2 * PAGE..].iter().all(|&byte| byte == 0));
        // SAFETY: see above.
        unsafe { pool.deallocate(first, whole) };
        assert_eq!(pool.avail(), pool.size());
    }
}
