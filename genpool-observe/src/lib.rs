//! Observers and snapshots of a [`Pool`](genpool_core::Pool): what it does, and what it looks like.
//!
//! | | |
//! |---|---|
//! | [`Recorder`] | records a real load as a trace, to replay with other algorithms |
//! | [`Watermarks`] | calls back when the available bytes cross a low or a high mark, or when a request is refused |
//! | [`Snapshot`] | a plain value: chunks, the runs taken in them, live allocations; `genpool show` draws it |
//! | [`figures`] | totals, counts and fragmentation under their metric names |
//! | `report`, `Meter` | gauges and counters of the crate `metrics`, with the feature `metrics` |
//! | `Traced` | events of the crate `tracing`, with the feature `tracing` |
//! | [`Observers`] | combines several observers for one pool |
//!
//! All but `Snapshot`, `figures` and `report` are [observers](genpool_core::Observer). A pool is built with one, and
//! notifies it of each operation in the thread that performs it. Observers come with the default feature `observer`,
//! which compiles one branch into each call of every pool. A pool without an observer pays nothing more.
//!
//! The crate `genpool` re-exports this crate as its module `observe`, with the feature `observe`; the examples use that
//! path. Both crates have the features `serde`, `metrics` and `tracing`.
//!
//! ```
//! # #[cfg(feature = "observer")]
//! # {
//! use genpool::Pool;
//! use genpool::observe::{Mark, Watermarks};
//!
//! let marks = Watermarks::new(0x2000, 0x8000, |crossing| {
//!     if crossing.mark == Mark::Low {
//!         eprintln!("only {} bytes are left", crossing.free);
//!     }
//! });
//! let pool = Pool::builder().order(12).observer(marks).build()?;
//! pool.add(0x10_0000, 0x4000)?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod figures;
mod snapshot;

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "observer")]
mod observers;
#[cfg(feature = "observer")]
mod recorder;
#[cfg(feature = "tracing")]
mod tracing;
#[cfg(feature = "observer")]
mod watermarks;

pub use crate::figures::{Figure, FigureKind, figures};
#[cfg(feature = "metrics")]
pub use crate::metrics::{Meter, describe, report};
#[cfg(feature = "observer")]
pub use crate::observers::Observers;
#[cfg(feature = "observer")]
#[doc(hidden)]
pub use crate::recorder::ring;
#[cfg(feature = "observer")]
pub use crate::recorder::{NoMemory, Recorder, Tap};
pub use crate::snapshot::{ChunkShot, LiveShot, NoSnapshot, Snapshot};
#[cfg(feature = "tracing")]
pub use crate::tracing::Traced;
#[cfg(feature = "observer")]
pub use crate::watermarks::{Crossing, Mark, Watermarks};
