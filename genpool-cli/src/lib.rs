//! The `genpool` command as a library.
//!
//! Its jobs are a module each:
//!
//! - [`run`]: all algorithms in turn on real memory, with all cores. Each allocation is written over its whole length
//!   and checked before it is freed. The same work on a pool under a mutex follows for comparison.
//! - [`replay`]: drives a pool with a recorded [`trace`] and times it.
//! - [`compare`]: plays a trace with every algorithm and several granularities, and recommends one.
//! - [`verify`]: replays a trace and compares every recorded answer.
//! - [`strace`]: converts the mappings of a real program into a trace.
//! - [`dt`]: lists the pools of a board and their users, from its device tree.
//! - [`show`]: draws a pool from a snapshot that was taken of it.
//!
//! `run`, `replay` and `compare` produce a [`report`], which can be written as tables, HTML, JSON or CSV.
//!
//! [`cli`] parses arguments, makes these calls and turns their outcome into an exit code:
//!
//! | code | meaning |
//! |---|---|
//! | 0 | success |
//! | 1 | the pool gave a wrong answer: an overlap, a leak, or a difference from a trace |
//! | 2 | the input or the machine does not allow the job: bad arguments, a bad trace or device tree, no memory |
//!
//! ```
//! use genpool_cli::algorithm::AlgorithmSpec;
//! use genpool_cli::trace::Trace;
//! use genpool_cli::verify::verify;
//!
//! let text = "# genpool trace v1\npool order=12\nchunk virt=0 size=0x4000\nalloc 1 size=5000 -> 0x0\n";
//! let trace = Trace::parse(text)?;
//! let found = verify(&trace, AlgorithmSpec::FirstFit)?;
//! assert_eq!((found.checked, found.differences), (1, 0));
//! # Ok::<(), genpool_cli::trace::TraceError>(())
//! ```

pub mod algorithm;
pub mod chain;
pub mod cli;
pub mod compare;
mod driver;
pub mod dt;
pub mod measure;
pub mod memory;
mod picture;
pub mod plain;
pub mod replay;
pub mod report;
pub mod run;
pub mod show;
pub mod size;
pub mod space;
pub mod strace;
pub mod table;
pub mod trace;
pub mod verify;
