//! Collections in a pool.

mod common;

use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use common::{seen, unseen};
use genpool_core::Pool;
use genpool_dma::{MemoryPool, SharedPool};
use hashbrown::HashMap;

const PAGE: usize = 4096;

fn pool(order: u32, pages: usize) -> MemoryPool {
    let pool = MemoryPool::new(order).unwrap();
    pool.add(unseen(pages * PAGE).0).unwrap();
    pool
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
    assert!(pool.contains(genpool_dma::VirtAddr::new(first), 16_000));
    list.truncate(3);
    list.shrink_to_fit();
    assert_eq!((list.capacity(), &list[..]), (3, &[0, 1, 2][..]));
    assert_eq!(pool.avail(), pool.size() - 64);
    list.extend(3..1000);
    assert_eq!(list.as_ptr().addr(), first, "what is behind it was free");
    // Somebody behind it: it moves.
    let behind = Box::new_in([7_u8; 64], &pool);
    list.reserve(2000);
    assert!(list.iter().copied().eq(0..1000));
    drop((list, behind));
    assert_eq!(pool.avail(), pool.size());
}

#[test]
fn blocks_do_not_grow_over_the_border_of_a_chunk() {
    // Two regions that are neighbours by accident.
    let pool = MemoryPool::new(12).unwrap();
    let (region, _watch) = seen::<genpool_dma::Ram>(16 * PAGE, 0);
    let start = region.start();
    let windows = [0_usize, 8].map(|page| {
        let virt = start.checked_add(page * PAGE).unwrap();
        let phys = genpool_dma::DmaAddr::new(if page == 0 { 0x10_0000 } else { 0x50_0000 });
        genpool_dma::Window::new(virt, phys, 8 * PAGE).unwrap()
    });
    let translation = genpool_dma::Translation::new(windows).unwrap();
    // SAFETY: no device is told.
    let region = unsafe { region.seen_at(genpool_dma::Bus::Physical, translation) };
    pool.add(region).unwrap();
    // The newest chunk is the upper one: fill it, so that the list begins in the lower one.
    let upper = pool.dma_alloc(8 * PAGE).unwrap();
    let mut list: Vec<u8, _> = Vec::with_capacity_in(7 * PAGE, &pool);
    list.resize(list.capacity(), 1);
    drop(upper);
    assert!(list.try_reserve(2 * PAGE).is_err(), "no chunk has so much");
    assert_eq!(
        list.iter().map(|&byte| usize::from(byte)).sum::<usize>(),
        7 * PAGE
    );
    drop(list);
    assert_eq!(pool.avail(), pool.size());
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
fn where_blocks_are_tracked_they_move() {
    let pool = MemoryPool::build(Pool::builder().order(6).boundary_tracking()).unwrap();
    pool.add(unseen(16 * PAGE).0).unwrap();
    let mut list = Vec::new_in(&pool);
    list.extend(0..2000_u32);
    list.truncate(10);
    list.shrink_to_fit();
    assert!(list.iter().copied().eq(0..10));
    assert_eq!(pool.live().unwrap().len(), 1);
    drop(list);
    assert_eq!(pool.avail(), pool.size());
}
