//! The lock-free core of genpool: pools that hand out runs of granules from chunks of memory that malloc does not
//! manage.
//!
//! A [`Pool`] manages *chunks* (address ranges). A chunk is divided into *granules* of `1 << order` bytes, one bit
//! each. An [`Algorithm`] chooses where in a chunk an allocation goes. The pool never touches the memory that it
//! manages. So an address may be device memory, an IOVA, a page number: anything countable.
//!
//! Users depend on the crate `genpool`, which re-exports all of this, as the examples show.
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
//! *Signal-safe* means that a call takes no lock, allocates no heap memory and builds no thread-local. So it may be
//! made in a signal handler that interrupted any call on the same pool, in any thread.
//!
//! **In a handler [`Contended`](AllocError::Contended) is a refusal.** The interrupted thread may be in the middle of
//! the step that keeps a proof from succeeding, and it cannot go on before the handler returns. A handler that retries
//! until it gets another answer hangs. Try once, or a fixed number of times. The same holds for a thread of real-time
//! priority: while it spins or yields, a thread of lower priority on its processor cannot finish. Let it sleep between
//! tries, up to a deadline.
//!
//! The module texts of `bitmap`, `chunks` and `activity` in the source say why each protocol works. ARCHITECTURE.md is
//! the map.

#![cfg_attr(docsrs, feature(doc_cfg))]

// What the dependencies are for:
// - `arc-swap`: the owner of the current chunk list (see `chunks/mod.rs`).
// - `atomic`: atomics of small states that are not words (see `sync/mod.rs`).
// - `bytemuck`: a proof that zeroed memory is a valid table, and its fallible allocation.
// - `crossbeam-utils`: padding around what threads write often, and a backoff after lost claims.
// - `thiserror`: the texts of the errors (see `error/mod.rs`), when the crate is compiled.
// - `wide`: comparing sixteen hints at once, with the vectors that every machine of a kind has (SSE2, NEON) and byte by
//   byte elsewhere. So the core needs neither intrinsics nor `unsafe` for it.
extern crate alloc;

#[doc(hidden)]
pub mod sync;

mod activity;
mod bitmap;
mod chunk;
mod chunks;
mod counters;
mod memory;
mod placement;
mod units;
mod unwind;

mod allocation;
mod cache;
mod drain;
mod error;
#[cfg(feature = "observe")]
mod observe;
mod ops;
mod pool;
#[cfg(feature = "serde")]
mod serial;
mod shared;
mod stats;

pub use crate::allocation::{Allocation, OwnedAllocation, RawRange};
pub use crate::cache::Cache;
pub use crate::chunk::{ChunkSpec, Owner};
pub use crate::drain::Drain;
pub use crate::error::{
    AddError, AddManyError, AddRefused, AllocError, BuildError, FreeError, Impossible, NotTracked,
    RemoveError, ResizeError, Unsuitable,
};
#[cfg(feature = "observe")]
pub use crate::observe::{Event, Observer};
pub use crate::placement::{
    Algorithm, AlgorithmName, ChunkView, Claim, Claimed, Constrained, ConstraintError, Constraints,
    FirstFit, Request,
};
pub use crate::pool::{Builder, ChunkInfo, Chunks, Pool, PoolView};
#[doc(hidden)]
pub use crate::stats::owner_name;
pub use crate::stats::{Destroyed, Fragmentation, Held, Stats};
pub use crate::units::{Granule, Run};
#[doc(hidden)]
pub use crate::unwind::{FirstPanic, contained, discard_panic};
