//! Measures a trace on several pools: each is observed once, then all are timed in turn.

use std::time::{Duration, Instant};

use crate::driver::Manner;
use crate::replay::observe::{Observation, observe};
use crate::replay::play::{ReplayError, clocked, timed};
use crate::report::{Entry, Latency, Operations, Speed};
use crate::run::load::histogram;
use crate::size::Grouped;
use crate::space::Look;
use crate::trace::{Step, Trace};

/// The most rounds unless the caller gives a number: enough for quartiles (2026-11).
const ROUNDS: u32 = 11;
/// The time for observing the memory, and again for timing, unless the caller gives a number of rounds: as long as
/// people like to wait (2026-11).
const PATIENCE: Duration = Duration::from_secs(10);
/// With fewer rounds, a note says so, unless the caller asked for them.
const FEW_ROUNDS: usize = 3;
/// The most names of left-out contestants that are listed.
const NAMED: usize = 4;

/// The progress of a command, for a progress bar.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// What is being run.
    pub name: &'a str,
    /// The part of the work that is done, 0 to 1.
    pub part: f64,
    /// The state of the pool, if it was examined.
    pub look: Option<&'a Look>,
}

/// A configuration to play a trace with, and its name.
#[derive(Debug, Clone)]
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) manner: Manner,
}

/// How much to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// This many rounds of the whole trace, however long they take.
    Rounds(u32),
    /// As many rounds, or as much of the trace, as fit: this long for observing, and about twice as long for timing.
    Within(Duration),
}

impl Pace {
    /// The pace that a caller asks for, if at all.
    pub(crate) fn of(repeats: Option<u32>) -> Self {
        repeats.map_or(Self::Within(PATIENCE), Self::Rounds)
    }
}

/// The result of measuring.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    /// An entry for each contestant that could play in time.
    pub(crate) entries: Vec<Entry>,
    /// Notes on what was left out.
    pub(crate) notes: Vec<String>,
}

/// Plays `trace` on all contestants: once to observe the memory, then in rounds. In each round a contestant is timed as
/// a whole, and again by single operations. Each round begins with another contestant, so that a machine that becomes
/// slower or faster affects all of them alike.
pub(crate) fn measure(
    load: &str,
    trace: &Trace,
    contestants: &[Contestant],
    pace: Pace,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Measured, ReplayError> {
    let mut notes = Vec::new();
    let mut steps = trace.steps();
    let seen = loop {
        let seen = look(trace, steps, contestants, pace, progress)?;
        let reached = seen.iter().map(|seen| seen.steps).collect();
        match playable(reached, steps.len()) {
            all if all == steps.len() => break seen,
            fewer => steps = &steps[..fewer],
        }
    };
    if steps.len() < trace.steps().len() {
        notes.push(format!(
            "only the first {} of {} steps are played, as all of them take too long",
            Grouped(steps.len() as u64),
            Grouped(trace.steps().len() as u64)
        ));
    }
    let (mut playing, mut slow) = (Vec::new(), Vec::new());
    for (contestant, seen) in contestants.iter().zip(seen) {
        match seen.steps == steps.len() {
            true => playing.push((contestant, seen)),
            false => slow.push(contestant),
        }
    }
    notes.extend(left_out(&slow));
    let times = time(trace, steps, &playing, pace, progress)?;
    let rounds = times.iter().map(|times| times.runs.len()).max();
    if let (Pace::Within(_), Some(rounds @ 1..FEW_ROUNDS)) = (pace, rounds) {
        let times = if rounds == 1 { "once" } else { "twice" };
        notes.push(format!(
            "timed {times} for want of time: small differences in speed may be chance"
        ));
    }
    let entries = playing
        .into_iter()
        .zip(times)
        .map(|((one, seen), times)| Entry {
            load: load.to_owned(),
            algorithm: one.name.clone(),
            pool: "lock-free",
            order: one.manner.order,
            size: seen.size,
            threads: 1,
            operations: Operations {
                all: seen.counts.operations,
                allocs: seen.counts.allocs,
                failed: seen.counts.failed,
                ..Operations::default()
            },
            speed: Speed::of_runs(times.runs),
            latency: Latency::new("operation", &times.single),
            memory: Some(seen.memory),
            free_at_end: None,
            timeline: Some(seen.timeline),
        });
    Ok(Measured {
        entries: entries.collect(),
        notes,
    })
}

/// Observes all contestants, each in its share of the time.
fn look(
    trace: &Trace,
    steps: &[Step],
    contestants: &[Contestant],
    pace: Pace,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Observation>, ReplayError> {
    let start = Instant::now();
    let mut seen = Vec::new();
    for (done, Contestant { name, manner }) in contestants.iter().enumerate() {
        let share = match pace {
            Pace::Within(patience) => {
                Some(patience.saturating_sub(start.elapsed()) / (contestants.len() - done) as u32)
            }
            Pace::Rounds(_) => None,
        };
        let part = done as f64 / contestants.len() as f64 / 2.0;
        seen.push(observe(trace, steps, *manner, share, &mut |look| {
            let look = Some(look);
            progress(Progress { name, part, look });
        })?);
    }
    Ok(seen)
}

/// Returns how many of `all` steps to play, given how many each contestant reached in time. If half of them reached
/// all, it is all, and those are compared without the others. Otherwise it is half of what half of them reached, so
/// that they reach it again.
fn playable(mut reached: Vec<usize>, all: usize) -> usize {
    reached.sort_unstable();
    match reached.get(reached.len() / 2) {
        Some(&median) if median < all => median / 2,
        Some(_) | None => all,
    }
}

fn left_out(slow: &[&Contestant]) -> Option<String> {
    let name = |one: &&Contestant| format!("{} at order {}", one.name, one.manner.order);
    let mut names: Vec<String> = slow.iter().take(NAMED).map(name).collect();
    if slow.len() > NAMED {
        names.push(format!("{} more", slow.len() - NAMED));
    }
    (!names.is_empty()).then(|| format!("left out, as it takes too long: {}", names.join(", ")))
}

/// The times of one contestant.
struct Times {
    /// Nanoseconds per operation, for each round.
    runs: Vec<f64>,
    /// Single operations, over all rounds.
    single: hdrhistogram::Histogram<u64>,
}

fn time(
    trace: &Trace,
    steps: &[Step],
    playing: &[(&Contestant, Observation)],
    pace: Pace,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Times>, ReplayError> {
    let count = playing.len();
    let fresh = || Times {
        runs: Vec::new(),
        single: histogram(),
    };
    let mut times: Vec<Times> = std::iter::repeat_with(fresh).take(count).collect();
    let most = match pace {
        Pace::Rounds(rounds) => rounds.max(1),
        Pace::Within(_) => ROUNDS,
    };
    let start = Instant::now();
    for round in 0..most {
        // The first round takes about as long as observing did, which was in time. Each further round is assumed to
        // take as long as the mean so far.
        let is_late = |patience| round > 0 && start.elapsed() / round * (round + 1) > patience;
        if matches!(pace, Pace::Within(patience) if is_late(patience)) {
            break;
        }
        for turn in 0..count {
            let at = (turn + round as usize) % count;
            let Contestant { name, manner } = playing[at].0;
            let done = f64::from(round) + turn as f64 / count as f64;
            progress(Progress {
                name,
                part: 0.5 + done / f64::from(most) / 2.0,
                look: None,
            });
            let (counts, time) = timed(trace, steps, *manner)?;
            if counts.operations > 0 {
                let ns = time.as_nanos() as f64 / counts.operations as f64;
                times[at].runs.push(ns);
            }
            clocked(trace, steps, *manner, &mut times[at].single)?;
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::AlgorithmSpec;
    use crate::driver::Choice;

    #[test]
    fn what_is_playable_is_what_half_of_them_reach() {
        assert_eq!(playable(vec![], 10), 10);
        assert_eq!(playable(vec![10], 10), 10);
        assert_eq!(playable(vec![1], 10), 0);
        assert_eq!(playable(vec![10, 2, 10], 10), 10);
        assert_eq!(playable(vec![6, 2, 10], 10), 3);
        assert_eq!(playable(vec![2, 10], 10), 10);
    }

    /// Plays a trace that is much too long for its time, followed by more lines.
    fn cut(rest: &str) -> Result<Measured, ReplayError> {
        const PAIRS: usize = 200_000;
        let pair = |id| format!("alloc {id} size=1\nfree {id}\n");
        let pairs: String = (0..PAIRS).map(pair).collect();
        let head = "# genpool trace v1\npool order=4\nchunk virt=0 size=0x100\n";
        let trace = Trace::parse(&format!("{head}{pairs}{rest}")).unwrap();
        let contestant = |spec: AlgorithmSpec| Contestant {
            name: spec.to_string(),
            manner: Manner {
                order: 4,
                choice: Choice::All(spec),
            },
        };
        let contestants = [AlgorithmSpec::FirstFit, AlgorithmSpec::BestFit].map(contestant);
        let pace = Pace::Within(Duration::from_millis(4));
        measure("a", &trace, &contestants, pace, &mut |_| ())
    }

    #[test]
    fn a_chunk_that_wraps_is_refused_also_where_it_is_not_reached() {
        let error = cut("chunk virt=0xfffffffffffffff0 size=0x20\n").unwrap_err();
        let ReplayError::Trace(error) = error else {
            panic!("{error}");
        };
        assert_eq!(error.line(), 400_004);
        assert!(error.what().contains("wraps around"), "{error}");
    }

    #[test]
    fn a_trace_that_is_played_whole_has_no_notes() {
        let text = "# genpool trace v1\npool order=4\nchunk virt=0 size=0x100\nalloc 1 size=1\n";
        let trace = Trace::parse(text).unwrap();
        let contestant = Contestant {
            name: "a".to_owned(),
            manner: Manner::recorded(&trace, AlgorithmSpec::FirstFit),
        };
        let pace = Pace::Rounds(1);
        let found = measure("a", &trace, &[contestant], pace, &mut |_| ()).unwrap();
        assert!(found.notes.is_empty(), "{:?}", found.notes);
    }

    #[test]
    fn a_trace_that_takes_too_long_is_cut_for_all_alike() {
        let found = cut("").unwrap();
        assert!(
            found.notes[0].contains("of 400,001 steps are played"),
            "{:?}",
            found.notes
        );
        let all: Vec<u64> = found.entries.iter().map(|one| one.operations.all).collect();
        assert!(
            !all.is_empty() && all.iter().all(|&n| n == all[0] && n < 400_000),
            "{all:?}"
        );
    }

    #[test]
    fn algorithms_that_are_left_out_are_named() {
        let contestant = |n: u32| Contestant {
            name: format!("a{n}"),
            manner: Manner {
                order: n,
                choice: Choice::All(AlgorithmSpec::FirstFit),
            },
        };
        let slow: Vec<Contestant> = (1..8).map(contestant).collect();
        let slow: Vec<&Contestant> = slow.iter().collect();
        assert_eq!(left_out(&[]), None);
        let text = left_out(&slow[..NAMED]).unwrap();
        assert!(text.ends_with("a3 at order 3, a4 at order 4"), "{text}");
        let text = left_out(&slow).unwrap();
        assert!(
            text.ends_with("a3 at order 3, a4 at order 4, 3 more"),
            "{text}"
        );
    }
}
