//! What a cell does, whatever the contestant.

use serde::{Deserialize, Serialize};

use crate::contestant::Layout;
use crate::scene::Scene;

/// A load, the pool that it runs on, and the number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// How many threads share the pool.
    pub threads: usize,
    /// The memory that the pool manages.
    pub layout: Layout,
    /// What is taken beforehand.
    pub scene: Scene,
    /// What each thread does.
    pub work: Work,
}

/// The work of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Work {
    /// Alloc and free of `granules` granules.
    Pair {
        /// The length.
        granules: usize,
    },
    /// Free of a random allocation and alloc of another.
    Churn(Mix),
    /// The same, with each alloc timed by itself.
    Latency(Mix),
    /// The same, in rounds of as many operations as there are allocations, each followed by a look at the free runs.
    Fragments(Mix),
    /// Look-up of a physical address.
    PhysOf,
    /// An alloc of one granule that fails.
    Refusal,
}

/// What churn holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    /// How much of the pool all threads hold, in thousandths.
    pub per_mille: usize,
    /// The largest allocation in granules. The smallest is one.
    pub largest: usize,
}
