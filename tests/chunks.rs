//! Adding and removing chunks: what is refused, how a chunk drains, and what other calls see meanwhile.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use common::{Done, PAGE, builder, pool, refusal, tracked};
use genpool::{
    AddRefused, AllocError, BestFit, ChunkSpec, FixedOffset, FreeError, Impossible, OrderAlign,
    Pool, RemoveError, ResizeError,
};

#[test]
fn address_0_is_an_ordinary_address() {
    let pool = Pool::new(12).unwrap();
    pool.add(0, 2 * PAGE).unwrap();
    let a = pool.alloc(PAGE).unwrap();
    assert_eq!(a.addr(), 0);
    pool.free(a.into_raw().addr, PAGE).unwrap();
    assert!(pool.contains(0, 1));
}

#[test]
fn the_top_of_the_address_space_is_ordinary_too() {
    let pool = Pool::new(12).unwrap();
    let start = usize::MAX - (2 * PAGE - 1);
    pool.add(start, 2 * PAGE).unwrap();
    assert!(pool.contains(usize::MAX, 1));
    let a = pool.alloc(PAGE).unwrap();
    let b = pool.alloc_with(PAGE, &OrderAlign).unwrap();
    assert_eq!((a.addr(), b.addr()), (start, start + PAGE));
    drop(a);
    drop(b);
    let all = pool.alloc_with(2 * PAGE, &BestFit).unwrap().into_raw();
    assert_eq!(
        pool.free(all.addr, 3 * PAGE),
        Err(FreeError::PastChunk {
            addr: start,
            size: 3 * PAGE,
            last: usize::MAX
        })
    );
    pool.free(all.addr, all.size).unwrap();
    // Half of all addresses, twice: the total would not fit in a `usize`.
    let halves = Pool::new(usize::BITS - 1).unwrap();
    let half = 1 << (usize::BITS - 1);
    halves.add(0, half).unwrap();
    let refused = refusal(&halves, ChunkSpec::new(half, half));
    assert_eq!(refused, AddRefused::TotalSize);
    assert_eq!(
        halves
            .alloc_with(usize::MAX / 2, &OrderAlign)
            .unwrap()
            .addr(),
        0
    );
}

#[test]
fn a_chunk_start_that_is_not_a_multiple_of_the_granule_is_an_error() {
    let pool = Pool::new(12).unwrap();
    let reason = refusal(&pool, ChunkSpec::new(0x1001, PAGE));
    assert_eq!(reason, AddRefused::MisalignedStart { granule: PAGE });
}

#[test]
fn a_chunk_size_that_is_not_a_multiple_of_the_granule_is_an_error() {
    let pool = Pool::new(12).unwrap();
    let reason = refusal(&pool, ChunkSpec::new(0x1000, PAGE + 1));
    assert_eq!(reason, AddRefused::MisalignedSize { granule: PAGE });
}

#[test]
fn overlapping_wrapping_and_empty_chunks_are_errors() {
    let pool = Pool::new(12).unwrap();
    pool.add(0x10_0000, 4 * PAGE).unwrap();
    let refuse = |start, size| refusal(&pool, ChunkSpec::new(start, size));
    assert_eq!(refuse(0x20_0000, 0), AddRefused::ZeroSize);
    assert_eq!(refuse(usize::MAX - 4095, 2 * PAGE), AddRefused::Wraps);
    let overlap = AddRefused::Overlaps {
        start: 0x10_0000,
        size: 4 * PAGE,
    };
    for (start, pages) in [
        (0x10_0000, 4),
        (0xf_f000, 2),
        (0x10_3000, 1),
        (0xf_0000, 64),
        (0x10_1000, 1),
    ] {
        assert_eq!(refuse(start, pages * PAGE), overlap);
    }
    let wraps = ChunkSpec::new(0x20_0000, 2 * PAGE).phys(u64::MAX - 4096);
    let reason = refusal(&pool, wraps);
    assert_eq!(
        reason,
        AddRefused::PhysWraps {
            phys: u64::MAX - 4096
        }
    );
    // Adjacent chunks do not overlap.
    pool.add(0x10_4000, PAGE).unwrap();
    pool.add(0xf_f000, PAGE).unwrap();
}

#[test]
fn a_chunk_of_too_many_granules_is_an_error() {
    let pool = builder(true).build().unwrap();
    let vast = ChunkSpec::new(0, 1 << (usize::BITS - 2));
    let AddRefused::TooManyGranules { most } = refusal(&pool, vast) else {
        panic!("not refused for its length");
    };
    let refused = refusal(&pool, ChunkSpec::new(0, most + 1));
    assert_eq!(refused, AddRefused::TooManyGranules { most });
    // More granules than half of `usize::MAX` cannot be counted together with what follows them.
    let pool = builder(false).build().unwrap();
    let most = usize::MAX / 2;
    for granules in [most + 1, usize::MAX] {
        let refused = refusal(&pool, ChunkSpec::new(0, granules));
        assert_eq!(refused, AddRefused::TooManyGranules { most });
    }
    // The limit applies to granules, not to bytes.
    let order = usize::BITS / 2 - 2;
    let pool = builder(true).order(order).build().unwrap();
    pool.add(0, 4 << order).unwrap();
    assert_eq!(pool.alloc(1).unwrap().addr(), 0);
}

#[test]
fn a_refused_chunk_comes_back_with_its_owner() {
    let pool = Pool::new(12).unwrap();
    let refused = pool
        .add_chunk(ChunkSpec::new(1, PAGE).owner(String::from("mine")))
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "chunk of 0x1000 bytes at 0x1: the start is not a multiple of the granule of 0x1000 bytes"
    );
    let owner = refused.chunk.into_owner().unwrap();
    assert_eq!(owner.downcast_ref::<String>().unwrap(), "mine");
}

#[test]
fn physical_addresses_at_the_edges() {
    let pool = Pool::new(12).unwrap();
    let top = u64::MAX - (2 * PAGE as u64 - 1);
    pool.add_virt(4 * PAGE, top, 2 * PAGE).unwrap();
    pool.add(6 * PAGE, PAGE).unwrap();
    for (addr, phys) in [
        (4 * PAGE - 1, None),
        (4 * PAGE, Some(top)),
        (6 * PAGE - 1, Some(u64::MAX)),
        // The chunk after it has no physical address.
        (6 * PAGE, None),
        (7 * PAGE, None),
        (0, None),
        (usize::MAX, None),
    ] {
        assert_eq!(pool.phys_of(addr), phys, "{addr:#x}");
    }
    // No allocation spans both chunks, though they touch.
    assert!(pool.alloc(3 * PAGE).is_err());
    assert!(!pool.contains(5 * PAGE, 2 * PAGE));
    let wraps = ChunkSpec::new(10 * PAGE, 2 * PAGE).phys(top + PAGE as u64);
    let reason = refusal(&pool, wraps);
    assert_eq!(
        reason,
        AddRefused::PhysWraps {
            phys: top + PAGE as u64
        }
    );
    // An allocation has its address as long as something is held, and not afterwards.
    let held = pool.alloc(2 * PAGE).unwrap();
    assert_eq!(held.phys(), Some(top));
    let drain = pool.remove(4 * PAGE).unwrap();
    assert_eq!(held.phys(), Some(top));
    assert_eq!(pool.phys_of(5 * PAGE), Some(top + PAGE as u64));
    drop(held);
    assert!(drain.is_drained());
    assert_eq!(pool.phys_of(5 * PAGE), None);
}

#[test]
fn a_chunk_can_be_removed_while_others_allocate() {
    let pool = Pool::new(12).unwrap();
    pool.add(0x100_0000, 512 * PAGE).unwrap();
    let rounds = if cfg!(miri) { 3 } else { 300 };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut held = Vec::new();
                let mut step = 0;
                while !done.load(Ordering::Relaxed) {
                    held.extend(pool.alloc((step % 70 + 1) * PAGE));
                    if held.len() > 3 {
                        drop(held.swap_remove(step % 3));
                    }
                    step += 1;
                }
            });
        }
        let _done = Done(&done);
        for round in 0..rounds {
            let start = 0x200_0000 + (round % 2) * 0x100_0000;
            let notified = Arc::new(AtomicUsize::new(0));
            pool.add(start, 128 * PAGE).unwrap();
            thread::yield_now();
            let drain = pool.remove(start).unwrap();
            let count = Arc::clone(&notified);
            drain.on_drained(move || {
                count.fetch_add(1, Ordering::Relaxed);
            });
            // Still draining, or already gone.
            let again = pool.remove(start).unwrap_err();
            assert!(matches!(
                again,
                RemoveError::Draining { .. } | RemoveError::NoChunk { .. }
            ));
            assert!(drain.wait(None));
            assert_eq!(drain.held(), 0);
            let chunk = drain.finish().unwrap();
            assert_eq!((chunk.start(), chunk.size()), (start, 128 * PAGE));
            // The callback runs in the thread that gave the last allocation back, right after the free.
            while notified.load(Ordering::Relaxed) == 0 {
                thread::yield_now();
            }
        }
    });
    assert_eq!(
        pool.remove(7).unwrap_err(),
        RemoveError::NoChunk { start: 7 }
    );
    assert_eq!((pool.chunks().len(), pool.avail()), (1, pool.size()));
    assert!(pool.is_sound());
}

#[test]
fn a_draining_chunk_hands_out_nothing_and_can_be_added_again() {
    let pool = tracked(&[(0, 4 * PAGE)]);
    let mut held = pool.alloc(PAGE).unwrap();
    let drain = pool.remove(0).unwrap();
    let no_chunk = AllocError::Impossible(Impossible::NoChunk);
    assert_eq!(pool.alloc(1).unwrap_err(), no_chunk);
    assert_eq!(held.resize(2 * PAGE), Err(ResizeError::Draining));
    assert_eq!((pool.size(), pool.avail()), (0, 0));
    let stats = pool.stats();
    assert_eq!((stats.draining, stats.draining_used), (1, PAGE));
    assert!(pool.contains(0, 1), "what is held stays valid");
    assert!(!drain.wait(Some(Duration::from_millis(2))));
    // It cannot be added again before it is gone.
    let reason = refusal(&pool, ChunkSpec::new(0, PAGE));
    assert!(matches!(reason, AddRefused::Overlaps { .. }));
    let drain = drain.finish().unwrap_err();
    drop(held);
    assert!(drain.is_drained());
    drop(drain);
    assert!(!pool.contains(0, 1));
    pool.add(0, 8 * PAGE).unwrap();
    assert_eq!(pool.alloc(8 * PAGE).unwrap().size(), 8 * PAGE);
}

#[test]
fn a_drained_chunk_can_be_replaced_at_its_place() {
    let pool = pool(64);
    pool.add(0x1000, 64).unwrap();
    let held = pool.alloc(1).unwrap().into_raw();
    // Both are still on the list while their drains are kept.
    let old = pool.remove(0).unwrap();
    let new = pool.remove(0x1000).unwrap();
    assert!(old.is_drained() && !new.is_drained());
    pool.add(0, 32).unwrap();
    pool.free(held.addr, 1).unwrap();
    assert!(pool.contains(0, 32) && !pool.contains(32, 1));
    drop(pool.alloc(32).unwrap());
    drop((old, new));
    assert_eq!((pool.chunks().len(), pool.avail()), (1, 32));
}

/// The last free and the removal of its chunk run in two threads. The owner of the memory is notified once, after both.
#[test]
fn a_free_races_the_removal_of_its_chunk() {
    let rounds = if cfg!(miri) { 8 } else { 2000 };
    let pool = pool(64);
    let notified = Arc::new(AtomicUsize::new(0));
    for round in 0..rounds {
        let (start, n) = (1000, 1 + round % 100);
        pool.add(start, 200).unwrap();
        let held = pool.alloc_with(n, &FixedOffset::new(50)).unwrap();
        assert_eq!(held.addr(), start + 50);
        let gate = Barrier::new(2);
        let drain = thread::scope(|scope| {
            let free = scope.spawn(|| {
                gate.wait();
                if round % 2 == 0 {
                    drop(held);
                } else {
                    let range = held.into_raw();
                    pool.free(range.addr, range.size).unwrap();
                }
            });
            gate.wait();
            let drain = pool.remove(start).unwrap();
            let count = Arc::clone(&notified);
            drain.on_drained(move || {
                count.fetch_add(1, Ordering::SeqCst);
            });
            free.join().unwrap();
            drain
        });
        assert!(drain.is_drained());
        assert_eq!(notified.load(Ordering::SeqCst), round + 1);
        drop(drain);
        assert_eq!(
            pool.remove(start).unwrap_err(),
            RemoveError::NoChunk { start }
        );
        let foreign = FreeError::Foreign { addr: start };
        assert_eq!(pool.free(start, 1), Err(foreign));
    }
    assert_eq!((pool.chunks().len(), pool.avail()), (1, 64));
    assert!(pool.is_sound());
}

/// A callback panics in the call that gave the last allocation back.
#[test]
fn a_panic_in_a_callback_loses_nothing() {
    for by_value in [false, true] {
        let pool = pool(64);
        pool.add(1000, 100).unwrap();
        let held = pool.alloc(80).unwrap();
        let drain = pool.remove(1000).unwrap();
        // `resume_unwind` prints no message.
        drain.on_drained(|| std::panic::resume_unwind(Box::new("on purpose")));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if by_value {
                drop(held);
            } else {
                let range = held.into_raw();
                pool.free(range.addr, range.size).unwrap();
            }
        }));
        assert!(
            outcome.is_err(),
            "the panic goes to the caller that gave it back"
        );
        assert!(drain.is_drained());
        let chunk = drain.finish().unwrap();
        assert_eq!((chunk.start(), chunk.size()), (1000, 100));
        pool.add(1000, 100).unwrap();
        let all = pool.alloc_many(&[100, 64]).unwrap();
        assert!(pool.alloc(1).is_err());
        drop(all);
        assert_eq!(pool.avail(), 164);
        assert!(pool.is_sound());
    }
}

#[test]
fn a_wait_for_a_drain_lasts_as_long_as_asked() {
    let pool = Pool::new(0).unwrap();
    pool.add(0, 16).unwrap();
    let held = pool.alloc_owned(1).unwrap();
    let drain = pool.remove(0).unwrap();
    let (begin, limit) = (Instant::now(), Duration::from_millis(20));
    assert!(!drain.wait(Some(Duration::ZERO)));
    assert!(!drain.wait(Some(limit)));
    assert!(begin.elapsed() >= limit);
    thread::scope(|threads| {
        threads.spawn(|| assert!(drain.wait(None)));
        drop(held);
    });
    assert!(drain.wait(Some(Duration::ZERO)));
}

#[test]
fn add_and_remove_never_block_alloc_or_free() {
    // An owner's value whose drop does not return before it is released holds a removal up in the middle.
    struct Stuck(Arc<Barrier>);
    impl Drop for Stuck {
        fn drop(&mut self) {
            self.0.wait();
            self.0.wait();
        }
    }
    let pool = Pool::new(12).unwrap();
    // After the first removal, the bookkeeping of later chunks is freed with them.
    pool.add(0, PAGE).unwrap();
    let _ = pool.remove(0).unwrap().finish().unwrap();
    let gate = Arc::new(Barrier::new(2));
    let chunk = ChunkSpec::new(0x10_0000, PAGE).owner(Stuck(Arc::clone(&gate)));
    pool.add_chunk(chunk).unwrap();
    pool.add(0x20_0000, 4 * PAGE).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| drop(pool.remove(0x10_0000).unwrap()));
        gate.wait();
        // The removal is held up in the middle of its reclamation.
        for _ in 0..100 {
            let a = pool.alloc(PAGE).unwrap();
            let b = pool.alloc(2 * PAGE).unwrap().into_raw();
            drop(a);
            pool.free(b.addr, b.size).unwrap();
        }
        pool.add(0x30_0000, PAGE).unwrap();
        assert_eq!(pool.size(), 5 * PAGE);
        gate.wait();
    });
}

#[test]
fn bookkeeping_stays_bounded_under_endless_add_and_remove() {
    let pool = Pool::new(12).unwrap();
    let cycle = || {
        pool.add(0, 512 * PAGE).unwrap();
        drop(pool.alloc(PAGE).unwrap());
        let _ = pool.remove(0).unwrap().finish().unwrap();
    };
    cycle();
    cycle();
    let before = pool.stats().bookkeeping;
    for _ in 0..if cfg!(miri) { 5 } else { 2000 } {
        cycle();
    }
    assert_eq!(pool.stats().bookkeeping, before);
}

#[test]
fn an_index_of_addresses_keeps_a_chunk_whose_bucket_others_left() {
    // The first two share a bucket, because the last is so far away.
    let places = [0, PAGE, usize::MAX - PAGE + 1];
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for order in orders {
        for removed in places {
            let pool = Pool::new(12).unwrap();
            for at in order {
                pool.add(places[at], PAGE).unwrap();
            }
            // Chunks that are added from now on are not in the index. The first takes the place of the removed one.
            let drain = pool.remove(removed).unwrap();
            pool.add(removed, PAGE).unwrap();
            pool.add(2 * PAGE, PAGE).unwrap();
            assert!(pool.is_sound(), "{order:?}, {removed:#x}");
            drop(drain);
            assert!(pool.is_sound(), "{order:?}, {removed:#x}");
        }
    }
}
