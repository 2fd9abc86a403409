//! Refused allocations: which error, that `Exhausted` is proved, and that a cached refusal ends with the next change.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Done, PAGE, pool};
use genpool::{
    Algorithm, AllocError, BestFit, ChunkView, FirstFit, FixedOffset, Granule, Impossible, Pool,
    RawRange, Request, Unsuitable,
};

#[test]
fn unsuitable_requests_say_why() {
    let pool = Pool::new(12).unwrap();
    pool.add(0, PAGE).unwrap();
    let refused = pool.alloc_with(1, &FixedOffset::new(100)).unwrap_err();
    let reason = Unsuitable::MisalignedPlace {
        place: 100,
        granule: PAGE,
    };
    assert_eq!(refused, AllocError::Unsuitable(reason));
    assert_eq!(
        refused.to_string(),
        "0x64 is not a multiple of the granule of 0x1000 bytes"
    );
}

#[test]
fn a_rolled_back_claim_never_causes_exhausted() {
    // One granule is free all the time. A thread keeps claiming a run across it, which it never gets.
    struct Insist;
    impl Algorithm for Insist {
        fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
            Some(Granule(63))
        }
    }
    let pool = Pool::new(12).unwrap();
    pool.add(0, 128 * PAGE).unwrap();
    for (start, n) in [(0, 63), (64, 64)] {
        let at = FixedOffset::new(start * PAGE);
        let _ = pool.alloc_with(n * PAGE, &at).unwrap().into_raw();
    }
    let rounds = if cfg!(miri) { 1 } else { 20_000 };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let refused = pool.alloc_with(2 * PAGE, &Insist).unwrap_err();
                assert!(matches!(
                    refused,
                    AllocError::BadProposal { granule: 63, .. } | AllocError::Contended { .. }
                ));
            }
        });
        let _done = Done(&done);
        for _ in 0..rounds {
            match pool.alloc(PAGE) {
                Ok(found) => assert_eq!(found.addr(), 63 * PAGE),
                Err(AllocError::Contended { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    });
    assert_eq!(pool.stats().free, PAGE);
    assert!(pool.is_sound());
}

#[test]
fn an_algorithm_that_loses_every_race_gets_contended() {
    /// First fit, but another thread is always faster, and gives back what it took before.
    struct Outrun {
        pool: Arc<Pool>,
        theirs: Mutex<Option<RawRange>>,
    }
    impl Algorithm for Outrun {
        fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
            let place = FirstFit.propose(chunk, request)?;
            let at = FixedOffset::new(place.0);
            let new = self.pool.alloc_with(1, &at).unwrap().into_raw();
            if let Some(old) = self.theirs.lock().unwrap().replace(new) {
                self.pool.free(old.addr, old.size).unwrap();
            }
            Some(place)
        }
    }
    let pool = Arc::new(pool(16));
    let outrun = Outrun {
        pool: Arc::clone(&pool),
        theirs: Mutex::new(None),
    };
    let refused = pool.alloc_with(1, &outrun).unwrap_err();
    assert_eq!(refused, AllocError::Contended { size: 1 });
    let stats = pool.stats();
    assert_eq!((stats.contended, stats.exhausted), (1, 0));
    assert!(stats.lost_claims > 0);
}

#[test]
fn what_is_taken_after_a_refusal_comes_back() {
    // A refusal is cached, so changes must withdraw it: in the first words, further on, in an older chunk, and with
    // another algorithm.
    for (chunks, held) in [(1, 20), (1, 700), (1, 1900), (3, 2030)] {
        let pool = Pool::new(0).unwrap();
        for at in 0..chunks {
            pool.add(at * 0x1_0000, 2048).unwrap();
        }
        let all: Vec<_> = (1..chunks).map(|_| pool.alloc(2048).unwrap()).collect();
        let most = pool.alloc(held).unwrap();
        let rest = 2048 - held;
        for algorithm in [&FirstFit as &dyn Algorithm, &BestFit] {
            let refused = pool.alloc_with(rest + 1, algorithm).unwrap_err();
            assert_eq!(refused, AllocError::Exhausted { size: rest + 1 });
            for n in [1, rest] {
                drop(pool.alloc(n).unwrap());
                drop(pool.alloc_with(n, algorithm).unwrap());
            }
            assert_eq!(pool.avail(), rest);
        }
        assert!(!pool.is_tracked());
        drop((all, most));
        assert_eq!(pool.avail(), pool.size());
        assert!(pool.alloc(2048).is_ok());
    }
}

#[test]
fn a_full_pool_is_known_to_be_full() {
    struct Asked(AtomicUsize);
    impl Algorithm for Asked {
        fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
            self.0.fetch_add(1, Ordering::Relaxed);
            FirstFit.propose(chunk, request)
        }
    }
    let (pool, asked) = (pool(600), Asked(AtomicUsize::new(0)));
    let count = |n: usize, fits: bool| {
        let before = asked.0.load(Ordering::Relaxed);
        assert_eq!(pool.alloc_with(n, &asked).is_ok(), fits);
        asked.0.load(Ordering::Relaxed) - before
    };
    let most = pool.alloc(590).unwrap();
    assert!(count(11, false) > 0);
    assert_eq!([11, 12, 600].map(|n| count(n, false)), [0; 3]);
    // A refusal says nothing about smaller requests, and is no longer valid once a run was taken or given back.
    assert!(count(10, true) > 0);
    assert!(count(11, false) > 0);
    drop(most);
    assert!(count(11, true) > 0);
}

#[test]
fn a_full_pool_reports_an_invalid_request_first() {
    reports_an_invalid_request_first(Pool::new(12).unwrap());
}

#[cfg(feature = "observe")]
#[test]
fn an_observed_full_pool_reports_an_invalid_request_first() {
    struct Silent;
    impl genpool::Observer for Silent {
        fn event(&self, _: usize, _: &genpool::Event<'_>) {}
    }
    reports_an_invalid_request_first(Pool::builder().order(12).observer(Silent).build().unwrap());
}

fn reports_an_invalid_request_first(pool: Pool) {
    let misplaced = FixedOffset::new(1);
    let unsuitable = AllocError::Unsuitable(Unsuitable::MisalignedPlace {
        place: 1,
        granule: PAGE,
    });
    let exhausted = |size| AllocError::Exhausted { size };
    let too_long = AllocError::Impossible(Impossible::TooLong {
        size: usize::MAX,
        longest: 2 * PAGE,
    });
    pool.add(0, 2 * PAGE).unwrap();
    let _all = pool.alloc(2 * PAGE).unwrap();
    let refused = |size| pool.alloc(size).unwrap_err();
    let refused_by = |size| pool.alloc_with(size, &misplaced).unwrap_err();
    // The first refusal is proved, and cached.
    for _ in 0..2 {
        assert_eq!(refused(1), exhausted(1));
        assert_eq!(refused(usize::MAX), too_long);
        assert_eq!(refused(0), AllocError::ZeroSize);
        assert_eq!(refused_by(1), unsuitable);
        assert_eq!(refused_by(0), AllocError::ZeroSize);
        assert_eq!(pool.alloc_with(1, &BestFit).unwrap_err(), exhausted(1));
    }
    let stats = pool.stats();
    assert_eq!((stats.exhausted, stats.unsuitable), (4, 8));
    pool.set_algorithm(misplaced);
    assert_eq!(refused(1), unsuitable);
    pool.set_algorithm(BestFit);
    assert_eq!(refused(1), exhausted(1));
    let stats = pool.stats();
    assert_eq!((stats.exhausted, stats.unsuitable), (5, 9));
}
