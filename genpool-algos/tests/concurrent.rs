//! Several threads on one pool: nothing overlaps while they run, nothing is lost when they are done, and no request
//! is refused as exhausted while there was room all the time.
//!
//! Every thread ends after a number of steps, or as soon as another one has failed. The choices of each thread follow
//! from `SEED`; their interleaving does not.

#![forbid(unsafe_code)]

#[path = "concurrent/refusals.rs"]
mod refusals;
#[path = "concurrent/table.rs"]
mod table;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use genpool_algos::{
    BestFit, FirstFitAlign, FixedAddress, FixedOffset, NextFit, OrderAlign, SpreadFit, ThreadStart,
};
use genpool_core::{Algorithm, AllocError, ChunkSpec, FirstFit, FreeError, Pool, RemoveError};
use genpool_core::{Constrained, Constraints};

use table::{Held, Hold, Table};

const ORDER: u32 = 5;
const GRANULE: usize = 1 << ORDER;

/// The seed of every thread's choices: `GENPOOL_SEED`, as in `ci/soak.sh`, or a constant.
struct Seed;

const SEED: Seed = Seed;

impl Seed {
    fn get(&self) -> u64 {
        let asked = std::env::var("GENPOOL_SEED").ok();
        asked
            .and_then(|seed| seed.parse().ok())
            .unwrap_or(0x6765_6e70_6f6f_6c21)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Granules from one place for a chunk to the next.
const PITCH: usize = 2048;
/// The first place. The others follow at `PITCH`.
const BASE: usize = 1 << 20;
/// The number of places whose chunks stay, and of places where chunks come and go.
const STAYING: usize = 2;
const GOING: usize = 3;

/// Splitmix64.
struct Rng(u64);

impl Rng {
    fn new(stream: u64) -> Self {
        Self(SEED.get() ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a small number");
        usize::try_from(self.next() % end).expect("below a small number")
    }
}

/// Ends the loops of the other threads when this thread ends, even by a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// As [`Ends`], but only on a panic.
struct Fails<'a>(&'a AtomicBool);

impl Drop for Fails<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

fn place(at: usize) -> usize {
    BASE + at * PITCH * GRANULE
}

/// The physical address of a chunk at this address.
fn phys(addr: usize) -> u64 {
    0x10_0000_0000 + addr as u64
}

fn spec(at: usize, granules: usize) -> ChunkSpec {
    ChunkSpec::new(place(at), granules * GRANULE).phys(phys(place(at)))
}

/// One value of every algorithm. The next fits are shared by all threads.
struct Menu {
    all: Vec<Box<dyn Algorithm>>,
}

impl Menu {
    fn new() -> Self {
        let free = Constraints::new();
        let border = free
            .boundary(64 * GRANULE)
            .and_then(|limits| limits.align_phase(4 * GRANULE, GRANULE))
            .expect("powers of two");
        let window = free
            .lowest(place(0) + 100 * GRANULE + 1)
            .highest(place(1) + 777 * GRANULE);
        let all: Vec<Box<dyn Algorithm>> = vec![
            Box::new(FirstFit),
            Box::new(FirstFitAlign::new(8 * GRANULE).expect("a power of two")),
            Box::new(FirstFitAlign::new(128 * GRANULE).expect("a power of two")),
            Box::new(OrderAlign),
            Box::new(BestFit),
            Box::new(NextFit::new()),
            Box::new(ThreadStart),
            Box::new(SpreadFit),
            Box::new(Constrained::new(FirstFit, border)),
            Box::new(Constrained::new(BestFit, window)),
            Box::new(Constrained::new(NextFit::new(), window)),
            Box::new(Constrained::new(ThreadStart, border)),
        ];
        Self { all }
    }

    fn any(&self, rng: &mut Rng) -> &dyn Algorithm {
        &*self.all[rng.below(self.all.len())]
    }
}

/// A size in bytes: mostly a few granules, often across words, sometimes across lines.
fn size(rng: &mut Rng) -> usize {
    let granules = match rng.below(16) {
        0..9 => 1 + rng.below(6),
        9..13 => 1 + rng.below(70),
        13..15 => 60 + rng.below(80),
        _ => 450 + rng.below(200),
    };
    granules * GRANULE - rng.below(GRANULE)
}

// ---- the mix ----

struct Mix<'p> {
    pool: &'p Pool,
    table: &'p Table,
    menu: &'p Menu,
    failed: &'p AtomicBool,
    refused_frees: &'p AtomicUsize,
}

struct Worker<'m, 'p> {
    mix: &'m Mix<'p>,
    by: u32,
    rng: Rng,
    held: Vec<Held<'p>>,
    friends: Vec<Sender<Held<'p>>>,
    post: Receiver<Held<'p>>,
}

impl<'p> Worker<'_, 'p> {
    fn work(mut self, steps: usize) {
        let _fails = Fails(self.mix.failed);
        for _ in 0..steps {
            if self.mix.failed.load(Ordering::Relaxed) {
                return;
            }
            self.step();
            if self.rng.below(64) == 0 {
                thread::yield_now();
            }
        }
        // Allocations that are on their way to this thread arrive until the last friend has ended, even by a panic.
        drop(std::mem::take(&mut self.friends));
        self.post.iter().for_each(drop);
    }

    fn step(&mut self) {
        match self.rng.below(32) {
            0..14 => self.alloc(),
            14..22 => drop(self.take()),
            22..25 => self.resize(),
            25..27 => self.many(),
            27 => self.wrong_frees(),
            28..30 => {
                if let Some(held) = self.take() {
                    let to = self.rng.below(self.friends.len());
                    // If the friend is gone, the send returns the allocation, and it is dropped here.
                    drop(self.friends[to].send(held));
                }
            }
            _ => {
                let count = self.rng.below(4);
                self.post.try_iter().take(count).for_each(drop);
            }
        }
        if self.held.len() > 12 {
            drop(self.take());
        }
    }

    fn take(&mut self) -> Option<Held<'p>> {
        let len = self.held.len();
        (len > 0).then(|| self.held.swap_remove(self.rng.below(len)))
    }

    fn alloc(&mut self) {
        let Mix { pool, menu, .. } = *self.mix;
        let size = size(&mut self.rng);
        let granules = size.div_ceil(GRANULE) * GRANULE;
        let hold = match self.rng.below(8) {
            0 | 1 => pool.alloc(size).map(Hold::Scoped),
            2 => pool.alloc_owned(size).map(Hold::Owned),
            3 => {
                let offset = FixedOffset::new(self.rng.below(PITCH) * GRANULE);
                pool.alloc_with(size, &offset).map(Hold::Scoped)
            }
            4 => {
                let addr = BASE + self.rng.below((STAYING + GOING) * PITCH) * GRANULE;
                let there = pool.alloc_with(size, &FixedAddress::new(addr));
                assert!(there.as_ref().ok().is_none_or(|there| there.addr() == addr));
                there.map(Hold::Scoped)
            }
            5 => {
                let owned = pool.alloc_owned_with(size, menu.any(&mut self.rng));
                owned.map(Hold::Owned)
            }
            _ => {
                let scoped = pool.alloc_with(size, menu.any(&mut self.rng));
                scoped.map(Hold::Scoped)
            }
        };
        match hold {
            Ok(hold) => {
                let mut held = Held::new(self.mix.table, self.by, hold);
                assert_eq!(held.size, granules);
                self.look_at(&held);
                if self.rng.below(3) == 0 {
                    held.make_raw(pool);
                }
                self.held.push(held);
            }
            Err(
                AllocError::Exhausted { size: reported }
                | AllocError::Taken { size: reported, .. }
                | AllocError::Contended { size: reported },
            ) => {
                assert_eq!(reported, size);
            }
            // Chunks come and go.
            Err(AllocError::Impossible(_)) => {}
            // Longer than the distance between boundaries that it must not cross.
            Err(AllocError::Unsuitable(_)) => assert!(size > 64 * GRANULE),
            Err(other) => panic!("{other}; seed {SEED}"),
        }
    }

    fn look_at(&self, held: &Held<'_>) {
        let pool = self.mix.pool;
        assert!(pool.contains(held.addr, held.size));
        assert_eq!(pool.phys_of(held.addr), Some(phys(held.addr)));
        let allocation = held.allocation().expect("not raw yet");
        assert_eq!(allocation.phys(), Some(phys(held.addr)));
        allocation.set_tag(self.by as usize);
    }

    fn resize(&mut self) {
        if let Some(mut held) = self.take() {
            held.resize(size(&mut self.rng));
            self.held.push(held);
        }
    }

    fn many(&mut self) {
        let sizes: Vec<usize> = (0..self.rng.below(4))
            .map(|_| size(&mut self.rng))
            .collect();
        match self.mix.pool.alloc_many(&sizes) {
            Ok(list) => {
                assert_eq!(list.len(), sizes.len());
                for scoped in list {
                    let held = Held::new(self.mix.table, self.by, Hold::Scoped(scoped));
                    self.held.push(held);
                }
            }
            Err(AllocError::Exhausted { size } | AllocError::Contended { size }) => {
                assert!(sizes.contains(&size));
            }
            Err(AllocError::Impossible(_)) => {}
            Err(other) => panic!("{other}; seed {SEED}"),
        }
        while self.held.len() > 12 {
            drop(self.take());
        }
    }

    /// Frees that must be refused whatever the other threads do.
    fn wrong_frees(&mut self) {
        let pool = self.mix.pool;
        let mut refused = 0;
        let mut refuse = |outcome: Result<(), FreeError>| {
            let error = outcome.expect_err("a wrong free was carried out");
            refused += 1;
            error
        };
        let addr = BASE - GRANULE;
        let error = refuse(pool.free(addr, GRANULE));
        assert_eq!(error, FreeError::Foreign { addr });
        if let Some(held) = self.held.last() {
            let (addr, size) = (held.addr, held.size);
            let error = refuse(pool.free(addr, 0));
            assert_eq!(error, FreeError::ZeroSize { addr });
            let addr = addr + 1;
            let error = refuse(pool.free(addr, size));
            assert!(matches!(error, FreeError::Misaligned { .. }));
            let error = refuse(pool.free(held.addr, PITCH * GRANULE + 1));
            assert!(matches!(
                error,
                FreeError::PastChunk { .. } | FreeError::WrongSize { .. }
            ));
            if pool.is_tracked() {
                let error = refuse(pool.free(held.addr, size + GRANULE));
                assert!(matches!(
                    error,
                    FreeError::WrongSize { .. } | FreeError::PastChunk { .. }
                ));
                if size > GRANULE {
                    let (addr, start) = (held.addr + GRANULE, held.addr);
                    let error = refuse(pool.free_addr(addr).map(drop));
                    assert_eq!(error, FreeError::Interior { addr, start });
                }
            } else if held.is_raw() {
                let error = refuse(pool.free_addr(held.addr).map(drop));
                assert_eq!(error, FreeError::NotTracked);
            }
        }
        self.mix.refused_frees.fetch_add(refused, Ordering::Relaxed);
    }
}

/// Adds and removes chunks, swaps the default algorithm, and makes every query, until the workers are done.
fn manage(mix: &Mix<'_>, done: &AtomicBool, owner: &Arc<()>, permanent: &AtomicUsize) {
    let _fails = Fails(mix.failed);
    let pool = mix.pool;
    let most = (STAYING + GOING) * PITCH * GRANULE;
    let mut rng = Rng::new(u64::MAX);
    let mut drains: Vec<(genpool_core::Drain, Arc<AtomicUsize>)> = Vec::new();
    let mut removed = false;
    let mut rounds = 0_usize;
    while !done.load(Ordering::Relaxed) && !mix.failed.load(Ordering::Relaxed) {
        rounds += 1;
        let at = STAYING + rng.below(GOING);
        let granules = [64, 100, 512, 700, 1024, 2048][rng.below(if cfg!(miri) { 3 } else { 6 })];
        match rng.below(8) {
            0..3 => {
                let chunk = spec(at, granules).shared_owner(owner.clone());
                // Refused if there already is a chunk.
                if pool.add_chunk(chunk).is_ok() && !removed {
                    permanent.fetch_add(1, Ordering::Relaxed);
                }
            }
            3 | 4 => match pool.remove(place(at)) {
                Ok(drain) => {
                    removed = true;
                    let notified = Arc::new(AtomicUsize::new(0));
                    let count = Arc::clone(&notified);
                    drain.on_drained(move || {
                        count.fetch_add(1, Ordering::Relaxed);
                    });
                    drains.push((drain, notified));
                }
                Err(RemoveError::NoChunk { .. } | RemoveError::Draining { .. }) => {}
                Err(other) => panic!("{other}"),
            },
            5 => {
                if !drains.is_empty() {
                    let (drain, notified) = drains.swap_remove(rng.below(drains.len()));
                    let start = drain.start();
                    match drain.finish() {
                        Ok(spec) => assert_eq!(spec.start(), start),
                        Err(drain) => drains.push((drain, notified)),
                    }
                }
            }
            6 => match rng.below(7) {
                0 => pool.set_algorithm(FirstFit),
                1 => pool.set_algorithm(BestFit),
                2 => pool.set_algorithm(ThreadStart),
                3 => pool.set_algorithm(NextFit::new()),
                4 => pool.set_algorithm(OrderAlign),
                5 => pool.set_algorithm(SpreadFit),
                _ => pool.set_algorithm(FirstFitAlign::new(2 * GRANULE).expect("a power of two")),
            },
            _ => {
                assert!(pool.avail() <= most && pool.size() <= most);
                let stats = pool.stats();
                assert_eq!(stats.used + stats.free, stats.size);
                assert!(pool.fragmentation().free <= most);
                let starts: Vec<_> = pool.chunks().map(|chunk| chunk.start()).collect();
                let mut once = starts.clone();
                once.sort_unstable();
                once.dedup();
                assert_eq!(once.len(), starts.len(), "a chunk is listed twice");
                for held in pool.live().unwrap_or_default() {
                    assert!(BASE <= held.addr && held.addr + held.size <= BASE + most);
                }
            }
        }
        if rounds.is_multiple_of(16) {
            thread::yield_now();
        }
    }
    // The workers are done, so what they held is back.
    for (drain, notified) in drains {
        if mix.failed.load(Ordering::Relaxed) {
            return;
        }
        assert!(
            drain.is_drained(),
            "{:#x} bytes leaked in {drain:?}; seed {SEED}",
            drain.held()
        );
        assert_eq!(drain.held(), 0);
        assert!(drain.finish().is_ok());
        assert_eq!(notified.load(Ordering::Relaxed), 1, "calls of the callback");
    }
}

/// One round: several threads work, then rest, then everything is counted.
fn mix(threads: usize, tracked: bool, steps: usize) {
    let builder = Pool::builder().order(ORDER).unit_index();
    let builder = if tracked {
        builder.boundary_tracking()
    } else {
        builder.algorithm(ThreadStart)
    };
    let pool = builder.build().unwrap();
    let small = if cfg!(miri) { 192 } else { 1100 };
    for at in 0..STAYING {
        pool.add_chunk(spec(at, small + 37 * at)).unwrap();
    }
    let table = Table::new(BASE, (STAYING + GOING) * PITCH);
    let menu = Menu::new();
    let (done, failed) = (AtomicBool::new(false), AtomicBool::new(false));
    let (refused_frees, permanent) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let owner = Arc::new(());
    let mix = Mix {
        pool: &pool,
        table: &table,
        menu: &menu,
        failed: &failed,
        refused_frees: &refused_frees,
    };
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| channel()).unzip();
    thread::scope(|scope| {
        let (mix, done, permanent, owner) = (&mix, &done, &permanent, &owner);
        let ends = Ends(done);
        scope.spawn(move || manage(mix, done, owner, permanent));
        let workers: Vec<_> = receivers
            .into_iter()
            .zip(1_u32..)
            .map(|(post, by)| {
                let friends = senders.clone();
                scope.spawn(move || {
                    let stream = u64::from(by) + (threads as u64) * 64 + u64::from(tracked) * 4096;
                    let worker = Worker {
                        mix,
                        by,
                        rng: Rng::new(stream),
                        held: Vec::new(),
                        friends,
                        post,
                    };
                    worker.work(steps);
                })
            })
            .collect();
        drop(senders);
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
        drop(ends);
    });
    at_rest(&pool, &table, STAYING);

    let stats = pool.stats();
    assert_eq!(stats.refused_frees, refused_frees.into_inner());
    // One more change frees what a reader kept from being dropped.
    let there = STAYING + GOING;
    pool.add_chunk(spec(there, 1)).unwrap();
    pool.remove(place(there)).unwrap().finish().unwrap();
    let most = 1 + permanent.into_inner();
    assert!(
        Arc::strong_count(&owner) <= most,
        "{} chunks live on, of which {} may",
        Arc::strong_count(&owner) - 1,
        most - 1
    );
}

/// Checks a pool that no thread uses: everything is there, the bookkeeping is consistent, and all of it can be
/// allocated. Chunks that were added and stayed are removed.
fn at_rest(pool: &Pool, table: &Table, staying: usize) {
    assert!(table.is_clear());
    assert!(pool.is_sound(), "the bookkeeping disagrees; seed {SEED}");
    assert_eq!(pool.avail(), pool.size(), "granules are lost; seed {SEED}");
    assert!(pool.live().unwrap_or_default().is_empty());
    let stats = pool.stats();
    assert_eq!((stats.used, stats.draining, stats.draining_used), (0, 0, 0));
    for chunk in pool.chunks() {
        assert!(!chunk.is_draining(), "a chunk leaked");
        let there = FixedAddress::new(chunk.start());
        let all = pool.alloc_with(chunk.size(), &there).unwrap();
        assert_eq!(all.size(), chunk.size());
        assert_eq!(chunk.avail(), 0);
    }
    // And in single granules. The search must not overlook any.
    let count = pool.size() / GRANULE;
    let ones: Vec<_> = (0..count).map(|_| pool.alloc_with(1, &FirstFit)).collect();
    assert!(ones.iter().all(Result::is_ok));
    assert_eq!(pool.avail(), 0);
    drop(ones);
    for chunk in pool.chunks() {
        if chunk.start() >= place(staying) {
            let _ = pool.remove(chunk.start()).unwrap().finish().unwrap();
        }
    }
    assert_eq!(pool.chunks().len(), staying);
    assert_eq!(pool.avail(), pool.size());
    assert!(pool.is_sound());
}

fn steps(real: usize) -> usize {
    if cfg!(miri) { 25 } else { real }
}

#[test]
fn two_threads_mix() {
    for tracked in [false, true] {
        mix(2, tracked, steps(60_000));
    }
}

#[test]
fn four_threads_mix() {
    for tracked in [false, true] {
        mix(4, tracked, steps(30_000));
    }
}

#[test]
fn eight_threads_mix() {
    if cfg!(miri) {
        return;
    }
    for tracked in [false, true] {
        mix(8, tracked, steps(15_000));
    }
}
