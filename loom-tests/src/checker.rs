//! The models' threads, atomics and cells, which are loom's, and how loom explores a model.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize as Plain, Ordering as PlainOrdering};
use std::sync::{Arc, Mutex};

use genpool_core::sync::{Fault, Seed, seed};
pub use loom::cell::UnsafeCell;
pub use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
pub use loom::sync::mpsc;
pub use loom::thread::{JoinHandle, spawn};

/// The suffix to the name of a model that runs with the sizes that users get, or without `arc_swap`.
const SIZE: &str = if cfg!(genpool_own_list) {
    " without arc-swap"
} else if cfg!(genpool_small) {
    ""
} else {
    " at full size"
};

/// Reports in which execution a model failed.
struct Failing<'n> {
    name: &'n str,
    executions: Arc<Plain>,
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let executions = self.executions.load(PlainOrdering::Relaxed);
            println!("{}{SIZE}: failed in execution {executions}", self.name);
        }
    }
}

/// Returns a model's preemption bound. `GENPOOL_PREEMPTIONS` overrides it, for a quick run, or raises it if it has a
/// sign, as in `+1`, for a long one.
fn bound(own: Option<usize>) -> Option<usize> {
    let Ok(said) = std::env::var("GENPOOL_PREEMPTIONS") else {
        return own;
    };
    match said.strip_prefix('+').map(str::parse) {
        Some(Ok(more)) => own.map(|most: usize| most.saturating_add(more)),
        _ => said.parse().ok().or(own),
    }
}

fn builder(preemptions: Option<usize>) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    // A model that exceeds this panics. loom has no limit at which it would stop silently.
    builder.max_branches = 100_000;
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.checkpoint_file = None;
    builder
}

/// Explores all of `model`, with up to `preemptions` forced switches an execution, and requires that its outcomes are
/// exactly `expected`. `GENPOOL_PREEMPTIONS` replaces the bound; with a lower one some outcomes may not be reached.
///
/// # Panics
///
/// If the model fails, or its outcomes are others.
pub fn explore<O>(
    name: &str,
    preemptions: Option<usize>,
    expected: &[O],
    model: impl Fn() -> O + Send + Sync + 'static,
) where
    O: Ord + Clone + Debug + Send + 'static,
{
    seed::<Fault>(&[]);
    let own = preemptions;
    let preemptions = bound(own);
    let executions = Arc::new(Plain::new(0));
    let _failing = Failing {
        name,
        executions: Arc::clone(&executions),
    };
    let reached = Arc::new(Mutex::new(BTreeSet::new()));
    let (count, outcomes) = (Arc::clone(&executions), Arc::clone(&reached));
    builder(preemptions).check(move || {
        count.fetch_add(1, PlainOrdering::Relaxed);
        let outcome = model();
        outcomes.lock().expect("not poisoned").insert(outcome);
    });
    let executions = executions.load(PlainOrdering::Relaxed);
    let bound = preemptions.map_or("unbounded".into(), |most| format!("{most} preemptions"));
    println!("{name}{SIZE}: complete, {executions} executions, {bound}");
    assert!(executions > 1, "{name}: nothing was explored");
    let expected: BTreeSet<_> = expected.iter().cloned().collect();
    let reached = reached.lock().expect("not poisoned");
    if preemptions < own {
        // With a lower bound not all can be reached.
        assert!(reached.is_subset(&expected), "{name}: {reached:?}");
    } else {
        assert_eq!(*reached, expected, "{name}");
    }
}

/// Requires that `model` fails once `faults` are seeded in the real code.
///
/// # Panics
///
/// If the model passes.
pub fn must_fail<O>(
    name: &str,
    faults: &[impl Seed],
    preemptions: Option<usize>,
    model: impl Fn() -> O + Send + Sync + 'static,
) {
    seed(faults);
    // A control ends as soon as it fails, so at full size it may have as many switches as elsewhere.
    let preemptions = preemptions.map(|most| most + usize::from(!cfg!(genpool_small)));
    let executions = Arc::new(Plain::new(0));
    let count = Arc::clone(&executions);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        builder(preemptions).check(move || {
            count.fetch_add(1, PlainOrdering::Relaxed);
            model();
        });
    }));
    seed::<Fault>(&[]);
    let executions = executions.load(PlainOrdering::Relaxed);
    assert!(
        outcome.is_err(),
        "{name}: passed with {faults:?} in all of {executions} executions"
    );
    println!("{name}{SIZE}: control {faults:?} caught in execution {executions}");
}
