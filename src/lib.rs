//! genpool: a lock-free allocator for special-purpose memory.
#![forbid(unsafe_code)]

pub use genpool_algos::*;
pub use genpool_core::*;
