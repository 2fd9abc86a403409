//! Free a random allocation, then make another.

use std::mem;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::{Large, Load};
use crate::contestant::{Handle, Layout};
use crate::rng::Rng;
use crate::task::Mix;

/// Operations between two readings of the clock. The allocations that they free are gathered before, and those that
/// they make are stored after, outside the timing: in a large pool the harness's own list of allocations does not fit
/// in any cache.
const GROUP: usize = 128;

/// The number of random numbers made beforehand. Each pass through them mixes them with the number of the pass.
const PICKS: usize = 1 << 14;

/// Operations for each allocation held, until the order in which the pool was filled has no effect any more.
const SETTLING: usize = 4;

/// Granules of a large request.
const LARGE: usize = 256;

/// Nanoseconds that a histogram tells apart from longer ones, and the decimal digits of those that it keeps.
const LONGEST: u64 = 1_000_000_000;
const DIGITS: u8 = 2;

/// An operation frees a random allocation and makes one of a random size. The number of allocations stays the same, so
/// the load always holds about the same part of the pool.
#[derive(Debug)]
pub struct Churn<H: Handle> {
    handle: H,
    order: u32,
    share: usize,
    largest: usize,
    random: Rng,
    slots: Vec<Option<H::Held>>,
    staged: Vec<Staged<H::Held>>,
    picks: Vec<u32>,
    turn: u32,
    next: usize,
    misses: u64,
    /// The large requests so far, if the load makes any.
    large: Option<Large>,
    /// The nanoseconds of each alloc, if they are timed one by one.
    latencies: Option<Histogram<u32>>,
}

#[derive(Debug)]
struct Staged<T> {
    slot: usize,
    bytes: usize,
    held: Option<T>,
}

impl<H: Handle> Churn<H> {
    /// Makes the churn load of one of `threads` threads in a pool of this layout. The largest allocation of the mix is a
    /// power of two.
    pub fn new(handle: H, layout: &Layout, mix: Mix, threads: usize, seed: u64) -> Self {
        let mut random = Rng::new(seed);
        let picks = (0..PICKS)
            .map(|_| (random.next_u64() >> 32) as u32)
            .collect();
        Self {
            handle,
            order: layout.order,
            share: layout.granules * mix.per_mille / 1000 / threads,
            largest: mix.largest,
            random,
            slots: Vec::new(),
            staged: Vec::with_capacity(GROUP),
            picks,
            turn: 0,
            next: 0,
            misses: 0,
            large: None,
            latencies: None,
        }
    }

    /// Makes a large request, outside the timing, before each group of operations, and gives it back at once.
    #[must_use]
    pub fn with_large_requests(mut self) -> Self {
        self.large = Some(Large::default());
        self
    }

    /// Times each alloc by itself.
    #[must_use]
    pub fn with_latencies(mut self) -> Self {
        self.latencies = Histogram::new_with_bounds(1, LONGEST, DIGITS).ok();
        self
    }

    /// Makes a large request.
    fn ask(&mut self) {
        if let Some(large) = &mut self.large {
            large.asked += 1;
            match self.handle.alloc(LARGE << self.order) {
                Some(held) => self.handle.free(held),
                None => large.refused += 1,
            }
        }
    }

    /// Takes the allocations that the next `operations` operations free out of their slots.
    fn gather(&mut self, operations: usize) {
        let slots = self.slots.len();
        for _ in 0..operations {
            if self.next == PICKS {
                self.next = 0;
                self.turn = self.turn.wrapping_add(0x9e37_79b9);
            }
            let pick = self.picks[self.next] ^ self.turn;
            self.next += 1;
            let size = pick as usize % self.largest + 1;
            let slot = ((u64::from(pick.wrapping_mul(0x85eb_ca6b)) * slots as u64) >> 32) as usize;
            // A slot that is empty already is replaced by the next that is not.
            let Some(slot) = (slot..slots)
                .chain(0..slot)
                .find(|&at| self.slots[at].is_some())
            else {
                return;
            };
            self.staged.push(Staged {
                slot,
                bytes: size << self.order,
                held: self.slots[slot].take(),
            });
        }
    }

    /// Puts the allocations that the last operations made into the slots.
    fn scatter(&mut self) {
        for staged in self.staged.drain(..) {
            self.slots[staged.slot] = match staged.held {
                Some(held) => Some(held),
                None => {
                    self.misses += 1;
                    self.handle.alloc(staged.bytes)
                }
            };
        }
    }
}

impl<H: Handle> Load for Churn<H> {
    fn prepare(&mut self, deadline: Instant) -> bool {
        let mut held = 0;
        while held < self.share {
            if Instant::now() >= deadline {
                return false;
            }
            let mut size = (self.random.below(self.largest) + 1).min(self.share - held);
            let got = loop {
                match self.handle.alloc(size << self.order) {
                    Some(got) => break got,
                    // A contestant that rounds sizes up may be full early.
                    None if size == 1 => return false,
                    // One that leaves many holes has room for less.
                    None => size /= 2,
                }
            };
            held += size;
            self.slots.push(Some(got));
        }
        true
    }

    fn settling(&self) -> usize {
        SETTLING * self.slots.len()
    }

    fn cycle(&self) -> usize {
        self.slots.len()
    }

    fn run(&mut self, operations: usize) -> Duration {
        let mut time = Duration::ZERO;
        let group = GROUP.min(self.slots.len() / 2).max(1);
        let mut left = operations;
        while left > 0 {
            let now = left.min(group);
            self.ask();
            self.gather(now);
            let start = Instant::now();
            match &mut self.latencies {
                None => {
                    for staged in &mut self.staged {
                        if let Some(held) = staged.held.take() {
                            self.handle.free(held);
                        }
                        staged.held = self.handle.alloc(staged.bytes);
                    }
                }
                Some(latencies) => {
                    for staged in &mut self.staged {
                        if let Some(held) = staged.held.take() {
                            self.handle.free(held);
                        }
                        let start = Instant::now();
                        staged.held = self.handle.alloc(staged.bytes);
                        let nanoseconds = start.elapsed().as_nanos() as u64;
                        latencies.saturating_record(nanoseconds);
                    }
                }
            }
            time += start.elapsed();
            self.scatter();
            left -= now;
        }
        time
    }

    fn finish(mut self: Box<Self>) -> u64 {
        for held in self.slots.drain(..).flatten() {
            self.handle.free(held);
        }
        self.misses
    }

    fn misses(&self) -> u64 {
        self.misses
    }

    fn large(&mut self) -> Large {
        self.large.as_mut().map(mem::take).unwrap_or_default()
    }

    fn latencies(&mut self) -> Option<Histogram<u32>> {
        let latencies = self.latencies.as_mut()?;
        let taken = latencies.clone();
        latencies.reset();
        Some(taken)
    }
}
