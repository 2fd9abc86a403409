//! One test for each decision in which this pool differs from genalloc, named after the decision. Removal and the end
//! of pools are in `lifecycle.rs`.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use common::{Done, PAGE, builder, refusal, tracked};
use genpool::{
    AddRefused, AllocError, BestFit, ChunkSpec, ChunkView, ConstraintError, FirstFit,
    FirstFitAlign, FixedOffset, FreeError, Granule, Impossible, NotTracked, OrderAlign, Pool,
    Request, ResizeError, Unsuitable,
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
fn size_0_is_an_error() {
    let pool = tracked(&[(0, PAGE)]);
    assert_eq!(pool.alloc(0).unwrap_err(), AllocError::ZeroSize);
    assert_eq!(
        pool.alloc_with(0, &BestFit).unwrap_err(),
        AllocError::ZeroSize
    );
    assert_eq!(pool.free(0, 0), Err(FreeError::ZeroSize { addr: 0 }));
    assert_eq!(pool.alloc(1).unwrap().resize(0), Err(ResizeError::ZeroSize));
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
fn order_alignment_aligns_the_absolute_address() {
    let pool = Pool::new(12).unwrap();
    // The chunk's start is aligned to one page only.
    pool.add(0x10_1000, 64 * PAGE).unwrap();
    for (pages, expected) in [(3, 0x10_4000), (5, 0x10_8000), (16, 0x11_0000)] {
        let a = pool.alloc_with(pages * PAGE, &OrderAlign).unwrap();
        assert_eq!(a.addr(), expected);
    }

    // More than half of all addresses: only address 0 is that aligned.
    let (order, size) = (usize::BITS - 2, usize::MAX / 2 + 2);
    for (start, expected) in [
        (0, Ok(0)),
        (
            1 << order,
            Err(AllocError::Impossible(Impossible::NoPlace { size })),
        ),
    ] {
        let pool = Pool::new(order).unwrap();
        pool.add(start, 3 << order).unwrap();
        let placed = pool.alloc_with(size, &OrderAlign);
        assert_eq!(placed.map(|vast| vast.addr()), expected);
    }
}

#[test]
fn an_alignment_that_is_not_a_power_of_two_is_an_error() {
    for bytes in [0, 3, 4095, usize::MAX] {
        let refused = FirstFitAlign::new(bytes).unwrap_err();
        let bytes = bytes as u64;
        assert_eq!(refused, ConstraintError::Align { bytes });
    }
    // An address above the chunk is not an error, and the address may not exist.
    let pool = Pool::new(12).unwrap();
    pool.add(PAGE, 4 * PAGE).unwrap();
    let align = FirstFitAlign::new(1 << (usize::BITS - 1)).unwrap();
    let unaligned = Impossible::Unaligned {
        align: 1 << (usize::BITS - 1),
        phase: 0,
    };
    assert_eq!(
        pool.alloc_with(1, &align).unwrap_err(),
        AllocError::Impossible(unaligned)
    );
}

#[cfg(target_pointer_width = "64")]
#[test]
fn runs_are_counted_in_words_of_the_machine() {
    // 2^33 granules in one chunk. The bitmap of 1 GiB is untouched zero pages.
    if cfg!(miri) {
        return;
    }
    let pool = Pool::new(0).unwrap();
    let size = 1 << 33;
    pool.add(0, size).unwrap();
    assert_eq!(pool.size(), size);
    let at = FixedOffset::new((1 << 32) + 5);
    assert_eq!(pool.alloc_with(3, &at).unwrap().addr(), (1 << 32) + 5);
    for absurd in [size + 1, usize::MAX, usize::MAX - 1] {
        assert_eq!(
            pool.alloc(absurd).unwrap_err(),
            AllocError::Impossible(Impossible::TooLong {
                size: absurd,
                longest: size
            })
        );
    }
}

#[test]
fn a_bad_free_is_an_error_and_changes_nothing() {
    let pool = Pool::new(12).unwrap();
    pool.add(0x10_0000, 130 * PAGE).unwrap();
    // Granules 60 to 69, across a word border.
    let at = FixedOffset::new(60 * PAGE);
    let held = pool.alloc_with(10 * PAGE, &at).unwrap().into_raw();
    let used = 10 * PAGE;
    let refuse = |addr, size, expected| {
        assert_eq!(pool.free(addr, size), Err(expected));
        assert_eq!(pool.stats().used, used, "something was freed");
    };
    refuse(0x5000, PAGE, FreeError::Foreign { addr: 0x5000 });
    refuse(
        held.addr + 1,
        PAGE,
        FreeError::Misaligned {
            addr: held.addr + 1,
            granule: PAGE,
        },
    );
    let last = 0x10_0000 + 130 * PAGE - 1;
    for size in [usize::MAX, 71 * PAGE] {
        let addr = held.addr;
        refuse(addr, size, FreeError::PastChunk { addr, size, last });
    }
    // One granule more than is held: the error names the first free one, and none of the ten is cleared.
    let addr = held.addr + 10 * PAGE;
    refuse(held.addr, 11 * PAGE, FreeError::NotAllocated { addr });
    let addr = held.addr - PAGE;
    refuse(addr, 11 * PAGE, FreeError::NotAllocated { addr });
    pool.free(held.addr, held.size).unwrap();
    let again = pool.free(held.addr, held.size);
    assert_eq!(again, Err(FreeError::NotAllocated { addr: held.addr }));
    assert_eq!(pool.avail(), pool.size());
    assert_eq!(pool.stats().refused_frees, 7);
    assert!(pool.is_sound());
}

#[test]
fn one_of_two_racing_frees_succeeds() {
    for pool in [tracked(&[(0, 256 * PAGE)]), {
        let pool = Pool::new(12).unwrap();
        pool.add(0, 256 * PAGE).unwrap();
        pool
    }] {
        let rounds = if cfg!(miri) { 8 } else { 3000 };
        let range = Mutex::new((0, 0));
        let gate = Barrier::new(3);
        let freed = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        gate.wait();
                        let (addr, size) = *range.lock().unwrap();
                        if pool.free(addr, size).is_ok() {
                            freed.fetch_add(1, Ordering::Relaxed);
                        }
                        gate.wait();
                    }
                });
            }
            for round in 0..rounds {
                let at = FixedOffset::new((round % 200) * PAGE);
                let held = pool
                    .alloc_with((round % 50 + 1) * PAGE, &at)
                    .unwrap()
                    .into_raw();
                *range.lock().unwrap() = (held.addr, held.size);
                gate.wait();
                gate.wait();
                assert_eq!(freed.load(Ordering::Relaxed), round + 1);
                assert_eq!(pool.avail(), pool.size());
            }
        });
        assert!(pool.is_sound());
    }
}

#[test]
fn boundary_tracking_detects_wrong_frees() {
    let pool = tracked(&[(0x10_0000, 64 * PAGE)]);
    let a = pool.alloc(4 * PAGE).unwrap().into_raw();
    let b = pool.alloc(4 * PAGE).unwrap().into_raw();
    let wrong = |size| {
        Err(FreeError::WrongSize {
            addr: a.addr,
            size,
            allocated: 4 * PAGE,
        })
    };
    // Too small (a partial free), and into the neighbour.
    assert_eq!(pool.free(a.addr, PAGE), wrong(PAGE));
    assert_eq!(pool.free(a.addr, 8 * PAGE), wrong(8 * PAGE));
    let inside = b.addr + PAGE;
    let interior = FreeError::Interior {
        addr: inside,
        start: b.addr,
    };
    assert_eq!(pool.free(inside, PAGE), Err(interior));
    assert_eq!(pool.free_addr(inside), Err(interior));
    assert_eq!(pool.stats().used, 8 * PAGE);
    // Any size that ends in the last granule names the same run.
    pool.free(a.addr, 3 * PAGE + 1).unwrap();
    assert_eq!(pool.free_addr(b.addr), Ok(4 * PAGE));
    let twice = FreeError::NotAllocated { addr: b.addr };
    assert_eq!(pool.free_addr(b.addr), Err(twice));
    assert_eq!(pool.avail(), pool.size());
    assert!(pool.is_sound());

    let untracked = Pool::new(12).unwrap();
    untracked.add(0, PAGE).unwrap();
    let _held = untracked.alloc(1).unwrap();
    assert_eq!(untracked.free_addr(0), Err(FreeError::NotTracked));
    assert_eq!(untracked.live().unwrap_err(), NotTracked);
}

#[test]
fn boundary_tracking_lists_live_allocations() {
    let pool = tracked(&[(0, 8 * PAGE)]);
    let a = pool.alloc(PAGE).unwrap();
    let b = pool.alloc(2 * PAGE).unwrap();
    b.set_tag(0x77);
    let live: Vec<_> = pool.live().unwrap();
    let seen: Vec<_> = live
        .iter()
        .map(|held| (held.addr, held.size, held.tag))
        .collect();
    assert_eq!(seen, [(0, PAGE, Some(0)), (PAGE, 2 * PAGE, Some(0x77))]);
    // Dropping an allocation whose range was freed by address does nothing.
    pool.free_addr(PAGE).unwrap();
    let c = pool.alloc(2 * PAGE).unwrap();
    assert_eq!(c.addr(), PAGE);
    drop(b);
    assert_eq!(
        pool.stats().used,
        3 * PAGE,
        "the stale drop freed the new owner's range"
    );
    assert_eq!(pool.stats().refused_frees, 1);
    drop((a, c));
    assert!(pool.live().unwrap().is_empty());
}

/// Always proposes granule 0. Another thread takes it between the proposal and the claim.
#[test]
fn fixed_is_retried_after_a_lost_race() {
    struct Once<'a> {
        inner: FixedOffset,
        pool: &'a Pool,
        asked: AtomicUsize,
    }
    impl genpool::Algorithm for Once<'_> {
        fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
            let start = self.inner.propose(chunk, request)?;
            match self.asked.fetch_add(1, Ordering::Relaxed) {
                // A lost race: taken after the proposal was made, and free again when asked once more.
                0 => {
                    let _ = self.pool.alloc_with(1, &self.inner).unwrap().into_raw();
                }
                _ => return Some(start),
            }
            Some(start)
        }
    }
    let pool = Pool::new(12).unwrap();
    pool.add(0, 2 * PAGE).unwrap();
    let racer = Once {
        inner: FixedOffset::new(0),
        pool: &pool,
        asked: AtomicUsize::new(0),
    };
    // Here the place stays taken, so the second search finds nothing.
    assert!(matches!(
        pool.alloc_with(1, &racer),
        Err(AllocError::Exhausted { .. })
    ));
    assert_eq!(pool.stats().lost_claims, 1);
    pool.free(0, 1).unwrap();
    // A granule given back before the second search is found.
    let racer = Releasing {
        pool: &pool,
        asked: AtomicUsize::new(0),
    };
    assert_eq!(pool.alloc_with(1, &racer).unwrap().addr(), 0);
    assert_eq!(pool.stats().lost_claims, 2);
}

/// Fixed at granule 0. Loses its first claim to itself, and gives the granule back when asked again.
struct Releasing<'a> {
    pool: &'a Pool,
    asked: AtomicUsize,
}

impl genpool::Algorithm for Releasing<'_> {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let at = FixedOffset::new(0);
        match self.asked.fetch_add(1, Ordering::Relaxed) {
            0 => {
                let proposal = at.propose(chunk, request);
                let _ = self.pool.alloc_with(1, &at).unwrap().into_raw();
                proposal
            }
            1 => {
                self.pool.free(0, 1).unwrap();
                at.propose(chunk, request)
            }
            _ => at.propose(chunk, request),
        }
    }
}

#[test]
fn best_fit_searches_again_after_a_lost_race() {
    /// Best fit, but the first place that it proposes is taken before the claim.
    struct Late<'a>(&'a Pool, AtomicBool);
    impl genpool::Algorithm for Late<'_> {
        fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
            let best = BestFit.propose(chunk, request)?;
            if !self.1.swap(true, Ordering::Relaxed) {
                let at = FixedOffset::new(best.0 * PAGE);
                let _ = self.0.alloc_with(1, &at).unwrap().into_raw();
            }
            Some(best)
        }
    }
    let pool = Pool::new(12).unwrap();
    pool.add(0, 16 * PAGE).unwrap();
    // Free runs: 0-2 (three), 4-5 (two), 7-15.
    for granule in [3, 6] {
        let at = FixedOffset::new(granule * PAGE);
        let _ = pool.alloc_with(1, &at).unwrap().into_raw();
    }
    let late = Late(&pool, AtomicBool::new(false));
    // Granule 4 was the best fit. It is lost, and the best that is left lies before it.
    assert_eq!(pool.alloc_with(2 * PAGE, &late).unwrap().addr(), 0);
}

#[test]
fn failure_is_honest_under_rollback() {
    // One granule is free all the time. A thread keeps claiming a run across it, which it never gets.
    struct Insist;
    impl genpool::Algorithm for Insist {
        fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
            Some(Granule(63))
        }
    }
    let pool = Pool::new(12).unwrap();
    pool.add(0, 128 * PAGE).unwrap();
    for (start, n) in [(0, 63), (64, 64)] {
        let at = FixedOffset::new(start * PAGE);
        let _ = pool.alloc_with(n * PAGE, &at).unwrap().into_raw();
    }
    let rounds = if cfg!(miri) { 1 } else { 20_000 };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let refused = pool.alloc_with(2 * PAGE, &Insist).unwrap_err();
                assert!(matches!(
                    refused,
                    AllocError::BadProposal { granule: 63, .. } | AllocError::Contended { .. }
                ));
            }
        });
        let _done = Done(&done);
        for _ in 0..rounds {
            match pool.alloc(PAGE) {
                Ok(found) => assert_eq!(found.addr(), 63 * PAGE),
                Err(AllocError::Contended { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    });
    assert_eq!(pool.stats().free, PAGE);
    assert!(pool.is_sound());
}

#[test]
fn algorithm_and_data_are_swapped_as_one_value() {
    let pool = Pool::new(12).unwrap();
    pool.add(0, 64 * PAGE).unwrap();
    let rounds = if cfg!(miri) { 20 } else { 20_000 };
    thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            for round in 0..rounds {
                match round % 3 {
                    0 => pool.set_algorithm(FixedOffset::new(17 * PAGE)),
                    1 => pool.set_algorithm(FirstFitAlign::new(32 * PAGE).unwrap()),
                    _ => pool.set_algorithm(FirstFit),
                }
            }
        });
        let _low = pool.alloc_with(PAGE, &FirstFit).unwrap();
        while !swapper.is_finished() {
            let page = pool.alloc(PAGE).unwrap().addr() / PAGE;
            assert!(
                [1, 17, 32].contains(&page),
                "page {page} is of no algorithm"
            );
        }
    });
}

#[test]
fn avail_is_between_0_and_size() {
    let pool = Pool::new(12).unwrap();
    pool.add(0, 200 * PAGE).unwrap();
    let rounds = if cfg!(miri) { 20 } else { 20_000 };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&done);
            for round in 0..rounds {
                drop(pool.alloc((round % 100 + 1) * PAGE));
            }
        });
        while !done.load(Ordering::Relaxed) {
            assert!(pool.avail() <= pool.size());
        }
    });
    assert_eq!(pool.avail(), pool.size());
}

#[test]
fn unsuitable_requests_say_why() {
    let pool = Pool::new(12).unwrap();
    pool.add(0, PAGE).unwrap();
    let refused = pool.alloc_with(1, &FixedOffset::new(100)).unwrap_err();
    let reason = Unsuitable::MisalignedPlace {
        place: 100,
        granule: PAGE,
    };
    assert_eq!(refused, AllocError::Unsuitable(reason));
    assert_eq!(
        refused.to_string(),
        "0x64 is not a multiple of the granule of 0x1000 bytes"
    );
}
