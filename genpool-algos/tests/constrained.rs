//! Algorithms under constraints on the pool's own address and on the device address, compared with brute force over
//! every granule.

use std::collections::BTreeMap;

use genpool_algos::{
    BestFit, FirstFitAlign, FixedAddress, FixedOffset, NextFit, SpreadFit, ThreadStart,
};
use genpool_core::{
    Algorithm, AllocError, ChunkView, Constrained, ConstraintError, Constraints, FirstFit, Granule,
    Impossible, Pool, Request, Unsuitable,
};
use proptest::prelude::*;

const GRANULES: usize = 48;

/// The constraints on one of the two addresses.
#[derive(Clone, Copy, Debug)]
struct Asked {
    align: u32,
    phase: u64,
    lowest: u64,
    highest: u64,
    boundary: Option<u32>,
}

impl Asked {
    fn phase(self) -> u64 {
        self.phase & ((1 << self.align) - 1)
    }

    /// Whether `size` bytes at `addr` meet the constraints.
    fn allows(self, addr: u64, size: u64) -> bool {
        let last = addr + (size - 1);
        let crosses = |bits: u32| addr >> bits != last >> bits;
        addr & ((1 << self.align) - 1) == self.phase()
            && addr >= self.lowest
            && last <= self.highest
            && !self.boundary.is_some_and(crosses)
    }
}

fn asked(base: u64) -> impl Strategy<Value = Asked> {
    let limits = (0..0x60_u64, 0..0x300_u64, any::<bool>());
    let boundary = proptest::option::of(4..9_u32);
    (0..8_u32, any::<u64>(), limits, boundary).prop_map(
        move |(align, phase, (lowest, more, bounded), boundary)| Asked {
            align,
            phase,
            lowest: if bounded { base + lowest } else { 0 },
            highest: if bounded {
                base + lowest + more
            } else {
                u64::MAX
            },
            boundary,
        },
    )
}

#[derive(Clone, Debug)]
struct Case {
    order: u32,
    start: usize,
    phys: u64,
    taken: Vec<bool>,
    granules: usize,
    virt: Asked,
    dma: Option<Asked>,
}

fn cases() -> impl Strategy<Value = Case> {
    (0..5_u32, 0..64_usize, 0..0x100_u64).prop_flat_map(|(order, at, phys)| {
        let start = at << order;
        let taken = proptest::collection::vec(proptest::bool::weighted(0.15), GRANULES);
        let dma = proptest::option::weighted(0.7, asked(phys));
        (taken, 1..7_usize, asked(start as u64), dma).prop_map(
            move |(taken, granules, virt, dma)| Case {
                order,
                start,
                phys,
                taken,
                granules,
                virt: Asked {
                    phase: virt.phase >> order << order,
                    ..virt
                },
                dma,
            },
        )
    })
}

impl Case {
    /// The constraints on the pool's own address.
    fn virt(&self) -> Constraints {
        let virt = self.virt;
        let all = Constraints::new()
            .align_phase(1 << virt.align, virt.phase() as usize)
            .unwrap()
            .lowest(virt.lowest as usize)
            .highest(usize::try_from(virt.highest).unwrap_or(usize::MAX));
        virt.boundary
            .map_or(all, |bits| all.boundary(1 << bits).unwrap())
    }

    /// Adds the constraints on the device address.
    fn dma(&self, all: Constraints) -> Constraints {
        let Some(dma) = self.dma else {
            return all;
        };
        let all = all
            .dma_align_phase(1 << dma.align, dma.phase())
            .unwrap()
            .dma_lowest(dma.lowest)
            .dma_highest(dma.highest);
        dma.boundary
            .map_or(all, |bits| all.dma_boundary(1 << bits).unwrap())
    }

    fn constraints(&self) -> Constraints {
        self.dma(self.virt())
    }

    fn pool(&self) -> Pool {
        let pool = Pool::new(self.order).unwrap();
        pool.add_virt(self.start, self.phys, GRANULES << self.order)
            .unwrap();
        for (granule, _) in self.taken.iter().enumerate().filter(|(_, taken)| **taken) {
            let at = FixedOffset::new(granule << self.order);
            let _ = pool.alloc_with(1, &at).unwrap().into_raw();
        }
        pool
    }

    /// The offsets of all allowed places, upwards.
    fn places(&self) -> Vec<usize> {
        let size = (self.granules << self.order) as u64;
        (0..=GRANULES - self.granules)
            .filter(|&at| !self.taken[at..at + self.granules].contains(&true))
            .map(|at| at << self.order)
            .filter(|&at| {
                self.virt.allows((self.start + at) as u64, size)
                    && self
                        .dma
                        .is_none_or(|dma| dma.allows(self.phys + at as u64, size))
            })
            .collect()
    }
}

proptest! {
    #[test]
    fn addresses_are_as_asked(case in cases()) {
        let (pool, places) = (case.pool(), case.places());
        let size = case.granules << case.order;
        let first = pool.alloc_with(size, &Constrained::new(FirstFit, case.constraints()));
        match &first {
            Ok(found) => prop_assert_eq!(Some(&(found.addr() - case.start)), places.first()),
            Err(AllocError::Exhausted { .. }) => prop_assert!(places.is_empty(), "{places:x?}"),
            Err(AllocError::Impossible(reason)) => {
                prop_assert!(places.is_empty(), "{reason}, but {places:x?}");
            }
            Err(AllocError::Unsuitable(_)) => prop_assert!(places.is_empty(), "{places:x?}"),
            Err(other) => prop_assert!(false, "{other}"),
        }
        let refused = first.map(drop).err();
        let empty = Case { taken: vec![false; GRANULES], ..case.clone() };
        let possible = !empty.places().is_empty();
        let exhausted = AllocError::Exhausted { size };
        prop_assert!(!possible || refused.is_none_or(|refused| refused == exhausted), "{refused:?}");
        prop_assert!(possible || refused.is_some_and(|refused| refused != exhausted), "{refused:?}");
        let all = case.constraints();
        let searching: [&dyn Algorithm; 4] =
            [&BestFit, &NextFit::new(), &ThreadStart, &SpreadFit];
        for (number, algorithm) in searching.into_iter().enumerate() {
            let found = pool.alloc_with(size, &Constrained::new(algorithm, all));
            let at = found.as_ref().ok().map(|found| found.addr() - case.start);
            prop_assert!(at.is_none_or(|at| places.contains(&at)), "{number}: {at:x?}");
            prop_assert_eq!(found.map(drop).err(), refused, "{}", number);
        }
    }

    #[test]
    fn constraints_on_constraints_are_like_all_at_once(case in cases()) {
        let pool = case.pool();
        let size = case.granules << case.order;
        let place = |algorithm: &dyn Algorithm| {
            let found = pool.alloc_with(size, algorithm);
            found.map(|found| found.addr()).map_err(|error| error.to_string())
        };
        let whole = place(&Constrained::new(FirstFit, case.constraints())).ok();
        let inner = Constrained::new(FirstFit, case.virt());
        let nested = place(&Constrained::new(inner, case.dma(Constraints::new())));
        prop_assert_eq!(nested.as_ref().ok(), whole.as_ref(), "{:?}", nested);
        let inner = Constrained::new(FirstFit, case.dma(Constraints::new()));
        let nested = place(&Constrained::new(inner, case.virt()));
        prop_assert_eq!(nested.as_ref().ok(), whole.as_ref(), "{:?}", nested);

        // An algorithm with an alignment of its own, and those that know only one place.
        let aligned = FirstFitAlign::new(1 << case.virt.align).unwrap();
        let aligned = place(&Constrained::new(aligned, case.dma(Constraints::new())));
        let places = Case { virt: Asked { phase: 0, lowest: 0, highest: u64::MAX, boundary: None, ..case.virt }, ..case.clone() }.places();
        prop_assert_eq!(aligned.as_ref().ok().map(|at| at - case.start), places.first().copied(), "{:?}", aligned);
        let places = case.places();
        for at in (0..GRANULES).map(|granule| granule << case.order) {
            let offset = place(&Constrained::new(FixedOffset::new(at), case.constraints()));
            let addr = place(&Constrained::new(FixedAddress::new(case.start + at), case.constraints()));
            prop_assert_eq!(offset.is_ok(), places.contains(&at), "{:?}", offset);
            prop_assert_eq!(addr.is_ok(), places.contains(&at), "{:?}", addr);
        }
    }

    /// In a chunk so large that best fit uses its index.
    #[test]
    fn best_fit_takes_the_shortest_run_that_has_an_allowed_place(
        runs in proptest::collection::vec((1..20_usize, 1..90_usize), 300),
        align in 0..5_u32,
        phase in 0..32_usize,
        lowest in 0..6_000_usize,
        boundary in proptest::option::of(5..8_u32),
        sizes in proptest::collection::vec(1..90_usize, 20),
    ) {
        const GRANULES: usize = 12_000;
        let pool = Pool::new(0).unwrap();
        pool.add(0, GRANULES).unwrap();
        let mut free = BTreeMap::new();
        let mut end = 0;
        for (taken, len) in runs {
            let start = (end + taken).min(GRANULES);
            let filled = pool.alloc_with(start - end, &FixedOffset::new(end));
            filled.map(genpool_core::Allocation::into_raw).ok();
            end = (start + len).min(GRANULES);
            free.insert(start, end - start);
        }
        *free.entry(end).or_default() += GRANULES - end;
        let align = 1 << align;
        let phase = phase % align;
        let all = Constraints::new().align_phase(align, phase).unwrap().lowest(lowest);
        let all = boundary.map_or(all, |bits| all.boundary(1 << bits).unwrap());
        for size in sizes {
            let place = |(&start, &len): (&usize, &usize)| {
                let mut starts = start..(start + len + 1).saturating_sub(size);
                let crosses = |at: usize| boundary.is_some_and(|bits| at >> bits != (at + size - 1) >> bits);
                let found = starts.find(|&at| at % align == phase && at >= lowest && !crosses(at))?;
                Some((len, found))
            };
            // Free runs that touch are one run.
            let best = merged(&free).iter().filter_map(place).min();
            let found = pool.alloc_with(size, &Constrained::new(BestFit, all));
            prop_assert_eq!(found.ok().map(|found| found.addr()), best.map(|best| best.1), "{}", size);
        }
    }
}

/// Joins free runs that touch.
fn merged(free: &BTreeMap<usize, usize>) -> BTreeMap<usize, usize> {
    let mut runs = BTreeMap::new();
    let mut last: Option<(usize, usize)> = None;
    for (&start, &len) in free {
        last = match last {
            Some((begin, end)) if end == start => Some((begin, start + len)),
            other => {
                runs.extend(other.map(|(begin, end)| (begin, end - begin)));
                Some((start, start + len))
            }
        };
    }
    runs.extend(last.map(|(begin, end)| (begin, end - begin)));
    runs
}

/// An algorithm that computes a place itself is constrained too, and its refusal is a proof.
#[test]
fn a_place_that_is_not_allowed_is_replaced() {
    /// The end of the highest run.
    struct LastFit;
    impl Algorithm for LastFit {
        fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
            let n = request.granules();
            let last = chunk.runs(Granule(0), n).last()?;
            Some(Granule(last.start.0 + last.len - n))
        }
    }
    let pool = Pool::new(12).unwrap();
    pool.add(0x1000, 0x8000).unwrap();
    let aligned = Constrained::new(LastFit, Constraints::new().align(0x2000).unwrap());
    let place = |size| pool.alloc_with(size, &aligned).map(|found| found.addr());
    assert_eq!(place(0x2000), Ok(0x2000), "0x7000 is not aligned");
    assert_eq!(place(0x1000), Ok(0x8000), "its own place, which is allowed");
    let mut held = Vec::new();
    while let Ok(found) = pool.alloc_with(0x1000, &aligned) {
        held.push(found);
    }
    assert_eq!(held.len(), 4, "every aligned page");
}

#[test]
fn masks_of_devices() {
    let pool = Pool::new(12).unwrap();
    for (start, phys) in [
        (0x1_0000, (1 << 28) - 0x2000),
        (0x2_0000, (1 << 32) - 0x2000),
        (0x3_0000, (1 << 39) - 0x2000),
        (0x4_0000, u64::MAX - 0x3fff),
    ] {
        pool.add_virt(start, phys, 0x4000).unwrap();
    }
    for bits in [28, 32, 39, 64] {
        let highest = u64::MAX >> (64 - bits);
        let reached = Constrained::new(FirstFit, Constraints::new().dma_highest(highest));
        let mut held = Vec::new();
        while let Ok(page) = pool.alloc_with(0x1000, &reached) {
            assert!(page.phys().unwrap() + 0xfff <= highest);
            held.push(page);
        }
        let expected = match bits {
            28 => 2,
            32 => 4 + 2,
            39 => 8 + 2,
            _ => 16,
        };
        assert_eq!(held.len(), expected, "{bits} bits");
    }
}

/// No search returns a run that begins below the highest address and ends above it.
#[test]
fn a_mask_holds_for_the_last_byte_too() {
    fn check<A: Algorithm + Copy>(algorithm: A) {
        let pool = Pool::new(12).unwrap();
        // Two pages below the limit, six above it.
        pool.add_virt(0x1_0000, (1 << 32) - 0x2000, 0x8000).unwrap();
        let dma = Constraints::new().dma_highest(u32::MAX.into());
        let virt = Constraints::new().highest(0x1_1fff);
        for reached in [dma, virt] {
            let reached = Constrained::new(algorithm, reached);
            for size in [0x2001, 0x3000, 0x8000] {
                assert!(pool.alloc_with(size, &reached).is_err(), "{size:#x}");
            }
            let whole = pool.alloc_with(0x2000, &reached).unwrap();
            assert_eq!(whole.addr(), 0x1_0000);
        }
        // One page less, because of a single byte.
        let dma = Constraints::new().dma_highest(u32::MAX as u64 - 1);
        let reached = Constrained::new(algorithm, dma);
        assert!(pool.alloc_with(0x2000, &reached).is_err());
        assert_eq!(pool.alloc_with(0x1000, &reached).unwrap().addr(), 0x1_0000);
    }
    check(FirstFit);
    check(BestFit);
    check(ThreadStart);
    check(SpreadFit);
}

#[test]
fn a_chunk_that_the_device_does_not_see_serves_nothing_for_it() {
    let pool = Pool::new(12).unwrap();
    pool.add(0x1000, 0x4000).unwrap();
    let seen = Constrained::new(FirstFit, Constraints::new().dma_align(1).unwrap());
    assert_eq!(
        pool.alloc_with(1, &seen).unwrap_err(),
        AllocError::Impossible(Impossible::NoPhys)
    );
    pool.add_virt(0x10_0000, 0, 0x1000).unwrap();
    assert_eq!(pool.alloc_with(1, &seen).unwrap().phys(), Some(0));
}

/// A boundary of more bytes than there are granules to try is refused at once.
#[test]
fn what_never_fits_is_refused_soon() {
    let pool = Pool::new(0).unwrap();
    let bytes = if cfg!(miri) { 1 << 10 } else { 1 << 26 };
    pool.add_virt(0, 1, bytes).unwrap();
    // Sixteen bytes must start at an odd address and not cross a multiple of 16.
    let odd = Constraints::new()
        .dma_align_phase(2, 1)
        .and_then(|odd| odd.dma_boundary(16))
        .unwrap();
    assert!(
        pool.alloc_with(16, &Constrained::new(FirstFit, odd))
            .is_err()
    );
    let both = Constraints::new().boundary(16).unwrap();
    let both = both.dma_boundary(16).unwrap();
    assert!(
        pool.alloc_with(16, &Constrained::new(FirstFit, both))
            .is_err()
    );
    assert_eq!(
        pool.alloc_with(15, &Constrained::new(FirstFit, both))
            .unwrap()
            .addr(),
        0
    );
}

#[test]
fn nonsense_is_refused() {
    let none = Constraints::new();
    assert_eq!(none.dma_align(3), Err(ConstraintError::Align { bytes: 3 }));
    assert_eq!(
        none.dma_boundary(0),
        Err(ConstraintError::Boundary { bytes: 0 })
    );
    assert_eq!(
        none.dma_align_phase(4, 4),
        Err(ConstraintError::Phase { phase: 4, align: 4 })
    );
    let pool = Pool::new(12).unwrap();
    pool.add_virt(0, 0, 0x1_0000).unwrap();
    let page = Constrained::new(FirstFit, none.dma_boundary(0x1000).unwrap());
    assert_eq!(
        pool.alloc_with(0x1001, &page).unwrap_err(),
        AllocError::Unsuitable(Unsuitable::LongerThanBoundary {
            size: 0x1001,
            boundary: 0x1000
        })
    );
}
