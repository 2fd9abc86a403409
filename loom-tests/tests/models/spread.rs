//! Spread first fit: threads that allocate in units of their own, and meet there after all.
//!
//! The index of units may be wrong at any time; what may never happen is that a granule is handed out twice or lost,
//! or hidden at rest, or that a caller is refused although there is room. In each model, two threads work on one unit.

#![allow(
    clippy::arc_with_non_send_sync,
    reason = "loom's threads share its cells, which check the sharing themselves"
)]

use std::sync::Arc;

use genpool_core::sync::{Fault, number_thread};
use genpool_core::{
    Algorithm, ChunkView, Claim, FirstFit, Granule, OwnedAllocation, Pool, Request,
};
use loom_tests::checker::AtomicBool;
use loom_tests::{
    Answer, BEFORE, Race, THREE, WORD, check_rest, explore, hold, must_fail, take, with_chunk,
};
use std::sync::atomic::Ordering;

/// `SpreadFit` of `genpool-algos`.
struct Spread;

impl Algorithm for Spread {
    fn spreads(&self) -> bool {
        true
    }

    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        FirstFit.propose(chunk, request)
    }

    fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
        chunk.claim_own(request)
    }
}

/// Granules of a unit.
const UNIT: usize = WORD * if cfg!(genpool_small) { 2 } else { WORD / 8 };

/// Units of a chunk that has two shards.
const UNITS: usize = if cfg!(genpool_small) { 3 } else { 10 };

/// Makes a pool of which all but the first `room` granules are held.
fn pool(room: usize) -> Pool {
    let granules = UNITS * UNIT - BEFORE;
    let prepared = with_chunk(Pool::builder().unit_index(), granules);
    hold(&prepared, room, granules - room);
    prepared
}

/// Makes a pool with room for `room` granules after granule 0, which a thread of shard 1 holds. It owns the unit.
fn owned(room: usize) -> (Pool, OwnedAllocation) {
    let prepared = pool(room + 1);
    number_thread(1);
    let held = prepared
        .alloc_owned_with(1, &Spread)
        .expect("there is room");
    number_thread(0);
    (prepared, held)
}

/// Allocates a granule and keeps it.
fn keep(pool: &Pool) -> usize {
    usize::from(take(pool, &Spread) == Answer::Found)
}

// ---- two takers of a unit ----

fn take_vs_take(begin: fn(Pool) -> Race) {
    let prepared = pool(3);
    let race = begin(prepared);
    let takers = [(); 2].map(|()| race.start(keep));
    let kept: usize = takers.map(|taker| taker.join().unwrap()).iter().sum();
    assert_eq!(kept, 2, "there was room");
    check_rest(race.pool(), 1);
}

/// On two shards, and on one, as if a signal handler had come in between.
const BEGINNINGS: [fn(Pool) -> Race; 2] = [Race::on, Race::apart];

#[test]
fn two_threads_take_a_unit() {
    for begin in BEGINNINGS {
        explore("unit taken twice", THREE, &[()], move || {
            take_vs_take(begin)
        });
    }
}

#[test]
fn control_two_threads_take_a_unit() {
    for begin in BEGINNINGS {
        must_fail("unit taken twice", &[Fault::TornClaim], THREE, move || {
            take_vs_take(begin)
        });
    }
}

// ---- a unit that is taken over ----

/// The owner, of shard 1, allocates while a thread of shard 2 takes the unit over.
fn take_over_vs_alloc() {
    let (prepared, held) = owned(3);
    let race = Race::apart_from(1, prepared);
    let threads = [(); 2].map(|()| race.start(keep));
    let kept: usize = threads.map(|thread| thread.join().unwrap()).iter().sum();
    assert_eq!(kept, 2, "there was room");
    drop(held);
    check_rest(race.pool(), 2);
}

#[test]
fn a_unit_is_taken_over_during_an_alloc() {
    explore("take-over vs alloc", THREE, &[()], take_over_vs_alloc);
}

#[test]
fn control_take_over_vs_alloc() {
    must_fail(
        "take-over vs alloc",
        &[Fault::TornClaim],
        THREE,
        take_over_vs_alloc,
    );
}

/// The owner gives back the only room there is.
fn take_over_vs_free() -> bool {
    let (prepared, held) = owned(0);
    let race = Race::apart_from(1, prepared);
    let owner = race.start(move |_| drop(held));
    let taker = race.start(keep);
    owner.join().unwrap();
    let kept = taker.join().unwrap();
    check_rest(race.pool(), 1 - kept);
    kept == 1
}

#[test]
fn a_unit_is_taken_over_during_a_free() {
    explore(
        "take-over vs free",
        THREE,
        &[false, true],
        take_over_vs_free,
    );
}

#[test]
fn control_take_over_vs_free() {
    for fault in [Fault::UncheckedHint, Fault::NoSecondLook] {
        must_fail("take-over vs free", &[fault], THREE, take_over_vs_free);
    }
}

// ---- a free by another thread ----

/// A thread of another shard gives back the only room there is. The owner finds it if the free was complete before.
fn foreign_free_vs_owner() -> (bool, bool) {
    let (prepared, held) = owned(0);
    let race = Race::apart_from(1, prepared);
    let done = Arc::new(AtomicBool::new(false));
    let owner = {
        let done = Arc::clone(&done);
        race.start(move |pool| {
            let complete = done.load(Ordering::Acquire);
            (complete, keep(pool) == 1)
        })
    };
    let stranger = race.start(move |_| {
        drop(held);
        done.store(true, Ordering::Release);
    });
    stranger.join().unwrap();
    let (complete, found) = owner.join().unwrap();
    assert!(found || !complete, "a completed free was not seen");
    check_rest(race.pool(), usize::from(!found));
    (complete, found)
}

#[test]
fn the_owner_finds_what_a_stranger_freed() {
    let outcomes = [(false, false), (false, true), (true, true)];
    explore(
        "foreign free vs owner",
        THREE,
        &outcomes,
        foreign_free_vs_owner,
    );
}

#[test]
fn control_foreign_free_vs_owner() {
    must_fail(
        "foreign free vs owner",
        &[Fault::UnraisedHint],
        THREE,
        foreign_free_vs_owner,
    );
}

// ---- two threads of one shard ----

/// One thread gives back and allocates again while the other allocates, all in one unit of one shard, as if a signal
/// handler had come in between.
fn one_shard() {
    let prepared = pool(3);
    let held = prepared
        .alloc_owned_with(1, &Spread)
        .expect("there is room");
    let race = Race::on(prepared);
    let one = race.start(move |pool| {
        drop(held);
        keep(pool)
    });
    let other = race.start(keep);
    let kept = one.join().unwrap() + other.join().unwrap();
    assert_eq!(kept, 2, "there was room");
    check_rest(race.pool(), 1);
}

#[test]
fn two_threads_change_one_index() {
    explore("two threads of one shard", THREE, &[()], one_shard);
}

#[test]
fn control_two_threads_of_one_shard() {
    must_fail(
        "two threads of one shard",
        &[Fault::TornClaim],
        THREE,
        one_shard,
    );
}
