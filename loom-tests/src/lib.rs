//! Models of genpool's lock-free protocols, explored by loom on the real code of the crates.
//!
//! Built with `--cfg genpool_loom` (see `ci/loom.sh`), where every atomic is loom's. Without that flag this crate is
//! empty. Words and tables then have the sizes that users get, and some of the models run; with `--cfg genpool_small`
//! they are small (words of two bits, two stripes, two slots), and all models run. What both explore is written so
//! that granules 0 and 1 of a model lie in one word and 2 and 3 in the next, whatever a word's size ([`pool`]).
//!
//! Each model is run in two ways. [`explore`] goes through every interleaving up to the stated number of
//! preemptions, and asserts what was reached. A control, [`must_fail`], leaves one step of the
//! protocol out of the real code and requires the same model to fail.
//!
//! Two habits against what loom 0.7 misses: each thread begins with a read-modify-write on a shared
//! word ([`Race::start`]), because a first load is explored too little, and the main thread only
//! spawns and joins.
//!
//! With `--cfg genpool_machine` beside it the same models run on the machine's threads and atomics, many
//! times over: under Miri, which knows sequentially consistent accesses as loom does not. They prove
//! nothing there, but what fails is a fault (`ci/orderings.sh`).

#![cfg(genpool_loom)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use genpool_core::sync::number_thread;
use genpool_core::{Algorithm, Builder, ChunkView, Granule, OwnedAllocation, Pool, Request};

#[cfg(not(genpool_machine))]
pub mod checker;
#[cfg(genpool_machine)]
#[path = "machine.rs"]
pub mod checker;

pub use self::checker::{explore, must_fail};

use self::checker::JoinHandle;

/// Granules in a word.
pub const WORD: usize = if cfg!(genpool_small) {
    2
} else {
    usize::BITS as usize
};

/// Granules of a model's chunk before its granule 0, which is the last but one of a word.
pub const BEFORE: usize = WORD - 2;

/// Where the models' chunk starts; granules are single bytes.
pub const START: usize = 16;

/// The address of granule 0.
pub const BASE: usize = START + BEFORE;

/// A granule of the models' chunk, counted from its granule 0.
#[must_use]
pub fn granule(at: usize) -> Granule {
    Granule(at.saturating_add(BEFORE))
}

/// Forced switches in an execution of two threads: the most that all models finish with in minutes. One less at full
/// size, where a call that cannot prove that there is no room tries eight times as often.
pub const TWO: Option<usize> = Some(if cfg!(genpool_small) { 3 } else { 2 });

/// As [`TWO`], where a thread may have to try until the other goes on.
pub const STUBBORN: Option<usize> = Some(if cfg!(genpool_small) { 3 } else { 1 });

/// Forced switches in an execution of three threads, or of two that go a long way.
pub const THREE: Option<usize> = Some(if cfg!(genpool_small) { 2 } else { 1 });

/// Forced switches in an execution of threads that each change the chunk list.
pub const ONCE: Option<usize> = Some(1);

/// The threads of a model: they race with each other, never with the main thread.
pub struct Race<T = Pool> {
    gate: Arc<checker::AtomicUsize>,
    shared: Arc<T>,
    /// The number of the next thread; none where all have the same.
    next: Option<AtomicUsize>,
}

impl<T: 'static> Race<T> {
    /// Threads on `shared` that have the same number, so they share a stripe and meet in the same slots.
    #[must_use]
    pub fn on(shared: T) -> Self {
        Self {
            gate: Arc::new(checker::AtomicUsize::new(0)),
            shared: Arc::new(shared),
            next: None,
        }
    }

    /// Threads on `shared` that have numbers of their own, as those of a program: any two that are started one
    /// after the other are on different stripes.
    #[must_use]
    pub fn apart(shared: T) -> Self {
        Self::apart_from(0, shared)
    }

    /// As [`apart`](Self::apart), where the first thread has this number.
    #[must_use]
    pub fn apart_from(first: usize, shared: T) -> Self {
        Self {
            next: Some(AtomicUsize::new(first)),
            ..Self::on(shared)
        }
    }

    /// A thread that does `work`.
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

    /// What the threads share, once all of them are joined.
    #[must_use]
    pub fn shared(&self) -> &T {
        &self.shared
    }
}

impl Race {
    /// The pool, once all threads are joined.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        self.shared()
    }
}

/// Two threads on a pool, of which nothing may be hidden from searches in the end.
///
/// # Panics
///
/// When a hint is too low, or a run is not told of.
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
    assert!(sound, "a hint is too low, or a run is not told of");
}

/// Two threads: one removes the chunk, and the other gives back the last of it. Whether the owner was notified at
/// once.
///
/// # Panics
///
/// When the owner is not notified, or more than once.
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
    // Before the drain is asked, which looks for itself.
    let times = notified.load(Ordering::Relaxed);
    assert_eq!(times, 1, "how often the owner was notified");
    assert!(drain.is_drained());
    at_once
}

/// A pool of one chunk of `granules` bytes.
///
/// # Panics
///
/// Never: the chunk is a good one.
#[must_use]
pub fn pool(granules: usize) -> Pool {
    with_chunk(Pool::builder(), granules)
}

/// As [`pool`], of this builder's.
///
/// # Panics
///
/// When the builder is not a good one.
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
/// When they are taken.
pub fn hold(pool: &Pool, granule: usize, n: usize) {
    let range = pool.alloc_with(n, &At(granule)).expect("free");
    let _ = range.into_raw();
}

/// Takes `n` granules at `granule`, which come back when the value is dropped.
///
/// # Panics
///
/// When they are taken.
pub fn own(pool: &Pool, granule: usize, n: usize) -> OwnedAllocation {
    pool.alloc_owned_with(n, &At(granule)).expect("free")
}

/// Looks once for `n` granules by hints, and lowers those that promise too much.
pub fn look(pool: &Pool, n: usize) {
    drop(pool.alloc_with(1, &Peek(n)));
}

/// Checks a pool at rest: `free` granules are free, and a search by hints finds the longest run of them.
///
/// # Panics
///
/// When granules are lost, or free and hidden from searches.
pub fn check_rest(pool: &Pool, free: usize) {
    assert_eq!(pool.avail(), free, "granules were lost");
    assert!(
        pool.is_sound(),
        "a hint is too low, or a run is not told of"
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

/// As [`Peek`], and counts the looks that found something.
struct Sighting(usize, AtomicUsize);

impl Algorithm for Sighting {
    fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        let found = chunk.find_run(Granule(0), Granule(usize::MAX), self.0);
        self.1
            .fetch_add(usize::from(found.is_some()), Ordering::Relaxed);
        Some(Granule(usize::MAX))
    }
}

/// Exactly at this granule, if it is free.
pub struct At(pub usize);

impl Algorithm for At {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let start = granule(self.0);
        chunk.is_free(start, request.granules()).then_some(start)
    }
}

/// First fit that finds nothing the first times it is asked. `alloc` looks at a lone chunk three
/// times: alone, on the list, and to prove that there is nothing. This picks the look that counts.
pub struct Late {
    skip: AtomicUsize,
    look: fn(&ChunkView<'_>, usize) -> Option<Granule>,
}

impl Late {
    /// Only the third look, which is part of the proof.
    #[must_use]
    pub fn in_the_proof() -> Self {
        Self {
            skip: AtomicUsize::new(2),
            look: |chunk, n| chunk.find_run(Granule(0), Granule(usize::MAX), n),
        }
    }

    /// From the second look on.
    #[must_use]
    pub fn on_the_list() -> Self {
        Self {
            skip: AtomicUsize::new(1),
            ..Self::in_the_proof()
        }
    }

    /// Only the third look, granule by granule.
    #[must_use]
    pub fn by_granules() -> Self {
        Self {
            look: |chunk, n| {
                let mut granules = (BEFORE..chunk.granules()).map(Granule);
                granules.find(|&start| chunk.is_free(start, n))
            },
            ..Self::in_the_proof()
        }
    }

    /// Only the third look, run by run.
    #[must_use]
    pub fn by_runs() -> Self {
        Self {
            look: |chunk, n| chunk.runs(Granule(0), n).next().map(|run| run.start),
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
        (self.look)(chunk, request.granules())
    }
}

/// Looks once for this many granules, so that what its search did to the hints stays, and then ends
/// the call with a proposal outside the chunk.
pub struct Peek(pub usize);

impl Algorithm for Peek {
    fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        let _ = chunk.find_run(Granule(0), Granule(usize::MAX), self.0);
        Some(Granule(usize::MAX))
    }
}

/// As [`Peek`], for the tightest run.
pub struct PeekTightest(pub usize);

impl Algorithm for PeekTightest {
    fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        let _ = chunk.find_tightest(self.0);
        Some(Granule(usize::MAX))
    }
}

/// How often [`Insist`] proposes what it does before it ends the call: at full size a call asks 4,096 times.
const TIMES: usize = if cfg!(genpool_small) { usize::MAX } else { 1 };

/// Exactly at this granule, free or not.
pub struct Insist {
    at: usize,
    asked: AtomicUsize,
}

impl Insist {
    /// At this granule.
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
