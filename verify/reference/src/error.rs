//! The errors of the plain pools.

use std::error::Error;
use std::fmt;

/// Why a chunk was not added. The pool is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddError {
    /// The pool was made with an order whose granule is larger than the address space.
    OrderTooLarge {
        /// The pool's order.
        order: u32,
    },
    /// The chunk is empty.
    ZeroSize {
        /// The first address.
        start: usize,
    },
    /// The first address or the size is not a multiple of the granule.
    Misaligned {
        /// The first address.
        start: usize,
        /// The size in bytes.
        size: usize,
        /// The pool's granule in bytes.
        granule: usize,
    },
    /// The chunk runs past the top of the address space.
    Wraps {
        /// The first address.
        start: usize,
        /// The size in bytes.
        size: usize,
    },
    /// The chunk shares addresses with a chunk of the pool.
    Overlaps {
        /// The first address.
        start: usize,
        /// The size in bytes.
        size: usize,
        /// The first address of the chunk in the pool.
        with: usize,
    },
    /// There is no memory for the chunk's bookkeeping.
    NoMemory {
        /// How many granules the chunk would have.
        granules: usize,
    },
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OrderTooLarge { order } => {
                write!(
                    f,
                    "order {order} is too large: a granule of 2^{order} bytes exceeds the address space"
                )
            }
            Self::ZeroSize { start } => write!(f, "the chunk at {start:#x} has size 0"),
            Self::Misaligned {
                start,
                size,
                granule,
            } => write!(
                f,
                "the chunk at {start:#x} of {size:#x} bytes is not made of whole granules of {granule:#x} bytes"
            ),
            Self::Wraps { start, size } => {
                write!(
                    f,
                    "the chunk at {start:#x} of {size:#x} bytes runs past the top of the address space"
                )
            }
            Self::Overlaps { start, size, with } => {
                write!(
                    f,
                    "the chunk at {start:#x} of {size:#x} bytes overlaps the chunk at {with:#x}"
                )
            }
            Self::NoMemory { granules } => {
                write!(f, "no memory to keep track of {granules} granules")
            }
        }
    }
}

impl Error for AddError {}

/// Why a free was refused. The pool is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FreeError {
    /// The free is of zero bytes.
    ZeroSize {
        /// The address given.
        addr: usize,
    },
    /// The address lies in no chunk of the pool.
    Foreign {
        /// The address given.
        addr: usize,
    },
    /// The range starts in a chunk and ends past it.
    PastChunk {
        /// The address given.
        addr: usize,
        /// The size given, in bytes.
        size: usize,
    },
    /// The address is not the start of a granule.
    Misaligned {
        /// The address given.
        addr: usize,
        /// The pool's granule in bytes.
        granule: usize,
    },
    /// Not every granule of the range is allocated.
    NotAllocated {
        /// The address given.
        addr: usize,
        /// The size given, in bytes.
        size: usize,
    },
}

impl fmt::Display for FreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ZeroSize { addr } => write!(f, "a free of 0 bytes at {addr:#x}"),
            Self::Foreign { addr } => write!(f, "{addr:#x} lies in no chunk of the pool"),
            Self::PastChunk { addr, size } => {
                write!(
                    f,
                    "{size:#x} bytes at {addr:#x} end past the chunk that they start in"
                )
            }
            Self::Misaligned { addr, granule } => {
                write!(
                    f,
                    "{addr:#x} is not the start of a granule of {granule:#x} bytes"
                )
            }
            Self::NotAllocated { addr, size } => {
                write!(f, "{size:#x} bytes at {addr:#x} are not all allocated")
            }
        }
    }
}

impl Error for FreeError {}
