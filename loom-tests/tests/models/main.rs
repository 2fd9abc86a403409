//! The models, in one program, so that the longest of them run beside each other.

#![cfg(genpool_loom)]

mod cache;
mod chunks;
mod claims;
mod devices;
mod hints;
mod honest;
mod hot;
mod lengths;
mod ring;
