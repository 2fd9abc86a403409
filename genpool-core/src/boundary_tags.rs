//! Boundary tracking: where each live allocation starts and ends.
//!
//! A record per granule; only the one at an allocation's first granule is used. It is the ownership word of
//! the allocation: whoever exchanges it for an empty one owns the range and may release its bits,
//! so of two racing frees exactly one succeeds, and a free with another start or size finds no
//! such ownership word. The version in it makes a stale ownership word differ from a later one of the same extent in
//! the same chunk (until 2^24 changes at that very start have passed; 2^8 on 32-bit machines).
//!
//! Costs two words a granule, which is why it is asked for in the builder.
//!
//! # Orderings
//!
//! The ownership word carries everything: it is written with `Release` and read with `Acquire`, so who sees it
//! sees the tag, and who shows it saw what the allocation's owner did. Models: `racing tracked frees`,
//! `tracked frees and a new allocation`, `tag vs alloc`.

use crate::memory::{NoMemory, Node, Table};
use crate::sync::{AtomicUsize, Fault, Ordering, seeded};

const LEN_BITS: u32 = if usize::BITS == 64 { 40 } else { 24 };
/// The longest run that a record can hold, hence the largest chunk that can be tracked.
pub(crate) const MAX_TRACKED: usize = (1 << LEN_BITS) - 1;

/// {version, length in granules}; length 0 is "no allocation starts here".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ownership(usize);

impl Ownership {
    pub(crate) fn len(self) -> usize {
        self.0 & MAX_TRACKED
    }

    fn next(self, len: usize) -> Self {
        let version = (self.0 & !MAX_TRACKED).wrapping_add(MAX_TRACKED + 1);
        Self(version | len)
    }
}

/// How long an allocation is: its ownership word where ownership words are kept, else no more than the length in granules.
/// One word, since allocations are moved about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent(usize);

impl Extent {
    pub(crate) fn of_ownership(ownership: Ownership) -> Self {
        Self(ownership.0)
    }

    pub(crate) fn of_len(len: usize) -> Self {
        Self(len)
    }

    /// Where ownership words are kept.
    pub(crate) fn ownership(self) -> Ownership {
        Ownership(self.0)
    }

    /// Where they are not.
    pub(crate) fn len(self) -> usize {
        self.0
    }
}

#[derive(Debug, Default)]
#[cfg_attr(not(genpool_loom), derive(bytemuck::Zeroable))]
#[repr(C)]
struct BoundaryTag {
    ownership: AtomicUsize,
    tag: AtomicUsize,
}

/// The ownership word was not the one that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StaleOwnership;

#[derive(Debug)]
pub(crate) struct BoundaryTags(Table<BoundaryTag>);

impl BoundaryTags {
    pub(crate) fn new(granules: usize, node: Option<Node>) -> Result<Self, NoMemory> {
        Table::zeroed(granules, node).map(Self)
    }

    pub(crate) fn footprint(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// Writes the ownership word of a fresh allocation. The caller has claimed the granules.
    pub(crate) fn open(&self, start: usize, len: usize) -> Ownership {
        let entry = &self.0[start];
        // Relaxed: only the owner of the granule writes here, for nobody shows a closed ownership word, and who
        // owned it before released its bit after closing it.
        let ownership = Ownership(entry.ownership.load(Ordering::Relaxed)).next(len);
        if !seeded(Fault::KeptTag) {
            entry.tag.store(0, Ordering::Relaxed);
        }
        // Release: who sees the ownership word sees the tag (pairs with `get`).
        entry.ownership.store(ownership.0, Ordering::Release);
        ownership
    }

    pub(crate) fn get(&self, start: usize) -> Ownership {
        Ownership(self.0[start].ownership.load(Ordering::Acquire))
    }

    pub(crate) fn tag(&self, start: usize) -> usize {
        self.0[start].tag.load(Ordering::Relaxed)
    }

    pub(crate) fn set_tag(&self, start: usize, tag: usize) {
        self.0[start].tag.store(tag, Ordering::Relaxed);
    }

    /// Exchanges the ownership word that was shown for one of length `len` (0: the allocation is over).
    pub(crate) fn exchange(
        &self,
        start: usize,
        shown: Ownership,
        len: usize,
    ) -> Result<Ownership, StaleOwnership> {
        let next = shown.next(len);
        if seeded(Fault::SharedOwnership) {
            self.0[start].ownership.store(next.0, Ordering::Relaxed);
            return Ok(next);
        }
        // Of two that show the same ownership word one wins. Release: who reads the new ownership word sees what was claimed
        // for it. What the one that is shown stands for was seen when that was read. Relaxed where another
        // is there: nothing is concluded from it.
        // Not caught: loom and Miri take changes of a word in the order in which they are executed, so who
        // frees by the new ownership word never comes before the claim.
        self.0[start]
            .ownership
            .compare_exchange(shown.0, next.0, Ordering::Release, Ordering::Relaxed)
            .map(|_| next)
            .map_err(|_| StaleOwnership)
    }

    /// The first granule of the allocation that covers `granule`, if there is one.
    pub(crate) fn covering(&self, granule: usize) -> Option<(usize, Ownership)> {
        let (start, ownership) = (0..=granule)
            .rev()
            .map(|start| (start, self.get(start)))
            .find(|(_, ownership)| ownership.len() > 0)?;
        (granule - start < ownership.len()).then_some((start, ownership))
    }

    /// Every live allocation as (start, ownership word), upwards.
    pub(crate) fn live(&self) -> impl Iterator<Item = (usize, Ownership)> {
        (0..self.0.len())
            .map(|start| (start, self.get(start)))
            .filter(|(_, ownership)| ownership.len() > 0)
    }
}
