//! Arguments of constraints: invalid ones are refused; with others, an allocation meets them, and a request fails only
//! if no place meets them.

#![no_main]

use arbitrary::Arbitrary;
use genpool::{
    Algorithm, AllocError, BestFit, Constrained, ConstraintError, Constraints, FirstFit,
    FixedOffset, NextFit, Pool, ThreadStart, Unsuitable,
};
use genpool_fuzz::is_planted;
use genpool_plain::{Granules, Limits, Oracle};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    order: u8,
    granules: u16,
    /// The chunk's start: this many granules from the bottom, or below the top.
    place: u64,
    from_top: bool,
    /// The runs that are taken.
    held: Vec<(u16, u8)>,
    requests: Vec<Wish>,
}

#[derive(Arbitrary, Debug)]
struct Wish {
    align: Bytes,
    phase: Bytes,
    lowest: Place,
    highest: Place,
    boundary: Option<Bytes>,
    size: Bytes,
    by: By,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Bytes {
    Power(u8),
    Granules(u16),
    Any(u64),
}

impl Bytes {
    fn get(self, order: u32) -> usize {
        match self {
            Self::Power(exponent) => 1 << (exponent % 64),
            Self::Granules(n) => usize::from(n % 256) << order,
            Self::Any(bytes) => bytes as usize,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Place {
    /// In the chunk or near it.
    Near(u16, u8),
    Any(u64),
}

impl Place {
    fn get(self, start: usize, order: u32) -> usize {
        match self {
            Self::Near(granule, byte) => start
                .wrapping_add(usize::from(granule) << order)
                .wrapping_add(usize::from(byte))
                .wrapping_sub(128),
            Self::Any(addr) => addr as usize,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum By {
    FirstFit,
    BestFit,
    NextFit,
    ThreadStart,
}

fuzz_target!(|input: Input| {
    let order = u32::from(input.order % 13);
    let granules = usize::from(input.granules % 600) + 1;
    let size = granules << order;
    let place = (input.place as usize) >> order << order;
    let start = if input.from_top {
        // The last place ends at the top of the address space.
        0_usize.wrapping_sub(size).wrapping_sub(place % (1 << 20))
    } else {
        place.min(usize::MAX - size + 1 >> order << order)
    };
    let pool = Pool::new(order).expect("a good order");
    pool.add(start, size).expect("a good chunk");
    let mut oracle = Oracle::new(order);
    oracle.add(start, size).expect("a good chunk");
    for (at, n) in input.held {
        let (at, n) = (usize::from(at) % granules, usize::from(n).max(1));
        let fixed = FixedOffset::new(at << order);
        if let Ok(held) = pool.alloc_with(n << order, &fixed) {
            let _ = held.into_raw();
            let taken = oracle.alloc_at(start + (at << order), n << order);
            assert!(taken.is_some(), "{at} was not free");
        }
    }
    for wish in input.requests.iter().take(32) {
        let chunk = oracle.granules(0).expect("one was added");
        serve(&pool, start, chunk, wish);
    }
    assert!(pool.is_sound());
});

fn constraints(
    wish: &Wish,
    start: usize,
    order: u32,
) -> Result<(Constraints, Limits), ConstraintError> {
    let (align, phase) = (wish.align.get(order), wish.phase.get(order));
    let (lowest, highest) = (
        wish.lowest.get(start, order),
        wish.highest.get(start, order),
    );
    let boundary = wish.boundary.map(|bytes| bytes.get(order));
    let real = Constraints::new().align_phase(align, phase);
    assert_eq!(real.is_ok(), align.is_power_of_two() && phase < align);
    // The control: one granule more at the upper end.
    let more = usize::from(is_planted()) << order;
    let real = real?.lowest(lowest).highest(highest.saturating_add(more));
    let real = match boundary {
        Some(bytes) => {
            let bounded = real.boundary(bytes);
            assert_eq!(bounded.is_ok(), bytes.is_power_of_two());
            bounded?
        }
        None => real,
    };
    let limits = Limits {
        align,
        phase,
        lowest,
        highest,
        boundary,
    };
    Ok((real, limits))
}

fn serve(pool: &Pool, start: usize, chunk: Granules<'_>, wish: &Wish) {
    let order = pool.order();
    let Ok((real, limits)) = constraints(wish, start, order) else {
        return;
    };
    let size = wish.size.get(order);
    let answer = match wish.by {
        By::FirstFit => ask(pool, size, FirstFit, real),
        By::BestFit => ask(pool, size, BestFit, real),
        By::NextFit => ask(pool, size, NextFit::new(), real),
        By::ThreadStart => ask(pool, size, ThreadStart, real),
    };
    let n = size.div_ceil(1 << order);
    // Of size 0, which is refused, no run has a last address.
    let allowed = |at: usize| n > 0 && chunk.meet(at, n, &limits);
    let fits = |at: usize| allowed(at) && chunk.are_free(at, n);
    match answer {
        Ok(found) => {
            let at = (found - start) >> order;
            assert!(fits(at), "{found:#x} does not keep to {wish:?}");
            if matches!(wish.by, By::FirstFit) {
                assert_eq!(chunk.all().find(|&at| fits(at)), Some(at));
            }
        }
        Err(AllocError::ZeroSize) => assert_eq!(size, 0),
        Err(AllocError::Exhausted { .. }) => {
            assert!(!chunk.all().any(fits), "{wish:?} could be served");
            assert!(chunk.all().any(allowed), "{wish:?} is impossible");
        }
        Err(AllocError::Impossible(reason)) => {
            assert!(!chunk.all().any(allowed), "{wish:?}: {reason}");
        }
        Err(AllocError::Unsuitable(Unsuitable::Phase { .. })) => {
            assert!(limits.phase % (1 << order) != 0);
        }
        Err(AllocError::Unsuitable(Unsuitable::LongerThanRange { .. })) => {
            assert!(limits.lowest as u128 + ((n as u128) << order) > limits.highest as u128 + 1);
        }
        Err(AllocError::Unsuitable(Unsuitable::LongerThanBoundary { .. })) => {
            let boundary = limits.boundary.expect("it has one");
            assert!((n as u128) << order > boundary as u128);
        }
        Err(other) => panic!("{other} for {wish:?}"),
    }
}

/// Returns where the request would be placed. The range is given back at once.
fn ask<A: Algorithm>(
    pool: &Pool,
    size: usize,
    algorithm: A,
    constraints: Constraints,
) -> Result<usize, AllocError> {
    let found = pool.alloc_with(size, &Constrained::new(algorithm, constraints))?;
    Ok(found.addr())
}
