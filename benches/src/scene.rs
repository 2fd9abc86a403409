//! What a pool holds before the loads come.

use crate::contestant::{BuildFailure, Contestant, Layout};
use crate::rng::Rng;

/// What is taken before a measurement starts and stays taken through it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scene {
    /// Nothing.
    Empty,
    /// Everything.
    Full,
    /// Everything but so many single granules in a thousand, at random places.
    Holes {
        /// Free granules in a thousand.
        per_mille: usize,
    },
    /// Everything but so many single granules in a thousand at random places, and behind them, at the end of each
    /// chunk, one run.
    RunBehindHoles {
        /// Granules in the run.
        run: usize,
        /// Free granules in a thousand of the rest.
        per_mille: usize,
    },
    /// Everything but the chunk that was added first, which is the last to be tried.
    OldestChunkFree,
}

/// What a scene took.
#[derive(Debug)]
pub struct Taken(Vec<(usize, usize)>);

impl Scene {
    /// Brings an empty pool into this state.
    ///
    /// # Errors
    ///
    /// When the pool refuses an alloc or a free on the way.
    pub fn set<C: Contestant>(self, pool: &C, layout: &Layout) -> Result<Taken, BuildFailure> {
        if self == Self::Empty {
            return Ok(Taken(Vec::new()));
        }
        let (order, len) = (layout.order, layout.chunk_granules());
        for _ in 0..layout.chunks {
            pool.take(len << order)
                .ok_or_else(|| BuildFailure::new("no room for an allocation of a whole chunk"))?;
        }
        let mut random = Rng::new(2);
        let mut taken = Vec::new();
        for (age, start) in layout.by_age().into_iter().enumerate() {
            let holes = self.holes(len, age, &mut random);
            let mut from = 0;
            for (at, run) in holes.into_iter().chain([(len, 0)]) {
                if at > from {
                    taken.push((start + (from << order), (at - from) << order));
                }
                if run > 0 {
                    pool.give(start + (at << order), run << order)
                        .map_err(BuildFailure::new)?;
                }
                from = at + run;
            }
        }
        Ok(Taken(taken))
    }

    /// The free runs of a chunk with `len` granules, in order, as first granule and number of granules.
    fn holes(self, len: usize, age: usize, random: &mut Rng) -> Vec<(usize, usize)> {
        // The first of the singles lies exactly where it lies on average: the way to it is most of what an alloc costs.
        let mut singles = |end: usize, per_mille: usize| {
            let first = (1000 / per_mille.max(1)).min(end - 1);
            let mut holes = vec![(first, 1)];
            let rest = (first + 1..end).filter(|_| random.below(1000) < per_mille);
            holes.extend(rest.map(|at| (at, 1)));
            holes
        };
        match self {
            Self::Empty => vec![(0, len)],
            Self::Full => Vec::new(),
            Self::Holes { per_mille } => singles(len, per_mille),
            Self::RunBehindHoles { run, per_mille } => {
                // A granule is kept between, so that the run is exactly that long.
                let mut holes = singles(len - run - 1, per_mille);
                holes.push((len - run, run));
                holes
            }
            Self::OldestChunkFree if age == 0 => vec![(0, len)],
            Self::OldestChunkFree => Vec::new(),
        }
    }
}

impl Taken {
    /// Gives everything back.
    ///
    /// # Errors
    ///
    /// When the pool refuses a free.
    pub fn give_back<C: Contestant>(self, pool: &C) -> Result<(), String> {
        self.0
            .into_iter()
            .try_for_each(|(addr, bytes)| pool.give(addr, bytes))
    }
}
