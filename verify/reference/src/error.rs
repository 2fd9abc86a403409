//! The errors of the plain pools.

use thiserror::Error;

/// Why a chunk was not added. The pool is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddError {
    /// The pool was made with an order whose granule is larger than the address space.
    #[error("order {order} is too large: a granule of 2^{order} bytes exceeds the address space")]
    OrderTooLarge {
        /// The pool's order.
        order: u32,
    },
    /// The chunk is empty.
    #[error("the chunk at {start:#x} has size 0")]
    ZeroSize {
        /// The first address.
        start: usize,
    },
    /// The first address or the size is not a multiple of the granule.
    #[error(
        "the chunk at {start:#x} of {size:#x} bytes is not made of whole granules of {granule:#x} bytes"
    )]
    Misaligned {
        /// The first address.
        start: usize,
        /// The size in bytes.
        size: usize,
        /// The pool's granule in bytes.
        granule: usize,
    },
    /// The chunk runs past the top of the address space.
    #[error("the chunk at {start:#x} of {size:#x} bytes runs past the top of the address space")]
    Wraps {
        /// The first address.
        start: usize,
        /// The size in bytes.
        size: usize,
    },
    /// The chunk shares addresses with a chunk of the pool.
    #[error("the chunk at {start:#x} of {size:#x} bytes overlaps the chunk at {with:#x}")]
    Overlaps {
        /// The first address.
        start: usize,
        /// The size in bytes.
        size: usize,
        /// The first address of the chunk in the pool.
        with: usize,
    },
    /// There is no memory for the chunk's bookkeeping.
    #[error("{granules} granules: no memory to keep track of them")]
    NoMemory {
        /// How many granules the chunk would have.
        granules: usize,
    },
}

/// Why a free was refused. The pool is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FreeError {
    /// The free is of zero bytes.
    #[error("a free of 0 bytes at {addr:#x}")]
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
    /// The range starts in a chunk and ends past it.
    #[error("{size:#x} bytes at {addr:#x} end past the chunk that they start in")]
    PastChunk {
        /// The address given.
        addr: usize,
        /// The size given, in bytes.
        size: usize,
    },
    /// The address is not the start of a granule.
    #[error("{addr:#x} is not the start of a granule of {granule:#x} bytes")]
    Misaligned {
        /// The address given.
        addr: usize,
        /// The pool's granule in bytes.
        granule: usize,
    },
    /// Not every granule of the range is allocated.
    #[error("{size:#x} bytes at {addr:#x} are not all allocated")]
    NotAllocated {
        /// The address given.
        addr: usize,
        /// The size given, in bytes.
        size: usize,
    },
}
