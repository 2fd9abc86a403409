//! The models' threads, atomics and cells: the machine's, for Miri.

use std::fmt::Debug;
use std::thread;

use genpool_core::sync::Fault;
pub use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
pub use std::sync::mpsc;

/// loom's cell, as far as the models use it. Miri reports accesses that nothing orders.
#[derive(Debug)]
pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

// SAFETY: as loom's: it is for who uses the pointer to see to it that nobody else does.
unsafe impl<T> Sync for UnsafeCell<T> {}

impl<T> UnsafeCell<T> {
    /// A cell of `value`.
    pub const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Calls `with` on the cell's pointer.
    pub fn with_mut<R>(&self, with: impl FnOnce(*mut T) -> R) -> R {
        with(self.0.get())
    }
}

/// What goes to another thread and comes back.
struct Carried<T>(T);

// SAFETY: models are written for loom, whose threads need no such bound. Each moves into its threads what
// only they use, and joins them.
unsafe impl<T> Send for Carried<T> {}

/// A thread of a model.
#[derive(Debug)]
pub struct JoinHandle<R>(thread::JoinHandle<Carried<R>>);

impl<R> JoinHandle<R> {
    /// What the thread answered.
    ///
    /// # Errors
    ///
    /// What it said when it panicked.
    pub fn join(self) -> thread::Result<R> {
        self.0.join().map(|carried| carried.0)
    }
}

/// A thread that does `work`.
pub fn spawn<R: 'static>(work: impl FnOnce() -> R + 'static) -> JoinHandle<R> {
    let carried = Carried(work);
    JoinHandle(thread::spawn(move || {
        let Carried(work) = { carried };
        Carried(work())
    }))
}

/// How often a model runs unless `GENPOOL_EXECUTIONS` says otherwise: some seconds of Miri (2026-11).
const EXECUTIONS: usize = 100;

/// Runs `model` many times and requires that its outcomes are among `expected`.
///
/// # Panics
///
/// When the model fails, or its outcome is another.
pub fn explore<O: Ord + Debug>(
    name: &str,
    _preemptions: Option<usize>,
    expected: &[O],
    model: impl Fn() -> O,
) {
    let given = std::env::var("GENPOOL_EXECUTIONS").ok();
    let executions = given.map_or(EXECUTIONS, |given| given.parse().expect("a number"));
    // Before, since what Miri reports is the end of the process.
    println!("{name}: {executions} executions on the machine's atomics");
    for _ in 0..executions {
        let outcome = model();
        assert!(expected.contains(&outcome), "{name}: {outcome:?}");
    }
}

/// Nothing: a control may end the process under Miri. loom runs them.
pub fn must_fail<O>(
    _name: &str,
    _faults: &[Fault],
    _preemptions: Option<usize>,
    _model: impl Fn() -> O,
) {
}
