//! A trace on several pools, each observed once and timed in turn with the others.

use std::time::{Duration, Instant};

use crate::driver::Manner;
use crate::replay::{ReplayError, clocked, observe, timed};
use crate::report::{Entry, Latency, Operations, Speed};
use crate::run::load::histogram;
use crate::space::Look;
use crate::trace::Trace;

/// Most rounds, and what they may take together, unless the caller says how many: enough for
/// quartiles, and no longer than one likes to wait (2026-11).
const ROUNDS: u32 = 11;
const PATIENCE: Duration = Duration::from_secs(10);
/// Rounds that there are in any case.
const LEAST_ROUNDS: u32 = 3;

/// Where a command is, for a progress bar.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// What is being run.
    pub name: &'a str,
    /// How much of all is done, 0 to 1.
    pub part: f64,
    /// How the pool looks, where it was looked at.
    pub look: Option<&'a Look>,
}

/// What a trace is played on, and its name.
#[derive(Debug, Clone)]
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) manner: Manner,
}

/// Plays `trace` on all contestants: once to look at the memory, then `repeats` rounds, or as many as
/// there is patience for, in which each is timed as a whole and again by single operations. Every
/// round begins with another contestant, so that a machine that becomes slower or faster on the way
/// does so for all of them.
pub(crate) fn measure(
    load: &str,
    trace: &Trace,
    contestants: &[Contestant],
    repeats: Option<u32>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Entry>, ReplayError> {
    let count = contestants.len();
    let most = repeats.unwrap_or(ROUNDS).max(1);
    let steps = count as f64 * f64::from(1 + most);
    let mut done = 0f64;
    let mut observations = Vec::new();
    for contestant in contestants {
        observations.push(observe(trace, contestant.manner, &mut |look| {
            progress(Progress {
                name: &contestant.name,
                part: done / steps,
                look: Some(look),
            });
        })?);
        done += 1.0;
    }
    let mut times = vec![Vec::new(); count];
    let mut latencies = vec![histogram(); count];
    let start = Instant::now();
    for round in 0..most {
        if repeats.is_none() && round >= LEAST_ROUNDS && start.elapsed() > PATIENCE {
            break;
        }
        for at in (0..count).map(|i| (i + round as usize) % count) {
            let Contestant { name, manner } = &contestants[at];
            progress(Progress {
                name,
                part: done / steps,
                look: None,
            });
            let (counts, time) = timed(trace, *manner)?;
            if counts.operations > 0 {
                times[at].push(time.as_nanos() as f64 / counts.operations as f64);
            }
            clocked(trace, *manner, &mut latencies[at])?;
            done += 1.0;
        }
    }
    let entries = contestants
        .iter()
        .zip(observations)
        .zip(times)
        .zip(latencies);
    Ok(entries
        .map(|(((contestant, seen), times), latency)| Entry {
            load: load.to_owned(),
            algorithm: contestant.name.clone(),
            pool: "lock-free",
            order: contestant.manner.order,
            size: seen.size,
            threads: 1,
            operations: Operations {
                all: seen.counts.operations,
                allocs: seen.counts.allocs,
                failed: seen.counts.failed,
                ..Operations::default()
            },
            speed: Speed::of_runs(times),
            latency: Latency::new("operation", &latency),
            memory: Some(seen.memory),
            free_at_end: None,
            timeline: Some(seen.timeline),
        })
        .collect())
}
