//! Finding the tightest run while the pool is changed by every kind of call.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};

use genpool_core::{Algorithm, Allocation, ChunkView, Granule, Pool, Request};
use proptest::prelude::*;

/// Best fit that compares its result with a scan of every run.
#[derive(Default)]
struct Checked(AtomicUsize);

impl Algorithm for Checked {
    fn any_place(&self) -> bool {
        true
    }

    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let n = request.granules();
        let found = chunk.find_tightest(n);
        let shortest = chunk.runs(Granule(0), n).min_by_key(|run| run.len);
        assert_eq!(found, shortest.map(|run| run.start), "of {n}");
        self.0.fetch_add(1, Ordering::Relaxed);
        found
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Allocates the tightest run of this length.
    Tightest(usize),
    /// Allocates the first run of this length.
    First(usize),
    /// Drops the allocation made this many steps ago.
    Drop(usize),
    /// Resizes the allocation made this many steps ago.
    Resize(usize, usize),
    /// A cache takes some runs of this size, and gives all of them back.
    Cache(usize),
    /// An allocation that is refused halfway.
    Refused(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let n = || prop_oneof![4 => 1..20_usize, 1 => 1..200_usize];
    prop_oneof![
        4 => n().prop_map(Step::Tightest),
        2 => n().prop_map(Step::First),
        5 => any::<usize>().prop_map(Step::Drop),
        1 => (any::<usize>(), n()).prop_map(|(which, n)| Step::Resize(which, n)),
        1 => (1..9_usize).prop_map(Step::Cache),
        1 => n().prop_map(Step::Refused),
    ]
}

/// Pools of one word and more, with the run lengths on one level and on two.
fn granules() -> impl Strategy<Value = usize> {
    if cfg!(miri) {
        Just(7_681 + 7).boxed()
    } else {
        prop_oneof![1..4000_usize, 7_681..9_000_usize, 130_000..150_000_usize].boxed()
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: if cfg!(miri) { 1 } else { 96 },
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_tightest_run_is_found_after_every_change(
        granules in granules(),
        // The lengths of the runs that the pool is filled with, and which of them are given back.
        filling in 1..300_usize,
        given_back in prop::collection::vec(any::<bool>(), 1..40),
        steps in prop::collection::vec(step(), 1..if cfg!(miri) { 6 } else { 120 }),
        asked_before: bool,
    ) {
        let pool = Pool::new(0).unwrap();
        pool.add(0, granules).unwrap();
        let tightest = Checked::default();
        if asked_before {
            drop(pool.alloc_with(1, &tightest));
        }
        let mut held: Vec<Allocation<'_>> = Vec::new();
        let mut sizes = (0..).map(|at| (filling + at * 7) % 97 + filling / 2 + 1);
        while let Ok(taken) = pool.alloc(sizes.next().unwrap()) {
            held.push(taken);
        }
        let mut goes = given_back.iter().cycle();
        held.retain(|_| !goes.next().unwrap());
        prop_assert!(pool.is_sound());
        for step in steps {
            match step {
                Step::Tightest(n) => held.extend(pool.alloc_with(n, &tightest).ok()),
                Step::First(n) => held.extend(pool.alloc(n).ok()),
                Step::Drop(_) | Step::Resize(..) if held.is_empty() => {}
                Step::Drop(which) => drop(held.swap_remove(which % held.len())),
                Step::Resize(which, n) => {
                    let which = which % held.len();
                    let _ = held[which].resize(n);
                }
                Step::Cache(n) => {
                    let mut cache = pool.cache();
                    let some: Vec<_> = (0..5).filter_map(|_| cache.alloc(n).ok()).collect();
                    drop(some);
                }
                Step::Refused(n) => {
                    for taken in &held {
                        // A range of another allocation, or one that is already free.
                        let after = taken.addr() + taken.size();
                        let _ = pool.free(after.saturating_sub(1), n + granules);
                    }
                }
            }
            prop_assert!(pool.is_sound());
        }
        let looks = tightest.0.load(Ordering::Relaxed);
        held.extend(pool.alloc_with(1, &tightest).ok());
        prop_assert!(tightest.0.load(Ordering::Relaxed) > looks, "it was asked");
        drop(held);
        let all = pool.alloc_with(granules, &tightest).unwrap();
        prop_assert_eq!(all.addr(), 0);
        drop(all);
        prop_assert!(pool.is_sound());
    }
}

#[test]
fn one_long_run_that_is_alone_need_not_be_measured_but_fits_or_not() {
    let pool = Pool::new(0).unwrap();
    pool.add(0, 10_000).unwrap();
    let tightest = Checked::default();
    let all = pool.alloc_with(10_000, &tightest).unwrap();
    assert!(pool.alloc_with(1, &tightest).is_err());
    pool.free(3000, 70).unwrap();
    assert!(pool.alloc_with(71, &tightest).is_err());
    assert_eq!(pool.alloc_with(70, &tightest).unwrap().addr(), 3000);
    // The shorter of two, and the lower of equals.
    pool.free(5000, 65).unwrap();
    pool.free(9000, 65).unwrap();
    assert_eq!(pool.alloc_with(3, &tightest).unwrap().addr(), 5000);
    assert_eq!(pool.alloc_with(66, &tightest).unwrap().addr(), 3000);
    let _ = all.into_raw();
}
