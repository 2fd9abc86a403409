//! A region's guard may panic when it is dropped, wherever that is, and so may an algorithm. Nothing is lost, hidden
//! or leaked because of it.

mod common;

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use common::{Watch, guarded_by, seen_in, unseen};
use genpool_core::{Algorithm, ChunkView, FirstFit, Granule, Pool, Request};
use genpool_dma::{MemoryPool, Region, VirtAddr};

const PAGE: usize = 4096;

struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        // The payload panics too.
        std::panic::panic_any(Again);
    }
}

struct Again;

impl Drop for Again {
    fn drop(&mut self) {
        std::panic::panic_any("what a panic carries panics");
    }
}

/// Four pages in two windows, with a guard that panics.
fn panicking() -> (Region, Watch) {
    let watch = Watch::default();
    let region = guarded_by(4 * PAGE, watch.clone(), Panics);
    let windows = [(0, 0x10_0000, 2 * PAGE), (2, 0x90_0000, 2 * PAGE)];
    (seen_in(region, &windows), watch)
}

fn plain() -> Region {
    let windows = [(0, 0x100_0000, 2 * PAGE), (2, 0x900_0000, 2 * PAGE)];
    seen_in(unseen(4 * PAGE).0, &windows)
}

/// A pool whose chunks are dropped by the next change of the chunk list, because a chunk was removed before.
fn pool() -> MemoryPool {
    let pool = MemoryPool::build(Pool::builder().order(12).boundary_tracking()).unwrap();
    let region = plain();
    let start = region.start();
    pool.add(region).unwrap();
    assert!(pool.remove(start).unwrap().finish().is_ok());
    pool
}

/// As [`pool`], with a region that was removed while something in it was allocated. It is dropped by the next change
/// of the chunk list.
fn leaving() -> (MemoryPool, Watch) {
    let pool = pool();
    let (region, watch) = panicking();
    let start = region.start();
    pool.add(region).unwrap();
    let (lower, upper) = (pool.dma_alloc(2 * PAGE), pool.dma_alloc(2 * PAGE));
    drop(pool.remove(start).unwrap());
    drop((lower.unwrap(), upper.unwrap()));
    assert!(!watch.is_freed());
    (pool, watch)
}

/// Checks that the pool has these four pages and no others, and that all of its calls see them.
fn check_whole(pool: &MemoryPool, start: VirtAddr) {
    assert_eq!((pool.size(), pool.avail()), (4 * PAGE, 4 * PAGE));
    assert_eq!(pool.chunks().len(), 2);
    let pages: Vec<_> = (0..4).map(|_| pool.dma_alloc(PAGE).unwrap()).collect();
    assert!(pool.dma_alloc(1).is_err());
    assert_eq!(pool.live().unwrap().len(), 4);
    drop(pages);
    let region = pool.remove(start).unwrap().finish().unwrap();
    assert_eq!((region.start(), region.size().get()), (start, 4 * PAGE));
    assert_eq!((pool.size(), pool.avail()), (0, 0));
}

#[test]
fn while_another_region_is_added() {
    let (pool, watch) = leaving();
    let region = plain();
    let start = region.start();
    let added = catch_unwind(AssertUnwindSafe(|| pool.add(region)));
    added
        .expect("whose panic it is, it does not end here")
        .unwrap();
    assert!(watch.is_freed());
    check_whole(&pool, start);
}

#[test]
fn while_another_region_is_removed() {
    for finished in [true, false] {
        let pool = pool();
        let region = plain();
        let start = region.start();
        pool.add(region).unwrap();
        let (region, watch) = panicking();
        let panicking = region.start();
        pool.add(region).unwrap();
        let (lower, upper) = (pool.dma_alloc(2 * PAGE), pool.dma_alloc(2 * PAGE));
        assert!(pool.contains(panicking.get(), 1));
        drop(pool.remove(panicking).unwrap());
        drop((lower.unwrap(), upper.unwrap()));
        // The first change of the list is the end of this removal.
        let removed = catch_unwind(AssertUnwindSafe(|| {
            let drain = pool.remove(start).unwrap();
            finished.then(|| drain.finish().unwrap())
        }));
        let region = removed.expect("it ends elsewhere");
        assert!(watch.is_freed());
        assert_eq!(pool.chunks().len(), 0);
        if let Some(region) = region {
            pool.add(region).unwrap();
            check_whole(&pool, start);
        }
    }
}

#[test]
fn in_its_own_unfinished_removal() {
    let pool = pool();
    let (region, watch) = panicking();
    let start = region.start();
    pool.add(region).unwrap();
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(pool.remove(start).unwrap())));
    assert!(dropped.is_ok() && watch.is_freed());
    let region = plain();
    let start = region.start();
    pool.add(region).unwrap();
    check_whole(&pool, start);
}

#[test]
fn when_a_list_of_chunks_goes_that_somebody_looked_through() {
    let (pool, watch) = leaving();
    let listed = pool.chunks();
    let region = plain();
    let start = region.start();
    pool.add(region).unwrap();
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(listed)));
    assert!(dropped.is_ok());
    check_whole(&pool, start);
    assert!(watch.is_freed());
}

#[test]
fn when_the_pool_goes_with_several_of_them() {
    let pool = pool();
    let watches: Vec<_> = (0..3)
        .map(|_| {
            let (region, watch) = panicking();
            pool.add(region).unwrap();
            watch
        })
        .collect();
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(pool)));
    assert!(dropped.is_ok());
    assert!(watches.iter().all(Watch::is_freed));
}

#[test]
fn when_the_last_allocation_goes_after_the_pool() {
    let pool = pool();
    let watches: Vec<_> = (0..2)
        .map(|_| {
            let (region, watch) = panicking();
            pool.add(region).unwrap();
            watch
        })
        .collect();
    let held = pool.dma_alloc_owned_with(1, &FirstFit).unwrap();
    drop(pool);
    assert!(!watches.iter().any(Watch::is_freed));
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(held)));
    assert!(dropped.is_ok());
    assert!(watches.iter().all(Watch::is_freed));
}

/// A second panic during the unwinding of a first one would abort the process.
#[test]
fn while_another_panic_is_on_its_way() {
    let (region, watch) = panicking();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let pool = pool();
        pool.add(region).unwrap();
        std::panic::panic_any(1);
    }));
    assert_eq!(unwound.unwrap_err().downcast_ref(), Some(&1));
    assert!(watch.is_freed());
}

/// A region in the caller's hands is dropped by the caller, who gets the panic.
#[test]
fn where_the_region_is_the_caller_s() {
    let pool = pool();
    let (region, watch) = panicking();
    let start = region.start();
    pool.add(region).unwrap();
    let region = pool.remove(start).unwrap().finish().unwrap();
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(region)));
    std::mem::forget(dropped.unwrap_err());
    assert!(watch.is_freed());
}

/// First fit that replaces itself as the default while it is used. So it is dropped, and panics, in the next change
/// of the chunk list.
struct Replaced(Weak<MemoryPool>);

impl Algorithm for Replaced {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        self.0.upgrade()?.set_algorithm(FirstFit);
        FirstFit.propose(chunk, request)
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        std::panic::panic_any("the algorithm");
    }
}

/// A pool with a region, whose next change of the chunk list panics.
fn replaced(region: Region) -> Arc<MemoryPool> {
    let pool = Arc::new(pool());
    pool.add(region).unwrap();
    pool.set_algorithm(Replaced(Arc::downgrade(&pool)));
    drop(pool.dma_alloc(1).unwrap());
    pool
}

/// Returns what `step` panics with.
fn caught<R>(step: impl FnOnce() -> R) -> Option<&'static str> {
    let payload = catch_unwind(AssertUnwindSafe(step)).err()?;
    payload.downcast_ref().copied()
}

#[test]
fn an_algorithm_s_end_while_a_region_is_added() {
    let first = plain();
    let start = first.start();
    let pool = replaced(first);
    let second = plain();
    let added = second.start();
    assert_eq!(caught(|| pool.add(second)), Some("the algorithm"));
    // The whole region is in the pool and can be removed.
    assert_eq!(pool.size(), 8 * PAGE);
    drop(pool.remove(start).unwrap().finish().unwrap());
    check_whole(&pool, added);
}

#[test]
fn an_algorithm_s_end_while_a_region_is_refused() {
    let (region, watch) = panicking();
    let (half, size) = (2 * PAGE, NonZeroUsize::new(2 * PAGE).unwrap());
    // SAFETY: the region is twice as long.
    let upper = unsafe { region.as_ptr().byte_add(half) };
    // SAFETY: nobody accesses this memory.
    let upper = unsafe { Region::from_raw(upper, size, ()) };
    let start = upper.start();
    let pool = replaced(seen_in(upper, &[(0, 0x100_0000, half)]));
    // The lower half is added before the upper one is refused.
    assert_eq!(caught(|| pool.add(region)), Some("the algorithm"));
    assert!(watch.is_freed());
    assert_eq!(pool.size(), 2 * PAGE);
    assert!(pool.remove(start).unwrap().finish().is_ok());
}

#[test]
fn an_algorithm_s_end_while_a_region_is_taken_out() {
    let (region, watch) = panicking();
    let start = region.start();
    let pool = replaced(region);
    let drain = pool.remove(start).unwrap();
    // The caller does not get the region. It is dropped, and the panic of its guard is the second one.
    assert_eq!(caught(|| drain.finish()), Some("the algorithm"));
    assert!(watch.is_freed());
    assert_eq!(pool.chunks().len(), 0);
    let region = plain();
    let start = region.start();
    pool.add(region).unwrap();
    check_whole(&pool, start);
}
