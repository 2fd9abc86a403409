//! The cache of one thread: what it claims belongs to it alone, what it gives back is notified, and it lets go of a
//! chunk that is removed.

#![allow(
    clippy::arc_with_non_send_sync,
    reason = "loom's threads share its cells, which check the sharing themselves"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as Plain, Ordering as PlainOrdering};

use genpool_core::sync::Fault;
use genpool_core::{Cache, Pool};
use loom_tests::checker::{AtomicBool, Ordering, UnsafeCell};
use loom_tests::{
    Answer, At, BASE, Late, Race, THREE, TWO, explore, hold, must_fail, pool, take, with_chunk,
};

/// Returns the pool of a race, for caches that are made before its threads start and moved into them.
fn lent(race: &Race) -> &'static Pool {
    // SAFETY: every model joins its threads, and with them drops all that borrows the pool, before it drops the race.
    unsafe { &*std::ptr::from_ref(race.pool()) }
}

/// Makes the cache claim a batch and keep all of it.
fn fill(cache: &mut Cache<'_>) {
    let found = cache.alloc(1).expect("there is room");
    cache.free(found);
}

/// Writes to granule `addr`, as its owner does.
fn write(memory: &[UnsafeCell<u8>], addr: usize) {
    // SAFETY: the access is exclusive if the pool is correct; loom reports it otherwise.
    memory[addr - BASE].with_mut(|byte| unsafe { *byte += 1 });
}

/// A cache claims a batch in the word in which another thread claims granule 1.
fn refill_vs_claim() -> (usize, bool) {
    let race = Race::on(pool(2));
    let memory: Arc<[UnsafeCell<u8>; 2]> = Arc::new(std::array::from_fn(|_| UnsafeCell::new(0)));
    let mut cache = lent(&race).cache();
    let refill = {
        let memory = Arc::clone(&memory);
        race.start(move |_| {
            let mut own = 0;
            while let Ok(found) = cache.alloc(1) {
                write(&*memory, found.into_raw().addr);
                own += 1;
            }
            own
        })
    };
    let claim = race.start(move |pool| {
        let claimed = pool.alloc_with(1, &At(1)).map(|found| found.into_raw());
        claimed.inspect(|range| write(&*memory, range.addr)).is_ok()
    });
    let (refill, claim) = (refill.join().unwrap(), claim.join().unwrap());
    assert_eq!(refill + usize::from(claim), 2, "a granule was lost");
    assert_eq!(race.pool().avail(), 0);
    (refill, claim)
}

#[test]
fn a_batch_is_exclusive() {
    explore(
        "refill vs claim",
        THREE,
        &[(2, false), (1, true)],
        refill_vs_claim,
    );
}

#[test]
fn control_torn_batch() {
    must_fail(
        "refill vs claim",
        &[Fault::TornClaim],
        THREE,
        refill_vs_claim,
    );
}

/// Granule 0 is in a cache and granule 3 is free. The cache is emptied, then granule 3 is taken.
fn emptied_cache_vs_alloc() -> Answer {
    let race = Race::apart(pool(4));
    hold(race.pool(), 1, 1);
    hold(race.pool(), 2, 1);
    let mut cache = lent(&race).cache();
    fill(&mut cache);
    assert_eq!((cache.held(), race.pool().avail()), (1, 1));
    let empty = race.start(move |pool| {
        cache.flush();
        let _ = pool.alloc_with(1, &At(3)).map(|found| found.into_raw());
    });
    let alloc = race.start(|pool| take(pool, &Late::in_the_proof()));
    empty.join().unwrap();
    let alloc = alloc.join().unwrap();
    assert_ne!(alloc, Answer::Exhausted, "there was a hole all the time");
    alloc
}

#[test]
fn an_emptied_cache_is_noticed() {
    explore(
        "emptied cache vs alloc",
        TWO,
        &[Answer::Found],
        emptied_cache_vs_alloc,
    );
}

#[test]
fn control_unnotified_batch() {
    must_fail(
        "emptied cache vs alloc",
        &[Fault::UnnotifiedFree],
        TWO,
        emptied_cache_vs_alloc,
    );
}

/// A thread drops an allocation of a cache while the cache searches for more.
fn dropped_elsewhere() -> bool {
    let race = Race::on(pool(2));
    let memory: Arc<[UnsafeCell<u8>; 2]> = Arc::new(std::array::from_fn(|_| UnsafeCell::new(0)));
    let mut cache = lent(&race).cache();
    let first = cache.alloc(1).unwrap();
    let _ = cache.alloc(1).unwrap().into_raw();
    assert_eq!(cache.held(), 0);
    let elsewhere = {
        let memory = Arc::clone(&memory);
        race.start(move |_| {
            write(&*memory, first.addr());
            drop(first);
        })
    };
    let refill = race.start(move |_| {
        let found = cache.alloc(1).map(|found| found.into_raw());
        found.inspect(|range| write(&*memory, range.addr)).is_ok()
    });
    elsewhere.join().unwrap();
    let refill = refill.join().unwrap();
    assert_eq!(race.pool().avail(), usize::from(!refill));
    refill
}

#[test]
fn a_batch_is_handed_over() {
    explore("dropped elsewhere", TWO, &[false, true], dropped_elsewhere);
}

/// In loom, sequentially consistent fences also hand over plain accesses, which the machine's do not guarantee, so the
/// control removes the fence after the release as well.
#[test]
fn control_batch_without_handover() {
    must_fail(
        "dropped elsewhere",
        &[Fault::RelaxedRelease, Fault::NoFence],
        TWO,
        dropped_elsewhere,
    );
}

/// A chunk is removed concurrently with an alloc from a cache. Once removed it hands out nothing. It counts as drained,
/// and notifies its owner once, when nothing of it is held.
fn removal_vs_cache(race: &Race, mut cache: Cache<'static>) -> bool {
    let (notified, removed) = (Arc::new(Plain::new(0)), Arc::new(AtomicBool::new(false)));
    let remove = {
        let (notified, removed) = (Arc::clone(&notified), Arc::clone(&removed));
        race.start(move |pool| {
            let drain = pool.remove(BASE).unwrap();
            drain.on_drained(move || {
                notified.fetch_add(1, PlainOrdering::Relaxed);
            });
            removed.store(true, Ordering::Release);
            drain
        })
    };
    let alloc = race.start(move |_| {
        let late = removed.load(Ordering::Acquire);
        let found = cache.alloc(1).map(|found| found.into_raw()).ok();
        assert!(!late || found.is_none(), "handed out after the removal");
        found
    });
    let drain = remove.join().unwrap();
    let found = alloc.join().unwrap();
    let count = || notified.load(PlainOrdering::Relaxed);
    if let Some(range) = found {
        assert_eq!(count(), 0, "notified while a granule was held");
        assert!(!drain.is_drained());
        race.pool().free(range.addr, range.size).unwrap();
    }
    // Read before the drain is asked, because asking it checks the chunk again.
    assert_eq!(count(), 1, "the owner was not notified");
    assert!(drain.is_drained(), "it never drains");
    found.is_some()
}

/// The granules are in the cache before the removal.
fn removal_vs_filled_cache() -> bool {
    let race = Race::on(pool(2));
    let mut cache = lent(&race).cache();
    fill(&mut cache);
    assert_eq!(cache.held(), 2);
    removal_vs_cache(&race, cache)
}

/// The cache claims the granules concurrently with the removal.
fn removal_vs_refill() -> bool {
    let race = Race::on(pool(2));
    let cache = lent(&race).cache();
    removal_vs_cache(&race, cache)
}

#[test]
fn a_cache_lets_go_of_what_is_removed() {
    explore(
        "removal vs filled cache",
        TWO,
        &[false, true],
        removal_vs_filled_cache,
    );
    explore("removal vs refill", TWO, &[false, true], removal_vs_refill);
}

#[test]
fn control_unchecked_magazine() {
    must_fail(
        "removal vs filled cache",
        &[Fault::UncheckedMagazine],
        TWO,
        removal_vs_filled_cache,
    );
}

#[test]
fn control_unchecked_refill() {
    must_fail(
        "removal vs refill",
        &[Fault::UncheckedState, Fault::UncheckedMagazine],
        TWO,
        removal_vs_refill,
    );
}

/// The default algorithm is replaced by one that only allows granule 1, concurrently with an alloc from a cache that
/// keeps both granules.
fn swap_vs_cache() -> (bool, usize) {
    let race = Race::on(pool(2));
    let mut cache = lent(&race).cache();
    fill(&mut cache);
    assert_eq!(cache.held(), 2);
    let swapped = Arc::new(AtomicBool::new(false));
    let swap = {
        let swapped = Arc::clone(&swapped);
        race.start(move |pool| {
            pool.set_algorithm(At(1));
            swapped.store(true, Ordering::Release);
        })
    };
    let alloc = race.start(move |_| {
        let late = swapped.load(Ordering::Acquire);
        (late, cache.alloc(1).unwrap().into_raw().addr - BASE)
    });
    swap.join().unwrap();
    let alloc = alloc.join().unwrap();
    assert_ne!(alloc, (true, 0), "by the rules of before");
    alloc
}

#[test]
fn a_cache_goes_by_the_default_algorithm() {
    explore(
        "swap vs cache",
        TWO,
        &[(false, 0), (false, 1), (true, 1)],
        swap_vs_cache,
    );
}

#[test]
fn control_unchecked_algorithm() {
    must_fail(
        "swap vs cache",
        &[Fault::UncheckedAlgorithm],
        TWO,
        swap_vs_cache,
    );
}

/// Two caches are made at once, and each gets a cache slot of its own.
fn two_caches() {
    let race = Race::on(with_chunk(Pool::builder().boundary_tracking(), 4));
    let pool = lent(&race);
    let make = || {
        race.start(move |_| {
            let mut cache = pool.cache();
            fill(&mut cache);
            cache
        })
    };
    let (one, two) = (make(), make());
    let caches = [one.join().unwrap(), two.join().unwrap()];
    assert!(caches.iter().all(|cache| cache.held() > 0));
    assert!(pool.is_sound(), "what a cache keeps is not counted");
}

#[test]
fn caches_that_are_made_at_once_are_counted() {
    explore("two caches", THREE, &[()], two_caches);
}
