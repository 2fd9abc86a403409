//! `StaticPool` and `StaticHeap`: what their own code does. The scripts of `verify/scripts` compare their operations with
//! the oracle.

#![cfg(not(genpool_loom))]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use genpool::{
    AddRefused, Algorithm, AllocError, BestFit, BuildError, ChunkView, Constrained, Constraints,
    FirstFit, FreeError, Granule, HeapMemory, Impossible, NextFit, Pool, Request, ResizeError,
    SpreadFit, StaticAllocation, StaticBooks, StaticHeap, StaticPool, ThreadStart, static_heap,
    static_pool,
};

#[test]
fn a_pool_is_ready_at_once_whatever_its_size() {
    macro_rules! sizes {
        ($($granules:literal),+) => {$({
            static POOL: StaticPool = static_pool!(order: 3, start: 0x1000, size: $granules << 3);
            assert_eq!((POOL.size(), POOL.avail()), ($granules << 3, $granules << 3));
            let all = POOL.alloc($granules << 3).expect("it fits exactly");
            assert_eq!(POOL.avail(), 0);
            drop(all);
            let held: Vec<_> = (0..$granules).map(|_| POOL.alloc(1).unwrap()).collect();
            assert!(matches!(POOL.alloc(1), Err(AllocError::Exhausted { size: 1 })));
            drop(held);
            let best: Vec<_> = (0..$granules).map(|_| POOL.alloc_with(8, &BestFit).unwrap()).collect();
            assert_eq!(best.last().map(StaticAllocation::addr), Some(0x1000 + (($granules - 1) << 3)));
            drop(best);
            assert_eq!(POOL.avail(), POOL.size());
        })+};
    }
    sizes!(1, 2, 31, 33, 64, 65, 129);
    if !cfg!(miri) {
        sizes!(32, 63, 127, 128, 511, 512, 513, 1023, 1025, 4095, 4097);
        // Hints of three levels, and a run index.
        sizes!(32_768, 32_769, 270_001);
    }
}

#[test]
fn all_algorithms_serve() {
    static POOL: StaticPool = static_pool!(order: 4, start: 0x100, size: 0x1_0000);
    let reached = Constraints::new().lowest(0x8000).align(0x400).unwrap();
    let high = POOL
        .alloc_with(16, &Constrained::new(BestFit, reached))
        .unwrap();
    assert_eq!(high.addr(), 0x8000);
    let next = NextFit::new();
    let held = [
        POOL.alloc_with(16, &FirstFit).unwrap(),
        POOL.alloc_with(16, &SpreadFit).unwrap(),
        POOL.alloc_with(16, &ThreadStart).unwrap(),
        POOL.alloc_with(16, &next).unwrap(),
    ];
    assert_eq!(POOL.avail(), POOL.size() - 5 * 16);
    drop((held, high));
    assert_eq!(POOL.avail(), POOL.size());
}

#[test]
fn chunks_have_numbers_of_their_own() {
    struct Noted(AtomicUsize);
    impl Algorithm for Noted {
        fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
            self.0.store(chunk.id(), Ordering::Relaxed);
            Some(Granule(0))
        }
    }
    static ONE: StaticPool = static_pool!(order: 0, start: 0, size: 1);
    static OTHER: StaticPool = static_pool!(order: 0, start: 0, size: 1);
    let pool = Pool::new(0).unwrap();
    pool.add(0, 1).unwrap();
    let noted = Noted(AtomicUsize::new(0));
    let mut ids = Vec::new();
    for _ in 0..2 {
        drop(ONE.alloc_with(1, &noted).unwrap());
        ids.push(noted.0.load(Ordering::Relaxed));
    }
    drop(OTHER.alloc_with(1, &noted).unwrap());
    ids.push(noted.0.load(Ordering::Relaxed));
    drop(pool.alloc_with(1, &noted).unwrap());
    ids.push(noted.0.load(Ordering::Relaxed));
    assert_eq!(ids[0], ids[1]);
    assert!(
        ids[1] != ids[2] && ids[2] != ids[3] && ids[1] != ids[3],
        "{ids:x?}"
    );
}

#[test]
fn names_of_the_program_mean_what_they_say() {
    const PHYS: u64 = 0x8000;
    const SIZES: usize = 0x100;
    const TRACKED: bool = true;
    static BOOKS: StaticPool =
        static_pool!(order: 4, start: 0, size: SIZES, phys: PHYS, tracked: TRACKED);
    assert_eq!(BOOKS.alloc(1).unwrap().phys(), Some(0x8000));
    assert!(BOOKS.is_tracked() && BOOKS.size() == 0x100);
    const MEMORY: usize = 1 << 10;
    static HEAP: StaticHeap = static_heap!(order: 4, size: MEMORY);
    assert_eq!((HEAP.size(), HEAP.granule()), (MEMORY, 16));
}

#[test]
#[cfg_attr(miri, ignore = "it takes long")]
fn a_pool_may_have_millions_of_granules() {
    static POOL: StaticPool = static_pool!(order: 12, start: 0, size: 20_000_001 << 12);
    let all = POOL.alloc(POOL.size()).unwrap();
    assert!(matches!(POOL.alloc(1), Err(AllocError::Exhausted { .. })));
    drop(all);
    assert_eq!(POOL.alloc_with(4096, &BestFit).unwrap().addr(), 0);
}

#[test]
fn refusals_say_why() {
    static POOL: StaticPool = static_pool!(order: 5, start: 0x1000, size: 0x400);
    let refused = |size| POOL.alloc(size).unwrap_err();
    assert_eq!(refused(0), AllocError::ZeroSize);
    let (size, longest) = (0x401, 0x400);
    let too_long = AllocError::Impossible(Impossible::TooLong { size, longest });
    assert_eq!(refused(size), too_long);
    let _held = POOL.alloc(1).unwrap();
    assert_eq!(refused(0x400), AllocError::Exhausted { size: 0x400 });
    // By the cached refusal.
    assert_eq!(refused(0x400), AllocError::Exhausted { size: 0x400 });
    assert_eq!(refused(size), too_long);
    assert!(POOL.alloc(0x3e0).is_ok());
}

#[test]
fn frees_by_address_are_checked() {
    static POOL: StaticPool = static_pool!(order: 5, start: 0x1000, size: 0x400);
    let range = POOL.alloc(100).unwrap().into_raw();
    assert_eq!(POOL.free_addr(range.addr), Err(FreeError::NotTracked));
    assert_eq!(
        POOL.free(0x1400, 1),
        Err(FreeError::Foreign { addr: 0x1400 })
    );
    assert_eq!(POOL.free(0xfe0, 1), Err(FreeError::Foreign { addr: 0xfe0 }));
    assert_eq!(POOL.free(range.addr, range.size), Ok(()));
    let twice = FreeError::NotAllocated { addr: 0x1000 };
    assert_eq!(POOL.free(range.addr, range.size), Err(twice));
    assert_eq!(POOL.adopt(range).unwrap_err(), twice);
}

#[test]
fn tags_tell_allocations_apart() {
    static POOL: StaticPool =
        static_pool!(order: 5, start: 0x1000, size: 0x400, phys: 0x8_0000_1000, tracked: true);
    assert!(POOL.is_tracked());
    let range = POOL.alloc(100).unwrap().into_raw();
    let next = POOL.alloc(100).unwrap();
    assert_eq!(next.phys(), Some(0x8_0000_1080));
    let interior = FreeError::Interior {
        addr: 0x1020,
        start: 0x1000,
    };
    assert_eq!(POOL.free_addr(0x1020), Err(interior));
    let (addr, size, allocated) = (0x1000, 0x20, 0x80);
    let wrong = FreeError::WrongSize {
        addr,
        size,
        allocated,
    };
    assert_eq!(POOL.free(addr, size), Err(wrong));
    assert_eq!(POOL.free_addr(range.addr), Ok(0x80));
    assert_eq!(
        POOL.free_addr(range.addr),
        Err(FreeError::NotAllocated { addr })
    );
    // A drop after a free by address does nothing.
    POOL.free_addr(next.addr()).unwrap();
    let other = POOL.alloc_with(0x100, &FirstFit).unwrap();
    drop(next);
    assert_eq!(POOL.avail(), 0x300);
    drop(other);
}

#[test]
fn allocations_resize_in_place() {
    static POOL: StaticPool = static_pool!(order: 5, start: 0x1000, size: 0x400);
    let mut held = POOL.alloc(0x40).unwrap();
    held.resize(0x61).unwrap();
    assert_eq!((held.size(), POOL.avail()), (0x80, 0x380));
    let neighbour = POOL.alloc(1).unwrap();
    assert_eq!(held.resize(0x100), Err(ResizeError::Neighbour));
    assert_eq!(held.resize(0x401), Err(ResizeError::PastChunk));
    assert_eq!(held.resize(0), Err(ResizeError::ZeroSize));
    held.resize(1).unwrap();
    assert_eq!((held.size(), POOL.avail()), (0x20, 0x3c0));
    drop(neighbour);
    let adopted = POOL.adopt(held.into_raw()).unwrap();
    assert_eq!((adopted.addr(), adopted.size()), (0x1000, 0x20));
}

#[test]
fn values_that_make_no_pool_are_refused() {
    static BOOKS: StaticBooks<1, 1, 0> = StaticBooks::new(8);
    static TRACKED: StaticBooks<1, 1, 8> = StaticBooks::new(8);
    static EMPTY: StaticBooks<0, 0, 0> = StaticBooks::new(0);
    static HUGE: StaticBooks<1, 1, 0> = StaticBooks::new(usize::MAX);
    static OTHER: StaticBooks<2, 1, 0> = StaticBooks::new(8);
    static FEW_TAGS: StaticBooks<1, 1, 7> = StaticBooks::new(8);
    let refused = |pool: Result<StaticPool, BuildError>| pool.unwrap_err();
    assert!(StaticPool::new(&BOOKS, 4, 0, None).is_ok());
    assert!(StaticPool::new(&TRACKED, 4, 0, None).is_ok_and(|pool| pool.is_tracked()));
    let order = usize::BITS;
    assert_eq!(
        refused(StaticPool::new(&BOOKS, order, 0, None)),
        BuildError::Order { order }
    );
    let rule = |rule| BuildError::Chunk(rule);
    let misaligned = AddRefused::MisalignedStart { granule: 16 };
    assert_eq!(
        refused(StaticPool::new(&BOOKS, 4, 8, None)),
        rule(misaligned)
    );
    assert_eq!(
        refused(StaticPool::new(&EMPTY, 4, 0, None)),
        rule(AddRefused::ZeroSize)
    );
    let wraps = usize::MAX & !15;
    assert_eq!(
        refused(StaticPool::new(&BOOKS, 4, wraps, None)),
        rule(AddRefused::Wraps)
    );
    let phys = u64::MAX - 1;
    let wraps = AddRefused::PhysWraps { phys };
    assert_eq!(
        refused(StaticPool::new(&BOOKS, 4, 0, Some(phys))),
        rule(wraps)
    );
    let most = |most| rule(AddRefused::TooManyGranules { most });
    assert_eq!(
        refused(StaticPool::new(&HUGE, 4, 0, None)),
        most(usize::MAX >> 4)
    );
    assert_eq!(
        refused(StaticPool::new(&HUGE, 0, 0, None)),
        most(usize::MAX / 2)
    );
    let books = BuildError::Books { granules: 8 };
    assert_eq!(refused(StaticPool::new(&OTHER, 4, 0, None)), books);
    assert_eq!(refused(StaticPool::new(&FEW_TAGS, 4, 0, None)), books);
    assert!(books.to_string().contains("8 granules"));
    // As far as the address space goes.
    let top = usize::MAX - 127;
    let pool = StaticPool::new(&BOOKS, 4, top, None).unwrap();
    assert_eq!(pool.alloc(128).unwrap().addr(), top);
}

#[test]
fn pools_over_the_same_books_share_them() {
    static BOOKS: StaticBooks<1, 1, 0> = StaticBooks::new(8);
    let pools = [0; 2].map(|_| StaticPool::new(&BOOKS, 4, 0x100, None).unwrap());
    let held = pools.each_ref().map(|pool| pool.alloc(64).unwrap());
    assert_eq!(held.each_ref().map(StaticAllocation::addr), [0x100, 0x140]);
    assert!(matches!(
        pools[0].alloc(1),
        Err(AllocError::Exhausted { .. })
    ));
    drop(held);
    assert_eq!(pools[1].avail(), 128);
}

#[test]
fn a_pool_is_moved_and_dropped_like_any_value() {
    let pool = Box::new(static_pool!(order: 4, start: 0, size: 0x100, tracked: true));
    let held = pool.alloc(16).unwrap();
    assert_eq!(held.addr(), 0);
    assert!(format!("{pool:?} {held:?}").contains("0x100"));
    drop(held);
    drop(pool);
}

#[test]
fn threads_share_a_pool_and_get_what_others_wrote() {
    const ROUNDS: usize = if cfg!(miri) { 50 } else { 20_000 };
    struct Cells([Cell<usize>; 64]);
    // SAFETY: a cell is used by the thread that holds its granule only.
    unsafe impl Sync for Cells {}
    static POOL: StaticPool = static_pool!(order: 0, start: 0, size: 64);
    static CELLS: Cells = Cells([const { Cell::new(0) }; 64]);
    static REFUSED: AtomicUsize = AtomicUsize::new(0);
    let work = || {
        for _ in 0..ROUNDS {
            match POOL.alloc(3) {
                Ok(held) => {
                    for cell in &CELLS.0[held.addr()..][..held.size()] {
                        cell.set(cell.get() + 1);
                    }
                }
                Err(AllocError::Contended { .. }) => {
                    REFUSED.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    std::thread::scope(|threads| (0..3).for_each(|_| drop(threads.spawn(work))));
    let written: usize = CELLS.0.iter().map(Cell::get).sum();
    let refused = REFUSED.load(Ordering::Relaxed);
    assert_eq!(written, 3 * (3 * ROUNDS - refused));
    assert_eq!(POOL.avail(), 64);
}

// ---- the global allocator ----

/// Blocks are of this heap, so that a test fails where another would be used.
static HEAP: StaticHeap = static_heap!(order: 4, size: 1 << 16);

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

#[test]
fn a_heap_aligns_its_blocks_and_hands_out_no_byte_twice() {
    static HEAP: StaticHeap = static_heap!(order: 4, size: 1 << 16);
    let mut blocks = Vec::new();
    for (at, shift) in (0..13).cycle().take(60).enumerate() {
        let layout = layout(1 + 7 * at, 1 << shift);
        // SAFETY: the layout has a size.
        let block = unsafe { HEAP.alloc_zeroed(layout) };
        assert!(
            !block.is_null() && block.addr().is_multiple_of(layout.align()),
            "{layout:?}"
        );
        // SAFETY: the block is as long.
        unsafe { block.write_bytes(at as u8, layout.size()) };
        blocks.push((block, layout));
    }
    for (at, (block, layout)) in blocks.into_iter().enumerate() {
        // SAFETY: the block is as long, and initialised.
        let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
        assert!(
            bytes.iter().all(|&byte| byte == at as u8),
            "block {at} was written to"
        );
        // SAFETY: the block is of this heap and layout.
        unsafe { HEAP.dealloc(block, layout) };
    }
    assert_eq!(HEAP.avail(), HEAP.size());
}

#[test]
fn blocks_are_aligned_wherever_the_memory_is() {
    /// At 64, 192 or another such remainder.
    #[repr(C, align(8192))]
    struct Apart<const SIZE: usize>([u8; 64], HeapMemory<SIZE>);
    macro_rules! orders {
        ($($order:literal),+) => {$({
            const SIZE: usize = 1 << 15 | 4 << $order;
            static APART: Apart<{ StaticHeap::memory_for($order, SIZE) }> = Apart([0; 64], HeapMemory::new());
            let pool = static_pool!(order: $order, start: 0, size: SIZE);
            // SAFETY: nothing else uses the memory, which is as long as it must be.
            let heap = unsafe { StaticHeap::new(&APART.1, pool) };
            for align in [0, 4, 6, 7, 8, 12, 13].map(|shift| 1 << shift) {
                let layout = layout(1 << $order, align);
                // SAFETY: the layout has a size.
                let blocks: Vec<_> = std::iter::repeat_with(|| unsafe { heap.alloc(layout) })
                    .take_while(|block| !block.is_null())
                    .take(if cfg!(miri) { 3 } else { usize::MAX })
                    .collect();
                assert!(!blocks.is_empty(), "{layout:?}");
                for block in blocks {
                    assert!(block.addr().is_multiple_of(align), "{layout:?}");
                    // SAFETY: the block is as long.
                    unsafe { block.write_bytes(1, layout.size()) };
                    // SAFETY: the block is of this heap and layout.
                    unsafe { heap.dealloc(block, layout) };
                }
                assert_eq!(heap.avail(), SIZE);
            }
        })+};
    }
    orders!(4, 7, 12);
    if !cfg!(miri) {
        orders!(6, 10);
    }
}

#[test]
fn a_heap_refuses_with_null_and_changes_nothing() {
    static HEAP: StaticHeap = static_heap!(order: 4, size: 256);
    for refused in [layout(257, 1), layout(1 << 20, 1), layout(1, 1 << 30)] {
        // SAFETY: the layout has a size.
        assert!(unsafe { HEAP.alloc(refused) }.is_null(), "{refused:?}");
    }
    assert_eq!(HEAP.avail(), 256);
    let whole = layout(256, 1);
    // SAFETY: the layout has a size.
    let block = unsafe { HEAP.alloc(whole) };
    assert!(!block.is_null());
    // SAFETY: the block is of this heap and layout.
    assert!(unsafe { HEAP.realloc(block, whole, 257) }.is_null());
    // SAFETY: it was not moved.
    unsafe { HEAP.dealloc(block, whole) };
    assert_eq!(HEAP.avail(), 256);
}

#[test]
fn blocks_grow_and_shrink_in_place_where_they_can() {
    let first = layout(16, 8);
    // SAFETY: the layout has a size.
    let block = unsafe { HEAP.alloc(first) };
    // SAFETY: the block is of this heap and layout.
    let grown = unsafe { HEAP.realloc(block, first, 100) };
    assert_eq!(grown, block);
    // SAFETY: the block is as long.
    unsafe { grown.write_bytes(7, 100) };
    // SAFETY: the layout has a size.
    let neighbour = unsafe { HEAP.alloc(first) };
    // SAFETY: the block is of this heap and layout.
    let moved = unsafe { HEAP.realloc(grown, layout(100, 8), 4000) };
    assert!(!moved.is_null() && moved != grown);
    // SAFETY: the block is longer, and this part of it was written.
    let bytes = unsafe { std::slice::from_raw_parts(moved, 100) };
    assert_eq!(bytes, [7; 100]);
    // SAFETY: the block is of this heap and layout.
    let shrunk = unsafe { HEAP.realloc(moved, layout(4000, 8), 16) };
    assert_eq!(shrunk, moved);
    for block in [neighbour, shrunk] {
        // SAFETY: both are of this heap and layout.
        unsafe { HEAP.dealloc(block, first) };
    }
    assert_eq!(HEAP.avail(), HEAP.size());
}
