//! One version of the chunk list: immutable once it is published, and made from the one before.
//!
//! The chunks are in trees whose versions share what they have in common (`tree.rs`). So a change costs about as much
//! in a list of many chunks as in one of few.

use super::hazard::Protected;
use super::tree::{ByAge, ByStart, SortBy, Tree};
use crate::chunk::{Chunk, ChunkSpec, State};
use crate::error::AddRefused;
use crate::memory::NoMemory;
use crate::placement::Algorithm;
use crate::sync::{Arc, HighMark};

/// One immutable version of the chunk list: the pool's chunks and default algorithm at one instant.
pub(crate) struct ChunkList {
    version: usize,
    /// The chunks, newest first, which is the order in which they are tried. No two of them overlap.
    by_age: Tree<ByAge>,
    /// The same chunks by address.
    by_start: Tree<ByStart>,
    /// Permanent chunks that were removed.
    kept: Tree<ByAge>,
    /// The number of permanent chunks, including removed ones.
    permanent: usize,
    /// The bytes of all chunks.
    size: usize,
    /// The key of a chunk before which none is alive.
    served_from: HighMark,
    algorithm: Arc<dyn Algorithm>,
    default: DefaultAlgorithm,
}

/// How `alloc` finds the default algorithm. The first two need no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultAlgorithm {
    /// First fit, which the code calls directly.
    FirstFit,
    /// The algorithm that the pool was built with.
    BuiltWith,
    /// The algorithm of the current list.
    Other,
}

/// How `alloc` finds the default algorithm, with the version of the list that set it: {version, default}. A later
/// version replaces an earlier one. One word, because 32-bit machines may have no greater atomics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub(crate) struct DefaultVersion(usize);

impl DefaultVersion {
    /// Bits of the default algorithm.
    const BITS: u32 = 2;
    const DEFAULT: usize = (1 << Self::BITS) - 1;

    fn new(version: usize, default: DefaultAlgorithm) -> Self {
        Self(version << Self::BITS | default as usize)
    }

    /// Returns true if the default algorithm is found in this way. A comparison of bits: to make a value of the enum of
    /// them costs as much as a call.
    #[inline(always)]
    pub(crate) fn is(self, default: DefaultAlgorithm) -> bool {
        self.0 & Self::DEFAULT == default as usize
    }

    /// Returns true if `other` is a later version. Versions wrap; two of them are never half the range apart.
    pub(super) fn is_older_than(self, other: Self) -> bool {
        let (version, others) = (self.0 & !Self::DEFAULT, other.0 & !Self::DEFAULT);
        version.wrapping_sub(others).cast_signed() < 0
    }
}

impl ChunkList {
    /// Returns the first version of a list.
    pub(super) fn empty(algorithm: Arc<dyn Algorithm>, default: DefaultAlgorithm) -> Self {
        Self {
            version: 0,
            by_age: Tree::new(),
            by_start: Tree::new(),
            kept: Tree::new(),
            permanent: 0,
            size: 0,
            served_from: HighMark::new(0),
            algorithm,
            default,
        }
    }

    // ---- making the next version ----

    /// Returns the next version of the list, to be changed. Takes constant time.
    pub(super) fn next(&self) -> Self {
        Self {
            version: self.version.wrapping_add(1),
            by_age: self.by_age.clone(),
            by_start: self.by_start.clone(),
            kept: self.kept.clone(),
            permanent: self.permanent,
            size: self.size,
            served_from: HighMark::new(self.served_from.get()),
            algorithm: Arc::clone(&self.algorithm),
            default: self.default,
        }
    }

    /// Returns the next version of the list, to be changed, without these chunks, as far as they are listed. They are
    /// drained. Returns true with it if there was one. If there is no memory for a list without them, they stay.
    pub(super) fn next_without(&self, drained: &[Arc<Chunk>]) -> (Self, bool) {
        let mut next = self.next();
        let mut changed = false;
        for chunk in drained {
            match next.take_off(chunk) {
                Ok(was_listed) => changed |= was_listed,
                Err(_) => return (self.next(), false),
            }
        }
        (next, changed)
    }

    /// Takes a chunk, which is drained, off the list. Returns true if it was listed. If there is no memory for the list,
    /// it is only good to be dropped. Logarithmic in the number of chunks, as all changes of a list.
    pub(crate) fn take_off(&mut self, chunk: &Arc<Chunk>) -> Result<bool, NoMemory> {
        if !self.by_age.remove(chunk)? {
            return Ok(false);
        }
        self.by_start.remove(chunk)?;
        self.size -= chunk.size();
        if chunk.is_permanent() {
            self.kept.insert(chunk)?;
        }
        Ok(true)
    }

    /// Checks that a chunk, valid by itself, can be added to this list. Takes the drained chunks off the list that are
    /// in its way.
    pub(crate) fn admit(&mut self, spec: &ChunkSpec) -> Result<(), AddRefused> {
        while let Some(other) = self.by_start.at_or_before(spec.last() as u64).cloned()
            && spec.start() <= other.last()
        {
            if other.state() != State::Drained {
                return Err(AddRefused::Overlaps {
                    start: other.start(),
                    size: other.size(),
                });
            }
            self.take_off(&other)?;
        }
        if self.size.checked_add(spec.size()).is_none() {
            // Only if the chunks cover all addresses.
            self.take_off_drained()?;
        }
        let total = self.size.checked_add(spec.size());
        total.map(drop).ok_or(AddRefused::TotalSize)
    }

    /// Takes all drained chunks off the list. Linear in the number of chunks.
    fn take_off_drained(&mut self) -> Result<(), NoMemory> {
        for chunk in self.by_age.clone().iter() {
            if chunk.state() == State::Drained {
                self.take_off(chunk)?;
            }
        }
        Ok(())
    }

    /// Adds a chunk that the list admits as the newest.
    pub(crate) fn add(&mut self, chunk: &Arc<Chunk>) -> Result<(), NoMemory> {
        self.by_age.insert(chunk)?;
        self.by_start.insert(chunk)?;
        self.size += chunk.size();
        self.permanent += usize::from(chunk.is_permanent());
        self.served_from = HighMark::new(ByAge::key(chunk));
        Ok(())
    }

    /// Sets the default algorithm.
    pub(crate) fn set_algorithm(
        &mut self,
        algorithm: &Arc<dyn Algorithm>,
        default: DefaultAlgorithm,
    ) {
        self.algorithm = Arc::clone(algorithm);
        self.default = default;
    }

    // ---- readers ----

    /// Returns true if `other` is a later version.
    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        // Versions wrap. Two of them are never half the range apart.
        self.version.wrapping_sub(other.version).cast_signed() < 0
    }

    /// Returns how `alloc` finds the default algorithm of this version.
    pub(super) fn tag(&self) -> DefaultVersion {
        DefaultVersion::new(self.version, self.default)
    }

    /// Returns the number of permanent chunks, including removed ones. This is the index of the next permanent chunk.
    pub(crate) fn permanent(&self) -> usize {
        self.permanent
    }

    /// Returns the number of listed chunks.
    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Returns true if the chunk is listed. Logarithmic in the number of chunks.
    pub(super) fn lists(&self, chunk: &Chunk) -> bool {
        self.by_age.has(chunk)
    }

    /// Returns true if the chunk is listed, or is kept after its removal. Logarithmic in the number of chunks.
    pub(super) fn keeps(&self, chunk: &Chunk) -> bool {
        self.lists(chunk) || self.kept.has(chunk)
    }

    /// Returns all chunks of the list, newest first, including those that were drained since.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Arc<Chunk>> + Clone {
        self.by_age.iter()
    }

    /// Returns the chunks that are not drained, newest first.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &Arc<Chunk>> {
        self.listed()
            .filter(|chunk| chunk.state() != State::Drained)
    }

    /// Returns the chunk that is tried first: the newest one that is alive.
    pub(super) fn first_alive(&self) -> Option<&Arc<Chunk>> {
        // A chunk that was not alive never will be.
        let mut served = self.by_age.iter_from(self.served_from.get());
        let first = served.find(|chunk| chunk.state() == State::Alive);
        self.served_from
            .raise(first.map_or(u64::MAX, |chunk| ByAge::key(chunk)));
        first
    }

    /// Returns the last chunk that starts at `addr` or before, even if it is drained. Logarithmic in the number of
    /// chunks.
    pub(super) fn at_or_before(&self, addr: usize) -> Option<&Arc<Chunk>> {
        self.by_start.at_or_before(addr as u64)
    }

    /// Returns the chunk that contains `addr`, unless it is drained. Logarithmic in the number of chunks.
    pub(crate) fn find(&self, addr: usize) -> Option<&Arc<Chunk>> {
        let chunk = self.at_or_before(addr)?;
        (chunk.contains(addr) && chunk.state() != State::Drained).then_some(chunk)
    }

    pub(crate) fn algorithm(&self) -> &dyn Algorithm {
        &*self.algorithm
    }

    /// Returns the bytes of bookkeeping, including those of the chunks.
    pub(crate) fn footprint(&self) -> usize {
        let all = self.by_age.iter().chain(self.kept.iter());
        size_of::<Protected<Self>>()
            + self.by_age.footprint()
            + self.by_start.footprint()
            + self.kept.footprint()
            + all.map(|chunk| chunk.footprint()).sum::<usize>()
    }
}
