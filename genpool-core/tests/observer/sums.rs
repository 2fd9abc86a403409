//! The sums over all events.

use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use genpool_core::{Event, Observer, Pool};

use crate::{PAGE, observed_by};

/// Sums up what the events say has changed. Panics if `panics` is set.
#[derive(Default)]
pub(crate) struct Summing {
    pub(crate) panics: AtomicBool,
    pub(crate) observed: AtomicUsize,
    pub(crate) free: AtomicIsize,
    pub(crate) available: AtomicIsize,
}

impl Observer for Summing {
    fn event(&self, _: usize, event: &Event<'_>) {
        self.free.fetch_add(event.change(), Ordering::Relaxed);
        self.available
            .fetch_add(event.available(), Ordering::Relaxed);
        self.observed.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics.load(Ordering::Relaxed), "observed");
    }
}

/// The sums are exact whatever a cache is doing when the removal of its chunk begins.
#[test]
fn sums_are_exact_when_a_chunk_of_caches_is_removed() {
    for tracked in [false, true] {
        for _ in 0..if cfg!(miri) { 2 } else { 50 } {
            let summing = Arc::new(Summing::default());
            let pool = observed_by(&summing, tracked).build().unwrap();
            pool.add(0, 64 * PAGE).unwrap();
            let start = Barrier::new(3);
            thread::scope(|scope| {
                for pages in [1, 2] {
                    let (pool, start) = (&pool, &start);
                    scope.spawn(move || {
                        let mut cache = pool.cache();
                        start.wait();
                        while let Ok(one) = cache.alloc(pages * PAGE) {
                            cache.free(one);
                        }
                    });
                }
                start.wait();
                thread::yield_now();
                drop(pool.remove(0).unwrap());
            });
            let sums = [&summing.free, &summing.available];
            assert_eq!(sums.map(|sum| sum.load(Ordering::Relaxed)), [0, 0]);
        }
    }
}

/// What [`Event::change`] documents about frees by address of what is still held.
#[test]
fn a_part_that_was_freed_under_an_allocation_is_missing_in_the_sum() {
    let summing = Arc::new(Summing::default());
    let builder = Pool::builder().order(12).observer(Arc::clone(&summing));
    let pool = builder.build().unwrap();
    let surplus = || summing.free.load(Ordering::Relaxed) - pool.avail() as isize;
    let page = PAGE as isize;
    pool.add(0, 16 * PAGE).unwrap();

    // All of it: nothing is missing.
    let whole = pool.alloc(4 * PAGE).unwrap();
    pool.free(whole.addr(), 4 * PAGE).unwrap();
    drop(whole);
    assert_eq!(surplus(), 0);
    // A part: the remaining three pages come back unreported.
    let dropped = pool.alloc(4 * PAGE).unwrap();
    pool.free(dropped.addr(), PAGE).unwrap();
    assert_eq!(surplus(), 0);
    drop(dropped);
    assert_eq!(surplus(), -3 * page);
    // A part that is reported twice.
    let mut shrunk = pool.alloc(4 * PAGE).unwrap();
    pool.free(shrunk.addr() + 3 * PAGE, PAGE).unwrap();
    shrunk.resize(3 * PAGE).unwrap();
    assert_eq!(surplus(), -2 * page);
    drop(shrunk);
    // What a cache keeps, which is not reported.
    let mut cache = pool.cache();
    let kept = cache.alloc(PAGE).unwrap();
    let addr = kept.addr();
    cache.free(kept);
    assert_eq!(surplus(), -2 * page + cache.held() as isize);
    pool.free(addr, PAGE).unwrap();
    drop(cache);
    assert_eq!(surplus(), -page);

    let drain = pool.remove(0).unwrap();
    assert_eq!((surplus(), drain.is_drained()), (0, true));
}
