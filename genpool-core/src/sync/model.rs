//! A model checker's atomics in the place of the machine's.
//!
//! loom's, [`mended`]; or, with `--cfg genpool_shuttle` beside `--cfg genpool_loom`, shuttle's. loom tries
//! every interleaving of two or three threads, and what weak orderings allow. shuttle picks some of the
//! interleavings of many threads, with all accesses in one order. With `--cfg genpool_machine` they are
//! the machine's after all: Miri knows what `SeqCst` means, and tries what comes along.

#[cfg(not(any(genpool_shuttle, genpool_machine)))]
mod mended;

#[cfg(not(any(genpool_shuttle, genpool_machine)))]
pub use self::mended::{AtomicBool, AtomicPtr, AtomicUsize};
#[cfg(genpool_machine)]
pub use super::snapshots::Snapshots;
#[cfg(genpool_machine)]
pub use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};
#[cfg(not(any(genpool_shuttle, genpool_machine)))]
pub use loom::sync::atomic::{Ordering, fence};
#[cfg(genpool_shuttle)]
pub use shuttle::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};

#[cfg(not(genpool_machine))]
use alloc::sync::Arc;
#[cfg(not(genpool_machine))]
use alloc::vec::Vec;
use core::cell::Cell;
use core::marker::PhantomData;

use super::Fault;

/// loom's `SeqCst` accesses order as `AcqRel`; the fence gives what they lack. The machine's lack
/// nothing.
pub fn model_fence() {
    if !cfg!(genpool_machine) {
        fence(Ordering::SeqCst);
    }
}

std::thread_local! {
    // All threads of a model run on one thread of the system.
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// Leaves these steps out from now on, and no others, in models that run on this thread.
pub fn seed(faults: &[Fault]) {
    SEED.set(faults.iter().fold(0, |set, &fault| set | 1 << fault as u64));
}

/// Whether to leave the step out.
#[must_use]
pub fn seeded(fault: Fault) -> bool {
    SEED.get() & (1 << fault as u64) != 0
}

/// All threads of a model share number 0, so that they meet in the same slots.
pub fn thread_index() -> usize {
    0
}

/// A model's threads note no places, so that every execution runs alike.
pub fn thread_place(_key: usize) -> Option<super::ThreadPlace> {
    None
}

/// See [`thread_place`].
pub fn set_thread_place(_key: usize, _place: super::ThreadPlace) {}

/// See [`thread_place`].
pub fn move_thread_place(_key: usize, _at: usize) {}

/// `atomic::Atomic`, for values of at most a word.
#[derive(Debug)]
pub struct Atomic<T> {
    bits: AtomicUsize,
    value: PhantomData<T>,
}

impl<T: bytemuck::NoUninit + bytemuck::CheckedBitPattern> Atomic<T> {
    fn pack(value: T) -> usize {
        let mut bytes = [0; size_of::<usize>()];
        bytes[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
        usize::from_ne_bytes(bytes)
    }

    fn unpack(bits: usize) -> T {
        bytemuck::checked::pod_read_unaligned(&bits.to_ne_bytes()[..size_of::<T>()])
    }

    /// An atomic of `value`.
    pub fn new(value: T) -> Self {
        Self {
            bits: AtomicUsize::new(Self::pack(value)),
            value: PhantomData,
        }
    }

    /// As the method of `atomic::Atomic`.
    pub fn load(&self, order: Ordering) -> T {
        Self::unpack(self.bits.load(order))
    }

    /// As the method of `atomic::Atomic`.
    pub fn compare_exchange(
        &self,
        current: T,
        new: T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<T, T> {
        self.bits
            .compare_exchange(Self::pack(current), Self::pack(new), success, failure)
            .map(Self::unpack)
            .map_err(Self::unpack)
    }
}

/// Stands in for `arc_swap::ArcSwap` with what it guarantees and no more: a version index (load
/// `Acquire`, replace `AcqRel`) into a table that only grows and lives as long as the execution.
#[cfg(not(genpool_machine))]
#[derive(Debug)]
pub struct Snapshots<T> {
    index: AtomicUsize,
    table: std::sync::Mutex<Vec<Arc<T>>>,
}

#[cfg(not(genpool_machine))]
impl<T> Snapshots<T> {
    /// A holder of `value`.
    pub fn new(value: Arc<T>) -> Self {
        Self {
            index: AtomicUsize::new(0),
            table: std::sync::Mutex::new(alloc::vec![value]),
        }
    }

    /// The current value.
    pub fn load_full(&self) -> Arc<T> {
        let index = self.index.load(Ordering::Acquire);
        Arc::clone(&self.table.lock().expect("one thread runs at a time")[index])
    }

    /// As the method of the real one.
    #[must_use]
    pub fn replace(&self, current: &Arc<T>, next: Arc<T>) -> bool {
        let (old, new) = {
            let mut table = self.table.lock().expect("one thread runs at a time");
            let old = table.iter().position(|known| Arc::ptr_eq(known, current));
            table.push(next);
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
