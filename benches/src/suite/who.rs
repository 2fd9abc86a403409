//! The contestants by name.

use std::fmt;

use crate::before;
use crate::call::Call;

/// A contestant with its algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// One `fetch_or` and one `fetch_and`.
    Floor,
    /// genpool.
    Ours(Call),
    /// genpool, `alloc_with(&SpreadFit)`.
    SpreadFit,
    /// genpool at an earlier commit.
    Before(Call),
    /// A plain bitmap under a mutex, first fit.
    MutexFirstFit,
    /// A plain bitmap under a mutex, best fit.
    MutexBestFit,
    /// `buddy_system_allocator` under a mutex.
    Buddy,
    /// `range-alloc` under a mutex.
    RangeAlloc,
    /// `offset-allocator` under a mutex.
    OffsetAllocator,
    /// An `offset-allocator` for each thread, each under a mutex.
    Sharded,
    /// `vm-allocator` under a mutex.
    VmAllocator,
}

impl Who {
    /// The allocators from the registry.
    pub const PEERS: [Self; 5] = [
        Self::Buddy,
        Self::RangeAlloc,
        Self::OffsetAllocator,
        Self::Sharded,
        Self::VmAllocator,
    ];

    /// Returns all contestants, in the order of a table.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Floor]
            .into_iter()
            .chain(Call::ALL.map(Self::Ours))
            .chain([Self::SpreadFit])
            .chain(Call::ALL.map(Self::Before))
            .chain([Self::MutexFirstFit, Self::MutexBestFit])
            .chain(Self::PEERS)
    }

    /// Returns whether the contestant is the present genpool.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Ours(_) | Self::SpreadFit)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Floor => "floor: fetch_or + fetch_and",
            Self::Ours(call) => return f.pad(&format!("genpool, {call}")),
            Self::SpreadFit => "genpool, spread fit",
            Self::Before(call) => return f.pad(&format!("{}, {call}", before::COMMIT)),
            Self::MutexFirstFit => "mutex + plain bitmap, first fit",
            Self::MutexBestFit => "mutex + plain bitmap, best fit",
            Self::Buddy => "mutex + buddy_system_allocator",
            Self::RangeAlloc => "mutex + range-alloc",
            Self::OffsetAllocator => "mutex + offset-allocator",
            Self::Sharded => "mutex + offset-allocator, sharded",
            Self::VmAllocator => "mutex + vm-allocator",
        })
    }
}
