//! What an answer has shown, later calls see: an answer notifies the probers of the changes that it reveals.

use genpool_core::sync::Fault;
#[cfg(not(genpool_small))]
use genpool_core::sync::stopped_before;
#[cfg(not(genpool_small))]
use std::sync::Mutex;
#[cfg(not(genpool_small))]
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(not(genpool_small))]
use genpool_core::OwnedAllocation;
use genpool_core::{
    Algorithm, AllocError, ChunkView, FirstFit, Granule, Impossible, Pool, Request,
};
use loom_tests::Answer::{Contended, Exhausted, Found};
use loom_tests::{
    Answer, At, BASE, BEFORE, BEGINNINGS, Begin, Late, ONCE, Race, STUBBORN, THREE, TWO, explore,
    hold, must_fail, pool, take, with_chunk,
};
#[cfg(not(genpool_small))]
use loom_tests::{WORD, granule};

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

/// A proving search of two places, in different words, that is interrupted between the two.
#[cfg(not(genpool_small))]
struct Interrupted<'p> {
    pool: &'p Pool,
    places: [usize; 2],
    /// The number of searches before the one that proves.
    ahead: AtomicUsize,
    dropped: Mutex<Option<OwnedAllocation>>,
}

#[cfg(not(genpool_small))]
impl Interrupted<'_> {
    /// Granules 2 and 3 are dropped, then 3 and 4 claimed, by threads that are stopped before they notify. So nowhere
    /// four granules are free. A caller that is refused four knows of both, and then takes granule 66.
    fn interrupt(&self) {
        let Some(dropped) = self.dropped.lock().unwrap().take() else {
            return;
        };
        stopped_before(Fault::UnnotifiedFree, || drop(dropped));
        stopped_before(Fault::UnnotifiedClaim, || hold(self.pool, 3, 2));
        let four = self.pool.alloc_with(4, &FirstFit).map(drop);
        assert_eq!(Answer::of(four), Exhausted);
        stopped_before(Fault::UnnotifiedClaim, || hold(self.pool, 66, 1));
    }
}

#[cfg(not(genpool_small))]
impl Algorithm for Interrupted<'_> {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let is_free = |at| chunk.is_free(granule(at), request.granules());
        let [first, second] = self.places;
        match self.ahead.load(Ordering::Relaxed) {
            0 => {
                let found = is_free(first).then_some(first);
                self.interrupt();
                let found = found.or_else(|| is_free(second).then_some(second));
                found.map(granule)
            }
            ahead => {
                self.ahead.store(ahead - 1, Ordering::Relaxed);
                None
            }
        }
    }
}

/// Granule 66 is free until another caller takes it, which knows that granule 2 was freed before. So a caller that may
/// use only these two granules is not refused, whatever a third one asks.
#[cfg(not(genpool_small))]
fn refusal_before_claim() -> Answer {
    let prepared = pool(67);
    hold(&prepared, 0, 2);
    let dropped = prepared.alloc_owned_with(2, &At(2)).unwrap();
    hold(&prepared, 8, 58);
    let race = Race::apart(prepared);
    let alloc = race.start(move |pool| {
        let interrupted = Interrupted {
            pool,
            places: [2, 66],
            ahead: AtomicUsize::new(2),
            dropped: Mutex::new(Some(dropped)),
        };
        take(pool, &interrupted)
    });
    let other = race.start(|pool| take(pool, &At(0)));
    assert_ne!(other.join().unwrap(), Found);
    let alloc = alloc.join().unwrap();
    assert_ne!(alloc, Exhausted, "there was a hole all the time");
    alloc
}

#[cfg(not(genpool_small))]
#[test]
fn a_refusal_that_fits_nowhere_notifies_the_probers() {
    explore("refusal before claim", ONCE, &[Found], refusal_before_claim);
}

#[cfg(not(genpool_small))]
#[test]
fn control_unnotified_refusal_that_fits_nowhere() {
    must_fail(
        "refusal before claim",
        &[Fault::UnnotifiedRefusal],
        ONCE,
        refusal_before_claim,
    );
}

/// A chunk is being added, longer than the one before, while a refusal is cached. A thread that knows of it from an
/// answer can allocate from it.
fn longer_chunk(begin: Begin, is_shown: fn(&Pool) -> bool) -> Option<Answer> {
    let prepared = pool(2);
    hold(&prepared, 0, 2);
    assert_eq!(take(&prepared, &FirstFit), Exhausted);
    let race = begin(prepared);
    let add = race.start(|pool| pool.add(NEXT, BEFORE + 4).is_ok());
    let alloc = race.start(move |pool| is_shown(pool).then(|| take(pool, &FirstFit)));
    add.join().unwrap();
    let alloc = alloc.join().unwrap();
    assert_ne!(alloc, Some(Exhausted), "the chunk was there before");
    alloc
}

/// An address past the models' chunk.
const NEXT: usize = BASE + 64;

fn is_the_longest(pool: &Pool) -> bool {
    let refused = pool.alloc(1000).map(drop).unwrap_err();
    matches!(refused, AllocError::Impossible(Impossible::TooLong { longest, .. }) if longest == BEFORE + 4)
}

fn is_proposed(pool: &Pool) -> bool {
    /// Proposes a granule outside of every chunk.
    struct Outside;
    impl Algorithm for Outside {
        fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
            Some(Granule(usize::MAX))
        }
    }
    let refused = pool.alloc_with(1, &Outside).map(drop).unwrap_err();
    matches!(refused, AllocError::BadProposal { granules, .. } if granules == BEFORE + 4)
}

#[test]
fn a_chunk_that_a_refusal_shows_serves() {
    for (begin, is_shown) in [
        (Race::on as Begin, is_the_longest as fn(&Pool) -> bool),
        (Race::apart, is_the_longest),
        (Race::apart, is_proposed),
    ] {
        explore("longer chunk", ONCE, &[None, Some(Found)], move || {
            longer_chunk(begin, is_shown)
        });
    }
}

#[test]
fn control_unnotified_impossible() {
    must_fail("longer chunk", &[Fault::UnnotifiedAnswer], ONCE, || {
        longer_chunk(Race::apart, is_the_longest)
    });
}

/// A chunk is being added while a refusal is cached. A request for its first address finds no chunk there, or gets it:
/// the address is never taken.
fn address_in_a_new_chunk(begin: Begin) -> bool {
    /// Allocates granule 0 of the new chunk, and no other.
    struct Next;
    impl Algorithm for Next {
        fn rules_out(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Impossible> {
            (chunk.start() != NEXT).then_some(Impossible::Outside { addr: NEXT })
        }

        fn only_address(&self) -> Option<usize> {
            Some(NEXT)
        }

        fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
            let start = chunk.granule_at(NEXT)?;
            chunk.is_free(start, request.granules()).then_some(start)
        }
    }
    let prepared = pool(2);
    hold(&prepared, 0, 2);
    assert_eq!(take(&prepared, &FirstFit), Exhausted);
    let race = begin(prepared);
    let add = race.start(|pool| pool.add(NEXT, 2).is_ok());
    let alloc = race.start(|pool| pool.alloc_with(1, &Next).map(|found| found.into_raw()));
    add.join().unwrap();
    match alloc.join().unwrap() {
        Ok(found) => found.addr == NEXT,
        Err(AllocError::Impossible(Impossible::Outside { .. })) => false,
        Err(other) => panic!("the address was never taken: {other}"),
    }
}

#[test]
fn an_address_in_a_new_chunk_is_not_taken() {
    for begin in BEGINNINGS {
        explore("address in a new chunk", ONCE, &[false, true], move || {
            address_in_a_new_chunk(begin)
        });
    }
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

// Without arc-swap there is no such step. A list is there for readers as soon as it is published.
#[cfg(not(genpool_own_list))]
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
