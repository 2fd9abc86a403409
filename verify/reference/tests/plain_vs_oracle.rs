//! The plain pool gives the same answers as the oracle: every address, every error, every total.

use genpool_plain::{AddError, Fit, FreeError, LockedPool, Oracle, PlainPool};
use proptest::prelude::*;

const CASES: u32 = if cfg!(miri) { 4 } else { 400 };
const STEPS: usize = if cfg!(miri) { 20 } else { 120 };

/// A pool's shape: its order, and the lengths of its chunks in granules, in the order in which they are added.
#[derive(Debug, Clone)]
struct Shape {
    order: u32,
    chunks: Vec<(usize, usize)>,
}

/// One call, with sizes in bytes. `Free` names an earlier alloc, modulo the number of them, and may add to its address
/// and size to make the call invalid.
#[derive(Debug, Clone)]
enum Call {
    Alloc {
        size: usize,
        fit: Fit,
    },
    Free {
        which: usize,
        addr_off: usize,
        size_off: usize,
    },
    Stray {
        addr: usize,
        size: usize,
    },
}

fn shapes() -> impl Strategy<Value = Shape> {
    (
        prop_oneof![Just(0u32), Just(12), Just(62)],
        prop::collection::vec(1usize..200, 1..5),
        0usize..70,
        0u8..4,
    )
        .prop_map(|(order, mut lens, gap, ends)| {
            let top = usize::MAX >> order;
            if order == 62 {
                // The address space has four granules: one chunk of one to three, at either end.
                let len = lens[0] % 3 + 1;
                let start = if ends & 1 == 0 { 0 } else { 4 - len };
                return Shape {
                    order,
                    chunks: vec![(start, len)],
                };
            }
            let mut chunks = Vec::new();
            if ends & 2 != 0 {
                let len = lens.pop().unwrap_or(1);
                chunks.push((top - len + 1, len));
            }
            let mut at = if ends & 1 != 0 { 0 } else { 1 + gap * 7 };
            for len in lens {
                chunks.push((at, len));
                at += len + gap;
            }
            // Newest first then differs from the order of addresses.
            let middle = chunks.len() / 2;
            chunks.rotate_left(middle);
            Shape { order, chunks }
        })
}

fn fits(order: u32) -> impl Strategy<Value = Fit> {
    let granule = 1usize << order;
    prop_oneof![
        Just(Fit::FirstFit),
        (0..usize::BITS).prop_map(|bit| Fit::FirstFitAlign(1 << bit)),
        (0..5u32).prop_map(move |bit| Fit::FirstFitAlign(granule.checked_shl(bit).unwrap_or(0))),
        (0usize..100).prop_map(Fit::FirstFitAlign),
        Just(Fit::OrderAlign),
        Just(Fit::BestFit),
        (0usize..200).prop_map(move |at| Fit::FixedOffset(at.wrapping_mul(granule))),
        any::<usize>().prop_map(Fit::FixedOffset),
    ]
}

fn sizes(order: u32) -> impl Strategy<Value = usize> {
    let granule = 1usize << order;
    prop_oneof![
        8 => (0usize..8, 0..granule).prop_map(move |(n, odd)| n.saturating_mul(granule).saturating_add(odd)),
        4 => (0usize..150).prop_map(move |n| n.saturating_mul(granule)),
        1 => any::<usize>(),
        1 => Just(usize::MAX),
    ]
}

fn calls(order: u32) -> impl Strategy<Value = Vec<Call>> {
    let granule = 1usize << order;
    let off = move || prop_oneof![12 => Just(0usize), 1 => Just(granule), 1 => Just(1usize), 1 => any::<usize>()];
    let call = prop_oneof![
        6 => (sizes(order), fits(order)).prop_map(|(size, fit)| Call::Alloc { size, fit }),
        4 => (any::<usize>(), off(), off())
            .prop_map(|(which, addr_off, size_off)| Call::Free { which, addr_off, size_off }),
        1 => (any::<usize>(), sizes(order)).prop_map(|(addr, size)| Call::Stray { addr, size }),
        1 => (0..granule.saturating_mul(300), sizes(order)).prop_map(|(addr, size)| Call::Stray { addr, size }),
    ];
    prop::collection::vec(call, 1..STEPS)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn same_answers((shape, calls) in shapes().prop_flat_map(|shape| {
        let order = shape.order;
        (Just(shape), calls(order))
    })) {
        let mut oracle = Oracle::new(shape.order);
        let mut plain = PlainPool::new(shape.order);
        for &(start, len) in &shape.chunks {
            let (start, size) = (start << shape.order, len << shape.order);
            prop_assert_eq!(oracle.add(start, size), Ok(()));
            prop_assert_eq!(plain.add(start, size), Ok(()));
        }
        prop_assert_eq!(plain.size(), oracle.size());
        prop_assert_eq!(plain.order(), shape.order);

        let mut got: Vec<(usize, usize)> = Vec::new();
        for call in calls {
            match call {
                Call::Alloc { size, fit } => {
                    let answer = oracle.alloc(size, fit);
                    prop_assert_eq!(plain.alloc(size, fit), answer, "{} bytes, {:?}", size, fit);
                    got.extend(answer.map(|addr| (addr, size)));
                }
                Call::Free { which, addr_off, size_off } if !got.is_empty() => {
                    let (addr, size) = got[which % got.len()];
                    let (addr, size) = (addr.wrapping_add(addr_off), size.wrapping_add(size_off));
                    prop_assert_eq!(plain.free(addr, size), oracle.free(addr, size));
                }
                Call::Free { .. } => {}
                Call::Stray { addr, size } => {
                    prop_assert_eq!(plain.contains(addr, size), oracle.contains(addr, size));
                    prop_assert_eq!(plain.free(addr, size), oracle.free(addr, size));
                }
            }
            prop_assert_eq!(plain.avail(), oracle.avail());
        }
    }

    #[test]
    fn same_refusals_of_chunks(
        order in prop_oneof![Just(0u32), Just(4)],
        chunks in prop::collection::vec(
            (prop_oneof![0usize..400, (0usize..400).prop_map(|below| usize::MAX - below)], 0usize..200),
            1..12,
        ),
    ) {
        let mut oracle = Oracle::new(order);
        let mut plain = PlainPool::new(order);
        for (start, size) in chunks {
            // Half of the chunks consist of whole granules.
            let mask = if size & 1 == 0 { usize::MAX << order } else { usize::MAX };
            let (start, size) = (start & mask, size & mask);
            match (oracle.add(start, size), plain.add(start, size)) {
                // If several chunks overlap, the contract does not say which one is named.
                (Err(AddError::Overlaps { .. }), Err(AddError::Overlaps { .. })) => {}
                (a, b) => prop_assert_eq!(a, b),
            }
            prop_assert_eq!(plain.size(), oracle.size());
        }
    }
}

#[test]
fn a_chunk_at_zero_and_one_at_the_top() {
    let pool = LockedPool::new(12);
    let top = usize::MAX - 0xffff;
    pool.add(0, 0x10000).unwrap();
    pool.add_virt(top, 0x8000_0000, 0x10000).unwrap();
    assert_eq!(pool.alloc(0x10000, Fit::OrderAlign), Some(top));
    assert_eq!(pool.alloc(0x10000, Fit::OrderAlign), Some(0));
    assert_eq!((pool.avail(), pool.size()), (0, 0x20000));
    assert!(pool.contains(usize::MAX, 1) && !pool.contains(usize::MAX, 2));
    assert_eq!(pool.phys_of(top + 5), Some(0x8000_0005));
    assert_eq!(pool.phys_of(5), None);
    assert_eq!(
        pool.free(top, usize::MAX),
        Err(FreeError::PastChunk {
            addr: top,
            size: usize::MAX
        })
    );
    assert_eq!(pool.free(top, 0x10000), Ok(()));
    assert_eq!(pool.free(0, 0x10000), Ok(()));
    assert_eq!(pool.avail(), 0x20000);
}

#[test]
fn the_whole_address_space() {
    let (mut oracle, pool) = (Oracle::new(63), LockedPool::new(63));
    for start in [0, 1 << 63] {
        oracle.add(start, 1 << 63).unwrap();
        pool.add(start, 1 << 63).unwrap();
    }
    assert_eq!((oracle.size(), oracle.avail()), (usize::MAX, usize::MAX));
    assert_eq!((pool.size(), pool.avail()), (usize::MAX, usize::MAX));
    assert_eq!(pool.alloc(1, Fit::FirstFit), Some(1 << 63));
    assert_eq!(oracle.alloc(1, Fit::FirstFit), Some(1 << 63));
    assert_eq!((oracle.avail(), pool.avail()), (1 << 63, 1 << 63));
}

#[test]
fn absurd_pools_are_refused() {
    assert_eq!(
        LockedPool::new(64).add(0, 1),
        Err(AddError::OrderTooLarge { order: 64 })
    );
    assert_eq!(LockedPool::new(u32::MAX).alloc(1, Fit::FirstFit), None);
    assert_eq!(Oracle::new(u32::MAX).alloc(1, Fit::BestFit), None);
    assert!(matches!(
        LockedPool::new(0).add(0, usize::MAX),
        Err(AddError::NoMemory { .. })
    ));
    assert!(matches!(
        Oracle::new(0).add(0, usize::MAX),
        Err(AddError::NoMemory { .. })
    ));
    assert_eq!(
        LockedPool::new(0).add(2, usize::MAX),
        Err(AddError::Wraps {
            start: 2,
            size: usize::MAX
        })
    );
}

#[test]
fn errors_read_well() {
    let pool = LockedPool::new(4);
    assert_eq!(
        pool.add(0, 0).unwrap_err().to_string(),
        "the chunk at 0x0 has size 0"
    );
    assert_eq!(
        pool.free(0x20, 16).unwrap_err().to_string(),
        "0x20 lies in no chunk of the pool"
    );
}
