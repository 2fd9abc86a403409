//! What a thread does with a pool, over and over.

mod churn;
mod pair;
mod phys;
mod refusal;

use std::time::{Duration, Instant};

pub use churn::Churn;
pub use pair::Pair;
pub use phys::PhysOf;
pub use refusal::Refusal;

/// A thread's part of a measurement. Every method runs on the thread that the load belongs to.
pub trait Load: Send + 'static {
    /// Takes what the load holds from the start, and says whether there was room for it and time before the `deadline`.
    fn prepare(&mut self, _deadline: Instant) -> bool {
        true
    }

    /// How many operations bring the pool into the state in which it stays.
    fn settling(&self) -> usize {
        0
    }

    /// Does so many operations and answers the time that they took.
    fn run(&mut self, operations: usize) -> Duration;

    /// Gives everything back, what the handle keeps for itself included, and answers the [misses](Self::misses).
    fn finish(self: Box<Self>) -> u64 {
        self.misses()
    }

    /// How many operations did not end as they should: there was room, and an alloc failed, or the reverse.
    fn misses(&self) -> u64;
}
