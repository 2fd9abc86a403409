//! Cached refusals: none stands once there is room.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use genpool_core::sync::Fault;
use genpool_core::{Algorithm, ChunkView, FirstFit, Granule, Pool, Request};
use loom_tests::Answer::Found;
use loom_tests::checker::{JoinHandle, mpsc};
use loom_tests::{
    Answer, BASE, BEGINNINGS, Begin, Never, Race, THREE, TWO, explore, hold, must_fail, pool, take,
};

/// A refusal is cached concurrently with a call that makes room. The thread that made room finds it.
fn room_vs_cached_refusal(begin: Begin, make_room: fn(&Pool)) -> Answer {
    let prepared = pool(4);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 2);
    hold(&prepared, 3, 1);
    let race = begin(prepared);
    let refused = race.start(|pool| drop(pool.alloc_with(1, &Never)));
    let room = race.start(move |pool| {
        make_room(pool);
        take(pool, &FirstFit)
    });
    refused.join().unwrap();
    let found = room.join().unwrap();
    assert_eq!(found, Found, "nobody else takes anything");
    found
}

fn free_one(pool: &Pool) {
    pool.free(BASE, 1).unwrap();
}

fn free_across(pool: &Pool) {
    pool.free(BASE + 1, 2).unwrap();
}

fn add_chunk(pool: &Pool) {
    pool.add(BASE + 16, 2).unwrap();
}

#[test]
fn no_refusal_is_cached_where_there_is_room() {
    for make_room in [free_one, free_across] {
        explore("room vs cached refusal", THREE, &[Found], move || {
            room_vs_cached_refusal(Race::apart, make_room)
        });
    }
}

#[test]
fn no_refusal_is_cached_where_a_chunk_came() {
    for begin in BEGINNINGS {
        explore("chunk vs cached refusal", THREE, &[Found], move || {
            room_vs_cached_refusal(begin, add_chunk)
        });
    }
}

#[test]
fn control_kept_refusal() {
    must_fail("room vs cached refusal", &[Fault::KeptRefusal], TWO, || {
        room_vs_cached_refusal(Race::apart, free_one)
    });
}

#[test]
fn control_hasty_refusal() {
    must_fail(
        "room vs cached refusal",
        &[Fault::HastyRefusal],
        TWO,
        || room_vs_cached_refusal(Race::apart, free_one),
    );
}

#[test]
fn control_cached_refusal_during_unannounced_free() {
    must_fail("room vs cached refusal", &[Fault::Unannounced], TWO, || {
        room_vs_cached_refusal(Race::apart, free_across)
    });
}

#[test]
fn control_cached_refusal_during_unnotified_chunk() {
    must_fail(
        "room vs cached refusal",
        &[Fault::UnnotifiedAnswer],
        TWO,
        || room_vs_cached_refusal(Race::apart, add_chunk),
    );
}

/// Finds nothing, and calls `then` during the proving search.
struct Proving<'t>(AtomicUsize, &'t (dyn Fn() + Sync));

impl Algorithm for Proving<'_> {
    fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        if self.0.fetch_add(1, Ordering::Relaxed) == 2 {
            (self.1)();
        }
        None
    }
}

/// Makes a call that is refused, and that calls `then` during its proof.
fn refused(pool: &Pool, then: &(dyn Fn() + Sync)) {
    assert!(
        pool.alloc_with(1, &Proving(AtomicUsize::new(0), then))
            .is_err()
    );
}

/// Two callers are in the middle of a proof when a free begins. The second reserves the cached refusal after the free
/// has withdrawn the first one's reservation. The first must not mistake the second one's reservation for its own,
/// because its second reading of the epochs is older than the free.
fn free_vs_two_cached_refusals() {
    let prepared = pool(1);
    hold(&prepared, 0, 1);
    let race = Arc::new(Race::apart(prepared));
    let (reach, reached) = mpsc::channel();
    let (reach, reached) = (Mutex::new(Some(reach)), Mutex::new(reached));
    let one = {
        let race = Arc::clone(&race);
        Arc::clone(&race).start(move |pool| {
            let started = Mutex::new(Vec::new());
            refused(pool, &|| {
                let inner = Arc::clone(&race);
                let reach = reach.lock().unwrap().take().unwrap();
                let two = race.start(move |pool| {
                    let (started, reach) = (Mutex::new(Vec::new()), Mutex::new(reach));
                    refused(pool, &|| {
                        let free = inner.start(|pool| pool.free(BASE, 1).unwrap());
                        started.lock().unwrap().push(free);
                        reach.lock().unwrap().send(()).unwrap();
                    });
                    join_all(started);
                });
                started.lock().unwrap().push(two);
                reached.lock().unwrap().recv().unwrap();
            });
            join_all(started);
        })
    };
    one.join().unwrap();
    assert_eq!(
        take(race.pool(), &FirstFit),
        Found,
        "nobody else takes anything"
    );
}

/// Joins the threads that were started in the middle of a call.
fn join_all(started: Mutex<Vec<JoinHandle<()>>>) {
    for thread in started.into_inner().unwrap() {
        thread.join().unwrap();
    }
}

#[test]
fn no_refusal_is_cached_on_anothers_reservation() {
    explore(
        "free vs two cached refusals",
        THREE,
        &[()],
        free_vs_two_cached_refusals,
    );
}

/// This has one switch more than the exploration; `ci/long.sh` adds it there too.
#[test]
fn control_a_reservation_without_its_version() {
    must_fail(
        "free vs two cached refusals",
        &[Fault::UnversionedReservation],
        TWO,
        free_vs_two_cached_refusals,
    );
}
