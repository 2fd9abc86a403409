//! The benchmarks of genpool: contestants, loads, and the list of what is measured.
//!
//! - [`contestant`]: the pools that are compared, behind one pair of traits.
//! - [`load`]: what a thread does with a pool, written once for all contestants.
//! - [`crew`]: the pinned threads that carry loads.
//! - [`cell`]: one load on one contestant with so many threads, measured in rounds.
//! - [`suite`]: the cells that the `targets` binary and the criterion benches measure, and the targets.
//!
//! A figure is nanoseconds per operation and thread: the time that all threads spent inside timed loops, divided by
//! the operations of all threads. Threads of a cell share one pool, start together, and run for the same time, so that
//! none of them runs alone for a part of the round. Nothing is allocated on the heap inside a timed loop by the
//! harness; random numbers are made beforehand.

#![forbid(unsafe_code)]

pub mod cell;
pub mod contestant;
pub mod crew;
pub mod load;
pub mod rng;
pub mod scene;
pub mod stats;
pub mod suite;
