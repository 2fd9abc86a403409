//! Claims and frees: exclusive, all or nothing, with handover of memory.

#![allow(
    clippy::arc_with_non_send_sync,
    reason = "loom's threads share its cells, which check the sharing themselves"
)]

use std::sync::Arc;

use genpool_core::sync::Fault;
use genpool_core::{AllocError, Event, Observer, Pool};
use loom_tests::checker::UnsafeCell;
use loom_tests::{
    At, BASE, Begin, Insist, Race, STUBBORN, THREE, TWO, WORD, explore, hold, must_fail, pool,
    with_chunk,
};

/// Two runs that share a granule and cross the word border: granules 1-2 and 2-3 of four. Each owner writes to what it
/// got.
fn overlapping_claims() -> (bool, bool) {
    let race = Race::on(pool(4));
    let memory: Arc<[UnsafeCell<u8>; 4]> = Arc::new(std::array::from_fn(|_| UnsafeCell::new(0)));
    let claim = |at: usize| {
        let memory = Arc::clone(&memory);
        race.start(move |pool| {
            let claimed = pool.alloc_with(2, &At(at)).ok()?;
            for granule in at..at + 2 {
                // SAFETY: the access is exclusive if the pool is correct; loom reports it otherwise.
                memory[granule].with_mut(|byte| unsafe { *byte += 1 });
            }
            Some(claimed.into_raw())
        })
    };
    let (low, high) = (claim(1), claim(2));
    let (low, high) = (low.join().unwrap(), high.join().unwrap());
    assert!(low.is_none() || high.is_none(), "two own granule 2");
    let outcome = (low.is_some(), high.is_some());
    for range in [low, high].into_iter().flatten() {
        race.pool().free(range.addr, range.size).unwrap();
    }
    assert_eq!(race.pool().avail(), 4, "a granule was lost");
    assert!(race.pool().is_sound());
    outcome
}

#[test]
fn claims_are_exclusive_and_lose_nothing() {
    explore(
        "overlapping claims",
        STUBBORN,
        &[(true, false), (false, true)],
        overlapping_claims,
    );
}

#[test]
fn control_torn_claim() {
    must_fail(
        "overlapping claims",
        &[Fault::TornClaim],
        TWO,
        overlapping_claims,
    );
}

/// A claim that crosses the border is refused in its second word and rolled back.
fn rollback() -> bool {
    let prepared = pool(4);
    hold(&prepared, 2, 1);
    let race = Race::on(prepared);
    let refused = race.start(|pool| pool.alloc_with(2, &Insist::at(1)).is_err());
    let freed = race.start(|pool| pool.free(BASE + 2, 1).is_ok());
    assert!(freed.join().unwrap());
    let refused = refused.join().unwrap();
    assert_eq!(race.pool().avail(), 4, "a granule was lost");
    assert!(race.pool().is_sound());
    assert!(race.pool().alloc(4).is_ok());
    refused
}

#[test]
fn rollback_loses_nothing() {
    explore("rollback", TWO, &[false, true], rollback);
}

#[test]
fn control_kept_claim() {
    must_fail("rollback", &[Fault::KeptClaim], TWO, rollback);
}

/// Makes a pool with an observer that ignores its events.
fn observed(granules: usize) -> Pool {
    struct Nobody;
    impl Observer for Nobody {
        fn event(&self, _: usize, _: &Event<'_>) {}
    }
    with_chunk(Pool::builder().observer(Nobody), granules)
}

/// Granule 0 is free all the time, except for a call for several ranges that takes it and is then refused.
fn refused_many_vs_alloc(begin: Begin, prepared: Pool) -> bool {
    hold(&prepared, 1, 1);
    let race = begin(prepared);
    let many = race.start(|pool| pool.alloc_many(&[1, 0]).is_err());
    let alloc = race.start(|pool| pool.alloc(1).map(|found| found.into_raw()).err());
    assert!(many.join().unwrap());
    let refused = alloc.join().unwrap();
    assert!(
        matches!(refused, None | Some(AllocError::Contended { .. })),
        "granule 0 was free all the time: {refused:?}"
    );
    refused.is_none()
}

#[test]
fn ranges_of_a_refused_alloc_many_are_free() {
    type Prepare = fn(usize) -> Pool;
    let ways: [(Begin, Prepare); 3] = [(Race::on, pool), (Race::apart, pool), (Race::on, observed)];
    for (begin, prepare) in ways {
        explore("refused many vs alloc", THREE, &[false, true], move || {
            refused_many_vs_alloc(begin, prepare(2))
        });
    }
}

#[test]
fn control_unannounced_many() {
    for prepare in [pool, observed] {
        must_fail(
            "refused many vs alloc",
            &[Fault::Unannounced],
            THREE,
            move || refused_many_vs_alloc(Race::apart, prepare(2)),
        );
    }
}

/// The next owner of a granule sees what the last owner wrote before it gave the granule back.
fn handover() -> bool {
    let race = Race::on(pool(2));
    let memory = Arc::new(UnsafeCell::new(0));
    let first = {
        let memory = Arc::clone(&memory);
        let range = race.pool().alloc_with(1, &At(0)).unwrap().into_raw();
        race.start(move |pool| {
            // SAFETY: this thread owns the granule; loom reports it otherwise.
            memory.with_mut(|byte| unsafe { *byte = 1 });
            pool.free(range.addr, range.size).unwrap();
        })
    };
    let second = {
        let memory = Arc::clone(&memory);
        race.start(move |pool| {
            let Ok(claimed) = pool.alloc_with(1, &At(0)) else {
                return false;
            };
            // SAFETY: as above.
            memory.with_mut(|byte| assert_eq!(unsafe { byte.replace(2) }, 1));
            drop(claimed);
            true
        })
    };
    first.join().unwrap();
    second.join().unwrap()
}

#[test]
fn handover_happens_before() {
    explore("handover", TWO, &[false, true], handover);
}

/// Like `handover`, for a range that is given back by a drop.
fn handover_by_drop() -> bool {
    let race = Race::on(pool(2));
    let memory = Arc::new(UnsafeCell::new(0));
    let user = || {
        let memory = Arc::clone(&memory);
        race.start(move |pool| {
            let Ok(claimed) = pool.alloc_with(1, &At(0)) else {
                return false;
            };
            // SAFETY: as above.
            memory.with_mut(|byte| unsafe { *byte += 1 });
            drop(claimed);
            true
        })
    };
    let (one, two) = (user(), user());
    one.join().unwrap() & two.join().unwrap()
}

#[test]
fn handover_by_drop_happens_before() {
    explore("handover by drop", TWO, &[false, true], handover_by_drop);
}

/// Like `handover by drop`, in a word that is cleared by a store.
fn handover_of_a_whole_word() -> bool {
    let prepared = pool(2 + WORD);
    let whole = prepared.alloc_owned_with(1 + WORD, &At(1)).expect("free");
    let race = Race::on(prepared);
    let memory = Arc::new(UnsafeCell::new(0));
    let first = {
        let memory = Arc::clone(&memory);
        race.start(move |_| {
            // SAFETY: this thread owns the granule; loom reports it otherwise.
            memory.with_mut(|byte| unsafe { *byte = 1 });
            drop(whole);
        })
    };
    let second = race.start(move |pool| {
        let claimed = pool.alloc_with(1, &At(2));
        if claimed.is_ok() {
            // SAFETY: as above.
            memory.with_mut(|byte| assert_eq!(unsafe { byte.replace(2) }, 1));
        }
        claimed.is_ok()
    });
    first.join().unwrap();
    second.join().unwrap()
}

#[test]
fn handover_of_a_whole_word_happens_before() {
    explore(
        "handover of a whole word",
        TWO,
        &[false, true],
        handover_of_a_whole_word,
    );
}

/// The fence with which loom announces a change of several words would hand over too.
#[test]
fn control_relaxed_whole_word() {
    must_fail(
        "handover of a whole word",
        &[Fault::RelaxedRelease, Fault::NoFence, Fault::Unannounced],
        TWO,
        handover_of_a_whole_word,
    );
}

/// In loom, sequentially consistent fences also hand over plain accesses, which the machine's do not guarantee, so the
/// control removes the fence after the release as well.
const NO_HANDOVER: &[Fault] = &[Fault::RelaxedRelease, Fault::NoFence];

#[test]
fn control_relaxed_free() {
    must_fail("handover", NO_HANDOVER, TWO, handover);
}

#[test]
fn control_relaxed_drop() {
    must_fail("handover by drop", NO_HANDOVER, TWO, handover_by_drop);
}

/// Two frees of one run that crosses the border. The thread whose free succeeds allocates there again.
fn racing_frees(prepared: Pool) -> usize {
    hold(&prepared, 1, 2);
    let race = Race::on(prepared);
    let free = || {
        race.start(|pool| {
            let freed = pool.free(BASE + 1, 2).is_ok();
            if freed {
                // The run is free again, so this must find it.
                hold(pool, 1, 2);
            }
            freed
        })
    };
    let (one, two) = (free(), free());
    let (one, two) = (one.join().unwrap(), two.join().unwrap());
    // The second may come after the first one's new allocation, and then frees that.
    assert!(one || two, "nobody freed it");
    assert_eq!(race.pool().avail(), 2);
    assert!(race.pool().is_sound());
    usize::from(one) + usize::from(two)
}

/// Two frees of one run, and nothing more: exactly one succeeds.
fn racing_frees_only(prepared: Pool) -> usize {
    hold(&prepared, 1, 2);
    let race = Race::on(prepared);
    let free = || race.start(|pool| pool.free(BASE + 1, 2).is_ok());
    let (one, two) = (free(), free());
    let freed = usize::from(one.join().unwrap()) + usize::from(two.join().unwrap());
    assert_eq!(freed, 1);
    assert_eq!(race.pool().avail(), 4);
    assert!(race.pool().is_sound());
    freed
}

fn tracked() -> Pool {
    with_chunk(Pool::builder().boundary_tracking(), 4)
}

#[test]
fn one_of_two_racing_frees_succeeds() {
    explore("racing frees", TWO, &[1], || racing_frees_only(pool(4)));
}

#[test]
fn control_unchecked_free() {
    must_fail("racing frees", &[Fault::UncheckedFree], TWO, || {
        racing_frees_only(pool(4))
    });
}

#[test]
fn one_of_two_racing_tracked_frees_succeeds() {
    explore("racing tracked frees", TWO, &[1], || {
        racing_frees_only(tracked())
    });
}

/// A free that loses must not clear bits of a later allocation there. Without boundary tracking the two cases cannot be
/// told apart: a late second free is a free of the new allocation.
#[test]
fn a_losing_tracked_free_changes_nothing() {
    explore("tracked frees and a new allocation", TWO, &[1, 2], || {
        racing_frees(tracked())
    });
}

#[test]
fn control_bits_before_ownership() {
    must_fail(
        "tracked frees and a new allocation",
        &[Fault::BitsBeforeOwnership],
        TWO,
        || racing_frees(tracked()),
    );
}

#[test]
fn control_shared_ownership() {
    must_fail(
        "racing tracked frees",
        &[Fault::SharedOwnership],
        TWO,
        || racing_frees_only(tracked()),
    );
}

/// The tag of an allocation in the list of live ones is its own, never that of the last owner of its first granule.
fn tag_vs_alloc() -> bool {
    let prepared = tracked();
    prepared.alloc(1).unwrap().set_tag(7);
    let race = Race::on(prepared);
    let alloc = race.start(|pool| pool.alloc_with(1, &At(0)).map(|found| found.into_raw()));
    let seen = race.start(|pool| {
        let live = pool.live().unwrap();
        assert!(live.iter().all(|held| held.tag == Some(0)), "another's tag");
        live.iter().any(|held| held.addr >= BASE)
    });
    assert!(alloc.join().unwrap().is_ok());
    seen.join().unwrap()
}

#[test]
fn a_tag_is_its_allocations_own() {
    explore("tag vs alloc", None, &[false, true], tag_vs_alloc);
}

#[test]
fn control_kept_tag() {
    must_fail("tag vs alloc", &[Fault::KeptTag], None, tag_vs_alloc);
}
