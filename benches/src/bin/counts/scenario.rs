//! The scenarios that are counted.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use benches::contestant::{
    By, ByAddress, Contestant, Handle, Layout, Ours, Plain, ThroughCache, Way,
};
use benches::load::{Churn, Load, Refusal};
use clap::ValueEnum;
use genpool::{BestFit, Constrained, ConstraintError, Constraints, FirstFit, ThreadStart};

const LAYOUT: Layout = Layout {
    order: 12,
    granules: 65_536,
    chunks: 1,
};

/// A hot path, in one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Alloc and free of one granule in an empty pool.
    One,
    /// Alloc and free of eight granules in an empty pool.
    Eight,
    /// Alloc and free of 40 granules after 40 taken ones: 24 in the first word of the bitmap, 16 in the second.
    AcrossWords,
    /// Alloc of one granule in an empty pool, and a free by its address.
    OneByAddress,
    /// Alloc and free of one granule in an empty pool, from the thread's own start position.
    ThreadStart,
    /// Alloc and free of one granule in an empty pool, by best fit.
    BestFit,
    /// [`ThreadStart`](Self::ThreadStart) under constraints.
    ConstrainedThreadStart,
    /// [`BestFit`](Self::BestFit) under constraints.
    ConstrainedBestFit,
    /// Alloc and free of one granule in an empty pool, through a cache.
    Cached,
    /// Free of a random allocation and alloc of 1 to 16 granules by first fit, in a pool that is 70 % full.
    Churn,
    /// Alloc of one granule in a full pool.
    Refused,
    /// [`One`](Self::One) with a look-up of the physical address: more than its figure allows.
    Control,
}

impl Scenario {
    /// The scenarios that have figures.
    pub(crate) const JUDGED: [Self; 11] = [
        Self::One,
        Self::Eight,
        Self::AcrossWords,
        Self::OneByAddress,
        Self::ThreadStart,
        Self::BestFit,
        Self::ConstrainedThreadStart,
        Self::ConstrainedBestFit,
        Self::Cached,
        Self::Churn,
        Self::Refused,
    ];

    /// Returns the name of the scenario on the command line and in the figures.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// Sets the scene and does this many operations.
    ///
    /// # Errors
    ///
    /// If the pool cannot be made, or an alloc fails.
    pub(crate) fn operate(self, operations: u32) -> Result<(), Box<dyn Error>> {
        let pairs = |granules| Pairs {
            granules,
            operations,
        };
        match self {
            Self::One => pairs(1).run(ours(Plain)?, 0, ignore),
            Self::Eight => pairs(8).run(ours(Plain)?, 0, ignore),
            Self::AcrossWords => pairs(40).run(ours(Plain)?, 40, ignore),
            Self::OneByAddress => pairs(1).run(ours(ByAddress)?, 0, ignore),
            Self::ThreadStart => pairs(1).run(ours(By(ThreadStart))?, 0, ignore),
            Self::BestFit => pairs(1).run(ours(By(BestFit))?, 0, ignore),
            Self::ConstrainedThreadStart => {
                let way = By(Constrained::new(ThreadStart, constraints()?));
                pairs(1).run(ours(way)?, 0, ignore)
            }
            Self::ConstrainedBestFit => {
                let way = By(Constrained::new(BestFit, constraints()?));
                pairs(1).run(ours(way)?, 0, ignore)
            }
            Self::Cached => pairs(1).run(ours(ThroughCache)?, 0, ignore),
            Self::Churn => churn(ours(Plain)?, operations),
            Self::Refused => refused(ours(Plain)?, operations),
            Self::Control => pairs(1).run(ours(Plain)?, 0, |pool, addr| {
                black_box(pool.phys_of(addr));
            }),
        }
    }
}

fn ours<W: Way>(way: W) -> Result<&'static Ours<W>, Box<dyn Error>> {
    Ok(Box::leak(Box::new(Ours::new(&LAYOUT, FirstFit, way)?)))
}

/// Those of a device that reaches three quarters of the pool.
fn constraints() -> Result<Constraints, ConstraintError> {
    let first: usize = LAYOUT.starts().iter().sum();
    let reached = Constraints::new().highest(first + LAYOUT.bytes() / 4 * 3 - 1);
    reached.align(2 * LAYOUT.granule())?.boundary(1 << 20)
}

fn ignore<H>(_: &mut H, _: usize) {}

/// Allocs, each followed by the free of its result.
struct Pairs {
    granules: usize,
    operations: u32,
}

impl Pairs {
    /// Takes `taken` granules, then runs the pairs, with `between` on each allocation's address.
    fn run<C: Contestant>(
        &self,
        pool: &'static C,
        taken: usize,
        between: impl Fn(&mut C::Handle, usize),
    ) -> Result<(), Box<dyn Error>> {
        if taken > 0 {
            pool.take(taken * LAYOUT.granule())
                .ok_or("no room for the scene")?;
        }
        let mut handle = pool.handle();
        let bytes = self.granules * LAYOUT.granule();
        for _ in 0..self.operations {
            let held = handle
                .alloc(black_box(bytes))
                .ok_or("no room for an alloc")?;
            between(&mut handle, black_box(C::Handle::addr(&held)));
            handle.free(held);
        }
        Ok(())
    }
}

/// Runs churn in its steady state.
fn churn<C: Contestant>(pool: &'static C, operations: u32) -> Result<(), Box<dyn Error>> {
    let mut load = Churn::new(pool.handle(), LAYOUT.order, LAYOUT.granules * 7 / 10, 16, 1);
    if !load.prepare(Instant::now() + Duration::from_secs(60)) {
        return Err("no room for the scene".into());
    }
    load.run(load.settling());
    load.run(operations as usize);
    if load.misses() > 0 {
        return Err("no room for an alloc".into());
    }
    Ok(())
}

/// Runs allocs in a full pool.
fn refused<C: Contestant>(pool: &'static C, operations: u32) -> Result<(), Box<dyn Error>> {
    pool.take(LAYOUT.granules * LAYOUT.granule())
        .ok_or("no room for the scene")?;
    let mut load = Refusal::new(pool.handle(), LAYOUT.granule());
    load.run(operations as usize);
    if load.misses() > 0 {
        return Err("room in a full pool".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_operate() {
        for &scenario in Scenario::value_variants() {
            assert!(scenario.operate(10).is_ok(), "{scenario:?}");
            let judged = Scenario::JUDGED.contains(&scenario);
            assert_eq!(judged, scenario != Scenario::Control);
        }
    }
}
