//! Panics of observers, of their destructors, and of other code of the user.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use genpool_core::{Algorithm, ChunkSpec, ChunkView, Event, Granule, Observer, Pool, Request};

use crate::sums::Summing;
use crate::{PAGE, Unnamed, logged, observed_by};

#[test]
fn an_observer_that_panics_changes_nothing() {
    for tracked in [false, true] {
        let summing = Arc::new(Summing::default());
        let builder = observed_by(&summing, tracked);
        summing.panics.store(true, Ordering::Relaxed);
        let pool = builder.build().unwrap();
        let observed = || summing.observed.swap(0, Ordering::Relaxed);
        assert_eq!((pool.stats().observer_panics, observed()), (1, 1));
        pool.add(0, 64 * PAGE).unwrap();
        let owner = Arc::new(());
        let taken = ChunkSpec::new(PAGE, PAGE).shared_owner(owner.clone());
        let refused = pool.add_chunk(taken).unwrap_err();
        assert!(refused.chunk.into_owner().is_some());
        assert_eq!(observed(), 2);

        let held = pool.alloc(1).unwrap();
        assert!(pool.alloc(0).is_err());
        let mut resized = pool.alloc_with(1, &Unnamed).unwrap();
        resized.resize(2 * PAGE).unwrap();
        resized.resize(1).unwrap();
        assert!(resized.resize(0).is_err());
        let owned = pool.alloc_owned(1).unwrap();
        let many = pool.alloc_many(&[1, 1]).unwrap();
        assert!(pool.alloc_many(&[1, 65 * PAGE]).is_err());
        let raw = pool.alloc(1).unwrap().into_raw();
        pool.free(raw.addr, raw.size).unwrap();
        assert!(pool.free(raw.addr, raw.size).is_err());
        let mut cache = pool.cache();
        let cached = cache.alloc(1).unwrap();
        cache.free(cached);
        drop(cache);
        assert_eq!(observed(), 19);

        pool.add(0x100_0000, PAGE).unwrap();
        let last = pool.alloc(1).unwrap();
        let drain = pool.remove(0x100_0000).unwrap();
        assert!(pool.remove(0x100_0000).is_err() && !drain.is_drained());
        drop(last);
        assert_eq!(drain.finish().unwrap().start(), 0x100_0000);
        drop((held, resized, owned, many));
        assert_eq!(observed(), 6 + 5);
        assert_eq!(pool.stats().observer_panics, 1 + 2 + 19 + 11);
        assert!(pool.is_sound());
        assert_eq!(pool.avail(), 64 * PAGE);
        assert_eq!(summing.free.load(Ordering::Relaxed), 64 * PAGE as isize);
        assert_eq!(
            summing.available.load(Ordering::Relaxed),
            64 * PAGE as isize
        );
    }
}

/// An observer whose destructor panics, with a payload whose destructor panics.
struct Bitter(Arc<AtomicUsize>);

struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        panic!("once more");
    }
}

impl Drop for Bitter {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::panic::panic_any(Payload);
    }
}

impl Observer for Bitter {
    fn event(&self, _: usize, _: &Event<'_>) {
        std::panic::panic_any(Payload);
    }
}

#[test]
fn an_observer_whose_destructor_panics_hides_no_answer() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let builder = || {
        let builder = Pool::builder().order(12);
        builder.observer(Bitter(Arc::clone(&dropped)))
    };
    let count = || dropped.swap(0, Ordering::Relaxed);
    // A later observer replaces it; a pool that cannot be built drops it.
    drop(builder().observer(Bitter(Arc::clone(&dropped))).build());
    assert_eq!(count(), 2);
    assert!(builder().order(usize::BITS).build().is_err());
    assert_eq!(count(), 1);

    let pool = builder().build().unwrap();
    let owner = Arc::new(());
    let spec = ChunkSpec::new(0, 4 * PAGE).shared_owner(owner.clone());
    pool.add_chunk(spec).unwrap();
    let _held = pool.alloc_owned(1).unwrap().into_raw();
    let report = pool.destroy();
    assert_eq!(report.held.len(), 1);
    drop(report);
    assert_eq!((count(), Arc::strong_count(&owner)), (1, 1));

    // While the thread is already panicking.
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _pool = builder().build().unwrap();
        panic!("of its own");
    }));
    assert_eq!(
        *unwound.unwrap_err().downcast::<&str>().unwrap(),
        "of its own"
    );
    assert_eq!(count(), 1);
}

#[test]
fn a_panic_whose_payload_panics_ends_as_well() {
    struct Worse;
    impl Observer for Worse {
        fn event(&self, _: usize, _: &Event<'_>) {
            std::panic::panic_any(Payload);
        }
    }
    let pool = Pool::builder().order(12).observer(Worse).build().unwrap();
    pool.add(0, PAGE).unwrap();
    // While the thread is already panicking.
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _held = pool.alloc(1).unwrap();
        panic!("of its own");
    }));
    assert!(unwound.is_err());
    assert_eq!((pool.avail(), pool.stats().observer_panics), (PAGE, 4));
}

/// Panics at the second request.
struct Startled;

impl Algorithm for Startled {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        assert!(request.size() < PAGE, "startled");
        Unnamed.propose(chunk, request)
    }
}

#[test]
fn what_an_algorithm_that_panics_had_taken_is_reported() {
    let summing = Arc::new(Summing::default());
    let builder = Pool::builder().order(12).algorithm(Startled);
    let pool = builder.observer(Arc::clone(&summing)).build().unwrap();
    pool.add(0, 4 * PAGE).unwrap();
    let many = AssertUnwindSafe(|| drop(pool.alloc_many(&[1, PAGE])));
    assert!(catch_unwind(many).is_err());
    assert_eq!(pool.avail(), pool.size());
    assert_eq!(summing.free.load(Ordering::Relaxed), pool.size() as isize);
}

#[test]
fn a_callback_that_panics_is_reported_all_the_same() {
    let (log, pool) = logged(true);
    for (by, size) in [("drop", PAGE), ("address", 0), ("size", PAGE)] {
        pool.add(0, PAGE).unwrap();
        let held = pool.alloc(1).unwrap();
        let drain = pool.remove(0).unwrap();
        drain.on_drained(|| panic!("drained"));
        log.said();
        let free = || match by {
            "drop" => drop(held),
            "address" => drop(pool.free_addr(held.into_raw().addr)),
            _ => drop(pool.free(held.into_raw().addr, 1)),
        };
        assert!(catch_unwind(AssertUnwindSafe(free)).is_err());
        assert_eq!(
            log.said(),
            [
                format!("Freed {{ addr: 0, size: {size}, cached: false, serves: false }}"),
                "Drained { start: 0, size: 4096 }".to_owned(),
            ]
        );
        drain.finish().unwrap();
    }
}
