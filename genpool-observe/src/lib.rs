//! What a [`Pool`](genpool_core::Pool) does, for those who run it.
//!
//! | | |
//! |---|---|
//! | [`Recorder`] | records a real load as a trace, to be replayed on other algorithms |
//! | [`Watermarks`] | calls back when what is available falls below or rises above a mark, or when a request is refused |
//! | [`Snapshot`] | chunks, what is taken in them and what is held, as a plain value; `genpool show` draws it |
//! | [`figures`] | totals, counts and fragmentation under the names that metrics have |
//! | `report`, `Meter` | gauges and counters of the crate `metrics`, with the feature `metrics` |
//! | `Traced` | events of the crate `tracing`, with the feature `tracing` |
//! | [`Observers`] | several of these for one pool |
//!
//! All but `Snapshot`, `figures` and `report` are [observers](genpool_core::Observer): a pool is built with one, and
//! tells it of each operation in the thread that does it. They come with the feature `observer`, which is
//! a default one and compiles a branch into each call of every pool. A pool without an observer pays no
//! more than that.
//!
//! This is the module `observe` of the crate `genpool`, with its feature `observe`, and the examples use that path.
//! The features `serde`, `metrics` and `tracing`, of both crates, say what they bring.
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
