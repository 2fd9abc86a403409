//! Who is measured.

use std::fmt;

/// A contestant with its algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// One `fetch_or` and one `fetch_and`.
    Floor,
    /// genpool, first fit.
    FirstFit,
    /// genpool, first fit, allocations given back by address.
    FirstFitByAddress,
    /// genpool, threads with start positions of their own.
    ThreadStart,
    /// genpool, through a cache of the thread's own.
    Cached,
    /// genpool, best fit.
    BestFit,
    /// Mutex and plain bitmap, first fit.
    MutexFirstFit,
    /// Mutex and plain bitmap, best fit.
    MutexBestFit,
    /// Mutex and `buddy_system_allocator`.
    Buddy,
    /// Mutex and `range-alloc`.
    RangeAlloc,
    /// Mutex and `offset-allocator`.
    OffsetAllocator,
    /// Mutex and `vm-allocator`.
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

    /// Whether it is genpool.
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
