//! The scenarios that are counted.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use benches::call::device_constraints;
use benches::contestant::{
    By, ByAddress, Contestant, Handle, Layout, Ours, Plain, ThroughCache, Way,
};
use benches::load::{Churn, Load, Refusal};
use benches::task::Mix;
use clap::ValueEnum;
use genpool::{BestFit, Constrained, FirstFit, SpreadFit, ThreadStart};

const LAYOUT: Layout = Layout {
    order: 12,
    granules: 65_536,
    chunks: 1,
};

const LARGE: Layout = Layout {
    granules: 1 << 22,
    ..LAYOUT
};

const MIX: Mix = Mix {
    per_mille: 700,
    largest: 16,
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
    /// [`Churn`](Self::Churn) from the thread's own start position.
    ThreadStartChurn,
    /// [`Churn`](Self::Churn) by best fit.
    BestFitChurn,
    /// [`Churn`](Self::Churn) through a cache.
    CachedChurn,
    /// [`Churn`](Self::Churn) in four million granules, right after they were filled.
    LargeChurn,
    /// Alloc and free of one granule in an empty pool, by spread first fit.
    SpreadFit,
    /// [`Churn`](Self::Churn) by spread first fit.
    SpreadFitChurn,
    /// Alloc of one granule in a full pool.
    Refused,
    /// [`Refused`](Self::Refused), with first fit named in the call.
    RefusedNamed,
    /// [`Refused`](Self::Refused), for an alloc that is taken apart to be freed by its address.
    RefusedByAddress,
    /// [`Refused`](Self::Refused) under constraints.
    RefusedConstrained,
    /// [`Refused`](Self::Refused) from the thread's own start position.
    RefusedThreadStart,
    /// [`Refused`](Self::Refused) by best fit.
    RefusedBestFit,
    /// [`Refused`](Self::Refused) by spread first fit.
    RefusedSpreadFit,
    /// [`Refused`](Self::Refused) through a cache.
    RefusedCached,
    /// [`One`](Self::One) with a look-up of the physical address: more than its figure allows.
    Control,
}

impl Scenario {
    /// Returns the scenarios that have figures.
    pub(crate) fn judged() -> impl Iterator<Item = Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|&scenario| scenario != Self::Control)
    }

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
                let way = By(Constrained::new(ThreadStart, device_constraints(&LAYOUT)?));
                pairs(1).run(ours(way)?, 0, ignore)
            }
            Self::ConstrainedBestFit => {
                let way = By(Constrained::new(BestFit, device_constraints(&LAYOUT)?));
                pairs(1).run(ours(way)?, 0, ignore)
            }
            Self::Cached => pairs(1).run(ours(ThroughCache)?, 0, ignore),
            Self::Churn => churn(ours(Plain)?, operations),
            Self::ThreadStartChurn => churn(ours(By(ThreadStart))?, operations),
            Self::BestFitChurn => churn(ours(By(BestFit))?, operations),
            Self::CachedChurn => churn(ours(ThroughCache)?, operations),
            Self::LargeChurn => large_churn(operations),
            Self::SpreadFit => pairs(1).run(spread()?, 0, ignore),
            Self::SpreadFitChurn => churn(spread()?, operations),
            Self::Refused => refused(ours(Plain)?, operations),
            Self::RefusedNamed => refused(ours(By(FirstFit))?, operations),
            Self::RefusedByAddress => refused(ours(ByAddress)?, operations),
            Self::RefusedConstrained => {
                let way = By(Constrained::new(FirstFit, device_constraints(&LAYOUT)?));
                refused(ours(way)?, operations)
            }
            Self::RefusedThreadStart => refused(ours(By(ThreadStart))?, operations),
            Self::RefusedBestFit => refused(ours(By(BestFit))?, operations),
            Self::RefusedSpreadFit => refused(spread()?, operations),
            Self::RefusedCached => refused(ours(ThroughCache)?, operations),
            Self::Control => pairs(1).run(ours(Plain)?, 0, |pool, addr| {
                black_box(pool.phys_of(addr));
            }),
        }
    }
}

fn ours<W: Way>(way: W) -> Result<&'static Ours<W>, Box<dyn Error>> {
    ours_in(&LAYOUT, way)
}

fn spread() -> Result<&'static Ours<By<SpreadFit>>, Box<dyn Error>> {
    let pool = Ours::new(&LAYOUT, SpreadFit, By(SpreadFit))?;
    Ok(Box::leak(Box::new(pool)))
}

fn ours_in<W: Way>(layout: &Layout, way: W) -> Result<&'static Ours<W>, Box<dyn Error>> {
    Ok(Box::leak(Box::new(Ours::new(layout, FirstFit, way)?)))
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
    let mut load = filled(pool, &LAYOUT)?;
    load.run(load.settling());
    work(load, operations)
}

/// Runs churn in the large pool, which would take minutes to settle.
fn large_churn(operations: u32) -> Result<(), Box<dyn Error>> {
    let load = filled(ours_in(&LARGE, Plain)?, &LARGE)?;
    work(load, operations)
}

/// Makes the churn load of one thread and lets it take what it holds.
fn filled<C: Contestant>(
    pool: &'static C,
    layout: &Layout,
) -> Result<Churn<C::Handle>, Box<dyn Error>> {
    let mut load = Churn::new(pool.handle(), layout, MIX, 1, 1);
    if !load.prepare(Instant::now() + Duration::from_secs(60)) {
        return Err("no room for the scene".into());
    }
    Ok(load)
}

fn work(mut load: impl Load, operations: u32) -> Result<(), Box<dyn Error>> {
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
        }
    }
}
