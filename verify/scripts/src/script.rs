//! Scripts that one thread plays: every answer of the pool must be the oracle's.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use fastrand::Rng;
use genpool::{
    Algorithm, AllocError, BestFit, Constrained, Constraints, FirstFit, FirstFitAlign, FixedOffset,
    OrderAlign, RawRange, ResizeError,
};
use genpool_plain::{Fit, Limits, Oracle};

use crate::target::Target;

/// What a script did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Allocations.
    pub allocated: usize,
    /// Requests that were refused.
    pub refused: usize,
    /// Ranges that were given back.
    pub freed: usize,
    /// Frees that were refused.
    pub refused_frees: usize,
    /// Resizes that succeeded.
    pub resized: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            allocated,
            refused,
            freed,
            refused_frees,
            resized,
        } = self;
        write!(
            f,
            "{allocated} allocations, {refused} refusals, {freed} frees, {refused_frees} refused frees, {resized} resizes"
        )
    }
}

/// An answer of the pool that is not the oracle's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The number of the step.
    pub step: usize,
    /// What the pool said, and what the oracle.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}: {}", self.step, self.what)
    }
}

struct Script<'t> {
    target: &'t dyn Target,
    oracle: Oracle,
    random: Rng,
    held: Vec<RawRange>,
    tally: Tally,
}

/// Plays a script of so many steps on a pool of which nothing is taken, and gives everything back at the end.
///
/// # Errors
///
/// The first answer that is not the oracle's.
pub fn play(target: &dyn Target, seed: u64, steps: usize) -> Result<Tally, Difference> {
    let mut oracle = Oracle::new(target.order());
    let (start, size) = target.range();
    let added = oracle.add(start, size);
    let mut script = Script {
        target,
        oracle,
        random: Rng::with_seed(seed),
        held: Vec::new(),
        tally: Tally::default(),
    };
    let difference = |step, what| Difference { step, what };
    added.map_err(|error| difference(0, format!("the oracle has no such chunk: {error}")))?;
    for step in 0..steps {
        script.step().map_err(|what| difference(step, what))?;
    }
    while let Some(range) = script.held.pop() {
        let freed = script.free(range.addr, range.size);
        freed.map_err(|what| difference(steps, what))?;
    }
    script.check().map_err(|what| difference(steps, what))?;
    Ok(script.tally)
}

/// Returns an error unless the answers are equal.
fn same<T: PartialEq + fmt::Debug>(what: &str, pool: T, oracle: T) -> Result<(), String> {
    if pool == oracle {
        return Ok(());
    }
    Err(format!(
        "{what}: the pool says {pool:x?}, the oracle {oracle:x?}"
    ))
}

impl Script<'_> {
    fn step(&mut self) -> Result<(), String> {
        match self.random.usize(..16) {
            0..=7 => self.alloc()?,
            8..=12 => {
                if let Some(range) = self.take() {
                    self.free(range.addr, range.size)?;
                }
            }
            13 => self.free_wrongly()?,
            _ => self.resize()?,
        }
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        same("avail", self.target.avail(), self.oracle.avail())
    }

    fn granule(&self) -> usize {
        1 << self.target.order()
    }

    /// Returns a size in bytes: mostly short, sometimes over several words, seldom more than the pool has.
    fn size(&mut self) -> usize {
        let (_, all) = self.target.range();
        let granules = match self.random.usize(..32) {
            0..=19 => 1 + self.random.usize(..4),
            20..=27 => 1 + self.random.usize(..40),
            28..=30 => 1 + self.random.usize(..200),
            _ => 1 + all / self.granule(),
        };
        let size = granules * self.granule();
        size - self.random.usize(..self.granule())
    }

    fn alloc(&mut self) -> Result<(), String> {
        let size = self.size();
        let (_, all) = self.target.range();
        let granule = self.granule();
        let align = granule << self.random.usize(..6);
        let offset = self.random.usize(..all / granule) * granule;
        let (algorithm, expected): (&dyn Algorithm, _) = match self.random.usize(..8) {
            0..=2 => (&FirstFit, self.oracle.alloc(size, Fit::FirstFit)),
            3 => {
                let aligned = FirstFitAlign::new(align).map_err(|error| format!("{error}"))?;
                let expected = self.oracle.alloc(size, Fit::FirstFitAlign(align));
                return self.compare(size, &aligned, expected);
            }
            4 => (&OrderAlign, self.oracle.alloc(size, Fit::OrderAlign)),
            5 => (&BestFit, self.oracle.alloc(size, Fit::BestFit)),
            6 => {
                let expected = self.oracle.alloc(size, Fit::FixedOffset(offset));
                return self.compare(size, &FixedOffset::new(offset), expected);
            }
            _ => return self.alloc_constrained(size, align, offset),
        };
        self.compare(size, algorithm, expected)
    }

    fn alloc_constrained(
        &mut self,
        size: usize,
        align: usize,
        offset: usize,
    ) -> Result<(), String> {
        let (start, _) = self.target.range();
        let boundary = align << 3;
        let limits = Limits {
            align,
            lowest: start + offset / 2,
            boundary: Some(boundary),
            ..Limits::NONE
        };
        let constraints = Constraints::new()
            .lowest(limits.lowest)
            .align(align)
            .and_then(|constraints| constraints.boundary(boundary))
            .map_err(|error| format!("{error}"))?;
        let n = size.div_ceil(self.granule());
        let expected = self.oracle.alloc_where(size, |chunk| {
            chunk
                .all()
                .find(|&at| chunk.are_free(at, n) && chunk.meet(at, n, &limits))
        });
        self.compare(size, &Constrained::new(FirstFit, constraints), expected)
    }

    /// Allocates from the pool, and compares what it says with the oracle's address.
    fn compare(
        &mut self,
        size: usize,
        algorithm: &dyn Algorithm,
        expected: Option<usize>,
    ) -> Result<(), String> {
        match self.target.alloc(size, algorithm) {
            Ok(range) => {
                let size = size.next_multiple_of(self.granule());
                let found = Some((range.addr, range.size));
                same("alloc", found, expected.map(|addr| (addr, size)))?;
                self.tally.allocated += 1;
                self.held.push(range);
            }
            Err(AllocError::Contended { .. }) => {
                return Err(String::from("alloc: contended, though nobody else is here"));
            }
            Err(refused) => {
                same("alloc", None, expected).map_err(|what| format!("{what}: {refused}"))?;
                self.tally.refused += 1;
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Option<RawRange> {
        let count = self.held.len();
        (count > 0).then(|| self.held.swap_remove(self.random.usize(..count)))
    }

    fn free(&mut self, addr: usize, size: usize) -> Result<(), String> {
        let (pool, oracle) = (self.target.free(addr, size), self.oracle.free(addr, size));
        if pool.is_ok() != oracle.is_ok() {
            let what = format!("free of {size:#x} at {addr:#x}");
            return Err(format!(
                "{what}: the pool says {pool:?}, the oracle {oracle:?}"
            ));
        }
        match pool {
            Ok(()) => self.tally.freed += 1,
            Err(_) => self.tally.refused_frees += 1,
        }
        Ok(())
    }

    /// Frees what is free, misaligned, outside, or past the end.
    fn free_wrongly(&mut self) -> Result<(), String> {
        let (start, size) = self.target.range();
        let granule = self.granule();
        if let Some(range) = self.take() {
            self.free(range.addr, range.size)?;
            // The second free of the range, and one that goes on past its end.
            self.free(range.addr, range.size)?;
            self.free(range.addr, range.size + granule)?;
        }
        self.free(start + size, granule)?;
        self.free(start, size + granule)?;
        self.free(start, 0)?;
        if granule > 1 {
            self.free(start + 1, granule)?;
        }
        Ok(())
    }

    fn resize(&mut self) -> Result<(), String> {
        let Some(mut range) = self.take() else {
            return Ok(());
        };
        let size = self.size();
        let wanted = size.next_multiple_of(self.granule());
        let (start, all) = self.target.range();
        let (end, last) = (range.addr + range.size, start + all);
        let expected = if wanted > last - range.addr {
            Err(ResizeError::PastChunk)
        } else if wanted <= range.size {
            let rest = range.size - wanted;
            let freed = rest == 0 || self.oracle.free(range.addr + wanted, rest).is_ok();
            same("a part that is held", freed, true)?;
            Ok(())
        } else if self.oracle.alloc_at(end, wanted - range.size).is_some() {
            Ok(())
        } else {
            Err(ResizeError::Neighbour)
        };
        let resized = self.target.resize(range, size);
        same("resize", resized, Ok(expected))?;
        if expected.is_ok() {
            range.size = wanted;
            self.tally.resized += 1;
        }
        self.held.push(range);
        Ok(())
    }
}
