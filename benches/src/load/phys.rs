//! Look up physical addresses.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::Load;
use crate::contestant::{Handle, Layout};
use crate::rng::Rng;

/// The number of different addresses, which are looked up in turn: few enough for the first-level cache.
const ADDRESSES: usize = 2048;

/// An operation looks up an address anywhere in the pool.
#[derive(Debug)]
pub struct PhysOf<H> {
    handle: H,
    addresses: Vec<usize>,
    misses: u64,
}

impl<H: Handle> PhysOf<H> {
    /// Makes a load of look-ups of random addresses.
    pub fn new(handle: H, layout: &Layout, seed: u64) -> Self {
        let mut random = Rng::new(seed);
        let starts = layout.starts();
        let bytes = layout.chunk_granules() << layout.order;
        let addresses = (0..ADDRESSES)
            .map(|_| starts[random.below(starts.len())] + random.below(bytes))
            .collect();
        Self {
            handle,
            addresses,
            misses: 0,
        }
    }
}

impl<H: Handle> Load for PhysOf<H> {
    fn run(&mut self, operations: usize) -> Duration {
        let start = Instant::now();
        for &addr in self.addresses.iter().cycle().take(operations) {
            if black_box(self.handle.phys_of(addr)).is_none() {
                self.misses += 1;
            }
        }
        start.elapsed()
    }

    fn misses(&self) -> u64 {
        self.misses
    }
}
