//! The benchmarks of genpool: contestants, loads, and the list of what is measured.
//!
//! - [`contestant`]: the pools that are compared, behind a few traits; [`call`]: the ways to call genpool, by name.
//! - [`load`]: what a thread does with a pool, written once for all contestants.
//! - [`crew`]: the pinned threads that run the loads.
//! - [`scene`]: what a pool holds before the loads start; [`task`]: a scene, a load and a number of threads.
//! - [`cell`]: a task on one contestant, measured in rounds; [`measure`]: what a round measures.
//! - [`before`]: an earlier genpool in a process of its own, and the [`protocol`] with it.
//! - [`subject`]: whatever is measured in rounds.
//! - [`suite`]: the rows that the `targets` binary and the criterion benches measure, and the targets.
//!
//! Three programs use them: `targets` measures everything in rounds and judges it, `sections` leaves the measuring to
//! criterion, and `counts` compares the instructions of the hot paths with committed figures.
//!
//! A time is nanoseconds per operation and thread: the time that all threads spent inside timed loops, divided by the
//! operations of all threads. The threads of a cell share one pool, start together, and run for the same time, so that
//! no thread runs alone for a part of the round. If threads outnumber the processors, a time is nanoseconds per
//! operation and processor, which is the same for one thread on one processor. Inside a timed loop the harness
//! allocates nothing on the heap; random numbers are made beforehand.

#![forbid(unsafe_code)]

pub mod before;
pub mod call;
pub mod cell;
pub mod contestant;
pub mod crew;
pub mod load;
pub mod measure;
pub mod protocol;
pub mod rng;
pub mod scene;
pub mod stats;
pub mod subject;
pub mod suite;
pub mod task;
