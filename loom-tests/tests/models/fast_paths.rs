//! The hottest paths: a drop, which has a fast path of its own, concurrently with everything else; and the fast path of
//! an alloc concurrently with another.
//!
//! In each model of a drop, one thread drops an allocation and another does something that depends on the bits or the
//! hints around it. At rest nothing may be lost or hidden.

#![allow(
    clippy::arc_with_non_send_sync,
    reason = "loom's threads share its cells, which check the sharing themselves"
)]

use std::sync::Arc;

use genpool_core::sync::Fault;
use genpool_core::{AllocError, FirstFit, OwnedAllocation, Pool};
use loom_tests::checker::UnsafeCell;
use loom_tests::{
    At, BASE, Late, Never, Race, THREE, TWO, check_rest, explore, hold, must_fail, own, pool,
    search,
};

/// Makes a full pool of four granules whose hints are all low.
fn known_full() -> Pool {
    let prepared = pool(4);
    for granule in 0..4 {
        hold(&prepared, granule, 1);
    }
    search(&prepared, 1);
    prepared
}

/// Frees `n` held granules, which raises the hints, and takes them again, which leaves the hints raised.
fn own_again(pool: &Pool, granule: usize, n: usize) -> OwnedAllocation {
    pool.free(BASE + granule, n).expect("held");
    own(pool, granule, n)
}

/// A pool with granules that a drop will give back.
type Scene = fn() -> (Pool, OwnedAllocation);

/// Granule 0, with all hints still at their highest.
const FRESH: Scene = || {
    let prepared = pool(4);
    let held = own(&prepared, 0, 1);
    hold(&prepared, 1, 1);
    hold(&prepared, 2, 2);
    (prepared, held)
};

/// Granule 0, whose word has a hint that covers it and nothing more.
const COVERED: Scene = || {
    let prepared = known_full();
    let held = own_again(&prepared, 0, 1);
    (prepared, held)
};

/// Granule 0, next to free granule 1, for which the hint of their word has been lowered.
const GROWING: Scene = || {
    let prepared = known_full();
    let held = own_again(&prepared, 0, 1);
    prepared.free(BASE + 1, 1).expect("held");
    (prepared, held)
};

/// Granule 1, the last of its word, before free granule 2.
const BEFORE_BORDER: Scene = || {
    let prepared = pool(4);
    hold(&prepared, 0, 1);
    let held = own(&prepared, 1, 1);
    hold(&prepared, 3, 1);
    (prepared, held)
};

/// Granule 2, the first of its word, after free granule 1.
const AFTER_BORDER: Scene = || {
    let prepared = pool(4);
    hold(&prepared, 0, 1);
    let held = own(&prepared, 2, 1);
    hold(&prepared, 3, 1);
    (prepared, held)
};

/// Like `AFTER_BORDER`, with hints lowered to what is free.
const AFTER_LOW_BORDER: Scene = || {
    let prepared = known_full();
    let held = own_again(&prepared, 2, 1);
    prepared.free(BASE + 1, 1).expect("held");
    (prepared, held)
};

/// Granules 1 and 2, in two words.
const ACROSS: Scene = || {
    let prepared = known_full();
    for granule in [1, 2] {
        prepared.free(BASE + granule, 1).expect("held");
    }
    let held = own(&prepared, 1, 2);
    (prepared, held)
};

/// Drops what the scene holds while another thread does `other`, which returns how many granules it kept.
fn drop_vs<R: 'static>(
    (prepared, held): (Pool, OwnedAllocation),
    other: impl FnOnce(&Pool) -> (usize, R) + 'static,
) -> R {
    let free = prepared.avail() + held.size();
    let race = Race::on(prepared);
    let dropping = race.start(move |_| drop(held));
    let other = race.start(other);
    dropping.join().unwrap();
    let (kept, outcome) = other.join().unwrap();
    check_rest(race.pool(), free - kept);
    outcome
}

// ---- a search that lowers hints ----

/// Scenes, and the run to search for, which is the one that the drop makes.
const SEARCHES: [(Scene, usize); 5] = [
    (FRESH, 1),
    (COVERED, 1),
    (BEFORE_BORDER, 2),
    (AFTER_BORDER, 2),
    (ACROSS, 2),
];

fn drop_vs_search(scene: Scene, n: usize) {
    drop_vs(scene(), move |pool| (0, search(pool, n)));
}

#[test]
fn hints_hold_if_a_drop_races_a_search() {
    for (scene, n) in SEARCHES {
        explore("drop vs search", TWO, &[()], move || {
            drop_vs_search(scene, n)
        });
    }
}

/// The hint may be read before the bits are cleared.
#[test]
fn control_no_fence() {
    for (scene, n) in SEARCHES {
        must_fail(
            "drop vs search",
            &[Fault::NoFence, Fault::RelaxedRelease],
            TWO,
            move || drop_vs_search(scene, n),
        );
    }
}

#[test]
fn control_no_second_look() {
    for (scene, n) in SEARCHES {
        must_fail("drop vs search", &[Fault::NoSecondLook], TWO, move || {
            drop_vs_search(scene, n)
        });
    }
}

#[test]
fn control_unraised_hint() {
    for (scene, n) in SEARCHES {
        must_fail("drop vs search", &[Fault::UnraisedHint], TWO, move || {
            drop_vs_search(scene, n)
        });
    }
}

#[test]
fn control_unchecked_hint() {
    for scene in [FRESH, COVERED] {
        must_fail("drop vs search", &[Fault::UncheckedHint], TWO, move || {
            drop_vs_search(scene, 1)
        });
    }
}

#[test]
fn control_unchecked_border() {
    for scene in [AFTER_BORDER, AFTER_LOW_BORDER] {
        must_fail(
            "drop vs search",
            &[Fault::UncheckedBorder],
            TWO,
            move || drop_vs_search(scene, 2),
        );
    }
}

// ---- an alloc, which also lowers hints, and claims ----

/// Returns how many granules the call kept, and whether it succeeded.
fn keep<T>(n: usize, outcome: Result<T, AllocError>) -> (usize, bool) {
    let kept = match outcome {
        Ok(found) => {
            std::mem::forget(found);
            n
        }
        Err(AllocError::Exhausted { .. } | AllocError::Contended { .. }) => 0,
        Err(other) => panic!("{other}"),
    };
    (kept, kept > 0)
}

/// The ways of an alloc: the fast path of first fit, an algorithm with a view, and a fixed place.
type Way = fn(&Pool, usize) -> (usize, bool);

const FAST: Way = |pool, n| keep(n, pool.alloc(n));
const BY_VIEW: Way = |pool, n| keep(n, pool.alloc_with(n, &FirstFit));

fn drop_vs_alloc(scene: Scene, n: usize, way: Way) -> bool {
    drop_vs(scene(), move |pool| way(pool, n))
}

#[test]
fn an_alloc_takes_what_is_dropped_or_leaves_it() {
    for (scene, n) in SEARCHES {
        for way in [FAST, BY_VIEW] {
            explore("drop vs alloc", THREE, &[false, true], move || {
                drop_vs_alloc(scene, n, way)
            });
        }
    }
}

#[test]
fn control_hidden_from_an_alloc() {
    for way in [FAST, BY_VIEW] {
        for fault in [Fault::NoSecondLook, Fault::UncheckedHint] {
            must_fail("drop vs alloc", &[fault], THREE, move || {
                drop_vs_alloc(COVERED, 1, way)
            });
        }
    }
}

/// The alloc finds the neighbour of what is dropped, or what is dropped.
#[test]
fn the_neighbour_of_what_is_dropped_is_taken() {
    for scene in [GROWING, BEFORE_BORDER, AFTER_BORDER, AFTER_LOW_BORDER] {
        for way in [FAST, BY_VIEW] {
            explore("drop vs neighbour", THREE, &[true], move || {
                drop_vs_alloc(scene, 1, way)
            });
        }
    }
}

#[test]
fn control_neighbour_taken_by_force() {
    must_fail("drop vs neighbour", &[Fault::TornClaim], THREE, || {
        drop_vs_alloc(GROWING, 1, FAST)
    });
}

// ---- a drop of the neighbour ----

/// Two neighbours are dropped at once, and join.
fn drop_vs_drop(one: usize, other: usize) {
    let prepared = known_full();
    let held = own_again(&prepared, one, 1);
    let neighbour = own_again(&prepared, other, 1);
    // The neighbour adds to what is free.
    let free = prepared.avail() + 2;
    let race = Race::on(prepared);
    let drops = [held, neighbour].map(|held| race.start(move |_| drop(held)));
    for dropped in drops {
        dropped.join().unwrap();
    }
    check_rest(race.pool(), free);
}

/// In one word, and across the border of two.
const NEIGHBOURS: [(usize, usize); 3] = [(0, 1), (1, 2), (2, 1)];

#[test]
fn drops_of_neighbours_join() {
    for (one, other) in NEIGHBOURS {
        explore("drop vs drop", TWO, &[()], move || drop_vs_drop(one, other));
    }
}

#[test]
fn control_drops_join_unhinted() {
    for (one, other) in NEIGHBOURS {
        must_fail("drop vs drop", &[Fault::UnraisedHint], TWO, move || {
            drop_vs_drop(one, other)
        });
    }
}

#[test]
fn control_drops_join_unseen() {
    for (one, other) in [(1, 2), (2, 1)] {
        must_fail(
            "drop vs drop",
            &[Fault::RelaxedRelease, Fault::NoFence],
            TWO,
            move || drop_vs_drop(one, other),
        );
    }
}

#[test]
fn control_drops_join_at_an_unchecked_border() {
    must_fail("drop vs drop", &[Fault::UncheckedBorder], TWO, || {
        drop_vs_drop(1, 2)
    });
}

// ---- a refusal ----

/// A hole moves from ahead of a scan that proves a refusal to a place that it has passed: granule 0 is dropped, then
/// granule 3 is taken.
fn drop_vs_proof(late: fn() -> Late) -> bool {
    let prepared = pool(4);
    let held = own(&prepared, 0, 1);
    hold(&prepared, 1, 2);
    let race = Race::apart(prepared);
    let mover = race.start(move |pool| {
        drop(held);
        let _ = pool.alloc_with(1, &At(3)).map(|found| found.into_raw());
    });
    let alloc = race.start(move |pool| keep(1, pool.alloc_with(1, &late())).1);
    mover.join().unwrap();
    let found = alloc.join().unwrap();
    assert!(found, "there was a hole all the time");
    found
}

#[test]
fn a_hole_that_a_drop_moves_is_not_missed() {
    for late in [Late::in_the_proof, Late::by_granules, Late::by_runs] {
        explore("drop vs proof", THREE, &[true], move || drop_vs_proof(late));
    }
}

#[test]
fn control_unnotified_drop() {
    for fault in [Fault::UnnotifiedDrop, Fault::UnnotifiedFree] {
        must_fail("drop vs proof", &[fault], THREE, || {
            drop_vs_proof(Late::in_the_proof)
        });
    }
}

/// A refusal is cached concurrently with a drop. The thread that dropped finds what it gave back.
fn drop_vs_cached_refusal(scene: Scene, n: usize) -> bool {
    let (prepared, held) = scene();
    let race = Race::apart(prepared);
    let refused = race.start(move |pool| drop(pool.alloc_with(n, &Never)));
    let room = race.start(move |pool| {
        drop(held);
        BY_VIEW(pool, n).1
    });
    refused.join().unwrap();
    let found = room.join().unwrap();
    assert!(found, "nobody else takes anything");
    found
}

/// In one word, where a drop does everything at once, and across the border of two.
const CACHED_REFUSALS: [(Scene, usize); 3] = [(FRESH, 1), (COVERED, 1), (ACROSS, 2)];

#[test]
fn no_cached_refusal_outlives_a_drop() {
    for (scene, n) in CACHED_REFUSALS {
        explore("drop vs cached refusal", THREE, &[true], move || {
            drop_vs_cached_refusal(scene, n)
        });
    }
}

#[test]
fn control_a_cached_refusal_outlives_a_drop() {
    for scene in [FRESH, COVERED] {
        for fault in [
            Fault::UnnotifiedDrop,
            Fault::KeptRefusal,
            Fault::HastyRefusal,
        ] {
            must_fail("drop vs cached refusal", &[fault], THREE, move || {
                drop_vs_cached_refusal(scene, 1)
            });
        }
    }
}

// ---- the fast path of an alloc ----

/// An alloc that takes a range by the fast path sees what the last owner wrote before the drop.
fn drop_vs_fast_alloc() -> bool {
    let prepared = pool(2);
    hold(&prepared, 1, 1);
    let held = own(&prepared, 0, 1);
    let race = Race::on(prepared);
    let memory = Arc::new(UnsafeCell::new(0));
    let dropping = {
        let memory = Arc::clone(&memory);
        race.start(move |_| {
            // SAFETY: this thread owns the granule; loom reports it otherwise.
            memory.with_mut(|byte| unsafe { *byte = 1 });
            drop(held);
        })
    };
    let alloc = race.start(move |pool| {
        let Ok(found) = pool.alloc(1) else {
            return false;
        };
        assert_eq!(found.addr(), BASE);
        // SAFETY: as above.
        memory.with_mut(|byte| assert_eq!(unsafe { byte.replace(2) }, 1));
        true
    });
    dropping.join().unwrap();
    let found = alloc.join().unwrap();
    check_rest(race.pool(), 1);
    found
}

#[test]
fn what_is_dropped_is_handed_over() {
    explore(
        "drop vs fast alloc",
        THREE,
        &[false, true],
        drop_vs_fast_alloc,
    );
}

#[test]
fn control_dropped_without_handover() {
    must_fail(
        "drop vs fast alloc",
        &[Fault::RelaxedRelease, Fault::NoFence],
        THREE,
        drop_vs_fast_alloc,
    );
}

/// Two allocs by the fast path, of the given sizes, with room for both.
fn fast_alloc_vs_fast_alloc(scene: fn() -> Pool, sizes: [usize; 2]) {
    let race = Race::on(scene());
    let free = race.pool().avail();
    let memory: Arc<[UnsafeCell<u8>; 4]> = Arc::new(std::array::from_fn(|_| UnsafeCell::new(0)));
    let allocs = sizes.map(|n| {
        let memory = Arc::clone(&memory);
        race.start(move |pool| {
            let range = pool.alloc(n).expect("there is room for both").into_raw();
            for granule in range.addr - BASE..range.addr - BASE + n {
                // SAFETY: the access is exclusive if the pool is correct; loom reports it otherwise.
                memory[granule].with_mut(|byte| unsafe { *byte += 1 });
            }
        })
    });
    for alloc in allocs {
        alloc.join().unwrap();
    }
    check_rest(race.pool(), free - sizes[0] - sizes[1]);
}

/// A pool, and how many granules each of two allocs takes from it.
type Room = (fn() -> Pool, [usize; 2]);

/// Fresh words; words whose hints are low, so that a claim that shortens the longest run lowers one; and a free run
/// across the border of two words with room after it.
const ROOMS: [Room; 4] = [
    (|| pool(2), [1, 1]),
    (|| pool(4), [2, 2]),
    (
        || {
            let prepared = known_full();
            prepared.free(BASE, 2).expect("held");
            prepared
        },
        [1, 1],
    ),
    (
        || {
            let prepared = known_full();
            for granule in 0..4 {
                prepared.free(BASE + granule, 1).expect("held");
            }
            hold(&prepared, 0, 1);
            prepared
        },
        [1, 1],
    ),
];

#[test]
fn fast_allocs_exclude_each_other() {
    for (scene, sizes) in ROOMS {
        explore("fast alloc vs fast alloc", TWO, &[()], move || {
            fast_alloc_vs_fast_alloc(scene, sizes)
        });
    }
}

#[test]
fn control_torn_fast_alloc() {
    for (scene, sizes) in ROOMS {
        must_fail(
            "fast alloc vs fast alloc",
            &[Fault::TornClaim],
            TWO,
            move || fast_alloc_vs_fast_alloc(scene, sizes),
        );
    }
}
