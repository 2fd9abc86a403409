//! Give back a random allocation, take another one.

use std::time::{Duration, Instant};

use super::Load;
use crate::contestant::Handle;
use crate::rng::Rng;

/// Operations between two readings of the clock. What they free is gathered before and what they got is put away
/// after, outside of the timing: in a large pool the harness's own list of allocations does not fit any cache.
const GROUP: usize = 128;

/// Random numbers made beforehand; each turn through them is mixed with the number of the turn.
const PICKS: usize = 1 << 14;

/// Operations for each allocation held, until the order in which the pool was filled is forgotten.
const SETTLING: usize = 4;

/// An operation is the free of a random allocation and an alloc of a random size. The load keeps the number of its
/// allocations, so that the part of the pool that it holds stays about the same.
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
}

#[derive(Debug)]
struct Staged<T> {
    slot: usize,
    bytes: usize,
    held: Option<T>,
}

impl<H: Handle> Churn<H> {
    /// Churn that holds `share` granules of `1 << order` bytes, in allocations of 1 to `largest` granules, a power of
    /// two.
    pub fn new(handle: H, order: u32, share: usize, largest: usize, seed: u64) -> Self {
        let mut random = Rng::new(seed);
        let picks = (0..PICKS)
            .map(|_| (random.next_u64() >> 32) as u32)
            .collect();
        Self {
            handle,
            order,
            share,
            largest,
            random,
            slots: Vec::new(),
            staged: Vec::with_capacity(GROUP),
            picks,
            turn: 0,
            next: 0,
            misses: 0,
        }
    }

    /// Takes the allocations that the next `operations` free out of their slots.
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
            // One that is taken out already is replaced by the next that is not.
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

    /// Puts the allocations that the last operations got into the slots.
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
            let size = (self.random.below(self.largest) + 1).min(self.share - held);
            let Some(got) = self.handle.alloc(size << self.order) else {
                // Whoever rounds sizes up may be full before its time.
                return false;
            };
            held += size;
            self.slots.push(Some(got));
        }
        true
    }

    fn settling(&self) -> usize {
        SETTLING * self.slots.len()
    }

    fn run(&mut self, operations: usize) -> Duration {
        let mut time = Duration::ZERO;
        let group = GROUP.min(self.slots.len() / 2).max(1);
        let mut left = operations;
        while left > 0 {
            let now = left.min(group);
            self.gather(now);
            let start = Instant::now();
            for staged in &mut self.staged {
                if let Some(held) = staged.held.take() {
                    self.handle.free(held);
                }
                staged.held = self.handle.alloc(staged.bytes);
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
}
