//! Promise 6: what an owner wrote before the free happens before the next owner's use.
//!
//! Owners write and read real memory without atomics, so that a race detector (Miri, ThreadSanitizer) judges the pool:
//! `ci/miri.sh`, `ci/sanitizers.sh`. With `GENPOOL_PLANTED` set to `race` or `overrun` an owner makes a bad access,
//! which the detectors must find.

mod common;

use std::cell::UnsafeCell;
use std::sync::mpsc::channel;
use std::thread;

use genpool::{AllocError, Allocation, BestFit, ChunkSpec, NextFit, Pool, ThreadStart};

const WORDS: usize = if cfg!(miri) { 160 } else { 1500 };

/// Memory that the holder of its addresses may write.
struct Memory(Box<[UnsafeCell<usize>]>);

// SAFETY: only the holder of a word's address in a pool accesses the word, which is what is tested.
unsafe impl Sync for Memory {}

impl Memory {
    fn new() -> Self {
        Self((0..WORDS).map(|_| UnsafeCell::new(0)).collect())
    }

    /// Writes an owner's number to every word of the range.
    fn write(&self, held: &Allocation<'_>, owner: usize) {
        for word in &self.0[held.addr()..held.addr() + held.size()] {
            // SAFETY: the caller holds the address.
            unsafe { *word.get() = owner };
        }
    }

    fn check(&self, held: &Allocation<'_>, owner: usize) {
        for word in &self.0[held.addr()..held.addr() + held.size()] {
            // SAFETY: the caller holds the address.
            assert_eq!(unsafe { *word.get() }, owner);
        }
    }
}

/// The planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// An owner writes once more after the free.
    Race,
    /// An owner writes past the end of the memory.
    Overrun,
}

impl Planted {
    fn asked() -> Self {
        match std::env::var("GENPOOL_PLANTED").as_deref() {
            Err(_) => Self::Nothing,
            Ok("race") => Self::Race,
            Ok("overrun") => Self::Overrun,
            Ok(other) => panic!("{other} cannot be planted"),
        }
    }

    fn after_the_free(self, memory: &Memory, addr: usize) {
        let at = match self {
            Self::Nothing => return,
            Self::Race => addr,
            Self::Overrun => memory.0.len(),
        };
        // Past the end in one case; used by the fault only.
        let word = memory.0.as_ptr().wrapping_add(at);
        // SAFETY: none. This is the fault that the detectors must find.
        unsafe { *word.cast_mut().cast::<usize>() = 0 };
    }
}

/// Makes a pool whose addresses are indices into the memory.
fn pool(tracked: bool, pinned: bool) -> Pool {
    let pool = common::builder(tracked).build().unwrap();
    if pinned {
        // Chunks added after a removal are reached by a pin.
        pool.add(WORDS, 1).unwrap();
        drop(pool.remove(WORDS).unwrap());
    }
    pool.add_chunk(ChunkSpec::new(0, WORDS - 100)).unwrap();
    pool.add_chunk(ChunkSpec::new(WORDS - 100, 100)).unwrap();
    pool
}

fn alloc(pool: &Pool, step: usize) -> Option<Allocation<'_>> {
    let longest = if step.is_multiple_of(7) { 100 } else { 6 };
    let size = 1 + step % longest;
    let found = match step % 5 {
        0 => pool.alloc(size),
        1 => pool.alloc_with(size, &BestFit),
        2 => pool.alloc_with(size, &ThreadStart),
        3 => pool.alloc_with(size, &NextFit::new()),
        _ => pool.alloc_many(&[size]).map(|mut list| list.remove(0)),
    };
    match found {
        Ok(found) => Some(found),
        Err(AllocError::Exhausted { .. } | AllocError::Contended { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn plain_memory_changes_hands() {
    let planted = Planted::asked();
    let steps = if cfg!(miri) { 25 } else { 6000 };
    for (tracked, pinned) in [(false, false), (true, false), (false, true), (true, true)] {
        let (pool, memory) = (pool(tracked, pinned), Memory::new());
        thread::scope(|scope| {
            let (pool, memory) = (&pool, &memory);
            // The last thread frees what the others send to it.
            let (friend, post) = channel::<(Allocation<'_>, usize)>();
            scope.spawn(move || {
                for (held, owner) in post {
                    memory.check(&held, owner);
                    memory.write(&held, 0);
                }
            });
            for owner in 1..=2 {
                let friend = friend.clone();
                scope.spawn(move || {
                    let mut cache = pool.cache();
                    for step in 0..steps {
                        let cached = step % 4 == 0;
                        let held = if cached {
                            cache.alloc(1 + step % 3).ok()
                        } else {
                            alloc(pool, step * owner)
                        };
                        let Some(held) = held else { continue };
                        memory.write(&held, owner);
                        if step % 8 == 0 {
                            thread::yield_now();
                        }
                        memory.check(&held, owner);
                        let addr = held.addr();
                        match step % 16 {
                            1 => friend.send((held, owner)).unwrap(),
                            2 | 3 => {
                                let range = held.into_raw();
                                pool.free(range.addr, range.size).unwrap();
                            }
                            _ if cached => cache.free(held),
                            _ => drop(held),
                        }
                        planted.after_the_free(memory, addr);
                    }
                });
            }
        });
        assert_eq!(pool.avail(), pool.size());
        assert!(pool.is_sound());
    }
}

/// Chunks that are removed take their bookkeeping and their owner's value with them.
#[test]
fn bookkeeping_changes_hands() {
    let rounds = if cfg!(miri) { 4 } else { 300 };
    let (pool, memory) = (pool(true, true), Memory::new());
    thread::scope(|scope| {
        let (pool, memory) = (&pool, &memory);
        for owner in 1..=2 {
            scope.spawn(move || {
                for step in 0..rounds * 8 {
                    if let Some(held) = alloc(pool, step * owner) {
                        memory.write(&held, owner);
                        memory.check(&held, owner);
                    }
                }
            });
        }
        let from = WORDS - 100;
        for round in 0..rounds {
            let drain = pool.remove(from).unwrap();
            while !drain.is_drained() {
                thread::yield_now();
            }
            let chunk = drain.finish().expect("it is drained");
            // No part of the chunk is held: its memory belongs to the thread that removed it.
            for word in &memory.0[chunk.start()..chunk.start() + chunk.size()] {
                // SAFETY: the chunk is drained.
                unsafe { *word.get() = round };
            }
            let owned = ChunkSpec::new(from, 100).owner(vec![round]);
            pool.add_chunk(owned).unwrap();
        }
    });
    assert_eq!(pool.avail(), pool.size());
    assert!(pool.is_sound());
}
