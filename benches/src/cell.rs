//! One load on one contestant with so many threads.

use std::ops::Add;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::contestant::{BuildFailure, Contestant, Layout};
use crate::crew::Crew;
use crate::load::Load;
use crate::scene::{Scene, Taken};

/// What each thread does unmeasured at the start of a round, so that all are awake when the first begins to measure.
const LEAD_IN: Duration = Duration::from_micros(300);

/// How long a thread works between two looks at how long the round has lasted.
const BATCH: Duration = Duration::from_micros(50);

/// What a round showed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// Nanoseconds per operation and thread. With one thread, which never has to wait for another, time that the
    /// system gave to somebody else is not counted.
    pub nanoseconds: f64,
    /// The part of the round that the threads spent without a processor: because the system gave it to somebody else,
    /// or because they waited for a lock.
    pub idle: f64,
}

/// A cell whose types are forgotten.
pub trait Measured {
    /// How many threads work.
    fn threads(&self) -> usize;

    /// Lets each thread take what it holds from the start, and works until the pool has settled or `limit` is over;
    /// says whether it settled.
    fn prepare(&mut self, crew: &mut Crew, limit: Duration) -> bool;

    /// Works for that long.
    fn round(&mut self, crew: &mut Crew, lasting: Duration) -> Round;

    /// Does so many operations in each thread and answers the mean of their times.
    fn operations(&mut self, crew: &mut Crew, operations: usize) -> Duration;

    /// Gives everything back and answers how many operations did not end as they should.
    ///
    /// # Errors
    ///
    /// When the pool is not as free as it was before.
    fn finish(&mut self, crew: &mut Crew) -> Result<u64, String>;
}

/// A pool and the loads that share it.
pub struct Cell<C: Contestant, L> {
    pool: &'static C,
    avail: usize,
    taken: Option<Taken>,
    seats: Vec<Seat<L>>,
}

struct Seat<L> {
    load: L,
    batch: usize,
}

impl<C: Contestant, L: Load> Cell<C, L> {
    /// Sets the scene in `pool` and makes the load of each thread. The pool lives until the process ends.
    ///
    /// # Errors
    ///
    /// When the scene cannot be set.
    pub fn new(
        pool: C,
        layout: &Layout,
        scene: Scene,
        threads: usize,
        load: impl Fn(C::Handle, u64) -> L,
    ) -> Result<Self, BuildFailure> {
        let pool: &'static C = Box::leak(Box::new(pool));
        let avail = pool.avail();
        let taken = Some(scene.set(pool, layout)?);
        let seat = |thread| Seat {
            load: load(pool.handle(), thread),
            batch: 1,
        };
        Ok(Self {
            pool,
            avail,
            taken,
            seats: (0..threads as u64).map(seat).collect(),
        })
    }

    fn run<R: Send + 'static>(
        &mut self,
        crew: &mut Crew,
        job: impl Fn(&mut Seat<L>) -> R + Clone + Send + 'static,
    ) -> Vec<R> {
        let barrier = Arc::new(Barrier::new(self.seats.len()));
        let (seats, answers) = crew.run(std::mem::take(&mut self.seats), move |seat| {
            barrier.wait();
            job(seat)
        });
        self.seats = seats;
        answers
    }
}

impl<L: Load> Seat<L> {
    fn prepare(&mut self, limit: Duration) -> bool {
        let start = Instant::now();
        self.load.prepare();
        // Doubled until it is long enough, and no further: one operation may take milliseconds.
        while self.timed_batch() < BATCH && self.batch < 1 << 20 {
            self.batch *= 2;
        }
        let mut left = self.load.settling();
        while left > 0 && start.elapsed() < limit {
            self.load.run(self.batch);
            left = left.saturating_sub(self.batch);
        }
        left == 0
    }

    fn timed_batch(&mut self) -> Duration {
        let start = Instant::now();
        self.load.run(self.batch);
        start.elapsed()
    }

    fn round(&mut self, lasting: Duration) -> Part {
        let start = Instant::now();
        while start.elapsed() < LEAD_IN {
            self.load.run(self.batch);
        }
        let (start, start_running) = (Instant::now(), running_time());
        let mut part = Part::default();
        loop {
            part.time += self.load.run(self.batch);
            part.operations += self.batch;
            if start.elapsed() >= lasting {
                part.wall = start.elapsed();
                part.running = running_time().saturating_sub(start_running);
                return part;
            }
        }
    }
}

/// A thread's part of a round, or the sum of several.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    operations: usize,
    /// Time spent in operations, by the wall clock.
    time: Duration,
    /// Time from start to end, by the wall clock.
    wall: Duration,
    /// Time with a processor.
    running: Duration,
}

impl Add for Part {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            operations: self.operations + other.operations,
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

impl<C: Contestant, L: Load> Measured for Cell<C, L> {
    fn threads(&self) -> usize {
        self.seats.len()
    }

    fn prepare(&mut self, crew: &mut Crew, limit: Duration) -> bool {
        self.run(crew, move |seat| seat.prepare(limit))
            .into_iter()
            .all(|settled| settled)
    }

    fn round(&mut self, crew: &mut Crew, lasting: Duration) -> Round {
        let parts = self.run(crew, move |seat| seat.round(lasting));
        let alone = parts.len() == 1;
        let sum = parts.into_iter().fold(Part::default(), Add::add);
        let running = (sum.running.as_secs_f64() / sum.wall.as_secs_f64()).min(1.0);
        let share = if alone { running } else { 1.0 };
        let nanoseconds = sum.time.as_secs_f64() * 1e9 * share / sum.operations as f64;
        Round {
            nanoseconds,
            idle: 1.0 - running,
        }
    }

    fn operations(&mut self, crew: &mut Crew, operations: usize) -> Duration {
        let times = self.run(crew, move |seat| seat.load.run(operations));
        let threads = u32::try_from(times.len()).unwrap_or(u32::MAX);
        times.into_iter().sum::<Duration>() / threads
    }

    fn finish(&mut self, crew: &mut Crew) -> Result<u64, String> {
        self.run(crew, |seat| seat.load.finish());
        if let Some(taken) = self.taken.take() {
            taken.give_back(self.pool)?;
        }
        let (before, after) = (self.avail, self.pool.avail());
        if before != after {
            return Err(format!(
                "{before} bytes were available at the start, {after} at the end"
            ));
        }
        Ok(self.seats.iter().map(|seat| seat.load.misses()).sum())
    }
}
