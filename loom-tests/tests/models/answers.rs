//! What an answer has shown, later calls see: an answer notifies the probers of the changes that it reveals.

use genpool_core::sync::Fault;
#[cfg(not(genpool_small))]
use genpool_core::sync::stopped_before;
use genpool_core::{FirstFit, Pool};
use loom_tests::Answer::{Contended, Exhausted, Found};
#[cfg(not(genpool_small))]
use loom_tests::WORD;
use loom_tests::{
    Answer, At, BASE, BEGINNINGS, Begin, Late, ONCE, Race, STUBBORN, THREE, TWO, explore, hold,
    must_fail, pool, take, with_chunk,
};

fn shows_two(pool: &Pool) -> bool {
    pool.avail() == 2
}

fn shows_two_in_its_chunk(pool: &Pool) -> bool {
    pool.chunks().map(|chunk| chunk.avail()).sum::<usize>() == 2
}

fn is_freed_already(pool: &Pool) -> bool {
    pool.free(BASE, 1).is_err()
}

/// An answer reveals a free that has not yet notified the probers. The thread that got the answer then takes the other
/// hole.
fn answer_before_free(is_shown: fn(&Pool) -> bool) -> Answer {
    let prepared = pool(4);
    for granule in 0..3 {
        hold(&prepared, granule, 1);
    }
    let race = Race::apart(prepared);
    // In this order loom soon reaches what the control must find.
    let alloc = race.start(|pool| take(pool, &Late::in_the_proof()));
    let taker = race.start(move |pool| {
        if is_shown(pool) {
            let _ = pool.alloc_with(1, &At(3)).map(|found| found.into_raw());
        }
    });
    let free = race.start(|pool| pool.free(BASE, 1).ok());
    free.join().unwrap();
    taker.join().unwrap();
    let alloc = alloc.join().unwrap();
    assert_ne!(alloc, Exhausted, "there was a hole all the time");
    alloc
}

#[test]
fn answers_notify_the_probers() {
    // All three notify through the same function.
    for (is_shown, switches) in [
        (shows_two as fn(&Pool) -> bool, THREE),
        (shows_two_in_its_chunk, ONCE),
        (is_freed_already, ONCE),
    ] {
        explore("answer before free", switches, &[Found], move || {
            answer_before_free(is_shown)
        });
    }
}

#[test]
fn control_unnotified_answer() {
    must_fail(
        "answer before free",
        &[Fault::UnnotifiedAnswer],
        TWO,
        || answer_before_free(shows_two),
    );
}

/// Granules 2 to 5 of a word were dropped, and granules 5 and 6 claimed, by two threads that were stopped before they
/// notified. A caller that is refused granule 6 learns of the claim, and so of the drop: granules 2 to 4 are free. An
/// earlier refusal of three granules must not stand. Both threads of the race are such callers.
#[cfg(not(genpool_small))]
fn refusal_before_room() {
    let prepared = pool(WORD + 2);
    hold(&prepared, 0, 2);
    let dropped = prepared.alloc_owned_with(4, &At(2)).unwrap();
    hold(&prepared, 7, WORD - 5);
    // By name, because the default looks at the first words before it asks for a cached refusal.
    let three = |pool: &Pool| Answer::of(pool.alloc_with(3, &FirstFit).map(drop));
    assert_eq!(three(&prepared), Exhausted);
    stopped_before(Fault::UnnotifiedFree, || drop(dropped));
    stopped_before(Fault::UnnotifiedClaim, || hold(&prepared, 5, 2));
    let race = Race::apart(prepared);
    let asks = move |pool: &Pool| {
        assert_eq!(take(pool, &At(6)), Exhausted);
        three(pool)
    };
    let (one, other) = (race.start(asks), race.start(asks));
    let answers = [one.join().unwrap(), other.join().unwrap()];
    // Each may have had the three granules for a moment.
    assert!(answers.contains(&Found), "there was room before");
}

#[cfg(not(genpool_small))]
#[test]
fn a_refusal_notifies_the_probers() {
    explore("refusal before room", ONCE, &[()], refusal_before_room);
}

#[cfg(not(genpool_small))]
#[test]
fn control_unnotified_refusal() {
    must_fail(
        "refusal before room",
        &[Fault::UnnotifiedAnswer],
        ONCE,
        refusal_before_room,
    );
}

/// A chunk is being added. A thread that knows of it from an answer can allocate from it.
fn listed_chunk(begin: Begin, is_shown: fn(&Pool) -> bool) -> Option<Answer> {
    let prepared = pool(2);
    hold(&prepared, 0, 2);
    let race = begin(prepared);
    let add = race.start(|pool| pool.add(BASE + 16, 2).is_ok());
    let alloc = race.start(move |pool| is_shown(pool).then(|| take(pool, &FirstFit)));
    add.join().unwrap();
    let alloc = alloc.join().unwrap();
    assert_ne!(alloc, Some(Exhausted), "the chunk was there before");
    alloc
}

fn is_listed(pool: &Pool) -> bool {
    pool.chunks().any(|chunk| chunk.start() == BASE + 16)
}

fn is_in_the_way(pool: &Pool) -> bool {
    pool.add(BASE + 17, 2).is_err()
}

#[test]
fn a_listed_chunk_serves() {
    for begin in BEGINNINGS {
        explore("listed chunk", THREE, &[None, Some(Found)], move || {
            listed_chunk(begin, is_listed)
        });
        // If the new chunk is not yet in the way, the other one was added, and serves.
        explore("listed chunk", ONCE, &[None, Some(Found)], move || {
            listed_chunk(begin, is_in_the_way)
        });
    }
}

#[test]
fn control_shown_too_soon() {
    must_fail("listed chunk", &[Fault::ShownTooSoon], THREE, || {
        listed_chunk(Race::apart, is_listed)
    });
}

/// The ownership word of an allocation is cleared before its granules are free. A thread that learned that nothing is
/// allocated does not learn that nothing is free.
fn listed_free(is_shown: fn(&Pool) -> bool) -> Option<Answer> {
    let prepared = with_chunk(Pool::builder().boundary_tracking(), 2);
    hold(&prepared, 0, 2);
    let race = Race::apart(prepared);
    let free = race.start(|pool| pool.free_addr(BASE).is_ok());
    let alloc = race.start(move |pool| is_shown(pool).then(|| take(pool, &FirstFit)));
    let freed = free.join().unwrap();
    let alloc = alloc.join().unwrap();
    assert_ne!(alloc, Some(Exhausted), "there was room before");
    alloc.filter(|_| freed)
}

fn none_is_live(pool: &Pool) -> bool {
    let live = pool.live().unwrap();
    live.iter().all(|held| held.addr < BASE)
}

fn is_free_already(pool: &Pool) -> bool {
    pool.free_addr(BASE).is_err()
}

#[test]
fn an_ownership_and_its_granules_go_in_one_step() {
    for is_shown in [none_is_live, is_free_already] {
        explore(
            "listed free",
            STUBBORN,
            &[None, Some(Found), Some(Contended)],
            move || listed_free(is_shown),
        );
    }
}

#[test]
fn control_ownership_ends_unannounced() {
    must_fail("listed free", &[Fault::Unannounced], TWO, || {
        listed_free(none_is_live)
    });
}
