//! The pools that are compared.
//!
//! A [`Contestant`] is the shared pool, and a [`Stage`] on which scenes are set. A thread works through a [`Handle`]:
//! for most contestants a plain reference, for others also a cache of the thread's own, which gives back what it keeps
//! when it is dropped. Timed loops are compiled for each handle type, so that no call in them is dynamic.

mod floor;
mod locked;
mod mutexed;
mod ours;
mod peers;
mod pool;
mod sharded;

pub use floor::Floor;
pub use locked::Locked;
pub use mutexed::{Mutexed, Peer};
pub use ours::{By, ByAddress, Ours, Plain, ThroughCache, Way, bookkeeping};
pub use peers::{Buddy, OffsetTable, RangeList, VmTree};
pub use pool::{BuildFailure, Contestant, FreeRuns, Handle, Layout, Stage};
pub use sharded::Sharded;
