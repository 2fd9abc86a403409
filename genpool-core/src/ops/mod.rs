//! The operations of a pool: allocating, giving back, resizing.

mod alloc;
mod free;
#[cfg(feature = "observe")]
mod observed;
mod refusal;
mod search;
