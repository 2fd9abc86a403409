//! The lock-free core of genpool: a pool hands out runs of granules from chunks of memory that
//! malloc does not know.
//!
//! A [`Pool`] manages *chunks* (address ranges). A chunk is divided into *granules* of `1 << order`
//! bytes, one bit each. An [`Algorithm`] chooses where in a chunk an allocation goes. The pool never
//! touches the memory that it manages, so an address may be device memory, an IOVA, a page number:
//! anything countable.
//!
//! Users depend on the crate `genpool`, which has all of this under its own name, as the examples do.
//!
//! ```
//! use genpool::Pool;
//!
//! let pool = Pool::new(12)?; // granules of 4 KiB
//! pool.add(0x4000_0000, 0x10_0000)?;
//!
//! let a = pool.alloc(10_000)?; // rounded up to three granules
//! assert_eq!((a.addr(), a.size()), (0x4000_0000, 12_288));
//! drop(a);
//! assert_eq!(pool.avail(), pool.size());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Signal safety
//!
//! *Signal-safe* means that a call takes no lock, allocates no heap memory and builds no thread-local, so
//! it may be made in a signal handler that interrupted any call on the same pool, in any thread.
//!
//! **In a handler [`Contended`](AllocError::Contended) is a refusal.** The interrupted thread may be in the
//! middle of the step that keeps a proof from succeeding, and it cannot go on before the handler returns:
//! a handler that tries again until it gets another answer hangs. Try once, or a fixed number of times. So it
//! is in a thread of real-time priority: while it spins or yields, a thread of lower priority on its processor
//! cannot finish. Let it sleep between tries, up to a deadline.
//!
//! The module texts of the bitmap, the chunk set and the traffic in the source say why each protocol works;
//! ARCHITECTURE.md is the map.

#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

mod activity;
mod address_index;
mod append_list;
mod bitmap;
mod boundary_tags;
mod chunk;
mod chunk_set;
mod free_summary;
mod memory;
mod option_box;
#[doc(hidden)]
pub mod sync;
mod unwind;

mod algorithm;
mod allocation;
mod cache;
mod drain;
mod error;
#[cfg(feature = "observe")]
mod observer;
mod pool;
#[cfg(feature = "serde")]
mod serial;
mod stats;
mod view;

pub use crate::algorithm::{Algorithm, FirstFit, Notation, Request};
pub use crate::allocation::{Allocation, OwnedAllocation, RawRange};
pub use crate::cache::Cache;
pub use crate::chunk::{ChunkSpec, Owner};
pub use crate::drain::Drain;
pub use crate::error::{
    AddError, AddRefused, AllocError, BuildError, FreeError, Impossible, RemoveError, ResizeError,
    Unsuitable,
};
#[cfg(feature = "observe")]
pub use crate::observer::{Event, Observer};
pub use crate::pool::{Builder, ChunkInfo, Chunks, Pool};
#[doc(hidden)]
pub use crate::stats::owner_name;
pub use crate::stats::{Destroyed, Fragmentation, Held, Stats};
#[doc(hidden)]
pub use crate::unwind::{FirstPanic, contained, discard_panic};
pub use crate::view::{ChunkView, Granule, Run};
