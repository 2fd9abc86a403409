//! The models' threads, atomics and cells, which are the machine's, for Miri.

use std::fmt::Debug;
use std::thread;

use genpool_core::sync::Seed;
pub use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
pub use std::sync::mpsc;

/// A cell with the part of loom's interface that the models use. Miri reports unordered accesses to it.
#[derive(Debug)]
pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

// SAFETY: as for loom's cell: a caller that dereferences the pointer ensures that no other thread does at the same
// time.
unsafe impl<T> Sync for UnsafeCell<T> {}

impl<T> UnsafeCell<T> {
    /// Makes a cell that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Calls `with` on the cell's pointer.
    pub fn with_mut<R>(&self, with: impl FnOnce(*mut T) -> R) -> R {
        with(self.0.get())
    }
}

/// A value that goes to another thread and comes back.
struct Carried<T>(T);

// SAFETY: models are written for loom, whose threads need no such bound. Each model moves into its threads only values
// that no other thread uses, and joins them.
unsafe impl<T> Send for Carried<T> {}

/// A thread of a model.
#[derive(Debug)]
pub struct JoinHandle<R>(thread::JoinHandle<Carried<R>>);

impl<R> JoinHandle<R> {
    /// Waits for the thread and returns its result.
    ///
    /// # Errors
    ///
    /// The payload of the thread's panic.
    pub fn join(self) -> thread::Result<R> {
        self.0.join().map(|carried| carried.0)
    }
}

/// Starts a thread that does `work`.
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
/// If the model fails, or an outcome is not expected.
pub fn explore<O: Ord + Debug>(
    name: &str,
    _preemptions: Option<usize>,
    expected: &[O],
    model: impl Fn() -> O,
) {
    let given = std::env::var("GENPOOL_EXECUTIONS").ok();
    let executions = given.map_or(EXECUTIONS, |given| given.parse().expect("a number"));
    // Printed first, because a report of Miri ends the process.
    println!("{name}: {executions} executions on the machine's atomics");
    for _ in 0..executions {
        let outcome = model();
        assert!(expected.contains(&outcome), "{name}: {outcome:?}");
    }
}

/// Does nothing, because a control may end the process under Miri. loom runs the controls.
pub fn must_fail<O>(
    _name: &str,
    _faults: &[impl Seed],
    _preemptions: Option<usize>,
    _model: impl Fn() -> O,
) {
}
