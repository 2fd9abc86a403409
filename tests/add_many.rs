//! `Pool::add_many`: all chunks are added, or none.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{Done, PAGE};
use genpool::{AddRefused, ChunkSpec, Pool};
use proptest::prelude::*;

/// Returns the index and the reason of the refusal, and checks that the pool is unchanged and all chunks come back.
fn refusal(pool: &Pool, ranges: &[(usize, usize)]) -> (usize, AddRefused) {
    let chunks = || pool.chunks().map(|chunk| (chunk.start(), chunk.size()));
    let before: Vec<_> = chunks().collect();
    let owner = Arc::new(());
    let specs = ranges
        .iter()
        .map(|&(start, size)| ChunkSpec::new(start, size).shared_owner(owner.clone()));
    let refused = pool.add_many(specs.collect()).unwrap_err();
    assert!(chunks().eq(before), "changed");
    let back = refused
        .chunks
        .iter()
        .map(|chunk| (chunk.start(), chunk.size()));
    assert!(back.eq(ranges.iter().copied()));
    assert_eq!(Arc::strong_count(&owner), 1 + ranges.len());
    assert!(pool.is_sound());
    (refused.at, refused.reason)
}

#[test]
fn no_chunk_is_no_change() {
    let pool = Pool::new(12).unwrap();
    pool.add_many(Vec::new()).unwrap();
    assert_eq!((pool.size(), pool.chunks().len()), (0, 0));
}

#[test]
fn the_last_is_the_newest() {
    let count = if cfg!(miri) { 20 } else { 1000 };
    for after_removal in [false, true] {
        let pool = Pool::new(12).unwrap();
        pool.add(0, PAGE).unwrap();
        if after_removal {
            let _ = pool.remove(0).unwrap().finish().unwrap();
            pool.add(0, PAGE).unwrap();
        }
        let start = |at| (1 + at * 7 % count) * 2 * PAGE;
        let chunks = (0..count).map(|at| ChunkSpec::new(start(at), PAGE).phys(at as u64));
        pool.add_many(chunks.collect()).unwrap();
        assert_eq!(pool.size(), (count + 1) * PAGE);
        assert!(pool.is_sound());
        let mut held = Vec::new();
        for at in (0..count).rev() {
            held.push(pool.alloc(1).unwrap());
            assert_eq!(held[held.len() - 1].addr(), start(at));
            assert_eq!(pool.phys_of(start(at)), Some(at as u64));
        }
        assert_eq!(pool.alloc(1).unwrap().addr(), 0);
    }
}

#[test]
fn each_rule_is_checked_for_each_chunk() {
    let pool = Pool::new(12).unwrap();
    pool.add(0x10_0000, 2 * PAGE).unwrap();
    let good = (0x20_0000, PAGE);
    let refuse = |bad| {
        let (at, reason) = refusal(&pool, &[good, (0x30_0000, PAGE), bad, (0x40_0000, PAGE)]);
        assert_eq!(at, 2);
        reason
    };
    assert_eq!(refuse((0x50_0000, 0)), AddRefused::ZeroSize);
    let granule = PAGE;
    let misaligned = AddRefused::MisalignedStart { granule };
    assert_eq!(refuse((0x50_0001, PAGE)), misaligned);
    let misaligned = AddRefused::MisalignedSize { granule };
    assert_eq!(refuse((0x50_0000, PAGE + 1)), misaligned);
    let end = usize::MAX - (PAGE - 1);
    assert_eq!(refuse((end, 2 * PAGE)), AddRefused::Wraps);
    let overlaps = |start, size| AddRefused::Overlaps { start, size };
    let old = overlaps(0x10_0000, 2 * PAGE);
    assert_eq!(refuse((0x10_1000, PAGE)), old);
    // With one of the same call.
    assert_eq!(refuse(good), overlaps(good.0, good.1));
    assert_eq!(refuse((0x1f_f000, 3 * PAGE)), overlaps(good.0, good.1));
    let text = pool.add_many(vec![ChunkSpec::new(0, 0)]).unwrap_err();
    assert_eq!(
        text.to_string(),
        "chunk number 0 of 1: a chunk has at least one granule"
    );
    // Halves of all addresses.
    let halves = Pool::new(usize::BITS - 1).unwrap();
    let half = 1 << (usize::BITS - 1);
    let all = [(0, half), (half, half)];
    assert_eq!(refusal(&halves, &all), (1, AddRefused::TotalSize));
    let chunk = ChunkSpec::new(0, PAGE).phys(u64::MAX);
    let refused = pool.add_many(vec![chunk]).unwrap_err();
    assert!(matches!(refused.reason, AddRefused::PhysWraps { .. }));
}

/// A drained chunk whose `Drain` is kept is in nobody's way.
#[test]
fn chunks_take_the_place_of_drained_ones() {
    let pool = Pool::new(12).unwrap();
    let start = |at| at * PAGE;
    let chunks = (0..40).map(|at| ChunkSpec::new(start(at), PAGE));
    pool.add_many(chunks.collect()).unwrap();
    let held = pool.alloc(1).unwrap();
    assert_eq!(held.addr(), start(39));
    let drains: Vec<_> = (0..40).map(|at| pool.remove(start(at)).unwrap()).collect();
    let last = AddRefused::Overlaps {
        start: start(39),
        size: PAGE,
    };
    assert_eq!(
        refusal(&pool, &[(0, 20 * PAGE), (20 * PAGE, 20 * PAGE)]),
        (1, last)
    );
    drop(held);
    let halves = [0, 20].map(|at| ChunkSpec::new(start(at), 20 * PAGE));
    pool.add_many(halves.to_vec()).unwrap();
    drop(drains);
    assert_eq!((pool.chunks().len(), pool.size()), (2, 40 * PAGE));
    assert!(pool.contains(start(5), 15 * PAGE) && pool.is_sound());
    drop(pool.alloc(20 * PAGE).unwrap());
}

#[test]
fn others_see_all_chunks_or_none() {
    let rounds = if cfg!(miri) { 3 } else { 200 };
    let pool = Pool::new(12).unwrap();
    pool.add(0, PAGE).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(pool.chunks().len() % 10, 1);
                drop(pool.alloc(1).unwrap());
            }
        });
        let _done = Done(&done);
        for round in 0..rounds {
            let start = |at| (1 + round * 10 + at) * 2 * PAGE;
            let chunks = (0..10).map(|at| ChunkSpec::new(start(at), PAGE));
            pool.add_many(chunks.collect()).unwrap();
        }
    });
    assert_eq!(pool.chunks().len(), 1 + 10 * rounds);
    assert!(pool.is_sound());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 256 }))]

    /// The chunks are added, or refused, as if they were added one by one.
    #[test]
    fn many_are_added_like_one_after_the_other(
        calls in prop::collection::vec(prop::collection::vec((0_usize..200, 0_usize..6), 0..8), 1..12),
        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (many, one) = (Pool::new(0).unwrap(), Pool::new(0).unwrap());
        let mut removed = removed.into_iter();
        for ranges in calls {
            let specs = ranges.iter().map(|&(start, size)| ChunkSpec::new(start, size));
            let outcome = many.add_many(specs.clone().collect());
            let mut added = Vec::new();
            let mut refused = None;
            for (at, spec) in specs.enumerate() {
                let start = spec.start();
                match one.add_chunk(spec) {
                    Ok(()) => added.push(start),
                    Err(error) => {
                        refused = Some((at, error.reason));
                        break;
                    }
                }
            }
            prop_assert_eq!(outcome.err().map(|error| (error.at, error.reason)), refused);
            if refused.is_some() {
                for start in added {
                    prop_assert!(one.remove(start).unwrap().finish().is_ok());
                }
            }
            let starts: Vec<_> = many.chunks().map(|chunk| chunk.start()).collect();
            if let Some(index) = removed.next().filter(|_| !starts.is_empty()) {
                let start = *index.get(&starts);
                for pool in [&many, &one] {
                    prop_assert!(pool.remove(start).unwrap().finish().is_ok());
                }
            }
            let of = |pool: &Pool| pool.chunks().map(|chunk| (chunk.start(), chunk.size())).collect::<Vec<_>>();
            prop_assert_eq!(of(&many), of(&one));
            prop_assert!(many.is_sound() && one.is_sound());
        }
    }
}
