//! A request that no chunk could serve is refused differently from one whose place is taken, with the value that
//! makes it impossible, both by a proof and by a cached refusal.

#![forbid(unsafe_code)]

use genpool_algos::{FirstFitAlign, FixedAddress, FixedOffset, OrderAlign};
use genpool_core::{
    Algorithm, AlgorithmName, AllocError, ChunkSpec, FirstFit, Impossible, Pool, Unsuitable,
};
use genpool_core::{Constrained, Constraints};

const PAGE: usize = 4096;

/// A pool with chunks of four and of two pages.
fn pool(first_removed: bool) -> Pool {
    let pool = Pool::new(12).unwrap();
    if first_removed {
        // No chunk is permanent then.
        pool.add(0x7000_0000, PAGE).unwrap();
        drop(pool.remove(0x7000_0000).unwrap());
    }
    pool.add_virt(0x1_1000, 0x8_0000_1000, 4 * PAGE).unwrap();
    pool.add_chunk(ChunkSpec::new(0x4_3000, 2 * PAGE).phys(0x8_0010_0000))
        .unwrap();
    pool
}

/// The answer to a request in a free pool, in a full one, and in one with a cached refusal. All three must be the
/// same.
#[track_caller]
fn answer(size: usize, algorithm: &dyn Algorithm) -> AllocError {
    let mut answers = Vec::new();
    for first_removed in [false, true] {
        let pool = pool(first_removed);
        let mut ask = || answers.push(pool.alloc_with(size, algorithm).unwrap_err());
        ask();
        let all = [4, 2].map(|n| pool.alloc(n * PAGE).unwrap());
        ask();
        let full = pool.alloc(1).unwrap_err();
        assert_eq!(full, AllocError::Exhausted { size: 1 });
        ask();
        drop(all);
        ask();
        assert_eq!(pool.stats().unsuitable, 4);
        assert_eq!((pool.stats().exhausted, pool.avail()), (1, 6 * PAGE));
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    answers[0]
}

#[track_caller]
fn reason(size: usize, algorithm: &dyn Algorithm) -> Impossible {
    match answer(size, algorithm) {
        AllocError::Impossible(reason) => reason,
        other => panic!("{other}"),
    }
}

fn under(constraints: Constraints) -> Constrained<FirstFit> {
    Constrained::new(FirstFit, constraints)
}

#[test]
fn a_request_longer_than_every_chunk() {
    let longest = 4 * PAGE;
    for size in [longest + 1, 6 * PAGE, usize::MAX] {
        let too_long = Impossible::TooLong { size, longest };
        assert_eq!(reason(size, &FirstFit), too_long);
        assert_eq!(reason(size, &under(Constraints::new())), too_long);
    }
    let size = usize::MAX / 2 + 2;
    assert_eq!(
        reason(size, &OrderAlign),
        Impossible::TooLong { size, longest }
    );
}

#[test]
fn a_pool_without_chunks() {
    let no_chunk = AllocError::Impossible(Impossible::NoChunk);
    let pool = Pool::new(12).unwrap();
    let at = FixedAddress::new(0x1000);
    assert_eq!(pool.alloc(1).unwrap_err(), no_chunk);
    assert_eq!(pool.alloc_with(1, &at).unwrap_err(), no_chunk);
    assert_eq!(pool.cache().alloc(1).unwrap_err(), no_chunk);
    assert_eq!(pool.alloc_many(&[1, 2]).unwrap_err(), no_chunk);
    pool.add(0x1000, PAGE).unwrap();
    let held = pool.alloc(1).unwrap();
    assert_eq!(
        pool.alloc(1).unwrap_err(),
        AllocError::Exhausted { size: 1 }
    );
    // A chunk that is being removed does not count.
    let drain = pool.remove(0x1000).unwrap();
    assert_eq!(pool.alloc(1).unwrap_err(), no_chunk);
    drop(held);
    drop(drain);
    assert_eq!(pool.alloc(1).unwrap_err(), no_chunk);
}

#[test]
fn an_address_outside_past_the_end_taken_or_misaligned() {
    let at = |addr, size| reason(size, &FixedAddress::new(addr));
    for addr in [0, 0x1_0000, 0x1_5000, 0x4_5000, usize::MAX & !0xfff] {
        for size in [1, 8 * PAGE, usize::MAX] {
            assert_eq!(at(addr, size), Impossible::Outside { addr });
        }
    }
    for (addr, size, last) in [
        (0x1_4000, PAGE + 1, 0x1_4fff),
        (0x1_1000, 5 * PAGE, 0x1_4fff),
        (0x4_3000, 3 * PAGE, 0x4_4fff),
        (0x4_4000, usize::MAX, 0x4_4fff),
    ] {
        assert_eq!(at(addr, size), Impossible::PastChunk { addr, size, last });
    }
    let place = 0x1_1800;
    let granule = PAGE;
    let misaligned = Unsuitable::MisalignedPlace { place, granule };
    assert_eq!(
        answer(1, &FixedAddress::new(place)),
        AllocError::Unsuitable(misaligned)
    );

    for first_removed in [false, true] {
        let pool = pool(first_removed);
        let held = pool.alloc_with(1, &FixedAddress::new(0x1_2000)).unwrap();
        let (addr, size) = (0x1_1000, 2 * PAGE);
        let again = || pool.alloc_with(size, &FixedAddress::new(addr)).map(drop);
        let taken = AllocError::Taken { addr, size };
        assert_eq!(again(), Err(taken));
        assert_eq!(
            taken.to_string(),
            "0x2000 bytes at 0x11000 are taken in part"
        );
        // Up to the chunk's end.
        let size = 4 * PAGE;
        let whole = pool.alloc_with(size, &FixedAddress::new(addr)).map(drop);
        assert_eq!(whole, Err(AllocError::Taken { addr, size }));
        // Sets a cached refusal.
        let full = pool.alloc_many(&[PAGE; 5]).unwrap();
        assert!(pool.alloc(1).is_err());
        assert_eq!(again(), Err(taken));
        assert_eq!(pool.stats().exhausted, 4);
        drop((held, full));
        assert_eq!(again(), Ok(()));
    }
}

#[test]
fn an_offset_past_the_end_of_every_chunk() {
    let longest = 4 * PAGE;
    for (offset, size) in [
        (4 * PAGE, 1),
        (3 * PAGE, PAGE + 1),
        (usize::MAX & !0xfff, 1),
    ] {
        let past = Impossible::PastChunks {
            offset,
            size,
            longest,
        };
        assert_eq!(reason(size, &FixedOffset::new(offset)), past);
    }
    // It fits in one of the chunks.
    let pool = pool(false);
    let third = FixedOffset::new(2 * PAGE);
    let held = pool.alloc_with(1, &third).unwrap();
    assert_eq!(
        pool.alloc_with(1, &third).unwrap_err(),
        AllocError::Exhausted { size: 1 }
    );
    drop(held);
}

#[test]
fn limits_beyond_all_chunks() {
    let highest = |addr| under(Constraints::new().highest(addr));
    let too_high = |highest, start| Impossible::TooHigh { highest, start };
    // The lowest chunk is the nearest.
    for addr in [0x1000, 0x1_0fff, 0x1_1ffe] {
        assert_eq!(reason(1, &highest(addr)), too_high(addr as u64, 0x1_1000));
    }
    assert_eq!(
        reason(PAGE + 1, &highest(0x1_2ffe)),
        too_high(0x1_2ffe, 0x1_1000)
    );
    let lowest = |addr| under(Constraints::new().lowest(addr));
    let too_low = |lowest, last| Impossible::TooLow { lowest, last };
    for addr in [0x4_4001, 0x4_5000, usize::MAX & !0xfff] {
        assert_eq!(reason(1, &lowest(addr)), too_low(addr as u64, 0x4_4fff));
    }
    // The device's address mask.
    let mask = under(Constraints::new().dma_highest(0xffff_ffff));
    assert_eq!(reason(1, &mask), too_high(0xffff_ffff, 0x8_0000_1000));
    let text = AllocError::Impossible(reason(1, &mask)).to_string();
    assert_eq!(
        text,
        "highest address 0xffffffff leaves no room: the lowest chunk starts at 0x800001000"
    );
    let above = under(Constraints::new().dma_lowest(1 << 40));
    assert_eq!(reason(1, &above), too_low(1 << 40, 0x8_0010_1fff));
    // Chunks that are beyond different limits.
    let limits = Constraints::new()
        .highest(0x1_4fff)
        .dma_highest(0xffff_ffff);
    assert_eq!(reason(1, &under(limits)), Impossible::NoPlace { size: 1 });
    let limits = Constraints::new().lowest(0x4_3000).dma_lowest(1 << 40);
    assert_eq!(reason(1, &under(limits)), Impossible::NoPlace { size: 1 });
    // No chunk at all could help.
    let narrow = under(Constraints::new().lowest(0x1_2000).highest(0x1_2fff));
    let refused = Unsuitable::LongerThanRange {
        size: PAGE + 1,
        lowest: 0x1_2000,
        highest: 0x1_2fff,
    };
    assert_eq!(answer(PAGE + 1, &narrow), AllocError::Unsuitable(refused));
    assert!(pool(false).alloc_with(PAGE, &narrow).is_ok());
    let none = under(Constraints::new().dma_lowest(9).dma_highest(8));
    assert!(matches!(
        answer(1, &none),
        AllocError::Unsuitable(Unsuitable::LongerThanRange { .. })
    ));
}

#[test]
fn places_that_no_chunk_has() {
    let unaligned = |align, phase| Impossible::Unaligned { align, phase };
    let aligned = FirstFitAlign::new(0x10_0000).unwrap();
    assert_eq!(reason(1, &aligned), unaligned(0x10_0000, 0));
    let phased = Constraints::new().align_phase(0x10_0000, 0x5000).unwrap();
    assert_eq!(reason(1, &under(phased)), unaligned(0x10_0000, 0x5000));
    let dma = Constraints::new().dma_align(1 << 30).unwrap();
    assert_eq!(reason(1, &under(dma)), unaligned(1 << 30, 0));
    // There is one such place, and two pages do not fit there.
    let last = FirstFitAlign::new(0x4000).unwrap();
    assert!(pool(false).alloc_with(1, &last).is_ok());
    assert_eq!(reason(2 * PAGE, &last), unaligned(0x4000, 0));
    let boundary = Constraints::new().boundary(0x1000).unwrap();
    let longer = AllocError::Unsuitable(Unsuitable::LongerThanBoundary {
        size: PAGE + 1,
        boundary: 0x1000,
    });
    assert_eq!(answer(PAGE + 1, &under(boundary)), longer);
    // Four pages cross it in the longer chunk, and do not fit into the other.
    let boundary = Constraints::new().boundary(0x4000).unwrap();
    assert_eq!(
        reason(4 * PAGE, &under(boundary)),
        Impossible::NoPlace { size: 4 * PAGE }
    );
    let one = Pool::new(12).unwrap();
    one.add(0x1_1000, 4 * PAGE).unwrap();
    assert_eq!(
        one.alloc_with(4 * PAGE, &under(boundary)).unwrap_err(),
        AllocError::Impossible(Impossible::CrossesBoundary { boundary: 0x4000 })
    );
    // The chunks are ruled out for different reasons.
    let mixed = Constraints::new().lowest(0x4_0000);
    assert_eq!(
        reason(3 * PAGE, &under(mixed)),
        Impossible::NoPlace { size: 3 * PAGE }
    );
    // No physical address.
    let any = Constraints::new().dma_align(1).unwrap();
    assert_eq!(
        one.alloc_with(1, &under(any)).unwrap_err(),
        AllocError::Impossible(Impossible::NoPhys)
    );
}

/// In a chunk of four pages that the device sees elsewhere.
#[test]
fn the_reason_is_the_rule_that_leaves_no_place() {
    let pool = Pool::new(12).unwrap();
    pool.add_virt(0x1_1000, 0x8_0000_1000, 4 * PAGE).unwrap();
    let reason = |pages: usize, constraints: Constraints| match pool
        .alloc_with(pages * PAGE, &under(constraints))
    {
        Err(AllocError::Impossible(reason)) => reason,
        other => panic!("{other:?}"),
    };
    let aligned = |align| Constraints::new().align(align).unwrap();
    let unaligned = |align| Impossible::Unaligned { align, phase: 0 };
    // The first and the last page are within the limits, but not aligned.
    let first = aligned(0x2000).highest(0x1_1fff);
    assert_eq!(reason(1, first), unaligned(0x2000));
    let last = aligned(0x8000).lowest(0x1_4000);
    assert_eq!(reason(1, last), unaligned(0x8000));
    // What the device could reach is not the reason, and no boundary where no place is aligned.
    let device = aligned(0x10_0000).dma_align(0x1000).unwrap();
    assert_eq!(reason(1, device), unaligned(0x10_0000));
    let bounded = aligned(0x10_0000).boundary(0x4000).unwrap();
    assert_eq!(reason(1, bounded), unaligned(0x10_0000));
    // The two addresses are the same within two pages.
    let odd = aligned(0x2000).dma_align_phase(0x2000, 0x1000).unwrap();
    let (align, phase) = (0x2000, 0x1000);
    assert_eq!(reason(1, odd), Impossible::Unaligned { align, phase });
    // Each for itself has a place.
    let size = 2 * PAGE;
    let both = Constraints::new().boundary(0x2000).unwrap();
    let both = both.dma_align_phase(0x2000, 0x1000).unwrap();
    assert_eq!(reason(2, both), Impossible::NoPlace { size });
    let apart = Constraints::new().lowest(0x1_3000);
    let apart = apart.dma_highest(0x8_0000_2fff);
    assert_eq!(reason(2, apart), Impossible::NoPlace { size });
}

#[test]
fn algorithms_have_the_names_that_traces_have() {
    use genpool_algos::{BestFit, NextFit, SpreadFit, ThreadStart};

    let bytes = 64;
    let names: [(&dyn Algorithm, AlgorithmName); 9] = [
        (&FirstFit, AlgorithmName::new("first-fit")),
        (
            &FirstFitAlign::new(bytes).unwrap(),
            AlgorithmName::with("first-fit-align", bytes),
        ),
        (&OrderAlign, AlgorithmName::new("order-align")),
        (&BestFit, AlgorithmName::new("best-fit")),
        (&FixedOffset::new(7), AlgorithmName::with("fixed", 7)),
        (
            &FixedAddress::new(9),
            AlgorithmName::with("fixed-address", 9),
        ),
        (&NextFit::new(), AlgorithmName::new("next-fit")),
        (&ThreadStart, AlgorithmName::new("thread-start")),
        (&SpreadFit, AlgorithmName::new("spread-fit")),
    ];
    for (algorithm, name) in names {
        assert_eq!(algorithm.name(), Some(name));
    }
    let constrained = under(Constraints::new().lowest(1));
    assert_eq!(constrained.name(), None, "no trace can name it");
}

/// The answer does not depend on what other threads are in the middle of.
#[test]
fn an_impossible_request_is_never_contended() {
    let pool = pool(false);
    let many = pool.alloc_many(&[1, 1]).unwrap();
    std::thread::scope(|threads| {
        let moving = threads.spawn(|| {
            for _ in 0..2000 {
                drop(pool.alloc(PAGE + 1));
            }
        });
        while !moving.is_finished() {
            let outside = pool.alloc_with(1, &FixedAddress::new(0)).unwrap_err();
            let reason = Impossible::Outside { addr: 0 };
            assert_eq!(outside, AllocError::Impossible(reason));
        }
    });
    drop(many);
}

/// An algorithm that rules nothing out gets the usual refusals; the pool itself compares lengths.
#[test]
fn an_algorithm_that_says_nothing() {
    struct Nowhere;
    impl Algorithm for Nowhere {
        fn propose(
            &self,
            _: &genpool_core::ChunkView<'_>,
            _: &genpool_core::Request,
        ) -> Option<genpool_core::Granule> {
            None
        }
    }
    let pool = pool(false);
    assert_eq!(
        pool.alloc_with(PAGE, &Nowhere).unwrap_err(),
        AllocError::Exhausted { size: PAGE }
    );
    let (size, longest) = (5 * PAGE, 4 * PAGE);
    assert_eq!(
        reason(size, &Nowhere),
        Impossible::TooLong { size, longest }
    );
}
