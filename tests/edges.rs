//! Edge cases: runs across several blocks, allocations whose range was freed by address, chunks that are added again at
//! the same place, algorithms that lose every race, full pools.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::PAGE;
use genpool::{
    Algorithm, AllocError, BestFit, ChunkView, Constrained, Constraints, FirstFit, FixedOffset,
    Granule, Impossible, NextFit, Pool, RawRange, Request, Run, ThreadStart, Unsuitable,
};

/// Makes a pool with granules of one byte, those in `held` taken.
fn pool(size: usize, held: &[(usize, usize)]) -> Pool {
    let pool = Pool::new(0).unwrap();
    pool.add(0, size).unwrap();
    for &(start, n) in held {
        let at = FixedOffset::new(start);
        let _ = pool.alloc_with(n, &at).unwrap().into_raw();
    }
    pool
}

/// Makes a pool whose chunks are not permanent, because one was removed before.
fn after_a_removal(tracked: bool) -> Pool {
    let pool = common::builder(tracked).build().unwrap();
    pool.add(0x10_0000, 64).unwrap();
    drop(pool.remove(0x10_0000).unwrap());
    pool
}

#[test]
fn best_fit_sees_runs_over_several_blocks_whole() {
    // Free: 924 to 2023 (1100 granules, over two block borders) and 2500 to 3549 (1050).
    let pool = pool(4096, &[(0, 924), (2024, 476), (3550, 546)]);
    // Searches the first block in vain and lowers its bound.
    drop(pool.alloc(200).unwrap());
    assert_eq!(pool.alloc_with(1000, &BestFit).unwrap().addr(), 2500);
    assert_eq!(pool.alloc_with(1100, &BestFit).unwrap().addr(), 924);
    assert_eq!(pool.alloc(1060).unwrap().addr(), 924);
}

#[test]
fn runs_longer_than_two_blocks_are_seen_at_the_first_look() {
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
    let pool = pool(4096, &[(0, 924)]);
    let asked = Asked(AtomicUsize::new(0));
    assert_eq!(pool.alloc_with(1100, &asked).unwrap().addr(), 924);
    assert_eq!(asked.0.into_inner(), 1);
}

#[test]
fn the_last_granule_is_found_from_any_start() {
    for last in [0, 63, 511, 512, 1999, 2047] {
        let pool = pool(2048, &[]);
        let all = pool.alloc(2048).unwrap().into_raw();
        pool.free(all.addr + last, 1).unwrap();
        let next = NextFit::new();
        assert_eq!(pool.alloc_with(1, &next).unwrap().addr(), last);
        assert_eq!(pool.alloc_with(1, &next).unwrap().addr(), last);
        assert_eq!(pool.alloc_with(1, &ThreadStart).unwrap().addr(), last);
        let held = pool.alloc_with(1, &BestFit).unwrap();
        assert_eq!(held.addr(), last);
        for algorithm in [&next as &dyn Algorithm, &ThreadStart, &BestFit, &FirstFit] {
            let full = pool.alloc_with(1, algorithm).unwrap_err();
            assert_eq!(full, AllocError::Exhausted { size: 1 });
        }
    }
}

#[test]
fn a_stale_allocation_leaves_a_later_chunk_alone() {
    // The result does not depend on chunks that were added, or refused, before.
    for refused in 0..3 {
        let pool = after_a_removal(true);
        (0..refused).for_each(|_| assert!(pool.add(0, 0).is_err()));
        pool.add(0, 4096).unwrap();
        let mut stale = pool.alloc(10).unwrap();
        pool.free_addr(stale.addr()).unwrap();
        let _ = pool.remove(0).unwrap().finish().unwrap();
        // The same range again, and in it an allocation of the same extent.
        pool.add_virt(0, 77, 4096).unwrap();
        let fresh = pool.alloc(10).unwrap();
        assert_eq!((fresh.addr(), fresh.phys()), (stale.addr(), Some(77)));
        assert_eq!(stale.phys(), None);
        stale.set_tag(5);
        assert!(stale.resize(20).is_err());
        drop(stale);
        assert_eq!(pool.stats().used, 10);
        assert_eq!(pool.live().unwrap()[0].tag, Some(0));
    }
}

#[test]
fn a_stale_allocation_leaves_a_smaller_chunk_alone() {
    let pool = after_a_removal(false);
    for (before, after) in [(2000, 64), (128, 70)] {
        pool.add(0, 4096).unwrap();
        let stale = pool.alloc(before).unwrap();
        pool.free(stale.addr(), stale.size()).unwrap();
        let _ = pool.remove(0).unwrap().finish().unwrap();
        pool.add(0, after).unwrap();
        drop(stale);
        assert_eq!(pool.avail(), after);
        assert!(pool.is_sound());
        let _ = pool.remove(0).unwrap().finish().unwrap();
    }
}

#[test]
fn a_drained_chunk_gives_way_to_a_new_one_at_its_place() {
    let pool = pool(64, &[]);
    pool.add(0x1000, 64).unwrap();
    let held = pool.alloc(1).unwrap().into_raw();
    // Both are still on the list while their drains are kept.
    let old = pool.remove(0).unwrap();
    let new = pool.remove(0x1000).unwrap();
    assert!(old.is_drained() && !new.is_drained());
    pool.add(0, 32).unwrap();
    pool.free(held.addr, 1).unwrap();
    assert!(pool.contains(0, 32) && !pool.contains(32, 1));
    drop(pool.alloc(32).unwrap());
    drop((old, new));
    assert_eq!((pool.chunks().len(), pool.avail()), (1, 32));
}

#[test]
fn constraints_end_at_the_edges() {
    /// Makes calls that a user's algorithm may make, with arguments that no request has.
    struct Odd(Run, usize);
    impl Algorithm for Odd {
        fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
            let (run, n) = (self.0, self.1);
            let far = Granule(usize::MAX);
            let free = chunk.find_run(Granule(0), far, n);
            let aligned =
                chunk.find_aligned(Granule(0), far, n, 1 << (usize::BITS - 1), usize::MAX);
            assert!(free.is_none() || n == 1);
            assert!(chunk.runs(far, n).next().is_none() && !chunk.is_free(far, n.max(1)));
            let tightest = chunk.find_tightest(n).or(chunk.find_nearby(far, n));
            chunk.first_in(run, n).or(free).or(aligned).or(tightest)
        }
    }
    let pool = Pool::new(12).unwrap();
    pool.add(0, 0x1_0000).unwrap();
    let whole = Run {
        start: Granule(0),
        len: 16,
    };
    let beyond = Run {
        start: Granule(usize::MAX),
        len: 5,
    };
    // Every granule crosses a boundary of 64 bytes.
    let crossing = Constraints::new().boundary(64).unwrap();
    for (constraints, run, n) in [
        (crossing, whole, 1),
        (crossing, whole, 0),
        (Constraints::new(), beyond, 0),
        (Constraints::new(), beyond, usize::MAX),
        (Constraints::new().lowest(usize::MAX), whole, 1),
    ] {
        let refused = pool
            .alloc_with(1, &Constrained::new(Odd(run, n), constraints))
            .unwrap_err();
        let expected = if constraints == Constraints::new() {
            matches!(refused, AllocError::Exhausted { size: 1 })
        } else {
            matches!(
                refused,
                AllocError::Impossible(_) | AllocError::Unsuitable(_)
            )
        };
        assert!(expected, "{refused}");
    }
}

#[test]
fn an_algorithm_that_others_outrun_is_not_blamed() {
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
    let pool = Arc::new(pool(16, &[]));
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
fn a_user_algorithm_is_never_asked_for_more_than_the_chunk_has() {
    struct Top;
    impl Algorithm for Top {
        fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
            // Panics if the chunk is shorter than the request.
            let start = Granule(chunk.granules().checked_sub(request.granules()).unwrap());
            chunk.is_free(start, request.granules()).then_some(start)
        }
    }
    let pool = pool(16, &[]);
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
    let (pool, asked) = (pool(600, &[]), Asked(AtomicUsize::new(0)));
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
fn a_full_pool_says_first_what_is_wrong_with_a_request() {
    says_first_what_is_wrong(Pool::new(12).unwrap());
}

#[cfg(feature = "observe")]
#[test]
fn an_observed_full_pool_says_first_what_is_wrong_with_a_request() {
    struct Silent;
    impl genpool::Observer for Silent {
        fn event(&self, _: usize, _: &genpool::Event<'_>) {}
    }
    says_first_what_is_wrong(Pool::builder().order(12).observer(Silent).build().unwrap());
}

fn says_first_what_is_wrong(pool: Pool) {
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
