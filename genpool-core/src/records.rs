//! Boundary tracking: where each live allocation starts and ends.
//!
//! A record per granule; only the one at an allocation's first granule is used. It is the deed of
//! the allocation: whoever exchanges it for an empty one owns the range and may release its bits,
//! so of two racing frees exactly one succeeds, and a free with another start or size finds no
//! such deed. The version in it makes a stale deed differ from a later one of the same extent in
//! the same chunk (until 2^24 changes at that very start have passed; 2^8 on 32-bit machines).
//!
//! Costs two words a granule, which is why it is asked for in the builder.
//!
//! # Orderings
//!
//! The deed carries everything: it is written with `Release` and read with `Acquire`, so who sees it
//! sees the tag, and who shows it saw what the allocation's owner did. Models: `racing tracked frees`,
//! `tracked frees and a new allocation`, `tag beside alloc`.

use crate::memory::{NoMemory, Node, Table};
use crate::sync::{AtomicUsize, Fault, Ordering, seeded};

const LEN_BITS: u32 = if usize::BITS == 64 { 40 } else { 24 };
/// The longest run that a record can hold, hence the largest chunk that can be tracked.
pub(crate) const MAX_TRACKED: usize = (1 << LEN_BITS) - 1;

/// {version, length in granules}; length 0 is "no allocation starts here".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deed(usize);

impl Deed {
    pub(crate) fn len(self) -> usize {
        self.0 & MAX_TRACKED
    }

    fn next(self, len: usize) -> Self {
        let version = (self.0 & !MAX_TRACKED).wrapping_add(MAX_TRACKED + 1);
        Self(version | len)
    }
}

/// How long an allocation is: its deed where deeds are kept, else no more than the length in granules.
/// One word, since allocations are moved about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent(usize);

impl Extent {
    pub(crate) fn of_deed(deed: Deed) -> Self {
        Self(deed.0)
    }

    pub(crate) fn of_len(len: usize) -> Self {
        Self(len)
    }

    /// Where deeds are kept.
    pub(crate) fn deed(self) -> Deed {
        Deed(self.0)
    }

    /// Where they are not.
    pub(crate) fn len(self) -> usize {
        self.0
    }
}

#[derive(Debug, Default)]
#[cfg_attr(not(genpool_loom), derive(bytemuck::Zeroable))]
#[repr(C)]
struct Record {
    deed: AtomicUsize,
    tag: AtomicUsize,
}

/// The deed was not the one that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OtherDeed;

#[derive(Debug)]
pub(crate) struct Records(Table<Record>);

impl Records {
    pub(crate) fn new(granules: usize, node: Option<Node>) -> Result<Self, NoMemory> {
        Table::zeroed(granules, node).map(Self)
    }

    pub(crate) fn footprint(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// Writes the deed of a fresh allocation. The caller has claimed the granules.
    pub(crate) fn open(&self, start: usize, len: usize) -> Deed {
        let record = &self.0[start];
        // Relaxed: only the owner of the granule writes here, for nobody shows a closed deed, and who
        // owned it before released its bit after closing it.
        let deed = Deed(record.deed.load(Ordering::Relaxed)).next(len);
        if !seeded(Fault::KeptTag) {
            record.tag.store(0, Ordering::Relaxed);
        }
        // Release: who sees the deed sees the tag (pairs with `get`).
        record.deed.store(deed.0, Ordering::Release);
        deed
    }

    pub(crate) fn get(&self, start: usize) -> Deed {
        Deed(self.0[start].deed.load(Ordering::Acquire))
    }

    pub(crate) fn tag(&self, start: usize) -> usize {
        self.0[start].tag.load(Ordering::Relaxed)
    }

    pub(crate) fn set_tag(&self, start: usize, tag: usize) {
        self.0[start].tag.store(tag, Ordering::Relaxed);
    }

    /// Exchanges the deed that was shown for one of length `len` (0: the allocation is over).
    pub(crate) fn exchange(
        &self,
        start: usize,
        shown: Deed,
        len: usize,
    ) -> Result<Deed, OtherDeed> {
        let next = shown.next(len);
        if seeded(Fault::SharedDeed) {
            self.0[start].deed.store(next.0, Ordering::Relaxed);
            return Ok(next);
        }
        // Of two that show the same deed one wins. Release: who reads the new deed sees what was claimed
        // for it. What the one that is shown stands for was seen when that was read. Relaxed where another
        // is there: nothing is concluded from it.
        // Not caught: loom and Miri take changes of a word in the order in which they are executed, so who
        // frees by the new deed never comes before the claim.
        self.0[start]
            .deed
            .compare_exchange(shown.0, next.0, Ordering::Release, Ordering::Relaxed)
            .map(|_| next)
            .map_err(|_| OtherDeed)
    }

    /// The first granule of the allocation that covers `granule`, if there is one.
    pub(crate) fn covering(&self, granule: usize) -> Option<(usize, Deed)> {
        let (start, deed) = (0..=granule)
            .rev()
            .map(|start| (start, self.get(start)))
            .find(|(_, deed)| deed.len() > 0)?;
        (granule - start < deed.len()).then_some((start, deed))
    }

    /// Every live allocation as (start, deed), upwards.
    pub(crate) fn live(&self) -> impl Iterator<Item = (usize, Deed)> {
        (0..self.0.len())
            .map(|start| (start, self.get(start)))
            .filter(|(_, deed)| deed.len() > 0)
    }
}
