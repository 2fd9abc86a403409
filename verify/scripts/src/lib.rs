//! Random scripts on pools, without the standard library: for machines that have none, and for hosts too.
//!
//! - [`play`] runs a script on a pool and on the oracle, and compares every answer.
//! - [`Share`] is what several cores, threads and interrupt handlers use at once. Each [`User`] writes down which granules it
//!   holds, so that two that hold the same granule find out.
//!
//! Both work on any pool that is a [`Target`].

#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "alloc")]
mod script;
mod share;
mod target;

#[cfg(feature = "alloc")]
pub use script::{Difference, Tally, play};
pub use share::{Fault, Share, User};
pub use target::Target;
