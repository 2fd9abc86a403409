//! Plain relatives of a genpool: no atomics, nothing clever.
//!
//! - [`Oracle`]: a `Vec<bool>` per chunk, slow and obviously correct. Every faster pool is tested against it.
//! - [`PlainPool`]: the same calls on a bitmap of 64-bit words, single-threaded.
//! - [`LockedPool`]: a [`PlainPool`] under one mutex, the baseline for a lock-free pool.
//!
//! The rules of the oracle are the only ones that tests have: the suite of `genpool-algos` and the fuzz targets choose
//! places by its [`Granules`] and [`Limits`]. It shares with the plain pool what needs no look at granules: the
//! alignment and the range of a new chunk and of a free.
//!
//! All three follow genalloc: chunks are tried newest first, sizes are rounded up to whole granules, and a granule is
//! `1 << order` bytes. None of them touches the memory that it manages.
//!
//! ```
//! use genpool_plain::{Fit, LockedPool};
//!
//! let pool = LockedPool::new(12);
//! pool.add(0x1000_0000, 16 * 4096)?;
//! let at = pool.alloc(5000, Fit::FirstFit);
//! assert_eq!(at, Some(0x1000_0000));
//! assert_eq!(pool.avail(), 14 * 4096);
//! pool.free(0x1000_0000, 5000)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

//! Without the feature `std`, which is on by default, the crate is `no_std` with `alloc`, and has no [`LockedPool`].

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bitmap;
mod error;
mod granules;
mod limits;
#[cfg(feature = "std")]
mod locked;
mod oracle;
mod pool;
mod span;

pub use error::{AddError, FreeError};
pub use granules::Granules;
pub use limits::Limits;
#[cfg(feature = "std")]
pub use locked::LockedPool;
pub use oracle::Oracle;
pub use pool::PlainPool;

/// Where in a chunk an allocation goes. All numbers are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fit {
    /// The lowest address that fits.
    #[default]
    FirstFit,
    /// The lowest address that fits and is a multiple of the alignment, a power of two. With any other alignment
    /// nothing fits.
    FirstFitAlign(usize),
    /// The lowest address that fits and is a multiple of the size rounded up to a power of two.
    OrderAlign,
    /// The smallest free region of the chunk that fits, the lowest of equals.
    BestFit,
    /// Exactly at this offset in a chunk, a multiple of the granule. At any other offset nothing fits.
    FixedOffset(usize),
}
