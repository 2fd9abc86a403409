//! Searches in one chunk full of holes: constrained searches whose limits fall among the holes, and searches by every
//! algorithm across full and empty words of the bitmap.

use genpool_core::Pool;
use genpool_plain::{Fit, Limits, Oracle};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::spec::{Among, Chooser, Spec, is_same};

/// One chunk, and requests, each of which is dropped before the next.
#[derive(Clone, Debug)]
pub(crate) struct Ragged {
    order: u32,
    start: usize,
    /// Free granules, then taken ones, and so on.
    runs: Vec<(usize, usize)>,
    asks: Vec<(Spec, usize)>,
}

pub(crate) fn cases() -> impl Strategy<Value = Ragged> {
    prop_oneof![Just(0_u32), Just(5)].prop_flat_map(|order| {
        let granules = |end: usize| (0..end).prop_map(move |n| n << order);
        let runs = vec(
            (1..24_usize, 1..6_usize),
            1..if cfg!(miri) { 6 } else { 60 },
        );
        let ask = (limits(order), among(), 1..12_usize)
            .prop_map(|(limits, among, n)| (Spec::Constrained(among, limits), n));
        (granules(200), runs, vec(ask, 1..6)).prop_map(move |(start, runs, asks)| Ragged {
            order,
            start,
            runs,
            asks,
        })
    })
}

/// A chunk of some forty words of the bitmap, many of them full. A refused request must have searched across them.
pub(crate) fn whole_words() -> impl Strategy<Value = Ragged> {
    const WORD: usize = usize::BITS as usize;
    let length = || {
        let words = (1..4_usize).prop_map(|words| words * WORD);
        prop_oneof![2 => 1..4_usize, 1 => WORD - 3..WORD + 3, 2 => words]
    };
    let runs = vec((length(), length()), 1..if cfg!(miri) { 3 } else { 14 });
    let n = prop_oneof![1..12_usize, WORD - 3..WORD + 6, 1..4 * WORD];
    let ask = (crate::ops::any_spec(0), n);
    (runs, vec(ask, 1..8)).prop_map(|(runs, asks)| Ragged {
        order: 0,
        start: WORD,
        runs,
        asks,
    })
}

/// A chunk that is taken except for a few granules on either side of each word in turn, which is full. The requests
/// are longer than the free run on either side.
pub(crate) fn either_side_of_a_full_word() -> impl Iterator<Item = Ragged> {
    const WORD: usize = usize::BITS as usize;
    const WORDS: usize = if cfg!(miri) { 10 } else { 26 };
    let specs = [
        Spec::FirstFit,
        Spec::BestFit,
        Spec::NextFit,
        Spec::ThreadStart,
        Spec::SpreadFit,
    ];
    (1..WORDS - 1).map(move |word| Ragged {
        order: 0,
        start: WORD,
        runs: vec![
            (0, word * WORD - 3),
            (3, WORD),
            (3, (WORDS - word - 1) * WORD - 3),
        ],
        asks: specs
            .iter()
            .flat_map(|&spec| (4..=6).map(move |n| (spec, n)))
            .collect(),
    })
}

fn among() -> impl Strategy<Value = Among> {
    prop::sample::select(vec![
        Among::FirstFit,
        Among::BestFit,
        Among::NextFit,
        Among::ThreadStart,
    ])
}

fn limits(order: u32) -> impl Strategy<Value = Limits> {
    let addr =
        || (0..600_usize, 0..1_usize << order).prop_map(move |(at, odd)| (at << order) + odd);
    let lowest = prop_oneof![Just(0_usize), addr()];
    let length = prop_oneof![Just(usize::MAX), addr()];
    let boundary = proptest::option::of((2..7_u32).prop_map(move |more| 1_usize << (order + more)));
    (0..5_u32, 0..32_usize, lowest, length, boundary).prop_map(
        move |(align, phase, lowest, length, boundary)| {
            let align = 1_usize << (order + align);
            Limits {
                align,
                phase: (phase << order) & (align - 1),
                lowest,
                highest: lowest.saturating_add(length),
                boundary,
            }
        },
    )
}

pub(crate) fn play(case: &Ragged) {
    let order = case.order;
    let pool = Pool::new(order).unwrap();
    let mut oracle = Oracle::new(order);
    let granules: usize = case.runs.iter().map(|(free, taken)| free + taken).sum();
    pool.add(case.start, granules << order).unwrap();
    oracle.add(case.start, granules << order).unwrap();
    let mut at = 0;
    for &(free, taken) in &case.runs {
        let offset = (at + free) << order;
        let there = Spec::FixedOffset(offset).real();
        let range = pool.alloc_with(taken << order, &*there).unwrap().into_raw();
        assert_eq!(range.addr, case.start + offset);
        oracle
            .alloc(taken << order, Fit::FixedOffset(offset))
            .unwrap();
        at += free + taken;
    }
    for &(spec, n) in &case.asks {
        let mut chooser = Chooser::new(spec);
        // Twice, because a next fit continues after the first allocation.
        for _ in 0..2 {
            let size = n << order;
            let found = pool.alloc_with(size, &*chooser.real);
            let chosen = found.as_ref().ok().map(|found| found.addr());
            let expected = chooser.rule.alloc(&mut oracle, order, size, chosen);
            match (expected, found) {
                (Ok(addr), Ok(found)) => {
                    assert_eq!(found.addr(), addr, "{spec:?} for {n} granules");
                    oracle.free(addr, size).unwrap();
                }
                (Err(reasons), Err(refused)) => {
                    assert!(reasons.iter().any(|reason| is_same(reason, &refused)));
                }
                (expected, found) => panic!("{spec:?} for {n}: {found:?}, not {expected:x?}"),
            }
        }
    }
}
