//! Threads that end: with a full cache, during unwinding, and while an allocation is made in the destruction of
//! thread-locals.

use std::cell::{Cell, RefCell};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use genpool::{Allocation, BestFit, Cache, NextFit, OwnedAllocation, Pool, ThreadStart};

const ROUNDS: usize = if cfg!(miri) { 1 } else { 200 };

fn pool() -> Pool {
    let pool = Pool::new(0).unwrap();
    pool.add(0, 5000).unwrap();
    pool
}

/// Fills the cache with runs of all lengths.
fn fill(cache: &mut Cache<'_>) {
    let held: Vec<_> = (0..200)
        .map(|at| cache.alloc(at % 8 + 1).unwrap())
        .collect();
    for held in held {
        cache.free(held);
    }
}

#[test]
fn a_full_cache_is_given_back_at_the_end_of_its_thread() {
    let pool = pool();
    for _ in 0..ROUNDS {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut cache = pool.cache();
                fill(&mut cache);
                assert!(pool.avail() < pool.size());
            });
            let panics = scope.spawn(|| {
                let mut cache = pool.cache();
                fill(&mut cache);
                let _held = cache.alloc(3).unwrap();
                // `resume_unwind` prints no message.
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            assert!(panics.join().is_err());
        });
        assert_eq!(pool.avail(), pool.size());
        assert!(pool.is_sound());
    }
}

#[test]
fn a_cache_that_is_forgotten_keeps_no_more_than_its_bound() {
    let pool = pool();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut cache = pool.cache();
            fill(&mut cache);
            std::mem::forget(cache);
        });
    });
    let missing = pool.size() - pool.avail();
    assert!(missing > 0 && missing <= Cache::MOST_GRANULES, "{missing}");
    assert!(pool.is_sound());
}

static POOL: OnceLock<Pool> = OnceLock::new();
static LATE: AtomicUsize = AtomicUsize::new(0);

/// Allocates when it is dropped, with every algorithm that has a state per thread or a shared one.
struct AtTheEnd(Cell<Option<Allocation<'static>>>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        let pool = POOL.get().unwrap();
        drop(self.0.take());
        for n in (1..70).step_by(if cfg!(miri) { 33 } else { 1 }) {
            let held = [
                pool.alloc(n).unwrap(),
                pool.alloc_with(n, &ThreadStart).unwrap(),
                pool.alloc_with(n, &BestFit).unwrap(),
                pool.alloc_with(n, &NextFit::new()).unwrap(),
            ];
            for held in held {
                let range = held.into_raw();
                pool.free(range.addr, range.size).unwrap();
            }
        }
        fill(&mut pool.cache());
        LATE.fetch_add(1, Ordering::SeqCst);
    }
}

thread_local! {
    static FIRST: AtTheEnd = const { AtTheEnd(Cell::new(None)) };
    static KEPT: RefCell<Option<Cache<'static>>> = const { RefCell::new(None) };
    static OWNED: RefCell<Vec<OwnedAllocation>> = const { RefCell::new(Vec::new()) };
    static LAST: AtTheEnd = const { AtTheEnd(Cell::new(None)) };
}

#[test]
fn thread_locals_allocate_and_free_while_they_are_destroyed() {
    let pool = POOL.get_or_init(pool);
    for round in 0..ROUNDS {
        thread::spawn(move || {
            // In use before the pool's own thread-locals, or after them.
            FIRST.with(|first| {
                let held = (round % 2 == 0).then(|| pool.alloc_with(5, &ThreadStart).unwrap());
                first.0.set(held);
            });
            KEPT.with_borrow_mut(|kept| fill(kept.insert(pool.cache())));
            OWNED.with_borrow_mut(|owned| owned.push(pool.alloc_owned(7).unwrap()));
            LAST.with(|last| last.0.set(Some(pool.alloc(9).unwrap())));
        })
        .join()
        .unwrap();
        assert_eq!(pool.avail(), pool.size());
    }
    assert_eq!(LATE.load(Ordering::SeqCst), 2 * ROUNDS);
    assert!(pool.is_sound());
}
