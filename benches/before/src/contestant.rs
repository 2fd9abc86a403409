//! The contestants of this program: genpool alone.

#[path = "../../src/contestant/ours.rs"]
mod ours;
#[path = "../../src/contestant/pool.rs"]
mod pool;

pub use ours::{By, ByAddress, Ours, Plain, ThroughCache, Way};
pub use pool::{BuildFailure, Contestant, FreeRuns, Handle, Layout, Stage};
