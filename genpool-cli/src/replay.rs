//! Traces as a load: driven through a pool and timed, recorded answers ignored.

use std::time::{Duration, Instant};

use genpool::FreeError;

use crate::algorithm::AlgorithmSpec;
use crate::driver::Driver;
use crate::trace::{Op, Step, Trace, TraceError};

/// What replaying one trace came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Replay {
    /// Allocations and frees of one run. A free of a failed allocation does nothing and is not
    /// counted.
    pub operations: u64,
    /// Allocations among them.
    pub allocs: u64,
    /// Allocations that failed.
    pub failed: u64,
    /// Median over all runs of the time for one run's operations.
    pub time: Duration,
}

impl Replay {
    /// Nanoseconds an operation, or `None` when there was none.
    pub fn ns_per_operation(&self) -> Option<f64> {
        (self.operations > 0).then(|| self.time.as_nanos() as f64 / self.operations as f64)
    }
}

/// Replays `trace` `repeats` times (at least once), each time on a fresh pool. Allocations that
/// name no algorithm use `unnamed`.
///
/// The clock runs from the first operation after the leading `chunk` lines to the last. `expect`
/// lines are left out, frees go by address and size.
///
/// # Errors
///
/// [`ReplayError`] when the pool refuses a chunk or a free.
pub fn replay(trace: &Trace, unnamed: AlgorithmSpec, repeats: u32) -> Result<Replay, ReplayError> {
    let is_chunk = |step: &Step| matches!(step.op, Op::Chunk { .. });
    let steps: Vec<Step> = trace
        .steps()
        .iter()
        .copied()
        .filter(|step| is_chunk(step) || matches!(step.op, Op::Alloc { .. } | Op::Free { .. }))
        .collect();
    let (chunks, load) = steps.split_at(
        steps
            .iter()
            .position(|step| !is_chunk(step))
            .unwrap_or(steps.len()),
    );

    let mut times = Vec::new();
    let mut replay = Replay {
        operations: 0,
        allocs: 0,
        failed: 0,
        time: Duration::ZERO,
    };
    for _ in 0..repeats.max(1) {
        let mut driver = Driver::new(trace, unnamed)?;
        for step in chunks {
            play(&mut driver, step, &mut replay)?;
        }
        (replay.operations, replay.allocs, replay.failed) = (0, 0, 0);
        let start = Instant::now();
        for step in load {
            play(&mut driver, step, &mut replay)?;
        }
        times.push(start.elapsed());
    }
    times.sort_unstable();
    replay.time = times[times.len() / 2];
    Ok(replay)
}

fn play(driver: &mut Driver, step: &Step, counts: &mut Replay) -> Result<(), ReplayError> {
    match step.op {
        Op::Alloc {
            slot,
            size,
            algorithm,
            result: _,
        } => {
            counts.operations += 1;
            counts.allocs += 1;
            counts.failed += u64::from(driver.alloc(slot, size, algorithm).is_err());
        }
        Op::Free { slot } => match driver.free(slot) {
            Some(Ok(())) => counts.operations += 1,
            Some(Err(error)) => {
                return Err(ReplayError::FreeRefused {
                    line: step.line,
                    error,
                });
            }
            None => {}
        },
        Op::Chunk { virt, phys, size } => driver.add(step.line, virt, phys, size)?,
        Op::ExpectTotals { .. } | Op::ExpectHasAddr { .. } | Op::ExpectPhysOf { .. } => {}
    }
    Ok(())
}

/// A trace cannot be replayed.
#[derive(Debug)]
pub enum ReplayError {
    /// The trace asks for a pool that cannot be.
    Trace(TraceError),
    /// The pool did not take back what it had given: a fault of the pool.
    FreeRefused {
        /// Line of the `free`.
        line: u32,
        /// What the pool said.
        error: FreeError,
    },
}

impl From<TraceError> for ReplayError {
    fn from(error: TraceError) -> Self {
        Self::Trace(error)
    }
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Trace(error) => error.fmt(f),
            Self::FreeRefused { line, error } => {
                write!(f, "line {line}: the pool refused a free: {error}")
            }
        }
    }
}

impl std::error::Error for ReplayError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn replayed(lines: &str) -> Replay {
        let trace = Trace::parse(&format!("# genpool trace v1\npool order=4\n{lines}")).unwrap();
        replay(&trace, AlgorithmSpec::FirstFit, 3).unwrap()
    }

    #[test]
    fn counts_are_those_of_one_run() {
        let replay = replayed(
            "chunk virt=0 size=0x40\nalloc 1 size=0x30\nalloc 2 size=0x20\nfree 2\nexpect avail=0x10 size=0x40\n\
             chunk virt=0x1000 size=0x40\nalloc 3 size=1 algo=best-fit -> none\nfree 1\n",
        );
        assert_eq!((replay.operations, replay.allocs, replay.failed), (4, 3, 1));
    }

    #[test]
    fn no_operations() {
        let replay = replayed("");
        assert_eq!((replay.operations, replay.ns_per_operation()), (0, None));
    }

    #[test]
    fn refused_chunks_are_named_by_line() {
        let trace = Trace::parse(
            "# genpool trace v1\npool order=4\nchunk virt=0 size=0x40\nchunk virt=8 size=0x40\n",
        )
        .unwrap();
        let error = replay(&trace, AlgorithmSpec::FirstFit, 1).unwrap_err();
        assert!(
            matches!(&error, ReplayError::Trace(error) if error.line() == 4),
            "{error}"
        );
    }
}
