//! Honest failure: `Exhausted` only if at some instant nothing fitted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use genpool_core::sync::Fault;
#[cfg(not(genpool_small))]
use genpool_core::sync::stopped_before;
use genpool_core::{
    Algorithm, AllocError, Allocation, ChunkView, FirstFit, Granule, OwnedAllocation, Pool, Request,
};
use loom_tests::checker::{AtomicBool, JoinHandle, mpsc};
use loom_tests::{
    At, BASE, Insist, Late, ONCE, Race, START, STUBBORN, THREE, TWO, WORD, explore, granule, hold,
    must_fail, pool, with_chunk,
};

/// Makes threads that share a hazard slot, or threads that do not.
type Begin = fn(Pool) -> Race;
const BEGINNINGS: [Begin; 2] = [Race::on, Race::apart];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Found,
    Exhausted,
    Contended,
}

use Answer::{Contended, Exhausted, Found};

fn answer<T>(outcome: Result<T, AllocError>) -> Answer {
    match outcome {
        Ok(_) => Found,
        Err(AllocError::Exhausted { .. } | AllocError::Impossible(_)) => Exhausted,
        Err(AllocError::Contended { .. }) => Contended,
        Err(other) => panic!("{other}"),
    }
}

/// Takes a granule where `algorithm` says, and keeps it.
fn take(pool: &Pool, algorithm: &impl Algorithm) -> Answer {
    answer(pool.alloc_with(1, algorithm).map(|found| found.into_raw()))
}

/// Granule 1 is free all the time, except for another thread's claim of a run that it cannot get.
fn refused_claim_beside_alloc() -> Answer {
    let prepared = pool(4);
    hold(&prepared, 0, 1);
    hold(&prepared, 2, 2);
    let race = Race::apart(prepared);
    let refused = race.start(|pool| pool.alloc_with(2, &Insist::at(1)).is_err());
    let alloc = race.start(|pool| take(pool, &FirstFit));
    assert!(refused.join().unwrap());
    let alloc = alloc.join().unwrap();
    assert_ne!(alloc, Exhausted, "granule 1 was nobody's all the time");
    alloc
}

#[test]
fn a_rolled_back_claim_is_nobodys() {
    explore(
        "refused claim vs alloc",
        ONCE,
        &[Found, Contended],
        refused_claim_beside_alloc,
    );
}

#[test]
fn control_unannounced_claim() {
    must_fail(
        "refused claim vs alloc",
        &[Fault::Unannounced],
        ONCE,
        refused_claim_beside_alloc,
    );
}

/// The ways to give back granules 1 and 2, which lie in two words.
type FreeAcross = fn(&Pool, OwnedAllocation);

const WAYS: [FreeAcross; 2] = [
    |_, held| drop(held),
    |pool, held| pool.free(held.into_raw().addr, 2).unwrap(),
];

/// A free of granules 1 and 2 takes two steps. A thread that got one of the granules will find the other.
fn free_across_beside_two_allocs(first: usize, way: FreeAcross) -> (Answer, Option<Answer>) {
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
fn half_a_free_is_no_free() {
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
            move || free_across_beside_two_allocs(first, way),
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
            move || free_across_beside_two_allocs(first, way),
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
fn what_crosses_words_leaves_a_trace() {
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
fn control_untold_free() {
    must_fail("moving hole", &[Fault::UnnotifiedFree], TWO, || {
        moving_hole(Late::in_the_proof)
    });
}

#[test]
fn a_moving_hole_is_not_missed_by_other_looks() {
    explore("moving hole by granules", TWO, &[Found], || {
        moving_hole(Late::by_granules)
    });
    explore("moving hole by runs", TWO, &[Found], || {
        moving_hole(Late::by_runs)
    });
}

#[test]
fn control_untold_free_of_other_looks() {
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
fn control_two_that_notify_nobody() {
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
fn control_untold_claim() {
    for taker in TAKERS {
        must_fail(
            "half-taken free",
            &[Fault::UnnotifiedClaim],
            TWO,
            move || half_taken_free(taker),
        );
    }
}

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
fn control_untold_answer() {
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
    let three = |pool: &Pool| answer(pool.alloc_with(3, &FirstFit).map(drop));
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
        "granule 1 was nobody's all the time"
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

/// Finds nothing, so that its caller proves that there is no room.
struct Never;

impl Algorithm for Never {
    fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        None
    }
}

/// A refusal is cached concurrently with a call that makes room. The thread that made room finds it.
fn room_vs_refusal(begin: Begin, make_room: fn(&Pool)) -> Answer {
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
            room_vs_refusal(Race::apart, make_room)
        });
    }
}

#[test]
fn no_refusal_is_cached_where_a_chunk_came() {
    for begin in BEGINNINGS {
        explore("chunk vs cached refusal", THREE, &[Found], move || {
            room_vs_refusal(begin, add_chunk)
        });
    }
}

#[test]
fn control_kept_refusal() {
    must_fail("room vs cached refusal", &[Fault::KeptRefusal], TWO, || {
        room_vs_refusal(Race::apart, free_one)
    });
}

#[test]
fn control_hasty_refusal() {
    must_fail(
        "room vs cached refusal",
        &[Fault::HastyRefusal],
        TWO,
        || room_vs_refusal(Race::apart, free_one),
    );
}

#[test]
fn control_cached_refusal_during_unannounced_free() {
    must_fail("room vs cached refusal", &[Fault::Unannounced], TWO, || {
        room_vs_refusal(Race::apart, free_across)
    });
}

#[test]
fn control_cached_refusal_during_unnotified_chunk() {
    must_fail(
        "room vs cached refusal",
        &[Fault::UnnotifiedAnswer],
        TWO,
        || room_vs_refusal(Race::apart, add_chunk),
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
fn free_vs_two_refusals() {
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
        free_vs_two_refusals,
    );
}

/// This has one switch more than the exploration; `ci/long.sh` adds it there too.
#[test]
fn control_a_claim_without_its_version() {
    must_fail(
        "free vs two cached refusals",
        &[Fault::UnversionedReservation],
        TWO,
        free_vs_two_refusals,
    );
}

/// A chunk is being added. A thread that an answer has told of it can allocate from it.
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
