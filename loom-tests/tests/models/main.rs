//! The models, in one program, so that the longest of them run beside each other.

#![cfg(genpool_loom)]

// Those that run at full size too come first.
mod claims;
mod honest;
mod hot;

#[cfg(genpool_small)]
mod cache;
#[cfg(genpool_small)]
mod chunks;
#[cfg(genpool_small)]
mod devices;
#[cfg(genpool_small)]
mod drain;
#[cfg(genpool_small)]
mod hints;
#[cfg(genpool_small)]
mod ring;
#[cfg(genpool_small)]
mod run_index;
