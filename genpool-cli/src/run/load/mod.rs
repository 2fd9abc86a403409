//! One phase: all threads allocate, write, check and free for a given time.
//!
//! A phase has three stages, each of which ends before the next begins. *Filling* allocates until the pool is as full
//! as the plan requires, *churning* is what is measured, and *draining* checks and frees the rest. The clock bounds
//! filling and churning. Draining only handles what they left.

use std::io;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use thiserror::Error;

use super::backend::{Backend, Refusal};
use super::machine;
use super::plan::{FULL_PERCENT, Plan};
use crate::memory::{Arena, Mismatch, Owner};

/// One allocation in this many is timed, so that reading the clock remains a small part of the work.
pub const SAMPLE: u64 = 16;

/// The most allocations held at once, by all threads together. Each takes some 50 bytes of bookkeeping.
const MAX_HELD: usize = 1 << 22;

/// Filling may take one part in this many of a phase's time.
const FILL_PART: u32 = 4;

/// The interval at which the main thread reads the clock, moves the progress bar, and examines a watched pool. It is
/// short enough for a timeline of the shortest phases, and much too long to affect the load (2026-11).
const TICK: Duration = Duration::from_millis(5);

/// The results of a phase.
#[derive(Debug, Clone)]
pub struct Load {
    /// Allocations and frees that succeeded while churning.
    pub operations: u64,
    /// The same, per second.
    pub per_second: f64,
    /// Times of allocations in nanoseconds, sampled while churning, including failed ones.
    pub latency: Histogram<u64>,
    /// Requested allocations while churning.
    pub allocs: u64,
    /// Allocations that failed while churning because there was no room.
    pub exhausted: u64,
    /// Allocations that failed while churning because other threads were faster.
    pub contended: u64,
    /// Allocations that were written and checked, in all stages.
    pub checked: u64,
    /// Granules held at the end of churning, by all threads together.
    pub held: usize,
    /// The same, including the gaps after them that alignment makes useless.
    pub taken: usize,
}

/// A result that must never occur.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Fault {
    /// Memory does not hold what its owner wrote.
    #[error(transparent)]
    Overlap(Mismatch),
    /// The pool handed out a range outside the memory that it manages.
    #[error("the pool gave {size:#x} bytes at {addr:#x}, outside its memory")]
    Outside {
        /// First address.
        addr: usize,
        /// Bytes.
        size: usize,
    },
    /// The pool handed out fewer bytes than requested.
    #[error("the pool gave {size:#x} bytes at {addr:#x} where {wanted:#x} were asked for")]
    TooSmall {
        /// First address.
        addr: usize,
        /// Bytes that it handed out.
        size: usize,
        /// Requested bytes.
        wanted: usize,
    },
    /// The pool refused a valid request with an error that is not about room.
    #[error("the pool refused a proper request: {0}")]
    Refused(String),
    /// Everything was freed, but the pool does not have it.
    #[error("everything was given back, but only {avail:#x} of {size:#x} bytes are available")]
    Leak {
        /// Free bytes.
        avail: usize,
        /// Bytes in all chunks.
        size: usize,
    },
    /// With no call in progress, what the pool says is free and what is held do not add up.
    #[error(
        "{held:#x} of {size:#x} bytes are held, but the pool says that {avail:#x} are available"
    )]
    Miscount {
        /// Free bytes, according to the pool.
        avail: usize,
        /// Bytes held.
        held: usize,
        /// Bytes in all chunks.
        size: usize,
    },
    /// A thread panicked.
    #[error("a thread panicked")]
    Panic,
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Spawn(#[source] io::Error),
}

/// The environment of a phase.
pub(super) struct Setting<'a> {
    pub(super) plan: &'a Plan,
    pub(super) arena: &'a Arena,
    /// The processors to pin threads to, one each; if empty, the system places them.
    pub(super) processors: &'a [usize],
    /// The number of the phase in the run, for the patterns.
    pub(super) phase: u8,
    pub(super) time: Duration,
    /// Every allocation starts at a multiple of this many granules.
    pub(super) alignment: usize,
}

/// Runs one phase. `observe` is called between churning and draining, when no thread uses the pool; `tick` is called at
/// intervals.
pub(super) fn run<B: Backend, T>(
    backend: &B,
    setting: &Setting<'_>,
    tick: &mut dyn FnMut(),
    observe: impl FnOnce() -> T,
) -> Result<(Load, T), Fault> {
    let start = Instant::now();
    let mut workers: Vec<Worker<B::Held>> = (0..setting.plan.threads())
        .map(|index| Worker::new(index, setting))
        .collect();
    stage(
        &mut workers,
        Some(start + setting.time / FILL_PART),
        tick,
        |worker, stop| worker.fill(backend, setting, stop),
    )?;
    stage(
        &mut workers,
        Some(start + setting.time),
        tick,
        |worker, stop| worker.churn(backend, setting, stop),
    )?;
    let held = workers.iter().map(|worker| worker.held_granules).sum();
    let taken = workers.iter().map(|worker| worker.taken_granules).sum();
    let observed = observe();
    stage(&mut workers, None, tick, |worker, stop| {
        worker.drain(backend, setting, stop)
    })?;

    let mut load = Load {
        operations: 0,
        per_second: 0.0,
        latency: histogram(),
        allocs: 0,
        exhausted: 0,
        contended: 0,
        checked: 0,
        held,
        taken,
    };
    for worker in workers {
        load.operations += worker.operations;
        load.per_second += worker.per_second;
        load.allocs += worker.allocs;
        load.exhausted += worker.exhausted;
        load.contended += worker.contended;
        load.checked += worker.checked;
        load.latency += worker.latency;
    }
    Ok((load, observed))
}

/// The end of a stage, which every thread checks before each operation.
type Stop = OnceLock<Option<Fault>>;

/// Runs `job` for every worker on a thread of its own, until all are done, the deadline has passed, or one reports a
/// fault.
fn stage<W: Send>(
    workers: &mut [W],
    deadline: Option<Instant>,
    tick: &mut dyn FnMut(),
    job: impl Fn(&mut W, &Stop) -> Result<(), Fault> + Sync,
) -> Result<(), Fault> {
    let stop = Stop::new();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for worker in workers {
            let started = thread::Builder::new().spawn_scoped(scope, || {
                if let Err(fault) = job(worker, &stop) {
                    // If two threads report a fault at the same time, either will do.
                    let _ = stop.set(Some(fault));
                }
            });
            match started {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    let _ = stop.set(Some(Fault::Spawn(error)));
                    break;
                }
            }
        }
        while stop.get().is_none() && !threads.iter().all(|thread| thread.is_finished()) {
            let left = deadline.map_or(TICK, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                let _ = stop.set(None);
                break;
            }
            thread::sleep(left.min(TICK));
            tick();
        }
        // All threads are joined here, so that a panic stays a value.
        for thread in threads {
            if thread.join().is_err() {
                let _ = stop.set(Some(Fault::Panic));
            }
        }
    });
    match stop.into_inner() {
        Some(Some(fault)) => Err(fault),
        Some(None) | None => Ok(()),
    }
}

/// The state of one thread. Aligned so that no two threads write to one cache line, nor to a pair of them.
#[repr(align(128))]
struct Worker<H> {
    /// From 1, so that no pattern equals fresh memory.
    thread: u16,
    processor: Option<usize>,
    random: Random,
    serial: u64,
    held: Vec<(H, Owner)>,
    held_granules: usize,
    taken_granules: usize,
    /// The granules to take, and the most allocations to hold.
    target: usize,
    most: usize,
    latency: Histogram<u64>,
    operations: u64,
    per_second: f64,
    allocs: u64,
    exhausted: u64,
    contended: u64,
    checked: u64,
}

impl<H> Worker<H> {
    fn new(index: usize, setting: &Setting<'_>) -> Self {
        let plan = setting.plan;
        let share =
            plan.granules() / 100 * FULL_PERCENT + plan.granules() % 100 * FULL_PERCENT / 100;
        Self {
            thread: index as u16 + 1,
            processor: setting.processors.get(index).copied(),
            random: Random::new(index as u64 + 1),
            serial: 0,
            held: Vec::new(),
            held_granules: 0,
            taken_granules: 0,
            target: (share / plan.threads()).max(1),
            most: (MAX_HELD / plan.threads()).max(1),
            latency: histogram(),
            operations: 0,
            per_second: 0.0,
            allocs: 0,
            exhausted: 0,
            contended: 0,
            checked: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.taken_granules >= self.target || self.held.len() >= self.most
    }

    fn fill<B: Backend<Held = H>>(
        &mut self,
        backend: &B,
        setting: &Setting<'_>,
        stop: &Stop,
    ) -> Result<(), Fault> {
        self.pin();
        while !self.is_full() && stop.get().is_none() {
            let size = self.random.size(setting.plan.largest()) << setting.plan.order();
            match backend.alloc(size) {
                Ok(held) => self.take::<B>(held, size, setting)?,
                // Neither improves while all threads only allocate.
                Err(Refusal::Exhausted | Refusal::Contended) => break,
                Err(Refusal::Unexpected(error)) => return Err(Fault::Refused(error)),
            }
        }
        Ok(())
    }

    fn churn<B: Backend<Held = H>>(
        &mut self,
        backend: &B,
        setting: &Setting<'_>,
        stop: &Stop,
    ) -> Result<(), Fault> {
        self.pin();
        let (mut operations, mut turns) = (0u64, 0u64);
        let start = Instant::now();
        while stop.get().is_none() {
            if self.is_full() {
                self.give_back(backend, setting)?;
                operations += 1;
                continue;
            }
            let size = self.random.size(setting.plan.largest()) << setting.plan.order();
            let answer = if turns.is_multiple_of(SAMPLE) {
                let before = Instant::now();
                let answer = backend.alloc(size);
                let time = before.elapsed();
                self.latency
                    .saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
                answer
            } else {
                backend.alloc(size)
            };
            turns += 1;
            match answer {
                Ok(held) => {
                    self.take::<B>(held, size, setting)?;
                    operations += 1;
                    continue;
                }
                Err(Refusal::Exhausted) => self.exhausted += 1,
                Err(Refusal::Contended) => self.contended += 1,
                Err(Refusal::Unexpected(error)) => return Err(Fault::Refused(error)),
            }
            if !self.held.is_empty() {
                self.give_back(backend, setting)?;
                operations += 1;
            }
        }
        self.per_second = operations as f64 / start.elapsed().as_secs_f64();
        (self.operations, self.allocs) = (operations, turns);
        Ok(())
    }

    fn drain<B: Backend<Held = H>>(
        &mut self,
        backend: &B,
        setting: &Setting<'_>,
        stop: &Stop,
    ) -> Result<(), Fault> {
        self.pin();
        while !self.held.is_empty() && stop.get().is_none() {
            self.give_back(backend, setting)?;
        }
        Ok(())
    }

    fn pin(&self) {
        if let Some(processor) = self.processor {
            // If this fails the system places the thread, which is acceptable.
            machine::pin(processor);
        }
    }

    /// Writes over a new allocation and keeps it.
    fn take<B: Backend<Held = H>>(
        &mut self,
        held: H,
        wanted: usize,
        setting: &Setting<'_>,
    ) -> Result<(), Fault> {
        let (addr, size) = B::range(&held);
        let slot = setting
            .arena
            .slot(addr, size)
            .ok_or(Fault::Outside { addr, size })?;
        if size < wanted {
            return Err(Fault::TooSmall { addr, size, wanted });
        }
        let owner = Owner::new(self.thread, setting.phase, self.serial);
        self.serial += 1;
        slot.write(owner);
        let granules = size >> setting.plan.order();
        self.held_granules += granules;
        self.taken_granules += granules.next_multiple_of(setting.alignment);
        self.held.push((held, owner));
        Ok(())
    }

    /// Checks a random one of the held allocations, and frees it.
    fn give_back<B: Backend<Held = H>>(
        &mut self,
        backend: &B,
        setting: &Setting<'_>,
    ) -> Result<(), Fault> {
        let at = self.random.below(self.held.len());
        let (held, owner) = self.held.swap_remove(at);
        let (addr, size) = B::range(&held);
        let slot = setting
            .arena
            .slot(addr, size)
            .ok_or(Fault::Outside { addr, size })?;
        slot.check(owner).map_err(Fault::Overlap)?;
        self.checked += 1;
        let granules = size >> setting.plan.order();
        self.held_granules -= granules;
        self.taken_granules -= granules.next_multiple_of(setting.alignment);
        backend.free(held).map_err(Fault::Refused)
    }
}

/// Returns an empty histogram for times of operations of up to a minute.
pub(crate) fn histogram() -> Histogram<u64> {
    let minute = 60_000_000_000;
    Histogram::new_with_bounds(1, minute, 2)
        .expect("bounds of 1 to a minute in nanoseconds are valid")
}

/// A splitmix64 generator, so that a run is the same load every time.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// Returns a size in granules, at most `largest`: half of all are 1, a quarter 2, an eighth 3 to 4, and a sixteenth
    /// each 5 to 8 and 9 to 16.
    fn size(&mut self, largest: usize) -> usize {
        let bits = self.next();
        let class = (bits & 0xf).trailing_zeros().min(4);
        let size = match class {
            0 => 1,
            _ => {
                let half = 1usize << (class - 1);
                half + 1 + (bits >> 8) as usize % half
            }
        };
        size.min(largest)
    }
}

#[cfg(test)]
mod tests;
