//! One load on one contestant with a number of threads.

use std::fs;
use std::ops::Add;
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::contestant::{BuildFailure, Contestant, Stage};
use crate::crew::Crew;
use crate::load::{Churn, Large, Load, Pair, PhysOf, Refusal};
use crate::measure::{Measure, Round};
use crate::scene::Taken;
use crate::task::{Task, Work};

/// How long each thread works unmeasured at the start of a round, so that all threads are awake when the first begins
/// to measure.
const LEAD_IN: Duration = Duration::from_micros(300);

/// How many times longer a round is if threads take turns on the processors, so that each thread has several turns.
const OVERSUBSCRIBED: u32 = 2;

/// How long a thread works between two checks of how long the round has lasted.
const BATCH: Duration = Duration::from_micros(50);

/// The part of a round that threads with a processor each may wait for one.
const DISTURBED: f64 = 0.05;

/// The percentiles of latencies.
const PERCENTILES: [(Measure, f64); 3] = [
    (Measure::P50, 0.5),
    (Measure::P99, 0.99),
    (Measure::P999, 0.999),
];

/// How long the preparations may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// For the scene, and again for what the loads hold from the start.
    pub filling: Duration,
    /// For the operations until the pool has settled.
    pub settling: Duration,
}

/// The result of the preparations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Readiness {
    /// The pool is ready.
    Settled,
    /// The pool has not settled, so the rounds will find it unsettled.
    Unsettled,
    /// The loads do not hold what they should, so there is nothing to measure.
    Unfilled,
}

/// A pool and the loads that share it. The types of both are erased: a load is called once for a batch of operations,
/// which it does by itself.
pub struct Cell {
    pool: &'static dyn Stage,
    avail: Option<usize>,
    taken: Taken,
    runners: Vec<Runner>,
    /// Whether a round is a number of operations and a look at the pool, and no time.
    looks: bool,
}

struct Runner {
    load: Box<dyn Load>,
    batch: usize,
}

impl Cell {
    /// Sets the scene of `task` in `pool` before the `deadline`, and makes the load of each thread. The pool lives until
    /// the process ends.
    ///
    /// # Errors
    ///
    /// If the scene cannot be set.
    pub fn new<C: Contestant>(
        pool: C,
        task: &Task,
        deadline: Instant,
    ) -> Result<Self, BuildFailure> {
        let pool: &'static C = Box::leak(Box::new(pool));
        let avail = pool.avail();
        let taken = match task.scene.set(pool, &task.layout, deadline) {
            Ok(taken) => taken,
            Err(failure) => {
                pool.retire();
                return Err(failure);
            }
        };
        let runner = |thread| Runner {
            load: load(pool, task, thread),
            batch: 1,
        };
        Ok(Self {
            pool,
            avail,
            taken,
            runners: (0..task.threads as u64).map(runner).collect(),
            looks: matches!(task.work, Work::Fragments(_)),
        })
    }

    /// Returns the number of threads.
    pub fn threads(&self) -> usize {
        self.runners.len()
    }

    /// Lets each thread take what it holds from the start, and works until the pool has settled, as far as `patience`
    /// allows.
    pub fn prepare(&mut self, crew: &mut Crew, patience: Patience) -> Readiness {
        let ready = self
            .run(crew, move |runner| runner.prepare(patience))
            .into_iter()
            .max()
            .unwrap_or(Readiness::Settled);
        if ready == Readiness::Unfilled {
            self.pool.retire();
        }
        ready
    }

    /// Works for the duration `lasting`, or for the number of operations that the task says.
    pub fn round(&mut self, crew: &mut Crew, lasting: Duration) -> Round {
        if self.looks {
            return self.look(crew);
        }
        if self.runners.len() > crew.processors() {
            return self.oversubscribed_round(crew, lasting);
        }
        let parts = self.run(crew, move |runner| runner.round(lasting));
        let alone = parts.len() == 1;
        let sum = parts.into_iter().fold(Part::default(), Add::add);
        let running = (sum.running.as_secs_f64() / sum.wall.as_secs_f64()).min(1.0);
        let share = if alone { running } else { 1.0 };
        let mut round = sum.round(sum.time.as_secs_f64() * 1e9 * share / sum.operations as f64);
        round.disturbed = !alone && sum.waiting.as_secs_f64() > DISTURBED * sum.wall.as_secs_f64();
        round
    }

    /// Does this many operations in each thread. Returns the mean of their times, or of their shares of the processors'
    /// time if threads outnumber the processors.
    pub fn operations(&mut self, crew: &mut Crew, operations: usize) -> Duration {
        let times = self.run(crew, move |runner| runner.load.run(operations));
        let threads = times.len();
        let mean = times.into_iter().sum::<Duration>() / u32::try_from(threads).unwrap_or(u32::MAX);
        mean.mul_f64((crew.processors() as f64 / threads as f64).min(1.0))
    }

    /// Gives everything back and returns how many operations did not end as expected.
    ///
    /// # Errors
    ///
    /// If the pool is not as free as before.
    pub fn finish(self, crew: &mut Crew) -> Result<u64, String> {
        let loads = self.runners.into_iter().map(|runner| Some(runner.load));
        // Each load is finished on its thread, and dropped before the pool is checked.
        let (_, misses) = crew.run(loads.collect(), |load| {
            load.take().map(|load| load.finish())
        });
        self.taken.give_back(self.pool)?;
        if let (Some(before), Some(after)) = (self.avail, self.pool.avail())
            && before != after
        {
            return Err(format!(
                "{before} bytes were available at the start, {after} at the end"
            ));
        }
        self.pool.retire();
        Ok(misses.into_iter().flatten().sum())
    }

    fn run<R: Send + 'static>(
        &mut self,
        crew: &mut Crew,
        job: impl Fn(&mut Runner) -> R + Clone + Send + 'static,
    ) -> Vec<R> {
        let barrier = Arc::new(Barrier::new(self.runners.len()));
        let (runners, answers) = crew.run(std::mem::take(&mut self.runners), move |runner| {
            barrier.wait();
            job(runner)
        });
        self.runners = runners;
        answers
    }

    /// A round of threads that outnumber the processors. It lasts from the start of the first thread to the end of the
    /// last, because some threads get a processor only after others have worked for a while.
    fn oversubscribed_round(&mut self, crew: &mut Crew, lasting: Duration) -> Round {
        let lasting = lasting * OVERSUBSCRIBED;
        let begin = Arc::new(OnceLock::new());
        let job = {
            let begin = begin.clone();
            move |runner: &mut Runner| runner.work(*begin.get_or_init(Instant::now) + lasting)
        };
        let parts = self.run(crew, job);
        let lasted = begin.get().map_or(Duration::ZERO, Instant::elapsed);
        let sum = parts.into_iter().fold(Part::default(), Add::add);
        let all = lasted.as_secs_f64() * crew.processors() as f64;
        // What the loads do between their timed loops is not part of the operations.
        let timed = sum.time.as_secs_f64() / sum.wall.as_secs_f64();
        sum.round(all * 1e9 * timed / sum.operations as f64)
    }

    /// A round of operations, and a look at the free runs when all threads have done theirs.
    fn look(&mut self, crew: &mut Crew) -> Round {
        let parts = self.run(crew, |runner| {
            let misses = runner.load.misses();
            // Those since the last round are the preparations'.
            runner.load.large();
            let operations = runner.load.cycle();
            runner.load.run(operations);
            (
                operations,
                runner.load.misses() - misses,
                runner.load.large(),
            )
        });
        let (mut operations, mut misses, mut large) = (0, 0, Large::default());
        for part in parts {
            operations += part.0;
            misses += part.1;
            large += part.2;
        }
        let mut figures = vec![
            (Measure::Refused, misses as f64 / operations as f64),
            (
                Measure::LargeRefused,
                large.refused as f64 / large.asked as f64,
            ),
        ];
        if let Some(runs) = self.pool.free_runs() {
            figures.push((Measure::LongestRun, runs.longest as f64));
            figures.push((Measure::FreeRuns, runs.count as f64));
        }
        // Refused requests are figures here, and make the others no less useful.
        Round {
            figures,
            ..Round::default()
        }
    }
}

/// Makes the load of a thread.
fn load<C: Contestant>(pool: &'static C, task: &Task, thread: u64) -> Box<dyn Load> {
    let (handle, layout) = (pool.handle(), &task.layout);
    let churn = |handle, mix| Churn::new(handle, layout, mix, task.threads, thread);
    match task.work {
        Work::Pair { granules } => Box::new(Pair::new(handle, granules * layout.granule())),
        Work::Churn(mix) => Box::new(churn(handle, mix)),
        Work::Latency(mix) => Box::new(churn(handle, mix).with_latencies()),
        Work::Fragments(mix) => Box::new(churn(handle, mix).with_large_requests()),
        Work::PhysOf => Box::new(PhysOf::new(handle, layout, thread)),
        Work::Refusal => Box::new(Refusal::new(handle, layout.granule())),
    }
}

impl Runner {
    fn prepare(&mut self, patience: Patience) -> Readiness {
        if !self.load.prepare(Instant::now() + patience.filling) {
            return Readiness::Unfilled;
        }
        let start = Instant::now();
        // Doubled until it is long enough, and no further, because one operation may take milliseconds. The shorter of
        // two times counts, because a single time may include something that happens once, such as the proof before the
        // first refusal. Batches of one short operation would measure the clock.
        while self.timed_batch().min(self.timed_batch()) < BATCH && self.batch < 1 << 20 {
            self.batch *= 2;
        }
        let mut left = self.load.settling();
        while left > 0 && start.elapsed() < patience.settling {
            self.load.run(self.batch);
            left = left.saturating_sub(self.batch);
        }
        if left == 0 {
            Readiness::Settled
        } else {
            Readiness::Unsettled
        }
    }

    fn timed_batch(&mut self) -> Duration {
        let start = running_time();
        self.load.run(self.batch);
        running_time().saturating_sub(start)
    }

    fn round(&mut self, lasting: Duration) -> Part {
        let start = Instant::now();
        while start.elapsed() < LEAD_IN {
            self.load.run(self.batch);
        }
        self.work(Instant::now() + lasting)
    }

    /// Works until `end`, and does at least one batch.
    fn work(&mut self, end: Instant) -> Part {
        let misses = self.load.misses();
        // Those so far are the lead-in's.
        self.load.latencies();
        let (start, start_running) = (Instant::now(), running_time());
        let start_waiting = waiting_time();
        let mut part = Part::default();
        loop {
            part.time += self.load.run(self.batch);
            part.operations += self.batch;
            if Instant::now() >= end {
                part.wall = start.elapsed();
                part.running = running_time().saturating_sub(start_running);
                part.waiting = waiting_time().saturating_sub(start_waiting);
                part.misses = self.load.misses() - misses;
                part.latencies = self.load.latencies();
                return part;
            }
        }
    }
}

/// A thread's part of a round, or the sum of several.
#[derive(Debug, Clone, Default)]
struct Part {
    operations: usize,
    misses: u64,
    /// Time in operations, by the wall clock.
    time: Duration,
    /// Time from start to end, by the wall clock.
    wall: Duration,
    /// Time on a processor.
    running: Duration,
    /// Time in which the thread could have run, but had no processor. Waiting for a lock is no part of it.
    waiting: Duration,
    /// Nanoseconds of single allocs, if they are timed.
    latencies: Option<Histogram<u32>>,
}

impl Part {
    /// Returns the round of which this is the sum, with this time of an operation.
    fn round(&self, nanoseconds: f64) -> Round {
        let mut figures = vec![(Measure::Time, nanoseconds)];
        if let Some(latencies) = &self.latencies {
            let percentile = |(measure, part)| (measure, latencies.value_at_quantile(part) as f64);
            figures.extend(PERCENTILES.map(percentile));
        }
        Round {
            figures,
            missed: self.misses as f64 / self.operations as f64,
            disturbed: false,
        }
    }
}

impl Add for Part {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let latencies = match (self.latencies, other.latencies) {
            (Some(ours), Some(theirs)) => Some(ours + theirs),
            (ours, theirs) => ours.or(theirs),
        };
        Self {
            operations: self.operations + other.operations,
            misses: self.misses + other.misses,
            time: self.time + other.time,
            wall: self.wall + other.wall,
            running: self.running + other.running,
            waiting: self.waiting + other.waiting,
            latencies,
        }
    }
}

/// Returns how long the calling thread has run on a processor.
fn running_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Returns how long the calling thread has waited for a processor, as far as the system says.
fn waiting_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text
        .split_whitespace()
        .nth(1)
        .and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}
