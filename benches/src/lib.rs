//! The benchmarks of genpool: contestants, loads, and the list of what is measured.
//!
//! - [`contestant`]: the pools that are compared, behind a few traits.
//! - [`load`]: what a thread does with a pool, written once for all contestants.
//! - [`crew`]: the pinned threads that run the loads.
//! - [`cell`]: one load on one contestant with a number of threads, measured in rounds.
//! - [`scene`]: what a pool holds before the loads start.
//! - [`suite`]: the cells that the `targets` binary and the criterion benches measure, and the targets.
//!
//! Three programs use them: `targets` measures everything in rounds and judges it, `sections` leaves the measuring to
//! criterion, and `counts` compares the instructions of the hot paths with committed figures.
//!
//! A figure is nanoseconds per operation and thread: the time that all threads spent inside timed loops, divided by the
//! operations of all threads. The threads of a cell share one pool, start together, and run for the same time, so that
//! no thread runs alone for a part of the round. If threads outnumber the processors, a figure is nanoseconds per
//! operation and processor, which is the same for one thread on one processor. Inside a timed loop the harness
//! allocates nothing on the heap; random numbers are made beforehand.

#![forbid(unsafe_code)]

pub mod cell;
pub mod contestant;
pub mod crew;
pub mod load;
pub mod rng;
pub mod scene;
pub mod stats;
pub mod suite;
