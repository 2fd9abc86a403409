//! The `genpool` command as a library.
//!
//! Its jobs, a module each:
//!
//! - [`run`]: every algorithm in turn on real memory, by all cores, each allocation written over
//!   its whole length and checked before it is given back, beside the same work on one mutex.
//! - [`replay`]: a recorded [`trace`] driven through a pool, timed.
//! - [`compare`]: the same on every algorithm and several granularities, and which of them to prefer.
//! - [`verify`]: the same, comparing every recorded answer.
//! - [`strace`]: from the mappings of a real program to a trace.
//! - [`dt`]: the pools of a board, and who uses them, by its device tree.
//! - [`show`]: a pool as it was, from a snapshot that it took of itself.
//!
//! What `run`, `replay` and `compare` find is a [`report`], which is written as tables, HTML, JSON or CSV.
//!
//! [`cli`] turns arguments into these calls and their outcome into an exit code:
//!
//! | code | meaning |
//! |---|---|
//! | 0 | all is well |
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
