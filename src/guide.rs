//! The guide: documentation only.
//!
//! | | |
//! |---|---|
//! | [`tour`] | everything there is, once: pool, chunks, algorithms, constraints, owners, caches, removal, devices, real memory, observers |
//! | [`genalloc`] | each call of the Linux kernel's genalloc, its form here, and what is stricter |
//! | [`choosing`] | which algorithm, which order, with figures |
//! | [`service`] | one pool in a program that runs for months: limits, what to do when it is full, what to watch, fork, signals, panics |

pub mod choosing;
pub mod genalloc;
pub mod service;
pub mod tour;
