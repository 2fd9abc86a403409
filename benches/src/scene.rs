//! What a pool holds before the loads start.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::contestant::{BuildFailure, Layout, Stage};
use crate::rng::Rng;

/// What is taken before a measurement starts, and stays taken during it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Scene {
    /// Nothing.
    Empty,
    /// Everything.
    Full,
    /// Everything except `per_mille` single granules in a thousand, at random places.
    Holes {
        /// Free granules in a thousand.
        per_mille: usize,
    },
    /// Everything except `per_mille` single granules in a thousand at random places and, after them, one run at the end
    /// of each chunk.
    RunBehindHoles {
        /// Granules in the run.
        run: usize,
        /// Free granules in a thousand of the rest.
        per_mille: usize,
    },
    /// Everything except the chunk that was added first, which is tried last.
    OldestChunkFree,
}

/// The ranges that a scene took.
#[derive(Debug)]
pub struct Taken {
    /// The largest range, in bytes, that the pool accepts in one free.
    piece: usize,
    /// Addresses and sizes in bytes.
    ranges: Vec<(usize, usize)>,
}

impl Scene {
    /// Sets up the scene in an empty pool before the `deadline`: everything is taken, and then what is to be free is
    /// given back. If the pool does not accept a part of an allocation, everything is taken granule by granule.
    ///
    /// # Errors
    ///
    /// If the pool refuses an alloc or a free on the way, and if the deadline passes.
    pub fn set(
        self,
        pool: &dyn Stage,
        layout: &Layout,
        deadline: Instant,
    ) -> Result<Taken, BuildFailure> {
        let (order, len) = (layout.order, layout.chunk_granules());
        let piece = if pool.frees_parts() { len } else { 1 };
        let mut taken = Taken {
            piece: piece << order,
            ranges: Vec::new(),
        };
        if self == Self::Empty {
            return Ok(taken);
        }
        for _ in 0..layout.granules / piece {
            in_time(deadline)?;
            pool.take(piece << order)
                .ok_or_else(|| BuildFailure::new("no room for all that the scene takes"))?;
        }
        let mut random = Rng::new(2);
        for (age, start) in layout.by_age().into_iter().enumerate() {
            let holes = self.holes(len, age, &mut random);
            let mut from = 0;
            for (at, run) in holes.into_iter().chain([(len, 0)]) {
                if at > from {
                    let range = (start + (from << order), (at - from) << order);
                    taken.ranges.push(range);
                }
                if run > 0 {
                    in_time(deadline)?;
                    let hole = (start + (at << order), run << order);
                    give_in_pieces(pool, hole, taken.piece).map_err(BuildFailure::new)?;
                }
                from = at + run;
            }
        }
        Ok(taken)
    }

    /// Returns the free runs of a chunk with `len` granules, in order, as first granule and number of granules.
    fn holes(self, len: usize, age: usize, random: &mut Rng) -> Vec<(usize, usize)> {
        // The first single granule is exactly where it is on average: the way to it is most of the cost of an alloc.
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
                // One granule between stays taken, so that the run has exactly this length.
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
    /// If the pool refuses a free.
    pub fn give_back(self, pool: &dyn Stage) -> Result<(), String> {
        self.ranges
            .into_iter()
            .try_for_each(|range| give_in_pieces(pool, range, self.piece))
    }
}

fn in_time(deadline: Instant) -> Result<(), BuildFailure> {
    if Instant::now() < deadline {
        Ok(())
    } else {
        Err(BuildFailure::TooSlow)
    }
}

fn give_in_pieces(
    pool: &dyn Stage,
    (addr, bytes): (usize, usize),
    piece: usize,
) -> Result<(), String> {
    (0..bytes)
        .step_by(piece)
        .try_for_each(|at| pool.give(addr + at, piece.min(bytes - at)))
}
