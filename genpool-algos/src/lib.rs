//! Placement algorithms for [`genpool_core::Pool`]: those of genalloc, and others that genalloc lacks.
//!
//! | | where an allocation goes |
//! |---|---|
//! | [`FirstFit`](genpool_core::FirstFit) (core) | the lowest address |
//! | [`FirstFitAlign`] | the lowest aligned address |
//! | [`OrderAlign`] | the lowest address aligned to the size, rounded up to a power of two |
//! | [`BestFit`] | the smallest free run that fits, the lowest of several |
//! | [`FixedOffset`], [`FixedAddress`] | exactly there |
//! | [`NextFit`] | after the last allocation, wrapping around |
//! | [`ThreadStart`] | from a start position of the thread's own, wrapping around |
//! | [`SpreadFit`] | the lowest address in the thread's own parts of the chunk, or else the lowest of all |
//! | [`Constrained`](genpool_core::Constrained) (core) | as any of these, among the places that [`Constraints`](genpool_core::Constraints) allow |
//!
//! All of them are [signal-safe](genpool_core#signal-safety). Applications depend on the crate `genpool`, which
//! re-exports them, as the examples show.
//!
//! ```
//! use genpool::{BestFit, Constrained, Constraints, FirstFitAlign, Pool};
//!
//! let pool = Pool::new(12)?;
//! pool.add(0x1000, 0x100_0000)?;
//!
//! // Aligned to 64 KiB.
//! let a = pool.alloc_with(4096, &FirstFitAlign::new(0x1_0000)?)?;
//! assert_eq!(a.addr(), 0x1_0000);
//!
//! // Below 1 MiB and not across a 64 KiB boundary, in the smallest hole.
//! let low = Constraints::new().highest(0xf_ffff).boundary(0x1_0000)?;
//! let b = pool.alloc_with(0xc000, &Constrained::new(BestFit, low))?;
//! assert_eq!(b.addr(), 0x1000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

//! Without the feature `std`, which is on by default, the crate is `no_std`, and threads do not remember where they
//! allocated last.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "std")]
extern crate std;

mod align;
mod around;
mod best_fit;
mod fixed;
mod next_fit;
mod spread_fit;
mod thread_places;
mod thread_start;

pub use crate::align::{FirstFitAlign, OrderAlign};
pub use crate::best_fit::BestFit;
pub use crate::fixed::{FixedAddress, FixedOffset};
pub use crate::next_fit::NextFit;
pub use crate::spread_fit::SpreadFit;
pub use crate::thread_start::ThreadStart;
