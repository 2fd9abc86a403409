//! What a thread does with a pool, repeatedly.

mod churn;
mod pair;
mod phys;
mod refusal;

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

pub use churn::Churn;
pub use pair::Pair;
pub use phys::PhysOf;
pub use refusal::Refusal;

/// A thread's part of a measurement. Every method runs on the load's own thread.
pub trait Load: Send + 'static {
    /// Takes what the load holds from the start. Returns whether there was room for it, and time before the `deadline`.
    fn prepare(&mut self, _deadline: Instant) -> bool {
        true
    }

    /// Returns how many operations bring the pool into its steady state.
    fn settling(&self) -> usize {
        0
    }

    /// Returns how many operations touch as much as the load holds.
    fn cycle(&self) -> usize {
        1
    }

    /// Does this many operations. Returns the time that they took.
    fn run(&mut self, operations: usize) -> Duration;

    /// Gives everything back, including what the handle keeps, and returns the [misses](Self::misses).
    fn finish(self: Box<Self>) -> u64 {
        self.misses()
    }

    /// Returns how many operations did not end as expected: an alloc failed although there was room, or the reverse.
    fn misses(&self) -> u64;

    /// Returns the large requests among the operations since the last call.
    fn large(&mut self) -> Large {
        Large::default()
    }

    /// Returns the nanoseconds of each alloc since the last call, if the load times single allocs.
    fn latencies(&mut self) -> Option<Histogram<u32>> {
        None
    }
}

/// The large requests among small ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Large {
    /// How many there were.
    pub asked: u64,
    /// How many found no room.
    pub refused: u64,
}

impl AddAssign for Large {
    fn add_assign(&mut self, other: Self) {
        self.asked += other.asked;
        self.refused += other.refused;
    }
}
