//! The guide: documentation only.
//!
//! | | |
//! |---|---|
//! | [`tour`] | every feature, once: pool, chunks, algorithms, constraints, owners, caches, removal, devices, real memory, observers |
//! | [`genalloc`] | each call of the Linux kernel's genalloc, its counterpart here, and what is stricter |
//! | [`choosing`] | which algorithm and which order, with measurements |
//! | [`service`] | one pool in a program that runs for months: limits, a full pool, monitoring, fork, signals, panics |

pub mod choosing;
pub mod genalloc;
pub mod service;
pub mod tour;
