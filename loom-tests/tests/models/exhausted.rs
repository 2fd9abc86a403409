//! `Exhausted` means that at some instant of the call nothing fitted: holes that move, and claims that are taken back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use genpool_core::sync::Fault;
use genpool_core::{
    Algorithm, Allocation, ChunkView, FirstFit, Granule, OwnedAllocation, Pool, Request,
};
use loom_tests::Answer::{Contended, Exhausted, Found};
use loom_tests::checker::AtomicBool;
use loom_tests::{
    Answer, At, BASE, BEGINNINGS, Begin, Insist, Late, ONCE, Race, START, STUBBORN, THREE, TWO,
    WORD, explore, granule, hold, must_fail, pool, take, with_chunk,
};

/// Granule 1 is free all the time, except for another thread's claim of a run that it cannot get.
fn refused_claim_vs_alloc() -> Answer {
    let prepared = pool(4);
    hold(&prepared, 0, 1);
    hold(&prepared, 2, 2);
    let race = Race::apart(prepared);
    let refused = race.start(|pool| pool.alloc_with(2, &Insist::at(1)).is_err());
    let alloc = race.start(|pool| take(pool, &FirstFit));
    assert!(refused.join().unwrap());
    let alloc = alloc.join().unwrap();
    assert_ne!(alloc, Exhausted, "granule 1 was free all the time");
    alloc
}

#[test]
fn a_rolled_back_claim_leaves_its_granules_free() {
    explore(
        "refused claim vs alloc",
        ONCE,
        &[Found, Contended],
        refused_claim_vs_alloc,
    );
}

#[test]
fn control_unannounced_claim() {
    must_fail(
        "refused claim vs alloc",
        &[Fault::Unannounced],
        ONCE,
        refused_claim_vs_alloc,
    );
}

/// The ways to give back granules 1 and 2, which lie in two words.
type FreeAcross = fn(&Pool, OwnedAllocation);

const WAYS: [FreeAcross; 2] = [
    |_, held| drop(held),
    |pool, held| pool.free(held.into_raw().addr, 2).unwrap(),
];

/// A free of granules 1 and 2 takes two steps. A thread that got one of the granules will find the other.
fn free_across_vs_two_allocs(first: usize, way: FreeAcross) -> (Answer, Option<Answer>) {
    let prepared = pool(4);
    hold(&prepared, 0, 1);
    let held = prepared.alloc_owned_with(2, &At(1)).unwrap();
    hold(&prepared, 3, 1);
    let race = Race::apart_from(first, prepared);
    let free = race.start(move |pool| way(pool, held));
    let allocs = race.start(|pool| {
        let take = || take(pool, &FirstFit);
        let first = take();
        (first, (first == Found).then(take))
    });
    free.join().unwrap();
    let allocs = allocs.join().unwrap();
    assert_ne!(allocs.1, Some(Exhausted), "the other half was refused");
    allocs
}

#[test]
fn both_halves_of_a_free_are_found() {
    // The index selects the stripe.
    for (first, way) in WAYS.into_iter().enumerate() {
        explore(
            "free across vs two allocs",
            STUBBORN,
            &[
                (Exhausted, None),
                (Contended, None),
                (Found, Some(Found)),
                (Found, Some(Contended)),
            ],
            move || free_across_vs_two_allocs(first, way),
        );
    }
}

#[test]
fn control_unannounced_free() {
    for (first, way) in WAYS.into_iter().enumerate() {
        must_fail(
            "free across vs two allocs",
            &[Fault::Unannounced],
            TWO,
            move || free_across_vs_two_allocs(first, way),
        );
    }
}

/// Like a moving hole, in steps that cross words: granules 1 and 2 are freed, then two around another border are taken.
fn moving_run() -> Answer {
    let across = 2 * WORD + 1;
    let prepared = pool(across + 3);
    hold(&prepared, 0, 1);
    let held = prepared.alloc_owned_with(2, &At(1)).unwrap();
    hold(&prepared, 3, across - 3);
    hold(&prepared, across + 2, 1);
    let race = Race::apart(prepared);
    let mover = race.start(move |pool| {
        drop(held);
        let _ = pool
            .alloc_with(2, &At(across))
            .map(|found| found.into_raw());
    });
    let alloc = race.start(|pool| take(pool, &Late::in_the_proof()));
    mover.join().unwrap();
    let alloc = alloc.join().unwrap();
    assert_ne!(alloc, Exhausted, "there was a hole all the time");
    alloc
}

#[test]
fn a_change_across_words_is_noticed() {
    explore("moving run", TWO, &[Found], moving_run);
}

#[test]
fn control_kept_epoch() {
    must_fail("moving run", &[Fault::KeptEpoch], TWO, moving_run);
}

/// A hole moves from ahead of the scan to a place that it has passed: granule 0 is freed, then granule 3 is taken.
fn moving_hole(late: fn() -> Late) -> Answer {
    let prepared = pool(4);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 2);
    let race = Race::apart(prepared);
    let mover = race.start(|pool| {
        pool.free(BASE, 1).unwrap();
        let _ = pool.alloc_with(1, &At(3)).map(|found| found.into_raw());
    });
    let alloc = race.start(move |pool| take(pool, &late()));
    mover.join().unwrap();
    let alloc = alloc.join().unwrap();
    assert_ne!(alloc, Exhausted, "there was a hole all the time");
    alloc
}

#[test]
fn a_moving_hole_is_not_missed() {
    for late in [Late::on_the_list, Late::in_the_proof] {
        explore("moving hole", TWO, &[Found], move || moving_hole(late));
    }
}

#[test]
fn control_unproved() {
    must_fail("moving hole", &[Fault::Unproved], TWO, || {
        moving_hole(Late::on_the_list)
    });
}

#[test]
fn control_unnotified_free() {
    must_fail("moving hole", &[Fault::UnnotifiedFree], TWO, || {
        moving_hole(Late::in_the_proof)
    });
}

#[test]
fn a_moving_hole_is_not_missed_by_other_searches() {
    explore("moving hole by granules", TWO, &[Found], || {
        moving_hole(Late::by_granules)
    });
    explore("moving hole by runs", TWO, &[Found], || {
        moving_hole(Late::by_runs)
    });
}

#[test]
fn control_unnotified_free_of_other_searches() {
    must_fail(
        "moving hole by granules",
        &[Fault::UnnotifiedFree],
        TWO,
        || moving_hole(Late::by_granules),
    );
    must_fail("moving hole by runs", &[Fault::UnnotifiedFree], TWO, || {
        moving_hole(Late::by_runs)
    });
}

/// A moving hole, by two threads on different stripes: the thread that takes granule 3 has seen that granule 0 was
/// freed.
fn hole_moved_by_two() -> Answer {
    let prepared = pool(4);
    // Taken one by one, which leaves the epochs of the stripes equal.
    for granule in 0..3 {
        hold(&prepared, granule, 1);
    }
    let race = Race::apart(prepared);
    let freed = Arc::new(AtomicBool::new(false));
    let take_last = {
        let freed = Arc::clone(&freed);
        race.start(move |pool| {
            if freed.load(Ordering::Acquire) {
                let _ = pool.alloc_with(1, &At(3)).map(|found| found.into_raw());
            }
        })
    };
    let free = race.start(move |pool| {
        pool.free(BASE, 1).unwrap();
        freed.store(true, Ordering::Release);
    });
    let alloc = race.start(|pool| take(pool, &Late::in_the_proof()));
    take_last.join().unwrap();
    free.join().unwrap();
    let alloc = alloc.join().unwrap();
    assert_ne!(alloc, Exhausted, "there was a hole all the time");
    alloc
}

#[test]
fn a_hole_that_two_threads_move_is_not_missed() {
    explore("hole moved by two", THREE, &[Found], hole_moved_by_two);
}

#[test]
fn control_unnotified_moves() {
    must_fail(
        "hole moved by two",
        &[Fault::UnnotifiedFree, Fault::UnnotifiedClaim],
        THREE,
        hole_moved_by_two,
    );
}

/// Takes granule 0 and, only if that succeeded, granules 4 and 5.
type Taker = fn(&Pool);

const TAKERS: [Taker; 2] = [
    |pool| {
        if let Ok(low) = pool.alloc_with(1, &At(0)) {
            let _ = low.into_raw();
            let _ = pool.alloc_with(2, &At(4)).map(Allocation::into_raw);
        }
    },
    // The path of most calls.
    |pool| match pool.alloc(1) {
        Ok(low) if low.addr() == BASE => {
            let _ = low.into_raw();
            let _ = pool.alloc(2).map(Allocation::into_raw);
        }
        _ => (),
    },
];

/// First fit whose proving search is interrupted by a claim of granules that it has not reached.
struct Overtaken<'p> {
    pool: &'p Pool,
    taker: Taker,
    /// The number of searches before the one that proves.
    ahead: AtomicUsize,
}

impl Algorithm for Overtaken<'_> {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        self.ahead.store(ahead.wrapping_sub(1), Ordering::Relaxed);
        let find = |from, to| chunk.find_run(granule(from), granule(to), request.granules());
        match ahead {
            0 => {
                let low = find(0, 2);
                (self.taker)(self.pool);
                low.or_else(|| find(2, 6))
            }
            1..=2 => None,
            _ => find(0, 6),
        }
    }
}

/// Granules 0 and 1 are freed in one step; 4 and 5 are free from the start. Then granule 0 of the freed ones is taken,
/// and after it 4 and 5, so there is a hole at every instant. The free may be stopped before it notifies the probers,
/// so the claims must notify them.
fn half_taken_free(taker: Taker) -> Answer {
    let prepared = pool(6);
    hold(&prepared, 0, 2);
    hold(&prepared, 2, 2);
    let race = Race::apart(prepared);
    let free = race.start(|pool| pool.free(BASE, 2).unwrap());
    let alloc = race.start(move |pool| {
        let ahead = AtomicUsize::new(2);
        take(pool, &Overtaken { pool, taker, ahead })
    });
    free.join().unwrap();
    let alloc = alloc.join().unwrap();
    assert_ne!(alloc, Exhausted, "there was a hole all the time");
    alloc
}

#[test]
fn claims_notify_the_probers() {
    for taker in TAKERS {
        explore("half-taken free", TWO, &[Found], move || {
            half_taken_free(taker)
        });
    }
}

#[test]
fn control_unnotified_claim() {
    for taker in TAKERS {
        must_fail(
            "half-taken free",
            &[Fault::UnnotifiedClaim],
            TWO,
            move || half_taken_free(taker),
        );
    }
}

/// An allocation grows although its range was freed by address: it gets nothing, and held nothing.
fn lost_resize() -> (bool, Answer) {
    let prepared = with_chunk(Pool::builder().boundary_tracking(), 2);
    let mut stale = prepared.alloc_owned(1).unwrap();
    prepared.free_addr(stale.addr()).unwrap();
    hold(&prepared, 0, 1);
    let race = Race::apart(prepared);
    let resize = race.start(move |_| {
        let grown = stale.resize(2).is_ok();
        std::mem::forget(stale);
        grown
    });
    let alloc = race.start(|pool| take(pool, &FirstFit));
    let outcome = (resize.join().unwrap(), alloc.join().unwrap());
    assert_ne!(
        outcome,
        (false, Exhausted),
        "granule 1 was free all the time"
    );
    outcome
}

#[test]
fn a_lost_resize_held_nothing() {
    explore(
        "lost resize",
        STUBBORN,
        &[(false, Found), (false, Contended)],
        lost_resize,
    );
}

#[test]
fn control_unannounced_resize() {
    must_fail("lost resize", &[Fault::Unannounced], TWO, lost_resize);
}

/// A chunk with room is added before the chunk with the only hole is removed.
fn moving_chunk(begin: Begin) -> Answer {
    let prepared = pool(2);
    hold(&prepared, 0, 1);
    let race = begin(prepared);
    let change = race.start(|pool| {
        pool.add(BASE + 16, 2).unwrap();
        drop(pool.remove(START).unwrap());
    });
    let alloc = race.start(|pool| take(pool, &Late::in_the_proof()));
    change.join().unwrap();
    let alloc = alloc.join().unwrap();
    assert_ne!(alloc, Exhausted, "there was a hole all the time");
    alloc
}

#[test]
fn a_hole_that_moves_with_its_chunk_is_not_missed() {
    for begin in BEGINNINGS {
        explore("moving chunk", THREE, &[Found], move || moving_chunk(begin));
    }
}

#[test]
fn control_unchecked_list() {
    must_fail("moving chunk", &[Fault::UncheckedList], THREE, || {
        moving_chunk(Race::apart)
    });
}
