//! Panicking destructors and callbacks of users, at each place where the pool may run one: nothing is lost, hidden or
//! leaked, and each runs once.

#![cfg(not(miri))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

use genpool_core::{
    AddRefused, Algorithm, ChunkSpec, ChunkView, FirstFit, Granule, OwnedAllocation, Pool, Request,
};

thread_local! {
    /// The heap bytes that this thread holds.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + layout.size() as isize);
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) };
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

/// The names of the values that were dropped.
#[derive(Clone, Default)]
struct Drops(Arc<Mutex<Vec<&'static str>>>);

impl Drops {
    /// A value that records its drop, and then panics.
    fn loud(&self, name: &'static str) -> Loud {
        let drops = self.clone();
        Loud { name, drops }
    }

    /// Asserts that exactly these values were dropped since the last call, in any order.
    #[track_caller]
    fn expect(&self, names: &[&'static str]) {
        let mut dropped = std::mem::take(&mut *self.0.lock().unwrap());
        dropped.sort_unstable();
        assert_eq!(dropped, names);
    }
}

struct Loud {
    name: &'static str,
    drops: Drops,
}

impl Drop for Loud {
    fn drop(&mut self) {
        self.drops.0.lock().unwrap().push(self.name);
        // Without a message, because the panic is intended.
        resume_unwind(Box::new(self.name));
    }
}

/// As an algorithm, it is first fit.
impl Algorithm for Loud {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        FirstFit.propose(chunk, request)
    }
}

/// The name of the value whose panic came out of `step`.
fn panics<R>(step: impl FnOnce() -> R) -> Option<&'static str> {
    let payload = catch_unwind(AssertUnwindSafe(step)).err()?;
    Some(*payload.downcast().expect("a name"))
}

/// Runs `test` and asserts that nothing stays on the heap. It runs twice, because a thread keeps some memory the
/// first time.
#[track_caller]
fn leaks_nothing(test: impl Fn(&Drops)) {
    test(&Drops::default());
    let before = HELD.get();
    test(&Drops::default());
    assert_eq!(HELD.get(), before, "something leaks");
}

/// A pool in which chunks added later go when they are removed.
fn pool() -> Pool {
    let pool = Pool::new(0).unwrap();
    pool.add(0, 64).unwrap();
    drop(pool.remove(0).unwrap().finish().unwrap());
    pool.add(0, 64).unwrap();
    pool
}

fn add(pool: &Pool, start: usize, owner: Loud) {
    let chunk = ChunkSpec::new(start, 64).owner(owner);
    pool.add_chunk(chunk).unwrap();
}

/// Removes chunks, which stay on the list until a later change.
fn leave(pool: &Pool, starts: &[usize]) {
    for &start in starts {
        let held = pool.alloc_with(1, &At(start)).unwrap();
        drop(pool.remove(start).unwrap());
        drop(held);
    }
}

/// Only in the chunk that starts there.
struct At(usize);

impl Algorithm for At {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        (chunk.start() == self.0)
            .then(|| FirstFit.propose(chunk, request))
            .flatten()
    }
}

/// Asserts that this much can be allocated and comes back.
#[track_caller]
fn check(pool: &Pool, granules: usize) {
    assert_eq!((pool.size(), pool.avail()), (granules, granules));
    let all: Vec<_> = (0..granules).map(|_| pool.alloc(1).unwrap()).collect();
    assert!(pool.alloc(1).is_err());
    drop(all);
    assert_eq!(pool.avail(), granules);
    assert!(pool.is_sound());
}

#[test]
fn a_chunk_is_there_although_an_older_owner_panics_when_it_is_added() {
    leaks_nothing(|drops| {
        let pool = pool();
        for (start, name) in [(100, "a"), (200, "b")] {
            add(&pool, start, drops.loud(name));
        }
        leave(&pool, &[100, 200]);
        let full = pool.alloc(64).unwrap();
        // Sets a cached refusal.
        assert!(pool.alloc(1).is_err());
        let added = panics(|| pool.add(300, 64));
        assert!(added.is_some(), "both were on the list that was replaced");
        drops.expect(&["a", "b"]);
        assert_eq!(pool.alloc(64).unwrap().addr(), 300, "nothing is hidden");
        drop(full);
        check(&pool, 128);
    });
}

#[test]
fn a_refused_chunk_comes_back_and_drops_nobody() {
    leaks_nothing(|drops| {
        let pool = pool();
        add(&pool, 100, drops.loud("a"));
        leave(&pool, &[100]);
        let chunk = ChunkSpec::new(32, 64).owner(drops.loud("b"));
        let refused = pool.add_chunk(chunk).unwrap_err();
        let overlaps = AddRefused::Overlaps { start: 0, size: 64 };
        assert_eq!(refused.reason, overlaps);
        drops.expect(&[]);
        check(&pool, 64);
        assert_eq!(panics(|| drop(refused)), Some("b"));
        drops.expect(&["b"]);
        assert_eq!(panics(|| drop(pool)), Some("a"));
        drops.expect(&["a"]);
    });
}

#[test]
fn a_removed_chunk_leaves_although_its_owner_and_its_callback_panic() {
    leaks_nothing(|drops| {
        let pool = pool();
        // Dropped at the end of the drain.
        add(&pool, 100, drops.loud("a"));
        let drain = pool.remove(100).unwrap();
        assert_eq!(panics(|| drop(drain)), Some("a"));
        drops.expect(&["a"]);
        check(&pool, 64);
        // Dropped with the chunk that the drain returns.
        add(&pool, 100, drops.loud("b"));
        let chunk = pool.remove(100).unwrap().finish().unwrap();
        drops.expect(&[]);
        assert_eq!(panics(|| drop(chunk)), Some("b"));
        drops.expect(&["b"]);
        check(&pool, 64);
        // The callback runs first, and the chunk leaves the list nevertheless.
        add(&pool, 100, drops.loud("c"));
        let held = pool.alloc_with(1, &At(100)).unwrap();
        let drain = pool.remove(100).unwrap();
        drain.on_drained(|| resume_unwind(Box::new("called")));
        assert_eq!(panics(|| drop(held)), Some("called"));
        drops.expect(&[]);
        let called = drops.loud("called");
        assert_eq!(
            panics(|| drain.on_drained(move || drop(called))),
            Some("called")
        );
        drops.expect(&["called"]);
        assert_eq!(panics(|| drop(drain)), Some("c"));
        drops.expect(&["c"]);
        check(&pool, 64);
    });
}

#[test]
fn a_callback_that_is_replaced_or_never_called_may_panic_when_it_is_dropped() {
    leaks_nothing(|drops| {
        let pool = pool();
        add(&pool, 100, drops.loud("owner"));
        let callback = |name| {
            let loud = drops.loud(name);
            move || drop(loud)
        };
        let held = pool.alloc_owned_with(1, &At(100)).unwrap();
        let drain = pool.remove(100).unwrap();
        drain.on_drained(callback("first"));
        let replaced = panics(|| drain.on_drained(callback("second")));
        assert_eq!(replaced, Some("first"));
        drops.expect(&["first"]);
        // Never given back.
        let _ = held.into_raw();
        drop(drain);
        drops.expect(&[]);
        assert!(panics(|| drop(pool)).is_some());
        drops.expect(&["owner", "second"]);
    });
}

#[test]
fn the_bookkeeping_of_the_last_allocation_goes_although_its_callback_panics() {
    leaks_nothing(|drops| {
        let pool = pool();
        add(&pool, 100, drops.loud("a"));
        let held = pool.alloc_owned_with(1, &At(100)).unwrap();
        let drain = pool.remove(100).unwrap();
        drain.on_drained(|| resume_unwind(Box::new("called")));
        drop(drain);
        drop(pool);
        assert_eq!(panics(|| drop(held)), Some("called"));
        drops.expect(&["a"]);
    });
}

#[test]
fn an_algorithm_is_replaced_although_it_panics_when_it_is_dropped() {
    leaks_nothing(|drops| {
        let pool = pool();
        pool.set_algorithm(drops.loud("first"));
        check(&pool, 64);
        let replaced = panics(|| pool.set_algorithm(drops.loud("second")));
        assert_eq!(replaced, Some("first"));
        drops.expect(&["first"]);
        check(&pool, 64);
        assert_eq!(panics(|| pool.set_algorithm(FirstFit)), Some("second"));
        drops.expect(&["second"]);
        check(&pool, 64);
    });
}

/// Reads the chunk list through more views at once than there are hazard slots, and calls `then` meanwhile.
fn unslotted(pool: &Pool, depth: usize, then: &mut (dyn FnMut() + Send)) {
    struct Deeper<'c>(&'c Pool, usize, Mutex<&'c mut (dyn FnMut() + Send)>);

    impl Algorithm for Deeper<'_> {
        fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
            let Self(pool, depth, then) = self;
            unslotted(pool, depth - 1, *then.lock().unwrap());
            resume_unwind(Box::new("seen"));
        }
    }

    if depth == 0 {
        return then();
    }
    let deeper = Deeper(pool, depth, Mutex::new(then));
    assert_eq!(
        panics(|| pool.alloc_with(1, &deeper).map(drop)),
        Some("seen")
    );
}

#[test]
fn all_retired_lists_go_although_owners_in_several_panic() {
    leaks_nothing(|drops| {
        let pool = pool();
        for (start, name) in [(100, "a"), (200, "b"), (300, "c")] {
            add(&pool, start, drops.loud(name));
        }
        unslotted(&pool, 10, &mut || {
            for start in [100, 200, 300] {
                drop(pool.remove(start).unwrap());
            }
            drops.expect(&[]);
        });
        drops.expect(&[]);
        assert!(panics(|| pool.add(400, 64)).is_some());
        drops.expect(&["a", "b", "c"]);
        check(&pool, 128);
    });
}

#[test]
fn chunks_that_outlive_their_pool_may_all_panic() {
    leaks_nothing(|drops| {
        let pool = pool();
        for (start, name) in [(100, "a"), (200, "b"), (300, "c")] {
            add(&pool, start, drops.loud(name));
        }
        let infos: Vec<_> = pool.chunks().collect();
        let listed = pool.chunks();
        leave(&pool, &[100]);
        pool.add(400, 64).unwrap();
        drop(pool);
        drop(listed);
        drops.expect(&[]);
        assert!(panics(|| drop(infos)).is_some());
        drops.expect(&["a", "b", "c"]);
    });
}

/// A pool with users' code in every place that can have some.
fn unslotted_readers(drops: &Drops) -> Pool {
    let unused = drops.loud("on_leak");
    let builder = Pool::builder()
        .algorithm(drops.loud("built with"))
        .on_leak(move |_| drop(unused));
    #[cfg(feature = "observe")]
    let builder = {
        struct Watching(#[expect(dead_code, reason = "dropped")] Loud);
        impl genpool_core::Observer for Watching {
            fn event(&self, _: usize, _: &genpool_core::Event<'_>) {}
        }
        builder.observer(Watching(drops.loud("observer")))
    };
    let pool = builder.build().unwrap();
    // Permanent chunks, one of which is gone, and later ones.
    for (start, name) in [(100, "a"), (200, "b")] {
        add(&pool, start, drops.loud(name));
    }
    drop(pool.remove(200).unwrap());
    for (start, name) in [(300, "c"), (400, "d")] {
        add(&pool, start, drops.loud(name));
    }
    leave(&pool, &[400]);
    pool.set_algorithm(drops.loud("default"));
    pool
}

/// The names of all values in such a pool. The chunk that had left went with a change.
const CROWD: &[&str] = if cfg!(feature = "observe") {
    &[
        "a",
        "b",
        "built with",
        "c",
        "d",
        "default",
        "observer",
        "on_leak",
    ]
} else {
    &["a", "b", "built with", "c", "d", "default", "on_leak"]
};

/// Expects `CROWD`, except what was dropped before.
fn expect_unslotted(drops: &Drops) {
    drops.expect(CROWD);
}

#[test]
fn a_pool_ends_although_all_in_it_panic() {
    leaks_nothing(|drops| {
        let pool = unslotted_readers(drops);
        assert!(panics(|| drop(pool)).is_some());
        expect_unslotted(drops);

        let pool = unslotted_readers(drops);
        assert!(panics(|| pool.destroy()).is_some());
        expect_unslotted(drops);

        // The callback is called, panics, and is dropped.
        let pool = unslotted_readers(drops);
        let _ = pool.alloc(1).unwrap().into_raw();
        assert_eq!(panics(|| drop(pool)), Some("on_leak"));
        expect_unslotted(drops);

        // On a thread that is panicking for another reason.
        let pool = unslotted_readers(drops);
        let _ = pool.alloc(1).unwrap().into_raw();
        let other = || {
            let _pool = pool;
            resume_unwind(Box::new("other"))
        };
        assert_eq!(panics::<()>(other), Some("other"));
        expect_unslotted(drops);

        // Dropped with the last allocation.
        let pool = unslotted_readers(drops);
        let held: Vec<OwnedAllocation> = (0..3).map(|_| pool.alloc_owned(1).unwrap()).collect();
        let report = panics(|| drop(pool));
        assert_eq!(report, Some("on_leak"));
        drops.expect(&["on_leak"]);
        assert!(panics(|| drop(held)).is_some());
        let rest: Vec<_> = CROWD
            .iter()
            .copied()
            .filter(|&name| name != "on_leak")
            .collect();
        drops.expect(&rest);
    });
}

#[test]
fn a_report_may_be_the_last_to_know_owners_that_panic() {
    leaks_nothing(|drops| {
        let pool = Pool::new(0).unwrap();
        for (start, name) in [(100, "a"), (200, "b"), (300, "c")] {
            add(&pool, start, drops.loud(name));
            let _ = pool.alloc(1).unwrap().into_raw();
        }
        let report = pool.destroy();
        assert_eq!(report.held.len(), 3);
        drops.expect(&[]);
        assert!(panics(|| drop(report)).is_some());
        drops.expect(&["a", "b", "c"]);
    });
}

#[test]
fn a_builder_that_builds_nothing_drops_all_that_it_was_given() {
    leaks_nothing(|drops| {
        let builder = |order| {
            let unused = drops.loud("on_leak");
            let builder = Pool::builder().order(order);
            let builder = builder.algorithm(drops.loud("algorithm"));
            builder.on_leak(move |_| drop(unused))
        };
        assert!(panics(|| drop(builder(0))).is_some());
        drops.expect(&["algorithm", "on_leak"]);
        assert!(panics(|| builder(64).build().map(drop)).is_some());
        drops.expect(&["algorithm", "on_leak"]);
        let replaced = panics(|| builder(0).algorithm(FirstFit).build().map(drop));
        assert_eq!(replaced, Some("algorithm"));
        drops.expect(&["algorithm", "on_leak"]);
    });
}

#[test]
fn a_cache_gives_all_back_although_callbacks_panic() {
    leaks_nothing(|drops| {
        let pool = Pool::new(0).unwrap();
        pool.add(0, 640).unwrap();
        add(&pool, 1000, drops.loud("owner"));
        let mut cache = pool.cache();
        let runs: Vec<_> = (1..=4).map(|n| cache.alloc(n).unwrap()).collect();
        runs.into_iter().for_each(|run| cache.free(run));
        assert!(cache.held() > 0);
        let drain = pool.remove(1000).unwrap();
        drain.on_drained(|| resume_unwind(Box::new("called")));
        assert_eq!(panics(|| drop(cache)), Some("called"));
        assert_eq!(pool.stats().cached, 0);
        drop(drain);
        check(&pool, 640);
        assert_eq!(panics(|| drop(pool)), Some("owner"));
        drops.expect(&["owner"]);
    });
}

#[test]
fn what_comes_back_while_its_thread_panics_calls_back_without_an_abort() {
    leaks_nothing(|_| {
        let pool = Pool::new(0).unwrap();
        for start in [0, 100] {
            pool.add(start, 64).unwrap();
        }
        let held = [0, 100].map(|start| pool.alloc_with(1, &At(start)).unwrap());
        let drains = [0, 100].map(|start| pool.remove(start).unwrap());
        for drain in &drains {
            drain.on_drained(|| resume_unwind(Box::new("called")));
        }
        let other = || {
            let _held = held;
            resume_unwind(Box::new("other"))
        };
        assert_eq!(panics::<()>(other), Some("other"));
        assert!(drains.iter().all(|drain| drain.is_drained()));
        drop(drains);
        check(&pool, 0);
    });
}
