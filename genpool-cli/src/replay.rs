//! Traces as a load: driven through a pool and timed, recorded answers ignored.

mod observe;

use std::time::{Duration, Instant};

use genpool::FreeError;
use hdrhistogram::Histogram;

use crate::algorithm::AlgorithmSpec;
use crate::driver::{Driver, Manner};
use crate::measure::{Contestant, Measured, Pace, Progress, measure};
use crate::report::Entry;
use crate::trace::{Op, Outcome, Slot, Step, Trace, TraceError};

pub(crate) use observe::{MOST_LOOKS, Observation, observe};

/// What replaying came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// The figures; none where not even a part of the trace could be played in time.
    pub entry: Option<Entry>,
    /// What was left out.
    pub notes: Vec<String>,
}

/// Replays `trace` `repeats` times (at least once) to time it, and once more to look at the memory, each
/// time on a fresh pool. Where no number is given it is played as often as is sensible, and only a part
/// of it if it would take longer than half a minute. Allocations that name no algorithm use `unnamed`.
/// Where one succeeds that was refused when it was recorded, it is given back at once, since the program
/// did not have it. `load` is what the entry calls the trace.
///
/// The clock runs from the first allocation or free to the last. `expect` lines are left out, frees
/// go by address and size.
///
/// # Errors
///
/// [`ReplayError`] when the pool refuses a chunk or a free.
pub fn replay(
    load: &str,
    trace: &Trace,
    unnamed: AlgorithmSpec,
    repeats: Option<u32>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Replayed, ReplayError> {
    let name = match trace.algorithms() {
        [] => unnamed.to_string(),
        _ => "as recorded".to_owned(),
    };
    let manner = Manner::recorded(trace, unnamed);
    let contestants = [Contestant { name, manner }];
    let pace = Pace::of(repeats);
    let Measured { mut entries, notes } = measure(load, trace, &contestants, pace, progress)?;
    Ok(Replayed {
        entry: entries.pop(),
        notes,
    })
}

/// What one playing of a trace counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) operations: u64,
    pub(crate) allocs: u64,
    pub(crate) failed: u64,
}

/// Plays the first `steps` of `trace` once on a fresh pool, as fast as it goes.
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
        // Two, where what was served is given back at once.
        let done = counts.operations - before;
        if let Some(each) = time.as_nanos().checked_div(u128::from(done)) {
            latency.saturating_record_n(u64::try_from(each).unwrap_or(u64::MAX), done);
        }
    }
    Ok(())
}

/// A fresh pool with the chunks that come before everything else, and the steps that are left.
fn start<'t>(
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

fn play(driver: &mut Driver, step: &Step, counts: &mut Counts) -> Result<(), ReplayError> {
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
                // No other line gives back what the program never had.
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

/// Gives back what the allocation holds, if it holds anything.
fn give_back(
    driver: &mut Driver,
    line: u32,
    slot: Slot,
    counts: &mut Counts,
) -> Result<(), ReplayError> {
    if let Some(freed) = driver.free(slot) {
        freed.map_err(|error| ReplayError::FreeRefused { line, error })?;
        counts.operations += 1;
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

    fn replayed(lines: &str) -> Result<Entry, ReplayError> {
        let trace = Trace::parse(&format!("# genpool trace v1\npool order=4\n{lines}")).unwrap();
        let unnamed = AlgorithmSpec::FirstFit;
        let found = replay("a trace", &trace, unnamed, Some(3), &mut |_| ())?;
        Ok(found.entry.unwrap())
    }

    #[test]
    fn counts_are_those_of_one_run() {
        let entry = replayed(
            "chunk virt=0 size=0x40\nalloc 1 size=0x30\nalloc 2 size=0x20\nfree 2\nexpect avail=0x10 size=0x40\n\
             chunk virt=0x1000 size=0x40\nalloc 3 size=1 algo=best-fit -> none\nfree 1\n",
        )
        .unwrap();
        let operations = entry.operations;
        assert_eq!(
            (operations.all, operations.allocs, operations.failed),
            (5, 3, 1)
        );
        assert_eq!((entry.size, entry.order, entry.threads), (0x80, 4, 1));
        assert_eq!(entry.algorithm, "as recorded");
        assert_eq!(entry.latency.unwrap().count, 15);
        assert_eq!(entry.speed.unwrap().runs, 3);
    }

    /// No line gives back what the program never had.
    #[test]
    fn what_was_refused_when_it_was_recorded_holds_nothing() {
        let refused = "alloc 2 size=0x30 -> none\n".repeat(10);
        let entry = replayed(&format!(
            "chunk virt=0 size=0x40\nalloc 1 size=0x10\n{refused}free 2\n"
        ));
        let entry = entry.unwrap();
        let operations = entry.operations;
        assert_eq!(
            (operations.all, operations.allocs, operations.failed),
            (21, 11, 0)
        );
        assert_eq!(entry.memory.unwrap().peak_taken, 0x40);
        let points = entry.timeline.unwrap().points;
        assert!(points.iter().all(|point| point.taken == 0x10), "{points:?}");
        assert_eq!(entry.latency.unwrap().count, 21 * 3);
    }

    #[test]
    fn no_operations() {
        let entry = replayed("").unwrap();
        assert_eq!((entry.speed, entry.latency), (None, None));
        assert_eq!(entry.algorithm, "first-fit");
    }

    #[test]
    fn refused_chunks_are_named_by_line() {
        let error = replayed("chunk virt=0 size=0x40\nchunk virt=8 size=0x40\n").unwrap_err();
        assert!(
            matches!(&error, ReplayError::Trace(error) if error.line() == 4),
            "{error}"
        );
    }
}
