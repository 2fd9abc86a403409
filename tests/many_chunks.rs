//! Pools of many chunks: every chunk is used, and each has bookkeeping within its limit.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::PAGE;
use genpool::{
    Algorithm, AllocError, ChunkView, FirstFit, FixedOffset, Granule, Pool, Request, Stats,
};

/// Returns the start of chunk number `at` of `count`: not in the order of addresses, and with gaps.
fn start(at: usize, count: usize) -> usize {
    // 7919 is coprime to every count here.
    let place = at * 7919 % count;
    0x10_0000 + place * 160 * PAGE
}

const COUNTS: &[usize] = if cfg!(miri) {
    &[1, 2, 65]
} else {
    &[1, 2, 3, 64, 65, 86, 171, 193, 449, 683, 961, 1366, 2000]
};

/// One pointer more if pools may have observers.
const CHUNK: usize = 256 + if cfg!(feature = "observe") { 8 } else { 0 };

/// Granules of a chunk: few; around the size from which lengths are indexed, and one line more; and large.
const GRANULES: &[usize] = &[64, 513, 4097, 7680, 7681, 8193, 33_281, 131_073, 150_000];

#[test]
#[cfg_attr(miri, ignore = "sums of sizes, at length")]
#[cfg(target_pointer_width = "64")]
fn a_chunk_costs_256_bytes_and_a_granule_1_3_bits() {
    for &granules in GRANULES {
        let counts = COUNTS.iter().filter(|&count| count * granules < 1 << 22);
        for &count in counts {
            let pool = Pool::new(0).unwrap();
            for at in 0..count {
                pool.add(at * granules, granules).unwrap();
            }
            let Stats { bookkeeping, .. } = pool.stats();
            let most = 4096 + count * CHUNK + count * granules * 13 / 80;
            assert!(
                bookkeeping <= most,
                "{count} of {granules}: {bookkeeping} of {most}"
            );
        }
    }
}

#[test]
fn the_newest_serves_first_and_every_chunk_serves() {
    for &count in COUNTS {
        let pool = Pool::new(12).unwrap();
        for at in 0..count {
            pool.add_virt(start(at, count), (at as u64) << 40, 2 * PAGE)
                .unwrap();
        }
        // Newest first, twice: what was given back is found again, in any chunk.
        for _ in 0..2 {
            let mut held = Vec::new();
            for at in (0..count).rev() {
                for granule in 0..2 {
                    let taken = pool.alloc(PAGE).unwrap();
                    assert_eq!(taken.addr(), start(at, count) + granule * PAGE);
                    assert_eq!(pool.phys_of(taken.addr()), taken.phys());
                    assert_eq!(
                        taken.phys().map(|phys| phys >> 40),
                        Some(at as u64),
                        "the chunk's own"
                    );
                    held.push(taken);
                }
            }
            assert!(pool.alloc(PAGE).is_err());
            // From the middle: this is the only free place.
            let there = held.swap_remove(count / 2).into_raw();
            pool.free(there.addr, there.size).unwrap();
            assert_eq!(pool.alloc(PAGE).unwrap().addr(), there.addr);
        }
        assert_eq!(pool.avail(), pool.size());
        assert!(pool.is_sound());
    }
}

#[test]
fn an_address_between_chunks_is_in_no_chunk() {
    let count = if cfg!(miri) { 17 } else { 100 };
    let pool = Pool::new(12).unwrap();
    for at in 0..count {
        pool.add_virt(start(at, count), 0, 128 * PAGE).unwrap();
    }
    for at in 0..count {
        let end = start(at, count) + 128 * PAGE;
        assert_eq!(pool.phys_of(end - 1), Some(128 * PAGE as u64 - 1));
        assert_eq!(pool.phys_of(end), None);
        assert_eq!(pool.phys_of(start(at, count) - 1), None);
        assert!(pool.free(end, PAGE).is_err());
    }
    assert_eq!((pool.phys_of(0), pool.phys_of(usize::MAX)), (None, None));
}

#[test]
fn a_removed_chunk_is_not_found_any_more_and_its_address_serves_again() {
    let pool = Pool::new(12).unwrap();
    for at in 0..10 {
        pool.add_virt(start(at, 10), 0x1000, PAGE).unwrap();
    }
    for at in [9, 4, 0] {
        let drain = pool.remove(start(at, 10)).unwrap();
        assert!(drain.finish().is_ok());
        assert_eq!(pool.phys_of(start(at, 10)), None);
    }
    let mut held = Vec::new();
    for at in [8, 7, 6, 5, 3, 2, 1] {
        held.push(pool.alloc(PAGE).unwrap());
        assert_eq!(held[held.len() - 1].addr(), start(at, 10));
    }
    assert!(pool.alloc(PAGE).is_err());
    pool.add_virt(start(4, 10), 0x2000, PAGE).unwrap();
    assert_eq!(pool.phys_of(start(4, 10)), Some(0x2000));
    assert_eq!(pool.alloc(PAGE).unwrap().addr(), start(4, 10));
    drop(held);
    assert_eq!((pool.avail(), pool.size()), (8 * PAGE, 8 * PAGE));
    assert!(pool.is_sound());
}

#[test]
fn the_whole_address_space_is_a_chunk() {
    let pool = Pool::new(0).unwrap();
    assert!(pool.add(0, 1).is_ok());
    let half = 1_usize << (usize::BITS - 1);
    let granule = half >> 23;
    let wide = Pool::new(granule.trailing_zeros()).unwrap();
    wide.add(0, half).unwrap();
    assert!(wide.contains(half - 1, 1));
    assert!(!wide.contains(half, 1));
    wide.add(half, half - granule).unwrap();
    assert!(wide.contains(half, 1));
    assert!(!wide.contains(usize::MAX, 1));
}

/// First fit that loses the first place it finds at the start of the newest chunk.
struct Beaten<'p> {
    pool: &'p Pool,
    was: AtomicBool,
}

impl Algorithm for Beaten<'_> {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let place = FirstFit.propose(chunk, request)?;
        if !self.was.swap(true, Ordering::Relaxed) {
            let taken = self.pool.alloc_with(1, &FixedOffset::new(place.0));
            let _ = taken.unwrap().into_raw();
        }
        Some(place)
    }
}

#[test]
fn after_a_lost_race_the_same_chunk_is_asked_again() {
    let pool = Pool::new(0).unwrap();
    pool.add(0, 64).unwrap();
    pool.add(0x1000, 64).unwrap();
    let beaten = Beaten {
        pool: &pool,
        was: AtomicBool::new(false),
    };
    assert_eq!(pool.alloc_with(1, &beaten).unwrap().addr(), 0x1001);
}

/// Always proposes this granule in the newest chunk.
struct Always(usize);

impl Algorithm for Always {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        if chunk.start() == 0x1000 {
            return Some(Granule(self.0));
        }
        FirstFit.propose(chunk, request)
    }
}

#[test]
fn a_bad_proposal_is_an_error_although_an_older_chunk_has_room() {
    let pool = Pool::new(0).unwrap();
    pool.add(0, 64).unwrap();
    pool.add(0x1000, 64).unwrap();
    let _held = pool.alloc(1).unwrap();
    // Outside the chunk, and taken: a taken place is asked for again and again before the call fails.
    let bad: &[usize] = if cfg!(miri) {
        &[usize::MAX, 64]
    } else {
        &[usize::MAX, 64, 0]
    };
    for &granule in bad {
        let refused = pool.alloc_with(1, &Always(granule)).unwrap_err();
        let granules = 64;
        assert_eq!(refused, AllocError::BadProposal { granule, granules });
    }
    assert_eq!(pool.stats().bad_proposals, bad.len());
}
