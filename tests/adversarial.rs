//! Cases that an allocator on shared bits can get wrong and that have no test elsewhere. CASES.md lists them all.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use common::{PAGE, refusal, tracked};
use genpool::{
    AddRefused, Algorithm, AllocError, BestFit, ChunkSpec, ChunkView, FirstFit, FixedOffset,
    FreeError, Granule, Impossible, NextFit, OrderAlign, Pool, RemoveError, Request, ThreadStart,
};

/// Makes a pool of one chunk at 0, with granules of one byte.
fn pool(granules: usize) -> Pool {
    let pool = Pool::new(0).unwrap();
    pool.add(0, granules).unwrap();
    pool
}

fn algorithms() -> [Box<dyn Algorithm>; 5] {
    [
        Box::new(FirstFit),
        Box::new(BestFit),
        Box::new(NextFit::new()),
        Box::new(ThreadStart),
        Box::new(OrderAlign),
    ]
}

/// Runs about as long as a word, at every place around the borders of words and of cache lines.
#[test]
fn runs_of_a_word_more_or_less_over_borders() {
    let pool = pool(1300);
    for border in [64, 128, 512, 1024] {
        for n in [63, 64, 65, 127, 128, 129] {
            let first = border - n.min(border);
            let step = if cfg!(miri) { 29 } else { 1 };
            for start in (first..=border).step_by(step) {
                // The only hole.
                let all = pool.alloc(1300).unwrap().into_raw();
                pool.free(start, n).unwrap();
                for algorithm in [&FirstFit as &dyn Algorithm, &BestFit, &ThreadStart] {
                    let more = pool.alloc_with(n + 1, algorithm).unwrap_err();
                    assert_eq!(more, AllocError::Exhausted { size: n + 1 });
                    let found = pool.alloc_with(n, algorithm).unwrap();
                    assert_eq!(found.addr(), start, "{n} at {start}");
                    assert_eq!(pool.avail(), 0);
                }
                assert_eq!(pool.avail(), n);
                let held = pool.alloc(n).unwrap().into_raw();
                assert_eq!((held.addr, held.size), (start, n));
                pool.free(0, all.size).unwrap();
                assert_eq!(pool.avail(), 1300);
            }
        }
    }
    assert!(pool.is_sound());
}

/// The bits of the last word that stand for no granule are never handed out.
#[test]
fn padding_is_never_handed_out() {
    for granules in [1, 2, 63, 64, 65, 127, 129, 511, 513, 575, 1025] {
        for algorithm in algorithms() {
            let pool = pool(granules);
            let mut taken = vec![false; granules];
            for _ in 0..granules {
                let found = pool.alloc_with(1, &*algorithm).unwrap().into_raw();
                assert!(!std::mem::replace(&mut taken[found.addr], true));
            }
            for n in [1, 2, 64, 4096] {
                assert!(pool.alloc_with(n, &*algorithm).is_err());
            }
            // They cannot be given back either.
            assert!(pool.free(granules, 1).is_err());
            assert!(pool.free(granules - 1, 2).is_err());
            pool.free(0, granules).unwrap();
            assert_eq!(pool.avail(), granules);
            let refused = pool.alloc_with(1, &FixedOffset::new(granules)).unwrap_err();
            let past = Impossible::PastChunks {
                offset: granules,
                size: 1,
                longest: granules,
            };
            assert_eq!(refused, AllocError::Impossible(past));
        }
    }
}

#[test]
fn exact_fit_then_one_more() {
    for granules in [1, 63, 64, 65, 512, 1000] {
        // The last algorithm would need a larger alignment than the chunk has.
        for algorithm in &algorithms()[..4] {
            let pool = pool(granules);
            let all = pool.alloc_with(granules, &**algorithm).unwrap();
            assert_eq!((all.addr(), all.size(), pool.avail()), (0, granules, 0));
            let more = pool.alloc_with(1, &**algorithm).unwrap_err();
            assert_eq!(more, AllocError::Exhausted { size: 1 });
            drop(all);
            let more = pool.alloc_with(granules + 1, &**algorithm).unwrap_err();
            let too_long = Impossible::TooLong {
                size: granules + 1,
                longest: granules,
            };
            assert_eq!(more, AllocError::Impossible(too_long));
            assert_eq!(pool.avail(), granules);
        }
    }
}

/// A second free: of a part; of a run of which a part is free; and of a run over two allocations.
#[test]
fn a_partial_double_free_changes_nothing() {
    // Inside a word, across a border, across several words.
    for (start, n) in [(3, 8), (60, 8), (60, 200)] {
        let pool = pool(300);
        let at = FixedOffset::new(start);
        let held = pool.alloc_with(n, &at).unwrap().into_raw();
        // Without boundary tracking a part may be given back, once.
        pool.free(held.addr + 2, 3).unwrap();
        for (addr, size) in [(start, n), (start + 2, 3), (start + 4, 2), (start, 3)] {
            let refused = pool.free(addr, size).unwrap_err();
            let free = addr.max(start + 2);
            assert_eq!(refused, FreeError::NotAllocated { addr: free });
            assert_eq!(pool.avail(), 300 - n + 3);
        }
        pool.free(start, 2).unwrap();
        pool.free(start + 5, n - 5).unwrap();
        assert_eq!(pool.avail(), 300);
        assert!(pool.is_sound());

        let pool = Pool::builder().boundary_tracking().build().unwrap();
        pool.add(0, 300).unwrap();
        let held = pool.alloc_with(n, &at).unwrap().into_raw();
        for (addr, size) in [(start + 2, 3), (start, 3), (start + n - 1, 1)] {
            assert!(pool.free(addr, size).is_err());
            assert_eq!(pool.avail(), 300 - n);
        }
        pool.free(held.addr, held.size).unwrap();
        assert!(pool.free(held.addr, held.size).is_err());
        assert_eq!(pool.avail(), 300);
    }
}

/// Which frees of a range by a former owner are detected, and which cannot be.
#[test]
fn a_stale_free_is_detected_where_it_can_be() {
    let run = |pool: &Pool| pool.alloc(4 * PAGE).unwrap().into_raw();
    // With boundary tracking: a different start or a different size.
    let pool = tracked(&[(0, 16 * PAGE)]);
    let stale = run(&pool);
    pool.free(stale.addr, stale.size).unwrap();
    let new = pool.alloc(3 * PAGE).unwrap();
    assert_eq!(new.addr(), stale.addr);
    let wrong = FreeError::WrongSize {
        addr: stale.addr,
        size: stale.size,
        allocated: 3 * PAGE,
    };
    assert_eq!(pool.free(stale.addr, stale.size), Err(wrong));
    drop(new);
    let other = pool.alloc_with(8 * PAGE, &FixedOffset::new(0)).unwrap();
    let inside = FreeError::Interior {
        addr: PAGE,
        start: 0,
    };
    assert_eq!(pool.free(PAGE, PAGE), Err(inside));
    drop(other);
    // A value knows that it is stale, whatever is there now.
    let stale = pool.alloc(4 * PAGE).unwrap();
    pool.free_addr(stale.addr()).unwrap();
    let new = pool.alloc(4 * PAGE).unwrap();
    assert_eq!(new.addr(), stale.addr());
    drop(stale);
    assert_eq!(pool.stats().used, 4 * PAGE);
    // An address does not: the same start and size name the new owner's allocation.
    assert_eq!(pool.free_addr(new.addr()), Ok(4 * PAGE));
    drop(new);
    assert_eq!((pool.stats().used, pool.stats().refused_frees), (0, 4));

    // Without boundary tracking: only that something in the range is free.
    let pool = Pool::new(12).unwrap();
    pool.add(0, 16 * PAGE).unwrap();
    let stale = run(&pool);
    pool.free(stale.addr, stale.size).unwrap();
    let new = pool.alloc(3 * PAGE).unwrap().into_raw();
    assert!(pool.free(stale.addr, stale.size).is_err());
    pool.free(new.addr, PAGE).unwrap();
    assert_eq!(pool.stats().used, 2 * PAGE);
}

/// The last free and the removal of its chunk run in two threads. The owner of the memory is notified once, after both.
#[test]
fn a_free_races_the_removal_of_its_chunk() {
    let rounds = if cfg!(miri) { 8 } else { 2000 };
    let pool = pool(64);
    let told = Arc::new(AtomicUsize::new(0));
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
            let count = Arc::clone(&told);
            drain.on_drained(move || {
                count.fetch_add(1, Ordering::SeqCst);
            });
            free.join().unwrap();
            drain
        });
        assert!(drain.is_drained());
        assert_eq!(told.load(Ordering::SeqCst), round + 1);
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
        assert!(outcome.is_err(), "the panic goes to who gave it back");
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

/// Panics at the `n`-th proposal: in the first search, on the list, and in the proof.
struct PanicsAt(AtomicUsize);

impl Algorithm for PanicsAt {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        if self.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        FirstFit.propose(chunk, request)
    }
}

#[test]
fn a_panic_at_any_look_loses_nothing() {
    for asked in 1..=5 {
        let pool = pool(64);
        pool.add(1000, 64).unwrap();
        let held = pool.alloc_many(&[60, 60]).unwrap();
        let panics = PanicsAt(AtomicUsize::new(asked));
        let outcome = catch_unwind(AssertUnwindSafe(|| pool.alloc_with(10, &panics).map(drop)));
        assert!(outcome.is_err(), "it is asked at least {asked} times");
        // Nothing is in flight any more, and there is no prober left: a refusal is proved at once.
        let refused = pool.alloc(10).unwrap_err();
        assert_eq!(refused, AllocError::Exhausted { size: 10 });
        drop(held);
        // In the middle of a call that has already taken some ranges.
        pool.set_algorithm(PanicsAt(AtomicUsize::new(2)));
        let outcome = catch_unwind(AssertUnwindSafe(|| drop(pool.alloc_many(&[30, 30]))));
        assert!(outcome.is_err());
        assert_eq!(pool.avail(), 128);
        assert!(pool.is_sound());
    }
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

/// Counts the granules that a view shows as free, one by one.
struct Count(AtomicUsize);

impl Algorithm for Count {
    fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        let all = (0..chunk.granules()).map(Granule);
        let free = all.filter(|&granule| chunk.is_free(granule, 1)).count();
        self.0.store(free, Ordering::Relaxed);
        Some(Granule(usize::MAX))
    }
}

#[test]
fn counters_agree_with_the_bits_at_rest() {
    let pool = pool(777);
    let check = |used: usize| {
        let count = Count(AtomicUsize::new(0));
        assert!(pool.alloc_with(1, &count).is_err());
        let free = count.0.into_inner();
        let stats = pool.stats();
        assert_eq!((free, stats.free, stats.used), (777 - used, free, used));
        let runs = pool.fragmentation();
        assert_eq!((pool.avail(), runs.free), (free, free));
        assert_eq!(pool.chunks().next().unwrap().avail(), free);
        assert!(pool.is_sound());
    };
    let mut held = Vec::new();
    for step in 0..if cfg!(miri) { 20 } else { 400 } {
        held.extend(pool.alloc(1 + step * 31 % 130));
        if step % 3 == 0 || held.len() > 12 {
            drop(held.swap_remove(step * 7 % held.len()));
        }
        check(held.iter().map(|held| held.size()).sum());
    }
    // The same after concurrent threads.
    thread::scope(|scope| {
        for thread in 1..3 {
            let pool = &pool;
            scope.spawn(move || {
                for step in 0..if cfg!(miri) { 20 } else { 2000 } {
                    drop(pool.alloc(1 + step * thread % 90));
                }
            });
        }
    });
    check(held.iter().map(|held| held.size()).sum());
    drop(held);
    check(0);
}
