//! Ask for more than there is.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::Load;
use crate::contestant::Handle;

/// An operation is an alloc that fails.
#[derive(Debug)]
pub struct Refusal<H> {
    handle: H,
    bytes: usize,
    misses: u64,
}

impl<H: Handle> Refusal<H> {
    /// Makes a load of allocs of this size.
    pub fn new(handle: H, bytes: usize) -> Self {
        Self {
            handle,
            bytes,
            misses: 0,
        }
    }
}

impl<H: Handle> Load for Refusal<H> {
    fn run(&mut self, operations: usize) -> Duration {
        let start = Instant::now();
        for _ in 0..operations {
            if let Some(held) = self.handle.alloc(black_box(self.bytes)) {
                self.handle.free(held);
                self.misses += 1;
            }
        }
        start.elapsed()
    }

    fn misses(&self) -> u64 {
        self.misses
    }
}
