//! Plays a trace on a pool.

use std::time::{Duration, Instant};

use genpool::FreeError;
use hdrhistogram::Histogram;
use thiserror::Error;

use crate::driver::{Driver, Manner};
use crate::trace::{Op, Outcome, Slot, Step, Trace, TraceError};

/// Counts of one pass over a trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) operations: u64,
    pub(crate) allocs: u64,
    pub(crate) failed: u64,
}

/// Plays the first `steps` of `trace` once on a fresh pool, at full speed.
pub(crate) fn timed(
    trace: &Trace,
    steps: &[Step],
    manner: Manner,
) -> Result<(Counts, Duration), ReplayError> {
    let (mut driver, load) = start(trace, steps, manner)?;
    let mut counts = Counts::default();
    let start = Instant::now();
    for step in load {
        play(&mut driver, step, &mut counts)?;
    }
    Ok((counts, start.elapsed()))
}

/// Plays the first `steps` of `trace` once on a fresh pool and adds the time of each operation to `latency`.
pub(crate) fn clocked(
    trace: &Trace,
    steps: &[Step],
    manner: Manner,
    latency: &mut Histogram<u64>,
) -> Result<(), ReplayError> {
    let (mut driver, load) = start(trace, steps, manner)?;
    let mut counts = Counts::default();
    for step in load {
        let before = counts.operations;
        let start = Instant::now();
        play(&mut driver, step, &mut counts)?;
        let time = start.elapsed();
        // Two operations, if a served request was freed at once.
        let done = counts.operations - before;
        if let Some(each) = time.as_nanos().checked_div(u128::from(done)) {
            latency.saturating_record_n(u64::try_from(each).unwrap_or(u64::MAX), done);
        }
    }
    Ok(())
}

/// Returns a fresh pool with the chunks that come first, and the remaining steps.
pub(super) fn start<'t>(
    trace: &Trace,
    steps: &'t [Step],
    manner: Manner,
) -> Result<(Driver, &'t [Step]), ReplayError> {
    let is_load = |step: &Step| matches!(step.op, Op::Alloc { .. } | Op::Free { .. });
    let (before, load) = steps.split_at(steps.iter().position(is_load).unwrap_or(steps.len()));
    let mut driver = Driver::new(trace, manner)?;
    let mut counts = Counts::default();
    for step in before {
        play(&mut driver, step, &mut counts)?;
    }
    Ok((driver, load))
}

pub(super) fn play(
    driver: &mut Driver,
    step: &Step,
    counts: &mut Counts,
) -> Result<(), ReplayError> {
    match step.op {
        Op::Alloc {
            slot,
            size,
            algorithm,
            result,
        } => {
            counts.operations += 1;
            counts.allocs += 1;
            match driver.alloc(slot, size, algorithm) {
                // The program never had this allocation, so no other line frees it.
                Ok(_) if result == Some(Outcome::None) => {
                    give_back(driver, step.line, slot, counts)?;
                }
                Ok(_) => {}
                Err(_) => counts.failed += 1,
            }
        }
        Op::Free { slot } => give_back(driver, step.line, slot, counts)?,
        Op::Chunk { virt, phys, size } => driver.add(step.line, virt, phys, size)?,
        Op::ExpectTotals { .. } | Op::ExpectHasAddr { .. } | Op::ExpectPhysOf { .. } => {}
    }
    Ok(())
}

/// Frees what the allocation holds, if anything.
fn give_back(
    driver: &mut Driver,
    line: u32,
    slot: Slot,
    counts: &mut Counts,
) -> Result<(), ReplayError> {
    if let Some(freed) = driver.free(slot) {
        freed.map_err(|source| ReplayError::FreeRefused { line, source })?;
        counts.operations += 1;
    }
    Ok(())
}

/// A trace that cannot be replayed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The trace asks for an impossible pool.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The pool refused to take back what it had given: a fault of the pool.
    #[error("line {line}: the pool refused a free")]
    FreeRefused {
        /// Line of the `free`.
        line: u32,
        /// The pool's error.
        source: FreeError,
    },
}
