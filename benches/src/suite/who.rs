//! The contestants by name.

use std::fmt;

/// A contestant with its algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// One `fetch_or` and one `fetch_and`.
    Floor,
    /// genpool, first fit.
    FirstFit,
    /// genpool, first fit, with frees by address.
    FirstFitByAddress,
    /// genpool, with a start position for each thread.
    ThreadStart,
    /// genpool, through a cache for each thread.
    Cached,
    /// genpool, best fit.
    BestFit,
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
    /// `vm-allocator` under a mutex.
    VmAllocator,
}

impl Who {
    /// All contestants, in the order of a table.
    pub const ALL: [Self; 12] = [
        Self::Floor,
        Self::FirstFit,
        Self::FirstFitByAddress,
        Self::ThreadStart,
        Self::Cached,
        Self::BestFit,
        Self::MutexFirstFit,
        Self::MutexBestFit,
        Self::Buddy,
        Self::RangeAlloc,
        Self::OffsetAllocator,
        Self::VmAllocator,
    ];

    /// The allocators from the registry.
    pub const PEERS: [Self; 4] = [
        Self::Buddy,
        Self::RangeAlloc,
        Self::OffsetAllocator,
        Self::VmAllocator,
    ];

    /// Returns whether the contestant is genpool.
    pub fn is_ours(self) -> bool {
        matches!(
            self,
            Self::FirstFit
                | Self::FirstFitByAddress
                | Self::ThreadStart
                | Self::Cached
                | Self::BestFit
        )
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Floor => "floor: fetch_or + fetch_and",
            Self::FirstFit => "genpool, first fit",
            Self::FirstFitByAddress => "genpool, first fit, free by address",
            Self::ThreadStart => "genpool, thread start",
            Self::Cached => "genpool, cache",
            Self::BestFit => "genpool, best fit",
            Self::MutexFirstFit => "mutex + plain bitmap, first fit",
            Self::MutexBestFit => "mutex + plain bitmap, best fit",
            Self::Buddy => "mutex + buddy_system_allocator",
            Self::RangeAlloc => "mutex + range-alloc",
            Self::OffsetAllocator => "mutex + offset-allocator",
            Self::VmAllocator => "mutex + vm-allocator",
        })
    }
}
