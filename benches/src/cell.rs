//! One load on one contestant with so many threads.

use std::ops::Add;
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::contestant::{BuildFailure, Contestant, Layout, Stage};
use crate::crew::Crew;
use crate::load::Load;
use crate::scene::{Scene, Taken};

/// What each thread does unmeasured at the start of a round, so that all are awake when the first begins to measure.
const LEAD_IN: Duration = Duration::from_micros(300);

/// How many times longer rounds are in which threads take turns on the processors, so that each has several.
const CROWDED: u32 = 2;

/// How long a thread works between two looks at how long the round has lasted.
const BATCH: Duration = Duration::from_micros(50);

/// What a round showed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// Nanoseconds per operation and thread. With one thread, which never has to wait for another, time that the
    /// system gave to somebody else is not counted.
    ///
    /// With more threads than processors, nanoseconds per operation and processor: what an operation costs of the time
    /// that the processors have, whether they work, switch between threads, or idle because whoever could let the
    /// others go on is stopped. One thread on one processor has the same figure by either definition.
    pub nanoseconds: f64,
    /// The part of the round that the threads, or all processors if those are fewer, spent without work: because the
    /// system gave a processor to somebody else, or because threads waited for a lock.
    pub idle: f64,
    /// The part of the operations that did not end as they should.
    pub missed: f64,
}

/// How long things may take before the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the scene, and again for what the loads hold from the start.
    pub filling: Duration,
    /// For the operations until the pool has settled.
    pub settling: Duration,
}

/// What came of the preparations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// All is ready.
    Settled,
    /// The rounds will find a pool that has not settled yet.
    Unsettled,
    /// The loads do not hold what they should; there is nothing to measure.
    Unfilled,
}

/// A pool and the loads that share it. The types of both are forgotten: a load is called once for a batch of operations,
/// which it does by itself.
pub struct Cell {
    pool: &'static dyn Stage,
    avail: Option<usize>,
    taken: Taken,
    seats: Vec<Seat>,
}

struct Seat {
    load: Box<dyn Load>,
    batch: usize,
}

impl Cell {
    /// Sets the scene in `pool`, before the `deadline`, and makes the load of each thread. The pool lives until the
    /// process ends.
    ///
    /// # Errors
    ///
    /// When the scene cannot be set.
    pub fn new<C: Contestant, L: Load>(
        pool: C,
        layout: &Layout,
        (scene, deadline): (Scene, Instant),
        threads: usize,
        load: impl Fn(C::Handle, u64) -> L,
    ) -> Result<Self, BuildFailure> {
        let pool: &'static C = Box::leak(Box::new(pool));
        let avail = pool.avail();
        let taken = match scene.set(pool, layout, deadline) {
            Ok(taken) => taken,
            Err(failure) => {
                pool.retire();
                return Err(failure);
            }
        };
        let seat = |thread| Seat {
            load: Box::new(load(pool.handle(), thread)),
            batch: 1,
        };
        Ok(Self {
            pool,
            avail,
            taken,
            seats: (0..threads as u64).map(seat).collect(),
        })
    }

    /// How many threads work.
    pub fn threads(&self) -> usize {
        self.seats.len()
    }

    /// Lets each thread take what it holds from the start, and works until the pool has settled, as far as `patience`
    /// allows it.
    pub fn prepare(&mut self, crew: &mut Crew, patience: Patience) -> Readiness {
        let ready = self
            .run(crew, move |seat| seat.prepare(patience))
            .into_iter()
            .max()
            .unwrap_or(Readiness::Settled);
        if ready == Readiness::Unfilled {
            self.pool.retire();
        }
        ready
    }

    /// Works for that long.
    pub fn round(&mut self, crew: &mut Crew, lasting: Duration) -> Round {
        if self.seats.len() > crew.processors() {
            return self.crowded_round(crew, lasting);
        }
        let parts = self.run(crew, move |seat| seat.round(lasting));
        let alone = parts.len() == 1;
        let sum = parts.into_iter().fold(Part::default(), Add::add);
        let running = (sum.running.as_secs_f64() / sum.wall.as_secs_f64()).min(1.0);
        let share = if alone { running } else { 1.0 };
        let nanoseconds = sum.time.as_secs_f64() * 1e9 * share / sum.operations as f64;
        Round {
            nanoseconds,
            idle: 1.0 - running,
            missed: sum.missed(),
        }
    }

    /// Does so many operations in each thread and answers the mean of their times, or of their parts of the processors'
    /// time where they outnumber the processors.
    pub fn operations(&mut self, crew: &mut Crew, operations: usize) -> Duration {
        let times = self.run(crew, move |seat| seat.load.run(operations));
        let threads = times.len();
        let mean = times.into_iter().sum::<Duration>() / u32::try_from(threads).unwrap_or(u32::MAX);
        mean.mul_f64((crew.processors() as f64 / threads as f64).min(1.0))
    }

    /// Gives everything back and answers how many operations did not end as they should.
    ///
    /// # Errors
    ///
    /// When the pool is not as free as it was before.
    pub fn finish(self, crew: &mut Crew) -> Result<u64, String> {
        let loads = self.seats.into_iter().map(|seat| Some(seat.load));
        // Each on its thread, and gone before the pool is looked at.
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
        job: impl Fn(&mut Seat) -> R + Clone + Send + 'static,
    ) -> Vec<R> {
        let barrier = Arc::new(Barrier::new(self.seats.len()));
        let (seats, answers) = crew.run(std::mem::take(&mut self.seats), move |seat| {
            barrier.wait();
            job(seat)
        });
        self.seats = seats;
        answers
    }

    /// A round of threads that outnumber the processors. It lasts from when the first of them begins until the last is
    /// done, for some get a processor only when others have worked for a while.
    fn crowded_round(&mut self, crew: &mut Crew, lasting: Duration) -> Round {
        let lasting = lasting * CROWDED;
        let begin = Arc::new(OnceLock::new());
        let job = {
            let begin = begin.clone();
            move |seat: &mut Seat| seat.work(*begin.get_or_init(Instant::now) + lasting)
        };
        let parts = self.run(crew, job);
        let lasted = begin.get().map_or(Duration::ZERO, Instant::elapsed);
        let sum = parts.into_iter().fold(Part::default(), Add::add);
        let all = lasted.as_secs_f64() * crew.processors() as f64;
        // What the loads do between their timed loops is no part of the operations.
        let timed = sum.time.as_secs_f64() / sum.wall.as_secs_f64();
        Round {
            nanoseconds: all * 1e9 * timed / sum.operations as f64,
            idle: (1.0 - sum.running.as_secs_f64() / all).max(0.0),
            missed: sum.missed(),
        }
    }
}

impl Seat {
    fn prepare(&mut self, patience: Patience) -> Readiness {
        if !self.load.prepare(Instant::now() + patience.filling) {
            return Readiness::Unfilled;
        }
        let start = Instant::now();
        // Doubled until it is long enough, and no further: one operation may take milliseconds. The shorter of two
        // times, for one alone may hold what happens once, such as the proof behind the first refusal; batches of one
        // short operation would measure the clock.
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

    /// Works until `end`, and once at least.
    fn work(&mut self, end: Instant) -> Part {
        let misses = self.load.misses();
        let (start, start_running) = (Instant::now(), running_time());
        let mut part = Part::default();
        loop {
            part.time += self.load.run(self.batch);
            part.operations += self.batch;
            if Instant::now() >= end {
                part.wall = start.elapsed();
                part.running = running_time().saturating_sub(start_running);
                part.misses = self.load.misses() - misses;
                return part;
            }
        }
    }
}

/// A thread's part of a round, or the sum of several.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    operations: usize,
    misses: u64,
    /// Time spent in operations, by the wall clock.
    time: Duration,
    /// Time from start to end, by the wall clock.
    wall: Duration,
    /// Time with a processor.
    running: Duration,
}

impl Part {
    fn missed(&self) -> f64 {
        self.misses as f64 / self.operations as f64
    }
}

impl Add for Part {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            operations: self.operations + other.operations,
            misses: self.misses + other.misses,
            time: self.time + other.time,
            wall: self.wall + other.wall,
            running: self.running + other.running,
        }
    }
}

/// How long the calling thread has had a processor.
fn running_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
