//! Errors of adding and removing chunks.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use thiserror::Error;

#[cfg(feature = "alloc")]
use crate::chunk::spec::ChunkSpec;
use crate::memory::NoMemory;

/// Why a chunk was not added. The pool is unchanged, and `chunk` returns the chunk with its owner.
///
/// ```
/// use genpool::{AddRefused, ChunkSpec, Pool};
///
/// let pool = Pool::new(12)?;
/// let refused = pool.add_chunk(ChunkSpec::new(0x1800, 0x2000).owner("bank 0")).unwrap_err();
/// assert_eq!(refused.reason, AddRefused::MisalignedStart { granule: 4096 });
/// assert!(refused.chunk.into_owner().is_some()); // nothing is lost
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "alloc")]
#[derive(Debug, Error)]
#[error("chunk of {:#x} bytes at {:#x}: {reason}", chunk.size(), chunk.start())]
pub struct AddError {
    /// The rule that the chunk breaks.
    pub reason: AddRefused,
    /// The chunk as it was given.
    pub chunk: ChunkSpec,
}

/// Why [`Pool::add_many`](crate::Pool::add_many) added no chunk. The pool is unchanged, and `chunks` returns the chunks
/// with their owners.
///
/// ```
/// use genpool::{AddRefused, ChunkSpec, Pool};
///
/// let pool = Pool::new(12)?;
/// let chunks = vec![ChunkSpec::new(0x1000, 0x2000), ChunkSpec::new(0x4000, 0)];
/// let refused = pool.add_many(chunks).unwrap_err();
/// assert_eq!((refused.at, refused.reason), (1, AddRefused::ZeroSize));
/// assert_eq!(refused.chunks.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "alloc")]
#[derive(Debug, Error)]
#[error("chunk number {at} of {}: {reason}", chunks.len())]
pub struct AddManyError {
    /// The index of the chunk that was refused.
    pub at: usize,
    /// The rule that it breaks. The chunk that it [overlaps](AddRefused::Overlaps) may be an earlier one of the call.
    pub reason: AddRefused,
    /// All chunks as they were given.
    pub chunks: Vec<ChunkSpec>,
}

/// The rule that a chunk breaks.
///
/// ```
/// use genpool::{AddRefused, Pool};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// let reason = |start, size| pool.add(start, size).unwrap_err().reason;
/// assert_eq!(reason(0x8000, 0), AddRefused::ZeroSize);
/// assert_eq!(reason(0x4000, 0x1000), AddRefused::Overlaps { start: 0x1000, size: 0x4000 });
/// assert_eq!(reason(usize::MAX & !0xfff, 0x2000), AddRefused::Wraps);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddRefused {
    /// Its size is zero.
    #[error("a chunk has at least one granule")]
    ZeroSize,
    /// Its start is not a multiple of the granule.
    #[error("the start is not a multiple of the granule of {granule:#x} bytes")]
    MisalignedStart {
        /// The granule in bytes.
        granule: usize,
    },
    /// Its size is not a multiple of the granule.
    #[error("the size is not a multiple of the granule of {granule:#x} bytes")]
    MisalignedSize {
        /// The granule in bytes.
        granule: usize,
    },
    /// It does not end inside the address space.
    #[error("it wraps around the end of the address space")]
    Wraps,
    /// All numbers of chunks were given out, 2^32 on a machine without atomics of 64 bits. On other machines there is no
    /// such refusal.
    #[error("the numbers of chunks are used up")]
    NoNumber,
    /// Its physical range does not end inside 64 bits.
    #[error("its physical range from {phys:#x} on wraps around the end of 64 bits")]
    PhysWraps {
        /// The physical address of its first byte.
        phys: u64,
    },
    /// It shares addresses with a chunk of the pool.
    #[error("it overlaps the chunk of {size:#x} bytes at {start:#x}")]
    Overlaps {
        /// Where that chunk starts.
        start: usize,
        /// The bytes of that chunk.
        size: usize,
    },
    /// The pool would be larger than a `usize` can count.
    #[error("the pool's total size would not fit in an address")]
    TotalSize,
    /// It has more granules than can be counted, or than boundary tracking can record.
    #[error("a chunk of this pool has at most {most} granules")]
    TooManyGranules {
        /// The most granules that a chunk of the pool can have.
        most: usize,
    },
    /// There is no memory for the bookkeeping.
    #[error("no memory is left for {bytes:#x} bytes of bookkeeping")]
    NoMemory {
        /// The number of bytes needed.
        bytes: usize,
    },
}

impl From<NoMemory> for AddRefused {
    fn from(NoMemory { bytes }: NoMemory) -> Self {
        Self::NoMemory { bytes }
    }
}

/// Why a chunk was not removed.
///
/// ```
/// use genpool::{Pool, RemoveError};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// assert_eq!(pool.remove(0x2000).unwrap_err(), RemoveError::NoChunk { start: 0x2000 });
/// let _held = pool.alloc(1)?;
/// let _drain = pool.remove(0x1000)?;
/// assert_eq!(pool.remove(0x1000).unwrap_err(), RemoveError::Draining { start: 0x1000 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// No chunk starts at the address.
    #[error("{start:#x} is the start of no chunk")]
    NoChunk {
        /// The address given.
        start: usize,
    },
    /// The chunk is already being removed.
    #[error("the chunk at {start:#x} is being removed already")]
    Draining {
        /// The address given.
        start: usize,
    },
}
