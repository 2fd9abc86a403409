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

//! # Features
//!
//! - `std`, on by default: what takes an operating system. It includes `alloc`.
//! - `alloc`: pools on the heap. Without it there is [`StaticPool`], and a program needs no allocator.
//! - `portable-atomic`, `critical-section`: atomics for processors without compare-and-swap.
//! - `observe`, which includes `std`; `serde`, which includes `alloc`.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(feature = "alloc"),
    allow(dead_code, reason = "pools on the heap use it")
)]

// What the dependencies are for:
// - `arc-swap`, with `std`: the owner of the current chunk list (see `chunks/owner.rs`).
// - `atomic`: atomics of small states that are not words (see `sync/mod.rs`).
// - `bytemuck`: a proof that zeroed memory is a valid table, and its fallible allocation.
// - `crossbeam-utils`: padding around what threads write often, and a backoff after lost claims.
// - `thiserror`: the texts of the errors (see `error/mod.rs`), when the crate is compiled.
// - `wide`: comparing sixteen hints at once, with the vectors that every machine of a kind has (SSE2, NEON). So the core
//   needs neither intrinsics nor `unsafe` for it. Elsewhere words are compared (`bitmap/hints/words.rs`).
// - `portable-atomic`: atomics where there is no compare-and-swap, as a feature (see `sync/portable.rs`).
#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[doc(hidden)]
pub mod sync;

mod activity;
mod bitmap;
mod chunk;
mod chunk_ops;
#[cfg(feature = "alloc")]
mod chunks;
mod counters;
mod memory;
mod placement;
mod units;
#[cfg(feature = "alloc")]
mod unwind;

#[cfg(feature = "alloc")]
mod allocation;
#[cfg(feature = "alloc")]
mod cache;
#[cfg(feature = "alloc")]
mod drain;
mod error;
#[cfg(feature = "observe")]
mod observe;
#[cfg(feature = "alloc")]
mod ops;
#[cfg(feature = "alloc")]
mod pool;
mod raw_range;
#[cfg(feature = "serde")]
mod serial;
#[cfg(feature = "alloc")]
mod shared;
#[cfg(not(genpool_loom))]
mod static_heap;
mod static_pool;
#[cfg(feature = "alloc")]
mod stats;

#[cfg(feature = "alloc")]
pub use crate::allocation::{Allocation, OwnedAllocation};
#[cfg(feature = "alloc")]
pub use crate::cache::Cache;
#[cfg(feature = "alloc")]
pub use crate::chunk::{ChunkSpec, Owner};
#[cfg(feature = "alloc")]
pub use crate::drain::Drain;
#[cfg(feature = "alloc")]
pub use crate::error::{AddError, AddManyError, NotTracked, RemoveError};
pub use crate::error::{
    AddRefused, AllocError, BuildError, FreeError, Impossible, ResizeError, Unsuitable,
};
#[cfg(feature = "observe")]
pub use crate::observe::{Event, Observer};
pub use crate::placement::{
    Algorithm, AlgorithmName, ChunkView, Claim, Claimed, Constrained, ConstraintError, Constraints,
    FirstFit, Request,
};
#[cfg(feature = "alloc")]
pub use crate::pool::{Builder, ChunkInfo, Chunks, Pool, PoolView};
pub use crate::raw_range::RawRange;
#[cfg(not(genpool_loom))]
pub use crate::static_heap::{HeapMemory, StaticHeap};
#[cfg(not(genpool_loom))]
pub use crate::static_pool::StaticBooks;
pub use crate::static_pool::{StaticAllocation, StaticPool};
#[cfg(feature = "alloc")]
#[doc(hidden)]
pub use crate::stats::owner_name;
#[cfg(feature = "alloc")]
pub use crate::stats::{Destroyed, Fragmentation, Held, Stats};
pub use crate::sync::platform;
pub use crate::units::{Granule, Run};
#[doc(hidden)]
#[cfg(feature = "std")]
pub use crate::unwind::discard_panic;
#[cfg(feature = "alloc")]
#[doc(hidden)]
pub use crate::unwind::{FirstPanic, contained};
