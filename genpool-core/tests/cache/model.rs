//! A cache against a model that knows which granules are held.

use genpool_core::{AllocError, Allocation, Cache, Impossible, Pool};
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

/// The granules that allocations hold.
struct Model(Vec<bool>);

impl Model {
    fn granules(allocation: &Allocation<'_>) -> std::ops::Range<usize> {
        let first = (allocation.addr() - BASE) / PAGE;
        first..first + allocation.size() / PAGE
    }

    fn take(&mut self, allocation: &Allocation<'_>) {
        for granule in Self::granules(allocation) {
            assert!(!std::mem::replace(&mut self.0[granule], true));
        }
    }

    fn give(&mut self, allocation: &Allocation<'_>) {
        self.0[Self::granules(allocation)].fill(false);
    }

    fn has_room(&self, n: usize) -> bool {
        self.0.windows(n).any(|run| !run.contains(&true))
    }

    fn used(&self) -> usize {
        self.0.iter().filter(|&&taken| taken).count() * PAGE
    }
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
        let mut model = Model(vec![false; pages]);
        let mut live: Vec<Allocation<'_>> = Vec::new();
        for step in steps {
            match step {
                Step::Alloc(n) => match cache.alloc(n * PAGE) {
                    Ok(found) => {
                        prop_assert_eq!(found.size(), n * PAGE);
                        model.take(&found);
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
                        prop_assert!(!model.has_room(n), "room for {} pages", n);
                    }
                },
                Step::AllocFromPool(n) => {
                    if let Ok(found) = pool.alloc(n * PAGE) {
                        model.take(&found);
                        live.push(found);
                    }
                }
                Step::Free(which) if !live.is_empty() => {
                    let allocation = live.swap_remove(which % live.len());
                    model.give(&allocation);
                    cache.free(allocation);
                }
                Step::Drop(which) if !live.is_empty() => {
                    let allocation = live.swap_remove(which % live.len());
                    model.give(&allocation);
                }
                Step::Free(_) | Step::Drop(_) => {}
                Step::Flush => {
                    cache.flush();
                    prop_assert_eq!(cache.held(), 0);
                }
            }
            let stats = pool.stats();
            prop_assert_eq!(stats.cached, cache.held());
            prop_assert_eq!(stats.used, model.used() + cache.held());
            prop_assert!(cache.held() <= Cache::MOST_GRANULES * PAGE);
            if tracked {
                let recorded: usize = pool.live().unwrap().iter().map(|held| held.size).sum();
                prop_assert_eq!(recorded, model.used());
            }
        }
        prop_assert!(pool.is_sound());
        drop(cache);
        drop(live);
        prop_assert_eq!(pool.avail(), pool.size());
        prop_assert!(pool.is_sound());
    }
}
