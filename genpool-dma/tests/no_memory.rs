//! Giving memory back needs no memory: neither heap memory nor room in the pool.

#![cfg(not(miri))]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{dma, seen, seen_in, unseen};
use genpool_core::{AddRefused, FirstFit, Pool};
use genpool_dma::allocator_api2::vec::Vec as PoolVec;
use genpool_dma::{Device, MemoryPool, RegionRefused, SharedPool, Width};

const PAGE: usize = 4096;

/// Smaller allocations always succeed.
const LARGE: usize = 1024;

thread_local! {
    /// The number of heap allocations.
    static CALLS: Cell<usize> = const { Cell::new(0) };
    /// Which of the following large allocations is refused, counted from 1; 0 for none.
    static REFUSE: Cell<usize> = const { Cell::new(0) };
}

struct Counted;

// SAFETY: every call is passed to the system's allocator or refused.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        let left = REFUSE.get();
        if left > 0 && layout.size() >= LARGE {
            REFUSE.set(left - 1);
            if left == 1 {
                return std::ptr::null_mut();
            }
        }
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) };
    }
}

#[global_allocator]
static HEAP: Counted = Counted;

/// Returns the result of `call`, which must not allocate heap memory.
#[track_caller]
fn without_heap<R>(what: &str, call: impl FnOnce() -> R) -> R {
    let before = CALLS.get();
    let answer = call();
    assert_eq!(CALLS.get(), before, "{what}");
    answer
}

fn pools() -> impl Iterator<Item = MemoryPool> {
    [false, true].into_iter().map(|tracked| {
        let builder = Pool::builder().order(12);
        let pool = match tracked {
            true => MemoryPool::build(builder.boundary_tracking()),
            false => MemoryPool::build(builder),
        };
        let pool = pool.unwrap();
        pool.add(seen(4 * PAGE, 0x10_0000).0).unwrap();
        pool
    })
}

#[test]
fn buffers_come_and_go_without_the_heap() {
    for pool in pools() {
        without_heap("alloc and drop", || drop(pool.dma_alloc(1).unwrap()));
        without_heap("zeroed, shared, reclaimed", || {
            let shared = pool.dma_zalloc(4 * PAGE).unwrap().share();
            // SAFETY: no device was given the address.
            drop(unsafe { shared.reclaim() });
        });
        without_heap("as numbers", || {
            let range = pool
                .dma_zalloc_align(1, 2 * PAGE)
                .unwrap()
                .share()
                .into_raw();
            // SAFETY: the range was returned by `into_raw` just now.
            unsafe { pool.free(range) }.unwrap();
        });
        without_heap("owned", || {
            drop(pool.dma_alloc_owned_with(PAGE + 1, &FirstFit).unwrap())
        });
        let held = pool.dma_alloc_owned_with(1, &FirstFit).unwrap();
        without_heap("the end of the pool", || drop(pool));
        without_heap("the last allocation", || drop(held));
    }
    let pool = MemoryPool::<Device>::of_device(Pool::builder().order(12), Width::Four).unwrap();
    pool.add(seen(PAGE, 0x10_0000).0).unwrap();
    without_heap("a device's memory", || drop(pool.dma_zalloc(1).unwrap()));
}

#[test]
fn collections_shrink_and_go_without_the_heap() {
    for pool in pools() {
        let pool = SharedPool::new(pool);
        without_heap("a Vec", || {
            let mut list: PoolVec<u8, _> = PoolVec::with_capacity_in(4 * PAGE, &pool);
            list.resize(3 * PAGE, 7);
            list.shrink_to_fit();
            list.reserve_exact(PAGE);
            list.truncate(PAGE + 1);
            list.shrink_to_fit();
            list.truncate(1);
            list.shrink_to_fit();
            assert_eq!((&list[..], pool.avail()), (&[7][..], 3 * PAGE));
            list.clear();
            list.shrink_to_fit();
            assert_eq!(pool.avail(), pool.size());
        });
    }
}

/// The list of chunks is rebuilt at the end if there is memory for it, and otherwise later.
#[test]
fn a_region_is_removed_without_the_heap() {
    for pool in pools() {
        let windows: Vec<_> = (0..64)
            .map(|page| (page, page as u64 * 0x10_0000, PAGE))
            .collect();
        let (region, watch) = unseen(64 * PAGE);
        let region = seen_in(region, &windows);
        let start = region.start();
        pool.add(region).unwrap();
        let held = pool.dma_alloc(1).unwrap();
        // A thread's first access to a chunk list allocates, which is not part of the removal.
        drop(pool.chunks());
        let drain = without_heap("a removal", || pool.remove(start).unwrap());
        without_heap("the last allocation", || drop(held));
        let region = drain.finish().unwrap();
        assert_eq!((region.windows().len(), pool.chunks().len()), (64, 1));
        without_heap("the region", || drop(region));
        assert!(watch.is_freed());
    }
}

/// A region of many chunks needs several lists. Each of their allocations is refused in turn.
#[test]
fn an_add_without_memory_changes_nothing() {
    let windows: Vec<_> = (0..140)
        .map(|page| (page, page as u64 * 0x10_0000, PAGE))
        .collect();
    let mut refused = 0;
    for point in 1.. {
        let pool = MemoryPool::new(12).unwrap();
        pool.add(seen(PAGE, 0x1000).0).unwrap();
        let (region, watch) = unseen(140 * PAGE);
        let region = seen_in(region, &windows);
        REFUSE.set(point);
        let added = pool.add(region);
        let was_asked = REFUSE.replace(0) == 0;
        let Err(error) = added else {
            assert_eq!(pool.size(), 141 * PAGE);
            if was_asked {
                // The refused memory would only have made calls faster.
                continue;
            }
            break;
        };
        refused += 1;
        assert!(
            matches!(error.reason, RegionRefused::Chunk(AddRefused::NoMemory { bytes }) if bytes >= LARGE),
            "{error}"
        );
        assert_eq!((pool.size(), pool.chunks().len()), (PAGE, 1));
        assert_eq!(pool.dma_alloc(1).unwrap().dma(), dma(0x1000));
        assert!(pool.dma_alloc(PAGE + 1).is_err());
        drop(error.region.expect("nobody holds a part of it"));
        assert!(watch.is_freed());
    }
    println!("refused at {refused} points");
    assert!(refused >= 3);
}
