//! Errors of freeing and resizing allocations.

use thiserror::Error;

/// Why a free was refused. Nothing was changed.
///
/// ```
/// use genpool::{FreeError, Pool};
///
/// let pool = Pool::builder().order(12).boundary_tracking().build()?;
/// pool.add(0x1000, 0x4000)?;
/// let range = pool.alloc(0x2000)?.into_raw();
///
/// assert_eq!(pool.free(0x9000, 1), Err(FreeError::Foreign { addr: 0x9000 }));
/// assert_eq!(pool.free_addr(0x2000), Err(FreeError::Interior { addr: 0x2000, start: 0x1000 }));
/// let wrong = FreeError::WrongSize { addr: 0x1000, size: 0x1000, allocated: 0x2000 };
/// assert_eq!(pool.free(0x1000, 0x1000), Err(wrong));
/// assert_eq!(pool.free(range.addr, range.size), Ok(()));
/// assert_eq!(pool.free(range.addr, range.size), Err(FreeError::NotAllocated { addr: 0x1000 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FreeError {
    /// The size is zero.
    #[error("free of no bytes at {addr:#x}")]
    ZeroSize {
        /// The address given.
        addr: usize,
    },
    /// The address lies in no chunk of the pool.
    #[error("{addr:#x} lies in no chunk of the pool")]
    Foreign {
        /// The address given.
        addr: usize,
    },
    /// The address is not a multiple of the granule.
    #[error("{addr:#x} is not a multiple of the granule of {granule:#x} bytes")]
    Misaligned {
        /// The address given.
        addr: usize,
        /// The granule in bytes.
        granule: usize,
    },
    /// The range starts in a chunk and goes past its end.
    #[error("{size:#x} bytes at {addr:#x} go past the chunk's last address {last:#x}")]
    PastChunk {
        /// The address given.
        addr: usize,
        /// The size given.
        size: usize,
        /// The last address of the chunk.
        last: usize,
    },
    /// Part of the range is already free: a double free, or a wrong range.
    #[error("{addr:#x} is not allocated")]
    NotAllocated {
        /// The address of the first free granule.
        addr: usize,
    },
    /// The allocation at the address has another size. Found by boundary tracking.
    #[error("{size:#x} bytes at {addr:#x}: the allocation there has {allocated:#x}")]
    WrongSize {
        /// The address given.
        addr: usize,
        /// The size given.
        size: usize,
        /// The size of the allocation in bytes.
        allocated: usize,
    },
    /// The address is inside an allocation, not at its start. Found by boundary tracking.
    #[error("{addr:#x} is inside the allocation at {start:#x}")]
    Interior {
        /// The address given.
        addr: usize,
        /// The start of the allocation.
        start: usize,
    },
    /// A free by address alone needs boundary tracking.
    #[error("the pool was built without boundary tracking")]
    NotTracked,
}

/// Why an allocation kept its size.
///
/// ```
/// use genpool::{Pool, ResizeError};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x3000)?;
/// let (mut first, second) = (pool.alloc(1)?, pool.alloc(1)?);
/// assert_eq!(first.resize(0x2000), Err(ResizeError::Neighbour));
/// drop(second);
/// assert_eq!(first.resize(0x4000), Err(ResizeError::PastChunk));
/// assert_eq!(first.resize(0x3000), Ok(()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResizeError {
    /// The size is zero: drop the allocation instead.
    #[error("an allocation has at least one byte")]
    ZeroSize,
    /// The granules after the allocation are not all free.
    #[error("the granules after the allocation are not all free")]
    Neighbour,
    /// The allocation would go past the end of its chunk.
    #[error("the new size goes past the end of the chunk")]
    PastChunk,
    /// The chunk is being removed and hands out nothing more.
    #[error("the chunk is being removed")]
    Draining,
    /// The range was freed by address while this allocation held it. Found by boundary tracking.
    #[error("the range was freed by address while it was held")]
    Lost,
}

/// The pool was built without boundary tracking, so it does not know its live allocations.
///
/// ```
/// use genpool::{NotTracked, Pool};
///
/// assert_eq!(Pool::new(12)?.live().err(), Some(NotTracked));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the pool was built without boundary tracking")]
pub struct NotTracked;
