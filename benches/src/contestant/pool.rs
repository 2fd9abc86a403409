//! What every contestant is: a pool, and the handles of threads on it.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::rng::Rng;

/// One thread's access to a pool.
pub trait Handle: Send + 'static {
    /// An allocation.
    type Held: Send + 'static;

    /// Allocates `bytes` bytes.
    fn alloc(&mut self, bytes: usize) -> Option<Self::Held>;

    /// Gives an allocation back.
    fn free(&mut self, held: Self::Held);

    /// Returns the address of an allocation.
    fn addr(held: &Self::Held) -> usize;

    /// Returns the physical address of `addr`.
    fn phys_of(&mut self, addr: usize) -> Option<u64>;
}

/// A pool as a scene sees it, outside any timing.
pub trait Stage: Sync {
    /// Returns the number of free bytes, if the pool knows it.
    fn avail(&self) -> Option<usize>;

    /// Takes `bytes` bytes and returns the address.
    fn take(&self, bytes: usize) -> Option<usize>;

    /// Gives back `bytes` bytes at `addr`. They may be a part of what [`take`](Self::take) returned if the pool [can do
    /// that](Self::frees_parts).
    fn give(&self, addr: usize, bytes: usize) -> Result<(), String>;

    /// Returns whether a part of an allocation can be given back.
    fn frees_parts(&self) -> bool {
        true
    }

    /// Returns how the free granules lie, if the pool knows it. No thread uses the pool during the call.
    fn free_runs(&self) -> Option<FreeRuns> {
        None
    }

    /// Releases memory, because the pool will not be used again.
    fn retire(&self) {}
}

/// How the free granules of a pool lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreeRuns {
    /// The granules of the longest free run.
    pub longest: usize,
    /// The number of free runs.
    pub count: usize,
}

/// A pool that threads share. Pools live until the process ends, because the threads of a [`Crew`](crate::crew::Crew)
/// outlive every scope.
pub trait Contestant: Stage + 'static {
    /// The type through which a thread works.
    type Handle: Handle;

    /// Makes a handle.
    fn handle(&'static self) -> Self::Handle;
}

/// The memory that a pool manages. It does not exist, because a pool never touches what it manages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// A granule has `1 << order` bytes.
    pub order: u32,
    /// Granules in all chunks.
    pub granules: usize,
    /// The number of chunks over which they are spread evenly.
    pub chunks: usize,
}

/// Why a contestant could not be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildFailure {
    /// The contestant, or its pool, refused something.
    #[error("a contestant could not be built: {0}")]
    Refused(String),
    /// Setting the scene would have taken longer than allowed.
    #[error("a contestant took too long to build")]
    TooSlow,
    /// The contestant is not part of this build, or its program is not there.
    #[error("a contestant is not there")]
    Absent,
}

impl BuildFailure {
    /// Makes a failure with this reason.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self::Refused(reason.to_string())
    }
}

impl Layout {
    /// Returns the number of bytes in a granule.
    pub fn granule(&self) -> usize {
        1 << self.order
    }

    /// Returns the number of bytes in all chunks.
    pub fn bytes(&self) -> usize {
        self.granules << self.order
    }

    /// Returns the number of granules in one chunk.
    pub fn chunk_granules(&self) -> usize {
        self.granules / self.chunks
    }

    /// Returns the first address of each chunk, sorted, with gaps as long as the chunks.
    pub fn starts(&self) -> Vec<usize> {
        let stride = (2 * self.chunk_granules()) << self.order;
        // The first start is aligned to the largest alignment that an allocation can ask for, and is not 0.
        let first = (self.chunks * stride).next_power_of_two();
        (0..self.chunks)
            .map(|index| first + index * stride)
            .collect()
    }

    /// Returns the physical address of the chunk at `start`.
    pub fn phys(start: usize) -> u64 {
        start as u64 ^ (1 << 62)
    }

    /// Returns the first address of each chunk, oldest first, which is not the order of the addresses.
    pub fn by_age(&self) -> Vec<usize> {
        let mut starts = self.starts();
        Rng::new(1).shuffle(&mut starts);
        starts
    }

    /// Calls `add` with the start, physical address and size of each chunk, oldest first.
    pub(crate) fn add_to<E: fmt::Display>(
        &self,
        mut add: impl FnMut(usize, u64, usize) -> Result<(), E>,
    ) -> Result<(), BuildFailure> {
        let size = self.chunk_granules() << self.order;
        self.by_age()
            .into_iter()
            .try_for_each(|start| add(start, Self::phys(start), size).map_err(BuildFailure::new))
    }
}
