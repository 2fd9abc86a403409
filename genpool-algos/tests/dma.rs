//! Constraints on the device address, alone and together with those on the other address, against brute force over
//! every granule.

use genpool_algos::{BestFit, Constrained, ConstraintError, Constraints, Fit, ThreadStart};
use genpool_core::{AllocError, FirstFit, Impossible, Pool, Unsuitable};
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
    dma: Asked,
}

fn cases() -> impl Strategy<Value = Case> {
    (0..5_u32, 0..64_usize, 0..0x100_u64).prop_flat_map(|(order, at, phys)| {
        let start = at << order;
        let taken = proptest::collection::vec(proptest::bool::weighted(0.15), GRANULES);
        (taken, 1..7_usize, asked(start as u64), asked(phys)).prop_map(
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
    fn constraints(&self) -> Constraints {
        let (virt, dma) = (self.virt, self.dma);
        let mut all = Constraints::new()
            .align_phase(1 << virt.align, virt.phase() as usize)
            .unwrap()
            .lowest(virt.lowest as usize)
            .highest(usize::try_from(virt.highest).unwrap_or(usize::MAX))
            .dma_align_phase(1 << dma.align, dma.phase())
            .unwrap()
            .dma_lowest(dma.lowest)
            .dma_highest(dma.highest);
        if let Some(bits) = virt.boundary {
            all = all.boundary(1 << bits).unwrap();
        }
        if let Some(bits) = dma.boundary {
            all = all.dma_boundary(1 << bits).unwrap();
        }
        all
    }

    fn pool(&self) -> Pool {
        let pool = Pool::new(self.order).unwrap();
        pool.add_virt(self.start, self.phys, GRANULES << self.order)
            .unwrap();
        for (granule, _) in self.taken.iter().enumerate().filter(|(_, taken)| **taken) {
            let at = genpool_algos::FixedOffset::new(granule << self.order);
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
                    && self.dma.allows(self.phys + at as u64, size)
            })
            .collect()
    }
}

proptest! {
    #[test]
    fn both_addresses_are_as_asked(case in cases()) {
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
        if let Ok(best) = pool.alloc_with(size, &Constrained::new(BestFit, case.constraints())) {
            prop_assert!(places.contains(&(best.addr() - case.start)));
        }
    }
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
    fn check<F: Fit + Copy>(fit: F) {
        let pool = Pool::new(12).unwrap();
        // Two pages below the limit, six above it.
        pool.add_virt(0x1_0000, (1 << 32) - 0x2000, 0x8000).unwrap();
        let dma = Constraints::new().dma_highest(u32::MAX.into());
        let virt = Constraints::new().highest(0x1_1fff);
        for reached in [dma, virt] {
            let reached = Constrained::new(fit, reached);
            for size in [0x2001, 0x3000, 0x8000] {
                assert!(pool.alloc_with(size, &reached).is_err(), "{size:#x}");
            }
            let whole = pool.alloc_with(0x2000, &reached).unwrap();
            assert_eq!(whole.addr(), 0x1_0000);
        }
        // One page less, because of a single byte.
        let dma = Constraints::new().dma_highest(u32::MAX as u64 - 1);
        let reached = Constrained::new(fit, dma);
        assert!(pool.alloc_with(0x2000, &reached).is_err());
        assert_eq!(pool.alloc_with(0x1000, &reached).unwrap().addr(), 0x1_0000);
    }
    check(FirstFit);
    check(BestFit);
    check(ThreadStart);
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
