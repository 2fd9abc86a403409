//! One version of the chunk list: immutable, and each made from the one before.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::hazard::Protected;
use crate::chunk::{Chunk, ChunkSpec, State};
use crate::error::AddRefused;
use crate::placement::Algorithm;

/// One immutable version of the chunk list: the pool's chunks and default algorithm at one instant.
pub(crate) struct ChunkList {
    version: usize,
    members: Arc<Members>,
    algorithm: Arc<dyn Algorithm>,
    default: DefaultAlgorithm,
}

/// How `alloc` finds the default algorithm. The first two need no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::NoUninit, bytemuck::CheckedBitPattern)]
#[repr(u32)]
pub(crate) enum DefaultAlgorithm {
    /// First fit, which the code calls directly.
    FirstFit,
    /// The algorithm that the pool was built with.
    BuiltWith,
    /// The algorithm of the current list.
    Other,
}

/// How `alloc` finds the default algorithm, with the version of the list that set it. A later version replaces an
/// earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::NoUninit, bytemuck::CheckedBitPattern)]
#[repr(C, align(8))]
pub(crate) struct DefaultVersion {
    version: u32,
    pub(crate) default: DefaultAlgorithm,
}

impl DefaultVersion {
    /// Returns true if `other` is a later version.
    pub(super) fn is_older_than(self, other: Self) -> bool {
        self.version.wrapping_sub(other.version).cast_signed() < 0
    }
}

/// The chunks of a list.
#[derive(Debug)]
struct Members {
    /// Newest first, which is the order in which they are tried.
    chunks: Vec<Arc<Chunk>>,
    /// Indices into `chunks`, sorted by start address.
    by_start: Vec<u32>,
    /// Permanent chunks that were removed.
    kept: Vec<Arc<Chunk>>,
}

/// Returns an empty list with room for `len` items.
fn list_of<T>(len: usize) -> Result<Vec<T>, AddRefused> {
    let mut list = Vec::new();
    list.try_reserve_exact(len)
        .map_err(|_| AddRefused::NoMemory {
            bytes: len.saturating_mul(size_of::<T>()),
        })?;
    Ok(list)
}

impl Members {
    const EMPTY: Self = Self {
        chunks: Vec::new(),
        by_start: Vec::new(),
        kept: Vec::new(),
    };

    /// Returns this list with `newest`, if given, before the others and without the drained chunks.
    fn next(&self, newest: Option<&Arc<Chunk>>) -> Result<Self, AddRefused> {
        // Each state is read once: a chunk that is drained a moment later stays until the next change.
        let mut gone = list_of(self.chunks.len())?;
        gone.extend(
            self.chunks
                .iter()
                .map(|chunk| chunk.state() == State::Drained),
        );
        let count = gone.iter().filter(|&&gone| gone).count();
        let mut chunks = list_of(self.chunks.len() - count + 1)?;
        let mut kept = list_of(self.kept.len() + count)?;
        kept.extend(self.kept.iter().cloned());
        chunks.extend(newest.cloned());
        for (chunk, gone) in self.chunks.iter().zip(gone) {
            if !gone {
                chunks.push(Arc::clone(chunk));
            } else if chunk.is_permanent() {
                kept.push(Arc::clone(chunk));
            }
        }
        let mut by_start = list_of(chunks.len())?;
        by_start.extend((0..).take(chunks.len()));
        by_start.sort_unstable_by_key(|&at: &u32| chunks[at as usize].start());
        Ok(Self {
            chunks,
            by_start,
            kept,
        })
    }
}

impl ChunkList {
    /// Returns the first version of a list.
    pub(super) fn empty(algorithm: Arc<dyn Algorithm>, default: DefaultAlgorithm) -> Self {
        Self::new(0, Arc::new(Members::EMPTY), algorithm, default)
    }

    fn new(
        version: usize,
        members: Arc<Members>,
        algorithm: Arc<dyn Algorithm>,
        default: DefaultAlgorithm,
    ) -> Self {
        Self {
            version,
            members,
            algorithm,
            default,
        }
    }

    fn with_members(&self, members: Members) -> Self {
        let algorithm = Arc::clone(&self.algorithm);
        Self::new(
            self.version.wrapping_add(1),
            Arc::new(members),
            algorithm,
            self.default,
        )
    }

    /// Returns true if `other` is a later version.
    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        // Versions wrap. Two of them are never half the range apart.
        self.version.wrapping_sub(other.version).cast_signed() < 0
    }

    /// Returns how `alloc` finds the default algorithm of this version.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "compared by wrapping distance"
    )]
    pub(super) fn tag(&self) -> DefaultVersion {
        DefaultVersion {
            version: self.version as u32,
            default: self.default,
        }
    }

    /// Checks that a chunk, valid by itself, can be added to this list.
    pub(crate) fn admits(&self, chunk: &ChunkSpec) -> Result<(), AddRefused> {
        let mut total = chunk.size();
        for other in self.chunks() {
            if other.start() <= chunk.last() && chunk.start() <= other.last() {
                return Err(AddRefused::Overlaps {
                    start: other.start(),
                    size: other.size(),
                });
            }
            total = total
                .checked_add(other.size())
                .ok_or(AddRefused::TotalSize)?;
        }
        Ok(())
    }

    /// Returns this list with `chunk`, which it admits, as the newest and without the drained chunks.
    pub(crate) fn with_chunk(&self, chunk: &Arc<Chunk>) -> Result<Self, AddRefused> {
        Ok(self.with_members(self.members.next(Some(chunk))?))
    }

    /// Returns this list without the drained chunks, or `None` if no chunk is drained.
    pub(crate) fn without_drained(&self) -> Result<Option<Self>, AddRefused> {
        let chunks = &self.members.chunks;
        if chunks.iter().all(|chunk| chunk.state() != State::Drained) {
            return Ok(None);
        }
        Ok(Some(self.with_members(self.members.next(None)?)))
    }

    /// Returns this list with another default algorithm.
    pub(crate) fn with_algorithm(
        &self,
        algorithm: &Arc<dyn Algorithm>,
        default: DefaultAlgorithm,
    ) -> Self {
        let members = Arc::clone(&self.members);
        Self::new(
            self.version.wrapping_add(1),
            members,
            Arc::clone(algorithm),
            default,
        )
    }

    /// Returns the number of permanent chunks, including removed ones. This is the index of the next permanent chunk.
    pub(crate) fn permanent(&self) -> usize {
        let listed = self.listed().filter(|chunk| chunk.is_permanent());
        listed.count() + self.members.kept.len()
    }

    /// Returns true if the chunk is listed, or is kept after its removal.
    pub(super) fn keeps(&self, chunk: &Arc<Chunk>) -> bool {
        let mut all = self.members.chunks.iter().chain(&self.members.kept);
        all.any(|known| Arc::ptr_eq(known, chunk))
    }

    /// Returns all chunks of the list, newest first, including those that were drained since.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Arc<Chunk>> + Clone {
        self.members.chunks.iter()
    }

    /// Returns the chunks that are not drained, newest first.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &Arc<Chunk>> {
        self.listed()
            .filter(|chunk| chunk.state() != State::Drained)
    }

    /// Returns the chunk that is tried first: the newest one that is alive.
    pub(super) fn first_alive(&self) -> Option<&Arc<Chunk>> {
        self.listed().find(|chunk| chunk.state() == State::Alive)
    }

    /// Returns the chunk that contains `addr`, unless it is drained. Logarithmic in the number of chunks.
    pub(crate) fn find(&self, addr: usize) -> Option<&Arc<Chunk>> {
        let Members {
            chunks, by_start, ..
        } = &*self.members;
        let after = by_start.partition_point(|&at| chunks[at as usize].start() <= addr);
        let chunk = &chunks[*by_start[..after].last()? as usize];
        (chunk.contains(addr) && chunk.state() != State::Drained).then_some(chunk)
    }

    pub(crate) fn algorithm(&self) -> &dyn Algorithm {
        &*self.algorithm
    }

    /// Returns the bytes of bookkeeping, including those of the chunks.
    pub(crate) fn footprint(&self) -> usize {
        let members = &*self.members;
        let all = members.chunks.iter().chain(&members.kept);
        size_of::<Protected<Self>>()
            + size_of::<Members>()
            + members.by_start.capacity() * size_of::<u32>()
            + (members.chunks.capacity() + members.kept.capacity()) * size_of::<Arc<Chunk>>()
            + all.map(|chunk| chunk.footprint()).sum::<usize>()
    }
}
