//! Users' algorithms: what they are asked, lost races, wrong proposals, panics; replacing the default.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use common::{PAGE, pool, pool_with};
use genpool::{
    Algorithm, AllocError, BestFit, ChunkView, Claim, FirstFit, FirstFitAlign, FixedOffset,
    Granule, Pool, Request,
};

#[test]
fn runs_longer_than_two_lines_are_found_by_the_first_search() {
    struct Asked(AtomicUsize);
    impl Algorithm for Asked {
        fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let mut runs = chunk.runs(Granule(0), request.granules());
            let first = runs.next()?;
            // An iterator that has ended stays ended.
            assert!((0..100).all(|_| runs.next().is_none()));
            Some(first.start)
        }
    }
    let pool = pool_with(4096, &[(0, 924)]);
    let asked = Asked(AtomicUsize::new(0));
    assert_eq!(pool.alloc_with(1100, &asked).unwrap().addr(), 924);
    assert_eq!(asked.0.into_inner(), 1);
}

#[test]
fn a_user_algorithm_is_never_asked_for_more_than_the_chunk_has() {
    struct Top;
    impl Algorithm for Top {
        fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
            // Panics if the chunk is shorter than the request.
            let start = Granule(chunk.granules().checked_sub(request.granules()).unwrap());
            chunk.is_free(start, request.granules()).then_some(start)
        }
    }
    let pool = pool(16);
    pool.add(0x1000, 4).unwrap();
    let refused = catch_unwind(AssertUnwindSafe(|| {
        let placed = pool.alloc_with(10, &Top).map(|found| found.addr());
        (placed, pool.alloc_with(17, &Top).is_err())
    }));
    assert_eq!(refused.unwrap(), (Ok(6), true));
}

/// Asks for one more run after the last.
struct PastTheEnd;

impl Algorithm for PastTheEnd {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let mut runs = chunk.runs(Granule(0), request.granules());
        let first = runs.next();
        assert!(runs.by_ref().count() < 2 && runs.next().is_none() && runs.next().is_none());
        first.map(|run| run.start)
    }
}

#[test]
fn runs_may_be_asked_for_after_their_end() {
    let pool = Pool::new(0).unwrap();
    pool.add(0, 300).unwrap();
    let all = pool.alloc_with(300, &PastTheEnd).unwrap();
    assert!(pool.alloc_with(1, &PastTheEnd).is_err());
    drop(all);
}

/// Always proposes granule 0. Another thread takes it between the proposal and the claim.
#[test]
fn fixed_is_retried_after_a_lost_race() {
    struct Once<'a> {
        inner: FixedOffset,
        pool: &'a Pool,
        asked: AtomicUsize,
    }
    impl Algorithm for Once<'_> {
        fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
            let start = self.inner.propose(chunk, request)?;
            match self.asked.fetch_add(1, Ordering::Relaxed) {
                // A lost race: taken after the proposal was made, and free again when asked once more.
                0 => {
                    let _ = self.pool.alloc_with(1, &self.inner).unwrap().into_raw();
                }
                _ => return Some(start),
            }
            Some(start)
        }
    }
    let pool = Pool::new(12).unwrap();
    pool.add(0, 2 * PAGE).unwrap();
    let racer = Once {
        inner: FixedOffset::new(0),
        pool: &pool,
        asked: AtomicUsize::new(0),
    };
    // Here the place stays taken, so the second search finds nothing.
    assert!(matches!(
        pool.alloc_with(1, &racer),
        Err(AllocError::Exhausted { .. })
    ));
    assert_eq!(pool.stats().lost_claims, 1);
    pool.free(0, 1).unwrap();
    // A granule given back before the second search is found.
    let racer = Releasing {
        pool: &pool,
        asked: AtomicUsize::new(0),
    };
    assert_eq!(pool.alloc_with(1, &racer).unwrap().addr(), 0);
    assert_eq!(pool.stats().lost_claims, 2);
}

/// Fixed at granule 0. Loses its first claim to itself, and gives the granule back when asked again.
struct Releasing<'a> {
    pool: &'a Pool,
    asked: AtomicUsize,
}

impl Algorithm for Releasing<'_> {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let at = FixedOffset::new(0);
        match self.asked.fetch_add(1, Ordering::Relaxed) {
            0 => {
                let proposal = at.propose(chunk, request);
                let _ = self.pool.alloc_with(1, &at).unwrap().into_raw();
                proposal
            }
            1 => {
                self.pool.free(0, 1).unwrap();
                at.propose(chunk, request)
            }
            _ => at.propose(chunk, request),
        }
    }
}

#[test]
fn best_fit_searches_again_after_a_lost_race() {
    /// Best fit, but the first place that it proposes is taken before the claim.
    struct Late<'a>(&'a Pool, AtomicBool);
    impl Algorithm for Late<'_> {
        fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
            let best = BestFit.propose(chunk, request)?;
            if !self.1.swap(true, Ordering::Relaxed) {
                let at = FixedOffset::new(best.0 * PAGE);
                let _ = self.0.alloc_with(1, &at).unwrap().into_raw();
            }
            Some(best)
        }
    }
    let pool = Pool::new(12).unwrap();
    pool.add(0, 16 * PAGE).unwrap();
    // Free runs: 0-2 (three), 4-5 (two), 7-15.
    for granule in [3, 6] {
        let at = FixedOffset::new(granule * PAGE);
        let _ = pool.alloc_with(1, &at).unwrap().into_raw();
    }
    let late = Late(&pool, AtomicBool::new(false));
    // Granule 4 was the best fit. It is lost, and the best that is left lies before it.
    assert_eq!(pool.alloc_with(2 * PAGE, &late).unwrap().addr(), 0);
}

#[test]
fn algorithm_and_data_are_swapped_as_one_value() {
    let pool = Pool::new(12).unwrap();
    pool.add(0, 64 * PAGE).unwrap();
    let rounds = if cfg!(miri) { 20 } else { 20_000 };
    thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            for round in 0..rounds {
                match round % 3 {
                    0 => pool.set_algorithm(FixedOffset::new(17 * PAGE)),
                    1 => pool.set_algorithm(FirstFitAlign::new(32 * PAGE).unwrap()),
                    _ => pool.set_algorithm(FirstFit),
                }
            }
        });
        let _low = pool.alloc_with(PAGE, &FirstFit).unwrap();
        while !swapper.is_finished() {
            let page = pool.alloc(PAGE).unwrap().addr() / PAGE;
            assert!(
                [1, 17, 32].contains(&page),
                "page {page} is of no algorithm"
            );
        }
    });
}

#[test]
fn a_wrong_proposal_is_an_error() {
    struct Liar(usize);
    impl Algorithm for Liar {
        fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
            Some(Granule(self.0))
        }
    }
    let pool = Pool::new(12).unwrap();
    pool.add(0, 4 * PAGE).unwrap();
    let _held = pool.alloc(PAGE).unwrap();
    for granule in [0, 4, 5, usize::MAX] {
        let refused = pool.alloc_with(PAGE, &Liar(granule)).unwrap_err();
        assert_eq!(
            refused,
            AllocError::BadProposal {
                granule,
                granules: 4
            }
        );
    }
    // A run that would extend past the chunk.
    let refused = pool.alloc_with(2 * PAGE, &Liar(3)).unwrap_err();
    assert!(matches!(refused, AllocError::BadProposal { .. }));
    assert_eq!(pool.stats().used, PAGE);
    assert!(pool.is_sound());
}

#[test]
fn a_claim_that_is_not_returned_is_given_back() {
    /// Claims the granules 0 and 1, then panics or returns one of them.
    struct ClaimsTwo(Option<usize>);
    impl Algorithm for ClaimsTwo {
        fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
            None
        }

        fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
            let mut claims = [0, 1].map(|start| chunk.claim(Granule(start), request));
            assert!(matches!(claims, [Claim::Found(_), Claim::Found(_)]));
            let kept = self.0.expect("on purpose");
            std::mem::replace(&mut claims[kept], Claim::Nowhere)
        }
    }
    let pool = Pool::new(12).unwrap();
    pool.add(0, 4 * PAGE).unwrap();
    for kept in [0, 1] {
        let one = pool.alloc_with(PAGE, &ClaimsTwo(Some(kept))).unwrap();
        assert_eq!((one.addr(), pool.stats().used), (kept * PAGE, PAGE));
    }
    let panic = catch_unwind(AssertUnwindSafe(|| {
        drop(pool.alloc_with(PAGE, &ClaimsTwo(None)));
    }));
    assert!(panic.is_err());
    assert_eq!(pool.avail(), pool.size());
    assert!(pool.is_sound());
}

#[test]
fn a_claim_outside_the_chunk_or_of_taken_granules_is_missed() {
    struct ClaimsAt(usize);
    impl Algorithm for ClaimsAt {
        fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
            FirstFit.propose(chunk, request)
        }

        fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
            let claim = chunk.claim(Granule(self.0), request);
            assert!(matches!(claim, Claim::Missed));
            claim
        }
    }
    let pool = Pool::new(12).unwrap();
    pool.add(0, 4 * PAGE).unwrap();
    let _held = pool.alloc(PAGE).unwrap();
    for start in [0, 3, 4, usize::MAX] {
        // The pool then asks for a proposal.
        let found = pool.alloc_with(2 * PAGE, &ClaimsAt(start)).unwrap();
        assert_eq!(found.addr(), PAGE);
    }
}

#[test]
fn a_panicking_algorithm_loses_nothing() {
    struct Panics;
    impl Algorithm for Panics {
        fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
            panic!("on purpose")
        }
    }
    let pool = Pool::new(12).unwrap();
    pool.add(0, 4 * PAGE).unwrap();
    pool.add(0x10_0000, 4 * PAGE).unwrap();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        drop(pool.alloc_with(PAGE, &Panics));
    }));
    assert!(caught.is_err());
    pool.set_algorithm(Panics);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        drop(pool.alloc_many(&[PAGE, PAGE]));
    }));
    assert!(caught.is_err());
    pool.set_algorithm(FirstFit);
    let all = pool.alloc_many(&[4 * PAGE, 4 * PAGE]).unwrap();
    assert!(
        matches!(pool.alloc(1), Err(AllocError::Exhausted { .. })),
        "nothing in flight is left over"
    );
    drop(all);
    assert_eq!(pool.avail(), pool.size());
}

/// Panics at the `n`-th proposal: in the first search, on the list, and in the proof.
struct PanicsAt(AtomicUsize);

impl Algorithm for PanicsAt {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        if self.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        FirstFit.propose(chunk, request)
    }
}

#[test]
fn a_panic_in_any_search_loses_nothing() {
    for asked in 1..=5 {
        let pool = pool(64);
        pool.add(1000, 64).unwrap();
        let held = pool.alloc_many(&[60, 60]).unwrap();
        let panics = PanicsAt(AtomicUsize::new(asked));
        let outcome = catch_unwind(AssertUnwindSafe(|| pool.alloc_with(10, &panics).map(drop)));
        assert!(outcome.is_err(), "it is asked at least {asked} times");
        // Nothing is in flight any more, and there is no prober left: a refusal is proved at once.
        let refused = pool.alloc(10).unwrap_err();
        assert_eq!(refused, AllocError::Exhausted { size: 10 });
        drop(held);
        // In the middle of a call that has already taken some ranges.
        pool.set_algorithm(PanicsAt(AtomicUsize::new(2)));
        let outcome = catch_unwind(AssertUnwindSafe(|| drop(pool.alloc_many(&[30, 30]))));
        assert!(outcome.is_err());
        assert_eq!(pool.avail(), 128);
        assert!(pool.is_sound());
    }
}
