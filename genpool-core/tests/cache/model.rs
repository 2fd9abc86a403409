//! A cache against the oracle.

use genpool_core::{AllocError, Allocation, Cache, Impossible, Pool};
use genpool_plain::Oracle;
use proptest::prelude::*;

use crate::{BASE, PAGE, pool_of};

const STEPS: usize = if cfg!(miri) { 30 } else { 300 };

#[derive(Clone, Copy, Debug)]
enum Step {
    Alloc(usize),
    AllocFromPool(usize),
    Free(usize),
    Drop(usize),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..=10usize).prop_map(Step::Alloc),
        2 => (1..=10usize).prop_map(Step::AllocFromPool),
        8 => any::<usize>().prop_map(Step::Free),
        2 => any::<usize>().prop_map(Step::Drop),
        1 => Just(Step::Flush),
    ]
}

/// Takes the allocation out of the oracle, in which its granules are free.
fn take(oracle: &mut Oracle, allocation: &Allocation<'_>) {
    let (addr, size) = (allocation.addr(), allocation.size());
    assert_eq!(oracle.alloc_at(addr, size), Some(addr), "allocated twice");
}

/// Gives the allocation back to the oracle, which holds it.
fn give(oracle: &mut Oracle, allocation: &Allocation<'_>) {
    let given = oracle.free(allocation.addr(), allocation.size());
    given.expect("the oracle holds what the pool does");
}

/// Returns the bytes that are allocated.
fn used(oracle: &Oracle) -> usize {
    oracle.size() - oracle.avail()
}

proptest! {
    #[test]
    fn a_cache_is_a_pool_to_its_owner(
        tracked: bool,
        pages in 1..200usize,
        steps in prop::collection::vec(step(), 1..STEPS),
    ) {
        let builder = if tracked { Pool::builder().boundary_tracking() } else { Pool::builder() };
        let pool = pool_of(builder, pages);
        let mut cache = pool.cache();
        let mut oracle = Oracle::new(PAGE.ilog2());
        oracle.add(BASE, pages * PAGE).unwrap();
        let mut live: Vec<Allocation<'_>> = Vec::new();
        for step in steps {
            match step {
                Step::Alloc(n) => match cache.alloc(n * PAGE) {
                    Ok(found) => {
                        prop_assert_eq!(found.size(), n * PAGE);
                        take(&mut oracle, &found);
                        live.push(found);
                    }
                    Err(refused) => {
                        let size = n * PAGE;
                        let expected = if n > pages {
                            let longest = pages * PAGE;
                            AllocError::Impossible(Impossible::TooLong { size, longest })
                        } else {
                            AllocError::Exhausted { size }
                        };
                        prop_assert_eq!(refused, expected);
                        let runs = oracle.free_runs(0);
                        prop_assert!(runs.iter().all(|&(_, len)| len < n), "room for {} pages", n);
                    }
                },
                Step::AllocFromPool(n) => {
                    if let Ok(found) = pool.alloc(n * PAGE) {
                        take(&mut oracle, &found);
                        live.push(found);
                    }
                }
                Step::Free(which) if !live.is_empty() => {
                    let allocation = live.swap_remove(which % live.len());
                    give(&mut oracle, &allocation);
                    cache.free(allocation);
                }
                Step::Drop(which) if !live.is_empty() => {
                    let allocation = live.swap_remove(which % live.len());
                    give(&mut oracle, &allocation);
                }
                Step::Free(_) | Step::Drop(_) => {}
                Step::Flush => {
                    cache.flush();
                    prop_assert_eq!(cache.held(), 0);
                }
            }
            let stats = pool.stats();
            prop_assert_eq!(stats.cached, cache.held());
            prop_assert_eq!(stats.used, used(&oracle) + cache.held());
            prop_assert!(cache.held() <= Cache::MOST_GRANULES * PAGE);
            if tracked {
                let recorded: usize = pool.live().unwrap().iter().map(|held| held.size).sum();
                prop_assert_eq!(recorded, used(&oracle));
            }
        }
        prop_assert!(pool.is_sound());
        drop(cache);
        drop(live);
        prop_assert_eq!(pool.avail(), pool.size());
        prop_assert!(pool.is_sound());
    }
}
