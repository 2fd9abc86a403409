//! The load on real memory: all algorithms in turn, with all cores, checked.
//!
//! Each algorithm gets a fresh pool over the same [`Arena`], split into chunks without a physical address. All threads
//! keep it about 70 % full with allocations of mixed sizes ([`load`] describes how). Every allocation is written over
//! its whole length with a pattern of its owner and its address, and checked in full before it is freed. Algorithms
//! that the plain pool supports are followed by the same work on that pool under a mutex.

mod backend;
mod drawn;
pub mod load;
pub mod machine;
pub mod plan;
pub mod report;
mod watch;

use std::fmt;
use std::time::{Duration, Instant};

use genpool::{
    Algorithm, BestFit, ChunkSpec, Constrained, Constraints, FirstFit, FirstFitAlign, NextFit,
    OrderAlign, Pool, SpreadFit, ThreadStart,
};
use genpool_plain::{Fit, LockedPool};
use thiserror::Error;

use crate::measure::Progress;
use crate::memory::Arena;
use crate::report::{FreeSpace, Timeline};
use crate::size::Bytes;
use crate::space::Look;
use backend::{Backend, LockFree, Locked};
use drawn::Drawn;
use load::{Fault, Load, Setting};
use plan::Plan;
use watch::Watch;

/// Alignment of the aligned first fit, in granules.
const ALIGN_GRANULES: usize = 4;

/// The constrained algorithm never crosses a multiple of this many granules, which is four times the largest
/// allocation.
const BOUNDARY_GRANULES: usize = 64;

/// What a run does in addition to the figures of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Whether the pool is examined at intervals, which costs the load a little.
    pub watch: bool,
    /// Whether everything is first run with 1, 2, 4 and so on threads.
    pub by_threads: bool,
}

/// The results of a run.
#[derive(Debug)]
pub struct Outcome {
    /// One row for each algorithm and number of threads, in the order in which they were run.
    pub rows: Vec<Row>,
}

/// The results of one algorithm with one number of threads.
#[derive(Debug)]
pub struct Row {
    /// The algorithm's name.
    pub name: String,
    /// The number of threads.
    pub threads: usize,
    /// The results on the lock-free pool.
    pub lock_free: Load,
    /// The free part of that pool at the end.
    pub free: FreeSpace,
    /// The state of that pool over time, if it was watched.
    pub timeline: Option<Timeline>,
    /// The results of the same work on the plain pool under a mutex, if it supports the algorithm.
    pub locked: Option<Load>,
}

/// Runs the plan on `arena`, which must have the plan's size. Threads are pinned to `processors`, one each; if it is
/// empty, the system places them.
///
/// # Errors
///
/// [`RunError`] if a pool cannot be created, or is at fault.
pub fn run(
    plan: &Plan,
    arena: &Arena,
    processors: &[usize],
    extent: Extent,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Outcome, RunError> {
    let entries = entries(plan)?;
    let plans = match extent.by_threads {
        true => plan.by_threads(),
        false => vec![*plan],
    };
    let count = entries.len() + entries.iter().filter(|entry| entry.fit.is_some()).count();
    let mut phases = Phases {
        arena,
        processors,
        number: 0,
        time: plan.time() / (count * plans.len()) as u32,
        all: plan.time(),
        start: Instant::now(),
        progress,
    };
    let mut rows = Vec::new();
    for entry in entries {
        for plan in &plans {
            let Entry { name, fit, .. } = &entry;
            let pool = lock_free_pool(plan, arena, entry.algorithm.spreads())?;
            let mut watch = extent.watch.then(|| Watch::new(plan, arena, phases.time));
            let (lock_free, free) = phases.next(name, plan, entry.alignment, |setting, tick| {
                lock_free(&pool, &*entry.algorithm, setting, &mut || {
                    tick(watch.as_mut().and_then(|watch| watch.look(&pool)));
                })
            })?;
            let locked = match *fit {
                Some(fit) => {
                    let pool = locked_pool(plan, arena)?;
                    let name = format!("{name}, mutex");
                    Some(phases.next(&name, plan, entry.alignment, |setting, tick| {
                        with_mutex(&pool, fit, setting, &mut || tick(None))
                    })?)
                }
                None => None,
            };
            rows.push(Row {
                name: name.clone(),
                threads: plan.threads(),
                lock_free,
                free,
                timeline: watch.map(Watch::timeline),
                locked,
            });
        }
    }
    Ok(Outcome { rows })
}

/// The phases of a run, one after the other.
struct Phases<'a> {
    arena: &'a Arena,
    processors: &'a [usize],
    /// The number of the next phase, for the patterns.
    number: u8,
    /// The time of each phase, and of all of them.
    time: Duration,
    all: Duration,
    start: Instant,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl Phases<'_> {
    fn next<T>(
        &mut self,
        name: &str,
        plan: &Plan,
        alignment: usize,
        job: impl FnOnce(&Setting<'_>, &mut dyn FnMut(Option<&Look>)) -> Result<T, Fault>,
    ) -> Result<T, RunError> {
        let setting = Setting {
            plan,
            arena: self.arena,
            processors: self.processors,
            phase: self.number,
            time: self.time,
            alignment,
        };
        let (start, all, progress) = (self.start, self.all, &mut *self.progress);
        let mut tick = |look: Option<&Look>| {
            progress(Progress {
                name,
                part: start.elapsed().as_secs_f64() / all.as_secs_f64(),
                look,
            });
        };
        tick(None);
        let result = job(&setting, &mut tick);
        self.number = self.number.wrapping_add(1);
        result.map_err(|fault| RunError::Fault {
            name: name.to_owned(),
            fault,
        })
    }
}

/// An algorithm to run, and its equivalent in the plain pool.
struct Entry {
    name: String,
    algorithm: Box<dyn Algorithm>,
    /// In granules.
    alignment: usize,
    fit: Option<Fit>,
}

fn entries(plan: &Plan) -> Result<Vec<Entry>, RunError> {
    let align = alignment(plan);
    let setup = |error: &dyn fmt::Display| RunError::Setup(error.to_string());
    let constraints = Constraints::new()
        .boundary(boundary(plan))
        .map_err(|error| setup(&error))?;
    let entry = |name: &str, algorithm: Box<dyn Algorithm>, fit| Entry {
        name: name.to_owned(),
        algorithm,
        alignment: 1,
        fit,
    };
    Ok(vec![
        entry("first fit", Box::new(FirstFit), Some(Fit::FirstFit)),
        Entry {
            name: format!("aligned {}", Bytes(align)),
            algorithm: Box::new(FirstFitAlign::new(align).map_err(|error| setup(&error))?),
            alignment: ALIGN_GRANULES,
            fit: Some(Fit::FirstFitAlign(align)),
        },
        entry("order-aligned", Box::new(OrderAlign), Some(Fit::OrderAlign)),
        entry("best fit", Box::new(BestFit), Some(Fit::BestFit)),
        entry("next fit", Box::new(NextFit::new()), None),
        entry("thread start", Box::new(ThreadStart), None),
        entry("spread fit", Box::new(SpreadFit), None),
        entry(
            "constrained",
            Box::new(Constrained::new(FirstFit, constraints)),
            None,
        ),
        entry("fixed offset", Box::new(Drawn::offset()), None),
        entry("fixed address", Box::new(Drawn::address()), None),
    ])
}

/// Returns the alignment of the aligned first fit, in bytes.
fn alignment(plan: &Plan) -> usize {
    ALIGN_GRANULES << plan.order()
}

/// Returns the boundary that the constrained algorithm does not cross, in bytes.
fn boundary(plan: &Plan) -> usize {
    BOUNDARY_GRANULES << plan.order()
}

fn lock_free_pool(plan: &Plan, arena: &Arena, spreads: bool) -> Result<Pool, RunError> {
    let setup = |error: &dyn fmt::Display| RunError::Setup(error.to_string());
    let mut builder = Pool::builder().order(plan.order());
    if spreads {
        builder = builder.unit_index();
    }
    let pool = builder.build().map_err(|error| setup(&error))?;
    let chunks = plan.chunks();
    let chunks = chunks.map(|(offset, size)| ChunkSpec::new(arena.start() + offset, size));
    pool.add_many(chunks.collect())
        .map_err(|error| setup(&error))?;
    Ok(pool)
}

fn locked_pool(plan: &Plan, arena: &Arena) -> Result<LockedPool, RunError> {
    let pool = LockedPool::new(plan.order());
    for (offset, size) in plan.chunks() {
        pool.add(arena.start() + offset, size)
            .map_err(|error| RunError::Setup(error.to_string()))?;
    }
    Ok(pool)
}

fn lock_free(
    pool: &Pool,
    algorithm: &dyn Algorithm,
    setting: &Setting<'_>,
    tick: &mut dyn FnMut(),
) -> Result<(Load, FreeSpace), Fault> {
    let observe = || {
        let fragmentation = pool.fragmentation();
        FreeSpace {
            bytes: fragmentation.free,
            runs: fragmentation.free_runs,
            largest: fragmentation.largest_run,
        }
    };
    let (load, free) = audited(
        &LockFree { pool, algorithm },
        &|| pool.avail(),
        setting,
        tick,
        observe,
    )?;
    if free.bytes != setting.plan.size() - load.held * setting.plan.granule() {
        return Err(Fault::Miscount {
            avail: free.bytes,
            held: load.held * setting.plan.granule(),
            size: setting.plan.size(),
        });
    }
    match pool.stats().refused_frees {
        0 => Ok((load, free)),
        n => Err(Fault::Refused(format!("{n} frees"))),
    }
}

fn with_mutex(
    pool: &LockedPool,
    fit: Fit,
    setting: &Setting<'_>,
    tick: &mut dyn FnMut(),
) -> Result<Load, Fault> {
    let (load, ()) = audited(
        &Locked { pool, fit },
        &|| pool.avail(),
        setting,
        tick,
        || (),
    )?;
    Ok(load)
}

/// Runs a phase, and checks the pool's count of free bytes with everything held and with nothing held.
fn audited<B: Backend, T>(
    backend: &B,
    avail: &dyn Fn() -> usize,
    setting: &Setting<'_>,
    tick: &mut dyn FnMut(),
    observe: impl FnOnce() -> T,
) -> Result<(Load, T), Fault> {
    let size = setting.plan.size();
    let (load, (full, observed)) = load::run(backend, setting, tick, || (avail(), observe()))?;
    let held = load.held * setting.plan.granule();
    if full.checked_add(held) != Some(size) {
        return Err(Fault::Miscount {
            avail: full,
            held,
            size,
        });
    }
    match avail() {
        avail if avail == size => Ok((load, observed)),
        avail => Err(Fault::Leak { avail, size }),
    }
}

/// A failed run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// A pool could not be created.
    #[error("cannot make the pool: {0}")]
    Setup(String),
    /// A pool is at fault.
    #[error("{name} failed")]
    Fault {
        /// What was being run.
        name: String,
        /// The fault.
        #[source]
        fault: Fault,
    },
}
