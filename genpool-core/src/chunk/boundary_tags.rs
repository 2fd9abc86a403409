//! Boundary tags: where each live allocation starts and ends.
//!
//! There is a tag per granule; only the one at an allocation's first granule is used. It holds the *ownership word* of
//! the allocation. A thread that exchanges this word for an empty one owns the range and may release its bits. So of
//! two racing frees exactly one succeeds, and a free with another start or size finds no such word. The version in the
//! word tells a stale one from a later one of the same length at the same start (until 2^23 changes at that start have
//! passed; 2^7 on 32-bit machines).
//!
//! Tags cost two words a granule, 16 bytes on 64-bit machines, so a pool has them only if its builder asked for them.
//! Two bits a granule (first and last) would be smaller, but they could not tell two racing frees apart in one step.
//!
//! # Orderings
//!
//! The ownership word carries everything: it is written with `Release` and read with `Acquire`. A thread that sees it
//! sees the user's tag, and a thread that shows it has seen what the allocation's owner did. Models:
//! `racing tracked frees`, `tracked frees and a new allocation`, `tag vs alloc`.

use crate::memory::Table;
#[cfg(feature = "alloc")]
use crate::memory::{NoMemory, Node};
use crate::sync::{AtomicUsize, Fault, Ordering, seeded};
use crate::units::Granule;

const LEN_BITS: u32 = if usize::BITS == 64 { 40 } else { 24 };
/// The longest run that an ownership word can hold, hence the largest chunk that can be tracked.
pub(crate) const MAX_TRACKED: usize = (1 << LEN_BITS) - 1;
/// Set in each ownership word that was written, and in no length of a run: lengths are at most half of what a word
/// holds.
const TRACKED: usize = 1 << (usize::BITS - 1);

/// An ownership word: {tracked, version, length in granules}. Length 0 means that no allocation starts here. A word
/// that was never written means the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ownership(usize);

impl Ownership {
    pub(crate) fn len(self) -> usize {
        self.0 & MAX_TRACKED
    }

    /// Returns the next version of the word, with length `len`.
    fn next(self, len: usize) -> Self {
        let version = (self.0 & !MAX_TRACKED).wrapping_add(MAX_TRACKED + 1);
        Self(TRACKED | version | len)
    }
}

/// The length of an allocation: its ownership word in a chunk with boundary tags, its length in granules in any other
/// chunk. One word, since allocations are moved often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent(usize);

impl Extent {
    /// Creates the extent of an allocation in a chunk with boundary tags.
    pub(crate) fn tracked(ownership: Ownership) -> Self {
        Self(ownership.0)
    }

    /// Creates the extent of an allocation in a chunk without boundary tags. `len` is at most half of what a word can
    /// hold.
    pub(crate) fn untracked(len: usize) -> Self {
        Self(len)
    }

    /// Returns the length in granules.
    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        match self.ownership() {
            Some(ownership) => ownership.len(),
            None => self.0,
        }
    }

    /// Returns the ownership word, if the chunk has boundary tags.
    #[inline(always)]
    pub(crate) fn ownership(self) -> Option<Ownership> {
        (self.0 & TRACKED != 0).then_some(Ownership(self.0))
    }
}

#[derive(Debug, Default)]
#[cfg_attr(not(genpool_loom), derive(bytemuck::Zeroable))]
#[repr(C)]
pub(crate) struct BoundaryTag {
    ownership: AtomicUsize,
    tag: AtomicUsize,
}

/// The ownership word was not the one that the caller showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StaleOwnership;

#[derive(Debug)]
pub(crate) struct BoundaryTags(Table<BoundaryTag>);

#[cfg(not(genpool_loom))]
impl BoundaryTag {
    /// Returns the tag of a granule at which no allocation starts.
    pub(crate) const fn fresh() -> Self {
        Self {
            ownership: AtomicUsize::new(0),
            tag: AtomicUsize::new(0),
        }
    }
}

impl BoundaryTags {
    /// Creates the tags of a chunk in borrowed memory: as many fresh tags as it has granules.
    #[cfg(not(genpool_loom))]
    pub(crate) const fn of(tags: Table<BoundaryTag>) -> Self {
        Self(tags)
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn new(granules: usize, node: Option<Node>) -> Result<Self, NoMemory> {
        Table::zeroed(granules, node).map(Self)
    }

    pub(crate) fn footprint(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// Writes the ownership word of a fresh allocation. The caller has claimed the granules.
    pub(crate) fn open(&self, start: Granule, len: usize) -> Ownership {
        let entry = &self.0[start.0];
        // Relaxed: only the owner of the granule writes here. No thread shows a closed ownership word, and the earlier
        // owner closed it before it released the bit.
        let ownership = Ownership(entry.ownership.load(Ordering::Relaxed)).next(len);
        if !seeded(Fault::KeptTag) {
            entry.tag.store(0, Ordering::Relaxed);
        }
        // Release: a thread that sees the ownership word sees the tag (pairs with `get`).
        entry.ownership.store(ownership.0, Ordering::Release);
        ownership
    }

    pub(crate) fn get(&self, start: Granule) -> Ownership {
        Ownership(self.0[start.0].ownership.load(Ordering::Acquire))
    }

    pub(crate) fn tag(&self, start: Granule) -> usize {
        self.0[start.0].tag.load(Ordering::Relaxed)
    }

    pub(crate) fn set_tag(&self, start: Granule, tag: usize) {
        self.0[start.0].tag.store(tag, Ordering::Relaxed);
    }

    /// Exchanges the ownership word that the caller shows for one of length `len`. Length 0 ends the allocation.
    pub(crate) fn exchange(
        &self,
        start: Granule,
        shown: Ownership,
        len: usize,
    ) -> Result<Ownership, StaleOwnership> {
        let next = shown.next(len);
        if seeded(Fault::SharedOwnership) {
            self.0[start.0].ownership.store(next.0, Ordering::Relaxed);
            return Ok(next);
        }
        // Of two threads that show the same ownership word one wins. Release: a thread that reads the new word sees
        // what was claimed for it. What the shown word stands for was seen when that word was read. Relaxed on failure:
        // nothing is concluded from the other word.
        // Not caught: loom and Miri apply changes of a word in the order in which they are executed, so a thread that
        // frees by the new ownership word never comes before the claim.
        self.0[start.0]
            .ownership
            .compare_exchange(shown.0, next.0, Ordering::Release, Ordering::Relaxed)
            .map(|_| next)
            .map_err(|_| StaleOwnership)
    }

    /// Returns the first granule and the ownership word of the allocation that covers `granule`, if there is one.
    pub(crate) fn covering(&self, granule: Granule) -> Option<(Granule, Ownership)> {
        let (start, ownership) = (0..=granule.0)
            .rev()
            .map(|start| (Granule(start), self.get(Granule(start))))
            .find(|(_, ownership)| ownership.len() > 0)?;
        (granule.0 - start.0 < ownership.len()).then_some((start, ownership))
    }

    /// Returns every live allocation as (start, ownership word), in ascending order.
    pub(crate) fn live(&self) -> impl Iterator<Item = (Granule, Ownership)> {
        (0..self.0.len())
            .map(|start| (Granule(start), self.get(Granule(start))))
            .filter(|(_, ownership)| ownership.len() > 0)
    }
}
