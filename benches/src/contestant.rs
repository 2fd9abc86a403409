//! The pools that are compared.
//!
//! A [`Contestant`] is the shared pool, and a [`Stage`] where scenes are set. A [`Handle`] is what one thread works
//! through: a plain reference for most, and room for a cache of the thread's own, which gives back what it keeps when
//! it is dropped. Timed loops are compiled for each handle type, so that no call in them is dynamic.

mod floor;
mod locked;
mod mutexed;
mod ours;
mod peers;

use std::fmt;

use crate::rng::Rng;

pub use floor::Floor;
pub use locked::Locked;
pub use mutexed::{Mutexed, Peer};
pub use ours::{By, ByAddress, Ours, Plain, ThroughCache, Way, bookkeeping};
pub use peers::{Buddy, OffsetTable, RangeList, VmTree};

/// One thread's access to a pool.
pub trait Handle: Send + 'static {
    /// An allocation.
    type Held: Send + 'static;

    /// Takes `bytes`.
    fn alloc(&mut self, bytes: usize) -> Option<Self::Held>;

    /// Gives an allocation back.
    fn free(&mut self, held: Self::Held);

    /// Where an allocation lies.
    fn addr(held: &Self::Held) -> usize;

    /// The physical address that belongs to `addr`.
    fn phys_of(&mut self, addr: usize) -> Option<u64>;
}

/// A pool as a scene meets it, outside of any timing.
pub trait Stage: Sync {
    /// Free bytes, if the pool can tell.
    fn avail(&self) -> Option<usize>;

    /// Takes `bytes` and answers the address.
    fn take(&self, bytes: usize) -> Option<usize>;

    /// Gives `bytes` at `addr` back, which may be a part of what [`take`](Self::take) gave if the pool
    /// [can do that](Self::frees_parts).
    fn give(&self, addr: usize, bytes: usize) -> Result<(), String>;

    /// Whether a part of an allocation can be given back.
    fn frees_parts(&self) -> bool {
        true
    }

    /// Lets go of memory, since nobody will use the pool again.
    fn retire(&self) {}
}

/// A pool that threads share. Pools live until the process ends: the threads of a [`Crew`](crate::crew::Crew)
/// outlive every scope.
pub trait Contestant: Stage + 'static {
    /// What a thread works through.
    type Handle: Handle;

    /// A new handle.
    fn handle(&'static self) -> Self::Handle;
}

/// The memory that a pool manages. It does not exist: a pool never touches what it manages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// A granule has `1 << order` bytes.
    pub order: u32,
    /// Granules in all chunks.
    pub granules: usize,
    /// How many chunks they are spread over, evenly.
    pub chunks: usize,
}

/// Why a contestant could not be built.
#[derive(Debug)]
pub enum BuildFailure {
    /// It, or its pool, refused something.
    Refused(String),
    /// To set the scene would have taken longer than it may.
    TooSlow,
}

impl fmt::Display for BuildFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => write!(f, "a contestant could not be built: {reason}"),
            Self::TooSlow => f.write_str("a contestant took too long to build"),
        }
    }
}

impl std::error::Error for BuildFailure {}

impl BuildFailure {
    /// A failure with this reason.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self::Refused(reason.to_string())
    }
}

impl Layout {
    /// Bytes in a granule.
    pub fn granule(&self) -> usize {
        1 << self.order
    }

    /// Bytes in all chunks.
    pub fn bytes(&self) -> usize {
        self.granules << self.order
    }

    /// Granules in one chunk.
    pub fn chunk_granules(&self) -> usize {
        self.granules / self.chunks
    }

    /// The first address of each chunk, by address, with as much room between two chunks as they are long.
    pub fn starts(&self) -> Vec<usize> {
        let stride = (2 * self.chunk_granules()) << self.order;
        // The first start is as much aligned as any allocation can ask for, and is not 0.
        let first = (self.chunks * stride).next_power_of_two();
        (0..self.chunks)
            .map(|index| first + index * stride)
            .collect()
    }

    /// The physical address given to the chunk at `start`.
    pub fn phys(start: usize) -> u64 {
        start as u64 ^ (1 << 62)
    }

    /// The first address of each chunk, oldest first; that is not the order of the addresses.
    pub fn by_age(&self) -> Vec<usize> {
        let mut starts = self.starts();
        Rng::new(1).shuffle(&mut starts);
        starts
    }

    /// Calls `add` with start, physical address and size of each chunk, oldest first.
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
