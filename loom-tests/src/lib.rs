//! Models of genpool's lock-free protocols, explored by loom on the real code of the crates.
//!
//! Without `--cfg genpool_loom` (see `ci/loom.sh`) this crate is empty; with it, every atomic is loom's.
//!
//! # Sizes of the models
//!
//! Which atomics are used, and how large words and tables are, are separate cfgs. `--cfg genpool_small` makes words and
//! tables small (words of two bits, two stripes, two slots), so that a few granules span several words, lines and
//! levels and models of them stay short. Without it the sizes are those that users get, also under shuttle.
//!
//! All models run with small sizes. Those of claims and of refusals also run at full size, from the same source: their
//! granules 0 and 1 lie in one word and 2 and 3 in the next, whatever the size of a word ([`pool`]). A size chosen at
//! run time would save one build, but would turn each size in the core into a call.
//!
//! Threads of a model have the same number, so that they meet in a slot. In the models of refusals they have numbers of
//! their own, so that they are on different stripes ([`Race::apart`]).
//!
//! # Explorations and controls
//!
//! Each model runs in two ways. [`explore`] goes through every interleaving up to the stated number of preemptions and
//! asserts which outcomes were reached. A control, [`must_fail`], leaves one step of the protocol out of the real code
//! and requires the same model to fail.
//!
//! Two habits work around what loom 0.7 misses. Each thread begins with a read-modify-write on a shared word
//! ([`Race::start`]), because loom explores a thread's first load too little. The main thread only spawns and joins.
//!
//! With `--cfg genpool_machine` in addition, the same models run on the machine's threads and atomics, many times over.
//! This is for Miri, which models sequentially consistent accesses more precisely than loom does. Such runs prove
//! nothing, but a failure is a real fault (`ci/orderings.sh`).

#![cfg(genpool_loom)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use genpool_core::sync::number_thread;
use genpool_core::{
    Algorithm, AllocError, Allocation, Builder, ChunkView, Granule, OwnedAllocation, Pool, Request,
};

#[cfg(not(genpool_machine))]
pub mod checker;
#[cfg(genpool_machine)]
#[path = "machine.rs"]
pub mod checker;

pub use self::checker::{explore, must_fail};

use self::checker::JoinHandle;

/// The number of granules in a word.
pub const WORD: usize = if cfg!(genpool_small) {
    2
} else {
    usize::BITS as usize
};

/// The granules of a model's chunk before its granule 0, which is the last but one of a word.
pub const BEFORE: usize = WORD - 2;

/// The address at which the models' chunk starts. Granules are single bytes.
pub const START: usize = 16;

/// The address of granule 0.
pub const BASE: usize = START + BEFORE;

/// Returns granule `at` of the models' chunk, counted from its granule 0.
#[must_use]
pub fn granule(at: usize) -> Granule {
    Granule(at.saturating_add(BEFORE))
}

/// The preemption bound of a model with two threads: the highest with which all models finish in minutes. It is one
/// less at full size, where a call that cannot prove that there is no room tries eight times as often.
pub const TWO: Option<usize> = Some(if cfg!(genpool_small) { 3 } else { 2 });

/// Like [`TWO`], for models in which a thread may have to retry until the other makes progress.
pub const STUBBORN: Option<usize> = Some(if cfg!(genpool_small) { 3 } else { 1 });

/// The preemption bound of a model with three threads, or with two that take many steps.
pub const THREE: Option<usize> = Some(if cfg!(genpool_small) { 2 } else { 1 });

/// The preemption bound of a model whose threads each change the chunk list.
pub const ONCE: Option<usize> = Some(1);

/// Makes threads that share a hazard slot, or threads that do not.
pub type Begin = fn(Pool) -> Race;

/// Both ways to begin a race.
pub const BEGINNINGS: [Begin; 2] = [Race::on, Race::apart];

/// The threads of a model. They race with each other, never with the main thread.
pub struct Race<T = Pool> {
    gate: Arc<checker::AtomicUsize>,
    shared: Arc<T>,
    /// The number of the next thread, or `None` if all threads have the same number.
    next: Option<AtomicUsize>,
}

impl<T: 'static> Race<T> {
    /// Makes a race on `shared` whose threads all have the same number, so they share a stripe and meet in the same
    /// slots.
    #[must_use]
    pub fn on(shared: T) -> Self {
        Self {
            gate: Arc::new(checker::AtomicUsize::new(0)),
            shared: Arc::new(shared),
            next: None,
        }
    }

    /// Makes a race on `shared` whose threads have numbers of their own, like those of a program: any two that are
    /// started one after the other are on different stripes.
    #[must_use]
    pub fn apart(shared: T) -> Self {
        Self::apart_from(0, shared)
    }

    /// Like [`apart`](Self::apart), but the first thread has the number `first`.
    #[must_use]
    pub fn apart_from(first: usize, shared: T) -> Self {
        Self {
            next: Some(AtomicUsize::new(first)),
            ..Self::on(shared)
        }
    }

    /// Starts a thread that does `work`.
    pub fn start<R: 'static>(&self, work: impl FnOnce(&T) -> R + 'static) -> JoinHandle<R> {
        let (gate, shared) = (Arc::clone(&self.gate), Arc::clone(&self.shared));
        let next = self.next.as_ref();
        let number = next.map_or(0, |next| next.fetch_add(1, Ordering::Relaxed));
        checker::spawn(move || {
            number_thread(number);
            gate.fetch_add(1, Ordering::AcqRel);
            work(&shared)
        })
    }

    /// Returns the value that the threads share. To be called when all of them are joined.
    #[must_use]
    pub fn shared(&self) -> &T {
        &self.shared
    }
}

impl Race {
    /// Returns the pool. To be called when all threads are joined.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        self.shared()
    }
}

/// Runs two threads on a pool and checks that at rest nothing is hidden from searches.
///
/// # Panics
///
/// If a hint is too low or a run is missing from the run-length index.
pub fn race_to_rest<R: 'static, S: 'static>(
    prepared: Pool,
    one: impl FnOnce(&Pool) -> R + 'static,
    other: impl FnOnce(&Pool) -> S + 'static,
) {
    let race = Race::on(prepared);
    let (one, other) = (race.start(one), race.start(other));
    let _held = (
        one.join().expect("no panic"),
        other.join().expect("no panic"),
    );
    let sound = race.pool().is_sound();
    assert!(
        sound,
        "a hint is too low, or a run is missing from the run-length index"
    );
}

/// Runs two threads, of which one removes the chunk and the other gives back the last of it. Returns whether the owner
/// was notified at once.
///
/// # Panics
///
/// If the owner is not notified, or more than once.
pub fn race_to_drain(prepared: Pool, give_back: impl FnOnce(&Pool) + 'static) -> bool {
    let race = Race::on(prepared);
    let notified = Arc::new(AtomicUsize::new(0));
    let remove = {
        let notified = Arc::clone(&notified);
        race.start(move |pool| {
            let drain = pool.remove(START).expect("the chunk is there");
            let count = Arc::clone(&notified);
            drain.on_drained(move || {
                count.fetch_add(1, Ordering::Relaxed);
            });
            (drain, notified.load(Ordering::Relaxed) == 1)
        })
    };
    let give_back = race.start(give_back);
    let (drain, at_once) = remove.join().expect("no panic");
    give_back.join().expect("no panic");
    // Read before the drain is asked, because asking it checks the chunk again.
    let times = notified.load(Ordering::Relaxed);
    assert_eq!(times, 1, "how often the owner was notified");
    assert!(drain.is_drained());
    at_once
}

/// Makes a pool of one chunk of `granules` bytes.
///
/// # Panics
///
/// Never: the chunk is valid.
#[must_use]
pub fn pool(granules: usize) -> Pool {
    with_chunk(Pool::builder(), granules)
}

/// Makes a pool whose only chunk is not permanent, because one was removed before.
///
/// # Panics
///
/// Never: the chunk is valid.
#[must_use]
pub fn pinned_pool(granules: usize) -> Pool {
    let pool = pool(granules);
    let drain = pool.remove(BASE).expect("the chunk is there");
    drain.finish().expect("nothing is taken");
    pool.add(BASE, granules).expect("a good chunk");
    pool
}

/// Like [`pool`], with the given builder.
///
/// # Panics
///
/// If the builder is invalid.
#[must_use]
pub fn with_chunk(builder: Builder, granules: usize) -> Pool {
    let pool = builder.build().expect("a good builder");
    pool.add(START, BEFORE + granules).expect("a good chunk");
    if BEFORE != 0 {
        let before = pool.alloc(BEFORE).expect("nothing is taken yet");
        let _ = before.into_raw();
    }
    pool
}

/// Takes `n` granules at `granule` and keeps them.
///
/// # Panics
///
/// If they are taken.
pub fn hold(pool: &Pool, granule: usize, n: usize) {
    let range = pool.alloc_with(n, &At(granule)).expect("free");
    let _ = range.into_raw();
}

/// How a call for one granule ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// The caller got what it asked for.
    Found,
    /// The pool said that nothing fits.
    Exhausted,
    /// The pool could not tell.
    Contended,
}

impl Answer {
    /// Returns how a call with this outcome ended.
    ///
    /// # Panics
    ///
    /// If the call was refused for another reason.
    pub fn of<T>(outcome: Result<T, AllocError>) -> Self {
        match outcome {
            Ok(_) => Self::Found,
            Err(AllocError::Exhausted { .. } | AllocError::Impossible(_)) => Self::Exhausted,
            Err(AllocError::Contended { .. }) => Self::Contended,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Takes a granule where `algorithm` says, and keeps it.
pub fn take(pool: &Pool, algorithm: &impl Algorithm) -> Answer {
    Answer::of(pool.alloc_with(1, algorithm).map(Allocation::into_raw))
}

/// Takes `n` granules at `granule`; dropping the value gives them back.
///
/// # Panics
///
/// If they are taken.
pub fn own(pool: &Pool, granule: usize, n: usize) -> OwnedAllocation {
    pool.alloc_owned_with(n, &At(granule)).expect("free")
}

/// Searches once for `n` granules by hints, and lowers the hints that promise too much.
pub fn search(pool: &Pool, n: usize) {
    drop(pool.alloc_with(1, &Peek(n)));
}

/// Checks a pool at rest: `free` granules are free, and a search by hints finds the longest run of them.
///
/// # Panics
///
/// If granules are lost, or free but hidden from searches.
pub fn check_rest(pool: &Pool, free: usize) {
    assert_eq!(pool.avail(), free, "granules were lost");
    assert!(
        pool.is_sound(),
        "a hint is too low, or a run is missing from the run-length index"
    );
    let runs = pool
        .chunks()
        .flat_map(|chunk| chunk.free_runs().collect::<Vec<_>>());
    if let Some(longest) = runs.map(|run| run.len).max() {
        let sighting = Sighting(longest, AtomicUsize::new(0));
        drop(pool.alloc_with(1, &sighting));
        assert_ne!(
            sighting.1.into_inner(),
            0,
            "a free run is hidden from searches"
        );
    }
}

/// Like [`Peek`], and counts the searches that found something.
struct Sighting(usize, AtomicUsize);

impl Algorithm for Sighting {
    fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        let found = chunk.find_run(Granule(0), Granule(usize::MAX), self.0);
        self.1
            .fetch_add(usize::from(found.is_some()), Ordering::Relaxed);
        Some(Granule(usize::MAX))
    }
}

/// Proposes exactly this granule, if it is free.
pub struct At(pub usize);

impl Algorithm for At {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let start = granule(self.0);
        chunk.is_free(start, request.granules()).then_some(start)
    }
}

/// Finds nothing, so that its caller proves that there is no room.
pub struct Never;

impl Algorithm for Never {
    fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        None
    }
}

/// First fit that finds nothing the first times it is asked. `alloc` searches a lone chunk three times: alone, on the
/// list, and to prove that there is no room. `Late` selects the search that counts.
pub struct Late {
    skip: AtomicUsize,
    search: fn(&ChunkView<'_>, usize) -> Option<Granule>,
}

impl Late {
    /// Finds something only in the third search, which is part of the proof.
    #[must_use]
    pub fn in_the_proof() -> Self {
        Self {
            skip: AtomicUsize::new(2),
            search: |chunk, n| chunk.find_run(Granule(0), Granule(usize::MAX), n),
        }
    }

    /// Finds something from the second search on.
    #[must_use]
    pub fn on_the_list() -> Self {
        Self {
            skip: AtomicUsize::new(1),
            ..Self::in_the_proof()
        }
    }

    /// Finds something only in the third search, which goes granule by granule.
    #[must_use]
    pub fn by_granules() -> Self {
        Self {
            search: |chunk, n| {
                let mut granules = (BEFORE..chunk.granules()).map(Granule);
                granules.find(|&start| chunk.is_free(start, n))
            },
            ..Self::in_the_proof()
        }
    }

    /// Finds something only in the third search, which goes run by run.
    #[must_use]
    pub fn by_runs() -> Self {
        Self {
            search: |chunk, n| chunk.runs(Granule(0), n).next().map(|run| run.start),
            ..Self::in_the_proof()
        }
    }
}

impl Algorithm for Late {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let skip = self.skip.load(Ordering::Relaxed);
        if skip > 0 {
            self.skip.store(skip - 1, Ordering::Relaxed);
            return None;
        }
        (self.search)(chunk, request.granules())
    }
}

/// Searches once for this many granules, so that the search's changes to the hints stay, and then ends the call with a
/// proposal outside the chunk.
pub struct Peek(pub usize);

impl Algorithm for Peek {
    fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        let _ = chunk.find_run(Granule(0), Granule(usize::MAX), self.0);
        Some(Granule(usize::MAX))
    }
}

/// Like [`Peek`], for the tightest run.
pub struct PeekTightest(pub usize);

impl Algorithm for PeekTightest {
    fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        let _ = chunk.find_tightest(self.0);
        Some(Granule(usize::MAX))
    }
}

/// How often [`Insist`] repeats its proposal before it ends the call. At full size a call asks 4,096 times.
const TIMES: usize = if cfg!(genpool_small) { usize::MAX } else { 1 };

/// Proposes exactly this granule, free or not.
pub struct Insist {
    at: usize,
    asked: AtomicUsize,
}

impl Insist {
    /// Proposes granule `at`.
    #[must_use]
    pub fn at(at: usize) -> Self {
        let asked = AtomicUsize::new(0);
        Self { at, asked }
    }
}

impl Algorithm for Insist {
    fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        Some(granule(if asked < TIMES { self.at } else { usize::MAX }))
    }
}
