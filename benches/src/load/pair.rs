//! Allocate and free at once.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::Load;
use crate::contestant::Handle;

/// An operation is an alloc and the free of its result.
#[derive(Debug)]
pub struct Pair<H> {
    handle: H,
    bytes: usize,
    misses: u64,
}

impl<H: Handle> Pair<H> {
    /// Makes a load of pairs of this size.
    pub fn new(handle: H, bytes: usize) -> Self {
        Self {
            handle,
            bytes,
            misses: 0,
        }
    }
}

impl<H: Handle> Load for Pair<H> {
    fn run(&mut self, operations: usize) -> Duration {
        let start = Instant::now();
        for _ in 0..operations {
            match self.handle.alloc(black_box(self.bytes)) {
                Some(held) => {
                    black_box(H::addr(&held));
                    self.handle.free(held);
                }
                None => self.misses += 1,
            }
        }
        start.elapsed()
    }

    fn misses(&self) -> u64 {
        self.misses
    }
}
