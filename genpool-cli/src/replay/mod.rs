//! Traces as a load: played on a pool and timed. Recorded answers are ignored.

pub(crate) mod observe;
pub(crate) mod play;

use crate::algorithm::AlgorithmSpec;
use crate::driver::Manner;
use crate::measure::{Contestant, Measured, Pace, Progress, measure};
use crate::report::Entry;
use crate::trace::Trace;

pub use play::ReplayError;

/// The result of a replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// The figures; `None` if not even a part of the trace could be played in time.
    pub entry: Option<Entry>,
    /// Notes on what was left out.
    pub notes: Vec<String>,
}

/// Replays `trace` `repeats` times (at least once) to time it, and once more to observe the memory, each time on a
/// fresh pool. Without a number, it is played as often as is sensible, and only in part if it would take longer than
/// half a minute. Allocations that name no algorithm use `unnamed`. An allocation that succeeds but was refused when it
/// was recorded is freed at once, since the program did not have it. `load` is the entry's name for the trace.
///
/// The clock runs from the first allocation or free to the last. `expect` lines are skipped, and frees are by address
/// and size.
///
/// # Errors
///
/// [`ReplayError`] if the pool refuses a chunk or a free.
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

    /// No line frees what the program never had.
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
