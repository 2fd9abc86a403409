//! The numbers that an observer receives about long runs in caches add up.

#![cfg(feature = "observe")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use genpool_core::{Event, Observer, Pool};

const PAGE: usize = 4096;

/// Runs of several granules count with all of them.
#[test]
fn long_runs_that_caches_keep_are_told_in_bytes() {
    let log = Arc::new(Sums::default());
    let pool = Pool::builder().order(12).observer(Arc::clone(&log));
    let pool = pool.build().unwrap();
    let sums = || [&log.free, &log.available].map(|sum| sum.load(Ordering::Relaxed));
    pool.add(0, 64 * PAGE).unwrap();
    let mut cache = pool.cache();
    let held = cache.alloc(3 * PAGE).unwrap();
    let kept = cache.held();
    assert!(kept > 0 && kept.is_multiple_of(3 * PAGE));
    assert_eq!(sums(), [61 * PAGE, pool.avail()]);
    cache.free(held);
    assert_eq!(sums(), [64 * PAGE, pool.avail()]);
    // What is kept in a chunk that goes is free in none.
    let drain = pool.remove(0).unwrap();
    assert_eq!(log.cached.load(Ordering::Relaxed), cache.held());
    assert_eq!(sums(), [0, 0]);
    cache.flush();
    assert_eq!(sums(), [0, 0]);
    assert!(drain.is_drained());
    assert_eq!(
        log.numbers.load(Ordering::Relaxed),
        0,
        "nobody asked for numbers"
    );
}

/// Sums of the numbers that the observer receives.
#[derive(Default)]
struct Sums {
    free: AtomicUsize,
    available: AtomicUsize,
    /// In caches when a chunk began to be removed.
    cached: AtomicUsize,
    numbers: AtomicUsize,
}

impl Observer for Sums {
    fn event(&self, number: usize, event: &Event<'_>) {
        let add = |sum: &AtomicUsize, by: isize| sum.fetch_add(by as usize, Ordering::Relaxed);
        add(&self.free, event.change());
        add(&self.available, event.available());
        self.numbers.fetch_add(number, Ordering::Relaxed);
        if let Event::Draining { cached, .. } = *event {
            self.cached.store(cached, Ordering::Relaxed);
        }
    }
}
