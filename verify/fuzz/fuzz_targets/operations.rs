//! Sequences of operations on one pool, each compared with the oracle.

#![no_main]

use arbitrary::Arbitrary;
use genpool::{
    AllocError, Allocation, BestFit, FirstFitAlign, FixedOffset, FreeError, OrderAlign, Pool,
};
use genpool_fuzz::is_planted;
use genpool_plain::{Fit, Oracle};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    order: u8,
    tracked: bool,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Add(Place, u16),
    AddAnything(u64, u64),
    Alloc(Size, By),
    Many(Vec<u8>),
    Drop(u8),
    Resize(u8, Size),
    /// From now on the allocation is known by its address only.
    MakeRaw(u8),
    Free(u8),
    FreeAnything(Place, Size),
    FreeAddr(Place),
    Contains(Place, Size),
}

/// An address: a granule of one of a few places that are near each other, and a number of bytes to add.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Place(u16, u8);

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Size {
    Granules(u8),
    Bytes(u16),
    Any(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum By {
    Default,
    Aligned(u8),
    OrderAlign,
    Best,
    Fixed(u16),
}

/// The most granules that all chunks may have together.
const GRANULES: usize = 4096;

struct World<'p> {
    pool: &'p Pool,
    oracle: Oracle,
    order: u32,
    values: Vec<Allocation<'p>>,
    /// (address, granules in bytes) of what is known by its address only.
    raw: Vec<(usize, usize)>,
}

fuzz_target!(|input: Input| {
    // Bytes, small granules, pages, and granules so large that a few fill the address space.
    let order = [0, 3, 12, 52][usize::from(input.order % 4)];
    let builder = Pool::builder().order(order);
    let builder = if input.tracked {
        builder.boundary_tracking()
    } else {
        builder
    };
    let pool = builder.build().expect("a good order");
    let mut world = World {
        pool: &pool,
        oracle: Oracle::new(order),
        order,
        values: Vec::new(),
        raw: Vec::new(),
    };
    for operation in input.operations.iter().take(200) {
        world.apply(operation);
    }
    drop(world);
    assert!(pool.is_sound());
});

impl World<'_> {
    fn place(&self, place: Place) -> usize {
        // Past the order's top bits this wraps, which is as good a place as any.
        (usize::from(place.0).wrapping_shl(self.order)).wrapping_add(usize::from(place.1 % 4))
    }

    fn size(&self, size: Size) -> usize {
        match size {
            Size::Granules(n) => usize::from(n).wrapping_shl(self.order),
            Size::Bytes(bytes) => usize::from(bytes),
            Size::Any(bytes) => bytes as usize,
        }
    }

    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Add(place, granules) => {
                let size = usize::from(granules % 700).wrapping_shl(self.order);
                self.add(self.place(place), size);
            }
            Operation::AddAnything(start, size) => self.add(start as usize, size as usize),
            Operation::Alloc(size, by) => self.alloc(self.size(size), by),
            Operation::Many(ref sizes) => self.many(sizes),
            Operation::Drop(which) => {
                if let Some(value) = take(&mut self.values, which) {
                    let freed = self.oracle.free(value.addr(), value.size());
                    freed.expect("the oracle holds what the pool does");
                }
            }
            Operation::Resize(which, size) => self.resize(which, self.size(size)),
            Operation::MakeRaw(which) => {
                let value = take(&mut self.values, which);
                self.raw.extend(value.map(|value| {
                    let range = value.into_raw();
                    (range.addr, range.size)
                }));
            }
            Operation::Free(which) => {
                if let Some((addr, size)) = take(&mut self.raw, which) {
                    self.free(addr, size);
                }
            }
            Operation::FreeAnything(place, size) => {
                self.free_anything(self.place(place), self.size(size));
            }
            Operation::FreeAddr(place) => self.free_addr(self.place(place)),
            Operation::Contains(place, size) => {
                let (addr, size) = (self.place(place), self.size(size));
                assert_eq!(
                    self.pool.contains(addr, size),
                    self.oracle.contains(addr, size)
                );
            }
        }
        assert_eq!(self.pool.avail(), self.oracle.avail());
        assert_eq!(self.pool.size(), self.oracle.size());
    }

    fn add(&mut self, start: usize, size: usize) {
        let granules = (self.pool.size() >> self.order).saturating_add(size >> self.order);
        if granules <= GRANULES {
            let added = self.pool.add(start, size).map_err(|error| error.reason);
            let expected = self.oracle.add(start, size);
            assert_eq!(added.is_ok(), expected.is_ok(), "{added:?}, {expected:?}");
        }
    }

    fn alloc(&mut self, size: usize, by: By) {
        let pool = self.pool;
        let (found, fit) = match by {
            By::Default => (pool.alloc(size), Fit::FirstFit),
            By::Aligned(exponent) => {
                let bytes = 1 << (exponent % 64);
                let aligned = FirstFitAlign::new(bytes).expect("a power of two");
                (pool.alloc_with(size, &aligned), Fit::FirstFitAlign(bytes))
            }
            By::OrderAlign => (pool.alloc_with(size, &OrderAlign), Fit::OrderAlign),
            // The control: best fit of 65 granules is first fit.
            By::Best if size >> self.order == 65 && is_planted() => {
                (pool.alloc(size), Fit::BestFit)
            }
            By::Best => (pool.alloc_with(size, &BestFit), Fit::BestFit),
            By::Fixed(granule) => {
                let offset = usize::from(granule).wrapping_shl(self.order);
                let fixed = FixedOffset::new(offset);
                (pool.alloc_with(size, &fixed), Fit::FixedOffset(offset))
            }
        };
        let expected = self.oracle.alloc(size, fit);
        match found {
            Ok(value) => {
                assert_eq!(expected, Some(value.addr()), "{size:#x} by {by:?}");
                self.values.push(value);
            }
            Err(AllocError::ZeroSize) => assert_eq!(size, 0),
            Err(AllocError::Exhausted { .. } | AllocError::Impossible(_)) => {
                assert_eq!(expected, None, "{size:#x} by {by:?}");
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn many(&mut self, granules: &[u8]) {
        let sizes: Vec<_> = granules
            .iter()
            .take(8)
            .map(|&n| usize::from(n).wrapping_shl(self.order))
            .collect();
        let mut after = self.oracle.clone();
        let expected: Option<Vec<_>> = sizes
            .iter()
            .map(|&size| after.alloc(size, Fit::FirstFit))
            .collect();
        match self.pool.alloc_many(&sizes) {
            Ok(found) => {
                let places: Vec<_> = found.iter().map(Allocation::addr).collect();
                assert_eq!(expected, Some(places), "{sizes:x?}");
                self.values.extend(found);
                self.oracle = after;
            }
            Err(
                AllocError::ZeroSize | AllocError::Exhausted { .. } | AllocError::Impossible(_),
            ) => {
                assert_eq!(expected, None, "{sizes:x?}");
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn resize(&mut self, which: u8, size: usize) {
        let Some(which) = usize::from(which).checked_rem(self.values.len()) else {
            return;
        };
        let value = &mut self.values[which];
        let (addr, before) = (value.addr(), value.size());
        let resized = value.resize(size).is_ok();
        let mut after = self.oracle.clone();
        after.free(addr, before).expect("it is held");
        let expected = after.alloc_at(addr, size);
        assert_eq!(resized, expected == Some(addr), "{addr:#x} to {size:#x}");
        if resized {
            self.oracle = after;
        }
    }

    /// Frees a range that is held and known by its address only.
    fn free(&mut self, addr: usize, size: usize) {
        assert_eq!(self.pool.free(addr, size), Ok(()));
        self.oracle.free(addr, size).expect("it is held");
        let again = self.pool.free(addr, size);
        assert_eq!(again, Err(FreeError::NotAllocated { addr }));
    }

    /// Frees a range that may be held, free, or partly held.
    fn free_anything(&mut self, addr: usize, size: usize) {
        let is_held =
            |start, held| start == addr && size > held - self.pool.granule() && size <= held;
        if let Some(at) = self
            .raw
            .iter()
            .position(|&(start, held)| is_held(start, held))
        {
            let (addr, size) = self.raw.swap_remove(at);
            return self.free(addr, size);
        }
        let right = self.oracle.clone().free(addr, size).is_ok();
        let value = || {
            let mut values = self.values.iter();
            values.any(|value| is_held(value.addr(), value.size()))
        };
        // Without boundary tracking the free succeeds. With it, it succeeds if a value holds exactly that range. The
        // value is then stale, which is not compared here.
        if !right || self.pool.is_tracked() && !value() {
            assert!(
                self.pool.free(addr, size).is_err(),
                "{size:#x} at {addr:#x}"
            );
        }
    }

    fn free_addr(&mut self, addr: usize) {
        if let Some(at) = self.raw.iter().position(|&(start, _)| start == addr)
            && self.pool.is_tracked()
        {
            let (addr, size) = self.raw.swap_remove(at);
            assert_eq!(self.pool.free_addr(addr), Ok(size));
            self.oracle.free(addr, size).expect("it is held");
        } else if !self.values.iter().any(|value| value.addr() == addr) {
            assert!(self.pool.free_addr(addr).is_err(), "{addr:#x}");
        }
    }
}

fn take<T>(list: &mut Vec<T>, which: u8) -> Option<T> {
    let which = usize::from(which).checked_rem(list.len())?;
    Some(list.swap_remove(which))
}
