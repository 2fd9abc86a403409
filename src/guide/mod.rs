//! The guide: documentation only.
//!
//! | | |
//! |---|---|
//! | [`tour`] | every feature, once: pool, chunks, algorithms, constraints, owners, caches, removal, devices, real memory, observers |
//! | [`genalloc`] | each call of the Linux kernel's genalloc, its counterpart here, and what is stricter |
//! | [`choosing`] | which algorithm and which order, with measurements |
//! | [`caches`] | what a cache keeps, what that costs, and how to size a pool for it |
//! | [`service`] | one pool in a program that runs for months: a full pool, async code, monitoring, leaks, fork, signals, panics |
//! | [`driver`] | a driver without its device in tests; barriers and doorbells |
//! | [`bare`] | kernels and firmware: static pools, a global allocator, interrupt handlers, cores |
//! | [`reference`](mod@reference) | which types are `Send`, `Sync`, and usable in a signal handler and after `fork`; platforms |

pub mod bare;
pub mod caches;
pub mod choosing;
pub mod driver;
pub mod genalloc;
pub mod reference;
pub mod service;
pub mod tour;
