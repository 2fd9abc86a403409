//! All models, in one program, so that the longest of them run in parallel.

#![cfg(genpool_loom)]

// Models that also run at full size come first.
mod answers;
mod cached_refusal;
mod claims;
mod exhausted;
mod fast_paths;
mod spread;

#[cfg(genpool_small)]
mod cache;
#[cfg(genpool_small)]
mod chunk_list;
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
#[cfg(genpool_small)]
mod static_pool;
