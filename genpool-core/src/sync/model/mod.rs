//! The atomics of a model checker, in place of the machine's.
//!
//! - With `--cfg genpool_loom` alone they are loom's, [`mended`]. loom tries every interleaving of two or three
//!   threads, and what weak orderings allow.
//! - With `--cfg genpool_shuttle` as well they are shuttle's. shuttle tries some of the interleavings of many threads,
//!   with all accesses in one order.
//! - With `--cfg genpool_machine` as well they are the machine's. Miri knows what `SeqCst` means, and tries random
//!   executions.

#[cfg(not(any(genpool_shuttle, genpool_machine)))]
mod mended;

#[cfg(not(any(genpool_shuttle, genpool_machine)))]
pub use self::mended::{AtomicBool, AtomicPtr, AtomicUsize};
pub use super::packed::Atomic;
#[cfg(genpool_machine)]
pub use super::published::Published;
#[cfg(genpool_machine)]
pub use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};
#[cfg(not(any(genpool_shuttle, genpool_machine)))]
pub use loom::sync::atomic::{Ordering, fence};
#[cfg(genpool_shuttle)]
pub use shuttle::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};

use alloc::boxed::Box;
#[cfg(not(genpool_machine))]
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::{Cell, RefCell};

#[cfg(not(genpool_machine))]
use super::Fault;
use super::Seed;

/// A `SeqCst` fence. loom's `SeqCst` accesses order as `AcqRel`, and the fence supplies what they lack. The machine's
/// accesses lack nothing.
pub fn model_fence() {
    if !cfg!(genpool_machine) {
        fence(Ordering::SeqCst);
    }
}

std::thread_local! {
    // All threads of a model run on one thread of the system.
    static SEEDS: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
    static RECYCLES: Cell<bool> = const { Cell::new(false) };
}

/// Makes models that run on this thread leave these steps out from now on, and no others.
pub fn seed<F: Seed>(faults: &[F]) {
    let seeds = faults.iter().map(|&fault| Box::new(fault) as Box<dyn Any>);
    SEEDS.set(seeds.collect());
    RECYCLES.set(false);
}

/// Does `work` as a thread would that stops for good where this step would come.
pub fn stopped_before<R>(fault: impl Seed, work: impl FnOnce() -> R) -> R {
    SEEDS.with_borrow_mut(|seeds| seeds.push(Box::new(fault)));
    let done = work();
    SEEDS.with_borrow_mut(Vec::pop);
    done
}

/// Makes models that run on this thread, until the next [`seed`], reuse the memory of dropped lists as soon as
/// possible, so that a pointer may equal that of an earlier list. Otherwise dropped lists stay, and a use of one is
/// noticed.
pub fn recycle() {
    RECYCLES.set(true);
}

#[cfg(not(genpool_machine))]
pub(super) fn recycles() -> bool {
    RECYCLES.get()
}

/// Returns true if the step is to be left out.
#[must_use]
pub fn seeded<F: Seed>(fault: F) -> bool {
    let is_it = |seed: &Box<dyn Any>| seed.downcast_ref() == Some(&fault);
    SEEDS.with_borrow(|seeds| seeds.iter().any(is_it))
}

#[cfg(not(any(genpool_shuttle, genpool_machine)))]
use loom::thread_local as model_thread_local;
#[cfg(genpool_machine)]
use std::thread_local as model_thread_local;

/// Loads the latest value of a hint.
pub fn load_hint(hint: &AtomicUsize) -> usize {
    hint.fetch_add(0, Ordering::Relaxed)
}

#[cfg(not(genpool_shuttle))]
model_thread_local! {
    static NUMBER: Cell<usize> = Cell::new(0);
}

/// Gives this thread of a model its number. Threads without one share number 0, so that they meet in the same slots.
#[cfg(not(genpool_shuttle))]
pub fn number_thread(number: usize) {
    NUMBER.with(|own| own.set(number));
}

/// Returns this thread's number.
#[cfg(not(genpool_shuttle))]
pub fn thread_index() -> usize {
    NUMBER.with(Cell::get)
}

/// Returns this thread's number. Each thread of an execution has its own.
#[cfg(genpool_shuttle)]
pub fn thread_index() -> usize {
    shuttle::thread::current().id().into()
}

/// Stands in for `arc_swap::ArcSwap` with what it guarantees and no more: a version index (load
/// `Acquire`, replace `AcqRel`) into a table that only grows and lives as long as the execution.
#[cfg(not(genpool_machine))]
#[derive(Debug)]
pub struct Published<T> {
    index: AtomicUsize,
    /// `None` where a value's memory was reused.
    table: std::sync::Mutex<Vec<Option<Arc<T>>>>,
}

#[cfg(not(genpool_machine))]
impl<T> Published<T> {
    /// Creates a holder of `value`.
    pub fn new(value: Arc<T>) -> Self {
        Self {
            index: AtomicUsize::new(0),
            table: std::sync::Mutex::new(alloc::vec![Some(value)]),
        }
    }

    /// Puts `value` on the heap. If the model recycles, this is at the address of an earlier value that only the table
    /// holds.
    pub fn allocate(&self, value: T) -> Arc<T> {
        let mut table = self.table.lock().expect("one thread runs at a time");
        // The last value may be about to be published.
        let earlier = table.len() - 1;
        let mut unused = table[..earlier].iter_mut().filter(|entry| {
            let held = entry.as_ref();
            held.is_some_and(|held| Arc::strong_count(held) == 1)
        });
        if recycles()
            && let Some(mut held) = unused.next().and_then(Option::take)
            && let Some(place) = Arc::get_mut(&mut held)
        {
            *place = value;
            return held;
        }
        Arc::new(value)
    }

    /// Returns the current value.
    pub fn load_full(&self) -> Arc<T> {
        let index = if recycles() {
            // An earlier value may be gone.
            self.index.fetch_add(0, Ordering::Acquire)
        } else {
            self.index.load(Ordering::Acquire)
        };
        let table = self.table.lock().expect("one thread runs at a time");
        Arc::clone(table[index].as_ref().expect("the current value stays"))
    }

    /// Like the method of the real one.
    #[must_use]
    pub fn replace(&self, current: &Arc<T>, next: Arc<T>) -> bool {
        let (old, new) = {
            let mut table = self.table.lock().expect("one thread runs at a time");
            let is_current = |known: &Option<Arc<T>>| {
                known
                    .as_ref()
                    .is_some_and(|known| Arc::ptr_eq(known, current))
            };
            let old = table.iter().position(is_current);
            table.push(Some(next));
            (old.expect("the value came from here"), table.len() - 1)
        };
        if seeded(Fault::LostUpdate) {
            self.index.store(new, Ordering::Release);
            return true;
        }
        self.index
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}
