//! Allocations: sizes, places at the borders of words and chunks, several at once, resizing.

mod common;

use common::{PAGE, pool, pool_with, tracked};
use genpool::{
    Algorithm, AllocError, BestFit, ChunkView, Constrained, ConstraintError, Constraints, FirstFit,
    FirstFitAlign, FixedOffset, FreeError, Granule, Impossible, NextFit, OrderAlign, Pool, Request,
    ResizeError, Run, ThreadStart,
};

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
    let borders = [64, 512, 128, 1024];
    for border in borders.into_iter().take(if cfg!(miri) { 1 } else { 4 }) {
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
    let most = if cfg!(miri) { 65 } else { 1025 };
    let sizes = [1, 2, 63, 64, 65, 127, 129, 511, 513, 575, 1025];
    for granules in sizes.into_iter().filter(|&granules| granules <= most) {
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

#[test]
fn best_fit_finds_runs_across_lines() {
    // Free: 924 to 2023 (1100 granules, over two borders of lines) and 2500 to 3549 (1050).
    let pool = pool_with(4096, &[(0, 924), (2024, 476), (3550, 546)]);
    // Searches the first line in vain and lowers its hint.
    drop(pool.alloc(200).unwrap());
    assert_eq!(pool.alloc_with(1000, &BestFit).unwrap().addr(), 2500);
    assert_eq!(pool.alloc_with(1100, &BestFit).unwrap().addr(), 924);
    assert_eq!(pool.alloc(1060).unwrap().addr(), 924);
}

#[test]
fn the_last_granule_is_found_from_any_start() {
    for last in [0, 63, 511, 512, 1999, 2047] {
        let pool = pool(2048);
        let all = pool.alloc(2048).unwrap().into_raw();
        pool.free(all.addr + last, 1).unwrap();
        let next = NextFit::new();
        assert_eq!(pool.alloc_with(1, &next).unwrap().addr(), last);
        assert_eq!(pool.alloc_with(1, &next).unwrap().addr(), last);
        assert_eq!(pool.alloc_with(1, &ThreadStart).unwrap().addr(), last);
        let held = pool.alloc_with(1, &BestFit).unwrap();
        assert_eq!(held.addr(), last);
        for algorithm in [&next as &dyn Algorithm, &ThreadStart, &BestFit, &FirstFit] {
            let full = pool.alloc_with(1, algorithm).unwrap_err();
            assert_eq!(full, AllocError::Exhausted { size: 1 });
        }
    }
}

#[test]
fn constraints_at_the_edges_of_a_chunk() {
    /// Makes calls that a user's algorithm may make, with arguments that no request has.
    struct Odd(Run, usize);
    impl Algorithm for Odd {
        fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
            let (run, n) = (self.0, self.1);
            let far = Granule(usize::MAX);
            let free = chunk.find_run(Granule(0), far, n);
            let aligned =
                chunk.find_aligned(Granule(0), far, n, 1 << (usize::BITS - 1), usize::MAX);
            assert!(free.is_none() || n == 1);
            assert!(chunk.runs(far, n).next().is_none() && !chunk.is_free(far, n.max(1)));
            let tightest = chunk.find_tightest(n).or(chunk.find_nearby(far, n));
            chunk.first_in(run, n).or(free).or(aligned).or(tightest)
        }
    }
    let pool = Pool::new(12).unwrap();
    pool.add(0, 0x1_0000).unwrap();
    let whole = Run {
        start: Granule(0),
        len: 16,
    };
    let beyond = Run {
        start: Granule(usize::MAX),
        len: 5,
    };
    // Every granule crosses a boundary of 64 bytes.
    let crossing = Constraints::new().boundary(64).unwrap();
    for (constraints, run, n) in [
        (crossing, whole, 1),
        (crossing, whole, 0),
        (Constraints::new(), beyond, 0),
        (Constraints::new(), beyond, usize::MAX),
        (Constraints::new().lowest(usize::MAX), whole, 1),
    ] {
        let refused = pool
            .alloc_with(1, &Constrained::new(Odd(run, n), constraints))
            .unwrap_err();
        let expected = if constraints == Constraints::new() {
            matches!(refused, AllocError::Exhausted { size: 1 })
        } else {
            matches!(
                refused,
                AllocError::Impossible(_) | AllocError::Unsuitable(_)
            )
        };
        assert!(expected, "{refused}");
    }
}

#[test]
fn alloc_many_is_all_or_nothing() {
    let pool = Pool::new(12).unwrap();
    pool.add(0, 8 * PAGE).unwrap();
    let refused = pool.alloc_many(&[4 * PAGE, PAGE, 4 * PAGE]).unwrap_err();
    assert_eq!(refused, AllocError::Exhausted { size: 4 * PAGE });
    assert_eq!(pool.avail(), pool.size());
    let all = pool.alloc_many(&[4 * PAGE, PAGE, 3 * PAGE]).unwrap();
    assert_eq!(
        all.iter().map(|a| a.addr() / PAGE).collect::<Vec<_>>(),
        [0, 4, 5]
    );
    assert!(pool.alloc_many(&[]).unwrap().is_empty());
    assert_eq!(pool.alloc_many(&[0]).unwrap_err(), AllocError::ZeroSize);
}

#[test]
fn allocations_grow_and_shrink_in_place() {
    for pool in [tracked(&[(0, 130 * PAGE)]), {
        let pool = Pool::new(12).unwrap();
        pool.add(0, 130 * PAGE).unwrap();
        pool
    }] {
        let mut a = pool.alloc(60 * PAGE).unwrap();
        a.resize(129 * PAGE).unwrap();
        assert_eq!((a.addr(), a.size(), pool.avail()), (0, 129 * PAGE, PAGE));
        assert_eq!(a.resize(131 * PAGE), Err(ResizeError::PastChunk));
        assert_eq!(a.resize(usize::MAX), Err(ResizeError::PastChunk));
        let last = pool.alloc(PAGE).unwrap();
        assert_eq!(a.resize(130 * PAGE), Err(ResizeError::Neighbour));
        a.resize(129 * PAGE - 5).unwrap();
        assert_eq!(a.size(), 129 * PAGE);
        a.resize(1).unwrap();
        assert_eq!(pool.avail(), 128 * PAGE);
        let b = pool.alloc(128 * PAGE).unwrap();
        drop((a, b, last));
        assert_eq!(pool.avail(), pool.size());
        assert!(pool.is_sound());
    }
}
