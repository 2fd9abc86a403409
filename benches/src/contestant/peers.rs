//! Allocators from the registry, as [`Peer`]s.

use std::ops::Range;

use buddy_system_allocator::FrameAllocator;
use offset_allocator::{Allocation, Allocator};
use range_alloc::RangeAllocator;
use vm_allocator::{AddressAllocator, AllocPolicy, RangeInclusive};

use super::{FreeRuns, Peer};

/// `buddy_system_allocator`: a set of free blocks for each power of two; sizes are rounded up to one.
pub struct Buddy(FrameAllocator);

/// `offset-allocator`: free ranges in 256 bins by size, neighbours linked; constant time.
pub struct OffsetTable(Allocator);

/// `range-alloc`: a sorted list of free ranges, best fit.
pub struct RangeList(RangeAllocator<u32>);

/// `vm-allocator`: a balanced tree of free and taken ranges, first fit.
pub struct VmTree(AddressAllocator);

impl Peer for Buddy {
    type Held = (usize, u32);

    fn new(granules: u32) -> Self {
        let mut frames = FrameAllocator::new();
        frames.add_frame(0, granules as usize);
        Self(frames)
    }

    #[inline]
    fn alloc(&mut self, granules: u32) -> Option<Self::Held> {
        let first = self.0.alloc(granules as usize)?;
        Some((first, granules))
    }

    #[inline]
    fn free(&mut self, (first, granules): Self::Held) {
        self.0.dealloc(first, granules as usize);
    }

    #[inline]
    fn first(held: &Self::Held) -> usize {
        held.0
    }
}

impl OffsetTable {
    /// Nodes in addition to one for each granule: one that is never handed out, and one that a free uses for a moment.
    const SPARE: u32 = 4;
}

impl Peer for OffsetTable {
    type Held = Allocation;

    fn new(granules: u32) -> Self {
        Self(Allocator::with_max_allocs(granules, granules + Self::SPARE))
    }

    #[inline]
    fn alloc(&mut self, granules: u32) -> Option<Self::Held> {
        self.0.allocate(granules)
    }

    #[inline]
    fn free(&mut self, held: Self::Held) {
        self.0.free(held);
    }

    #[inline]
    fn first(held: &Self::Held) -> usize {
        held.offset as usize
    }

    /// Knows the longest run as the smallest length of its bin, so up to an eighth too short.
    fn free_runs(&self) -> Option<FreeRuns> {
        let regions = self.0.storage_report_full().free_regions;
        let free = || regions.iter().filter(|region| region.count > 0);
        Some(FreeRuns {
            longest: free().map(|region| region.size as usize).max().unwrap_or(0),
            count: free().map(|region| region.count as usize).sum(),
        })
    }
}

impl Peer for RangeList {
    type Held = Range<u32>;

    fn new(granules: u32) -> Self {
        Self(RangeAllocator::new(0..granules))
    }

    #[inline]
    fn alloc(&mut self, granules: u32) -> Option<Self::Held> {
        self.0.allocate_range(granules).ok()
    }

    #[inline]
    fn free(&mut self, held: Self::Held) {
        self.0.free_range(held);
    }

    #[inline]
    fn first(held: &Self::Held) -> usize {
        held.start as usize
    }
}

impl VmTree {
    /// Addresses in a granule. One would not do, because a free looks for neighbours two or more addresses away.
    const UNIT: u64 = 4096;
}

impl Peer for VmTree {
    type Held = RangeInclusive;

    fn new(granules: u32) -> Self {
        // It does not start at 0, because a free looks at the two addresses before.
        let tree = AddressAllocator::new(Self::UNIT, u64::from(granules) * Self::UNIT);
        Self(tree.expect("a range of at least one granule that ends far below 2^64"))
    }

    #[inline]
    fn alloc(&mut self, granules: u32) -> Option<Self::Held> {
        let bytes = u64::from(granules) * Self::UNIT;
        self.0
            .allocate(bytes, Self::UNIT, AllocPolicy::FirstMatch)
            .ok()
    }

    /// Takes the granule that it is given. Its first fit walks past everything that is taken, so filling it would take
    /// minutes.
    fn take_next(&mut self, next: usize) -> Option<Self::Held> {
        let addr = (next as u64 + 1) * Self::UNIT;
        self.0
            .allocate(Self::UNIT, Self::UNIT, AllocPolicy::ExactMatch(addr))
            .ok()
    }

    #[inline]
    fn free(&mut self, held: Self::Held) {
        self.0.free(&held).expect("it was allocated here");
    }

    #[inline]
    fn first(held: &Self::Held) -> usize {
        (held.start() / Self::UNIT - 1) as usize
    }
}
