//! Models of genpool's lock-free protocols, explored by loom on the real code of the crates.
//!
//! Built with `--cfg genpool_loom` (see `ci/loom.sh`), where words have two bits, blocks two words,
//! and every atomic is loom's. Without that flag this crate is empty.
//!
//! Each model is run in two ways. [`explore`] goes through every interleaving up to the stated number of
//! preemptions, and asserts what was reached. A control, [`must_fail`], leaves one step of the
//! protocol out of the real code and requires the same model to fail.
//!
//! Two habits against what loom 0.7 misses: each thread begins with a read-modify-write on a shared
//! word ([`Race::start`]), because a first load is explored too little, and the main thread only
//! spawns and joins.

#![cfg(genpool_loom)]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use genpool_core::sync::{Fault, seed};
use genpool_core::{Algorithm, ChunkView, FirstFit, Granule, Pool, Request};
use loom::thread::JoinHandle;

/// Where the models' chunk starts; granules are single bytes.
pub const BASE: usize = 16;

/// Forced switches in an execution of two threads: the most that all models finish with in minutes.
pub const TWO: Option<usize> = Some(3);

/// Forced switches in an execution of three threads, or of two that go a long way.
pub const THREE: Option<usize> = Some(2);

/// Forced switches in an execution of threads that each change the chunk list.
pub const ONCE: Option<usize> = Some(1);

/// Further forced switches for every [`explore`], for a longer look: `GENPOOL_LOOM_DEEPER=1`.
fn deeper() -> usize {
    let said = std::env::var("GENPOOL_LOOM_DEEPER").unwrap_or_default();
    said.parse().unwrap_or(0)
}

fn builder(preemptions: Option<usize>) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    // A model that outgrows this panics; there is no limit at which loom would stop silently.
    builder.max_branches = 100_000;
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.checkpoint_file = None;
    builder
}

/// Explores all of `model` (up to `preemptions` forced switches an execution) and requires that its
/// outcomes are exactly `expected`.
///
/// # Panics
///
/// When the model fails, or its outcomes are others.
pub fn explore<O>(
    name: &str,
    preemptions: Option<usize>,
    expected: &[O],
    model: impl Fn() -> O + Send + Sync + 'static,
) where
    O: Ord + Clone + Debug + Send + 'static,
{
    seed(&[]);
    let preemptions = preemptions.map(|most| most + deeper());
    let executions = Arc::new(AtomicUsize::new(0));
    let reached = Arc::new(Mutex::new(BTreeSet::new()));
    let (count, outcomes) = (Arc::clone(&executions), Arc::clone(&reached));
    builder(preemptions).check(move || {
        let outcome = model();
        count.fetch_add(1, Ordering::Relaxed);
        outcomes.lock().expect("not poisoned").insert(outcome);
    });
    let executions = executions.load(Ordering::Relaxed);
    let bound = preemptions.map_or("unbounded".into(), |most| format!("{most} preemptions"));
    println!("{name}: complete, {executions} executions, {bound}");
    assert!(executions > 1, "{name}: nothing was explored");
    let expected: BTreeSet<_> = expected.iter().cloned().collect();
    assert_eq!(*reached.lock().expect("not poisoned"), expected, "{name}");
}

/// Requires that `model` fails once `faults` are seeded in the real code.
///
/// # Panics
///
/// When the model passes all the same.
pub fn must_fail<O>(
    name: &str,
    faults: &[Fault],
    preemptions: Option<usize>,
    model: impl Fn() -> O + Send + Sync + 'static,
) {
    seed(faults);
    let executions = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&executions);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        builder(preemptions).check(move || {
            count.fetch_add(1, Ordering::Relaxed);
            model();
        });
    }));
    seed(&[]);
    let executions = executions.load(Ordering::Relaxed);
    assert!(
        outcome.is_err(),
        "{name}: passed with {faults:?} in all of {executions} executions"
    );
    println!("{name}: control {faults:?} caught in execution {executions}");
}

/// The threads of a model: they race with each other, never with the main thread.
pub struct Race<T = Pool> {
    gate: Arc<loom::sync::atomic::AtomicUsize>,
    shared: Arc<T>,
}

impl<T: 'static> Race<T> {
    /// Threads on `shared`.
    #[must_use]
    pub fn on(shared: T) -> Self {
        Self {
            gate: Arc::new(loom::sync::atomic::AtomicUsize::new(0)),
            shared: Arc::new(shared),
        }
    }

    /// A thread that does `work`.
    pub fn start<R: 'static>(&self, work: impl FnOnce(&T) -> R + 'static) -> JoinHandle<R> {
        let (gate, shared) = (Arc::clone(&self.gate), Arc::clone(&self.shared));
        loom::thread::spawn(move || {
            gate.fetch_add(1, loom::sync::atomic::Ordering::AcqRel);
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

/// A pool of one chunk of `granules` bytes.
///
/// # Panics
///
/// Never: the chunk is a good one.
#[must_use]
pub fn pool(granules: usize) -> Pool {
    let pool = Pool::new(0).expect("order 0 is good");
    pool.add(BASE, granules).expect("the chunk is good");
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

/// Exactly at this granule, if it is free.
pub struct At(pub usize);

impl Algorithm for At {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let start = Granule(self.0);
        chunk.is_free(start, request.granules()).then_some(start)
    }
}

/// First fit that finds nothing the first times it is asked. `alloc` looks at a lone chunk three
/// times: alone, on the list, and to prove that there is nothing. This picks the look that counts.
pub struct Late {
    skip: AtomicUsize,
}

impl Late {
    /// Only the third look, which is part of the proof.
    #[must_use]
    pub fn in_the_proof() -> Self {
        Self {
            skip: AtomicUsize::new(2),
        }
    }

    /// From the second look on.
    #[must_use]
    pub fn on_the_list() -> Self {
        Self {
            skip: AtomicUsize::new(1),
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
        FirstFit.propose(chunk, request)
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

/// Exactly at this granule, free or not.
pub struct Insist(pub usize);

impl Algorithm for Insist {
    fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        Some(Granule(self.0))
    }
}
