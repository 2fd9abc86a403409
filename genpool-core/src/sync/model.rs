//! loom's atomics in the place of the machine's.
//!
//! # What is mended here
//!
//! loom 0.7.2 decides what to explore by looking, at each access to an atomic, at the last access
//! that it may be exchanged with. It remembers one: a thread that loads a word and then writes it
//! has overwritten the memory of who else had loaded it, and the orders in which the other's load
//! comes later are never tried. "Load, then compare-exchange" is all that a lock-free pool does.
//!
//! So each atomic has a [`Readers`] beside it: a word for each thread, which the thread writes when
//! it loads the atomic, and which every other thread writes when it changes the atomic. Writes
//! are never forgotten; two loads stay independent. The extra writes are `Relaxed` and order
//! nothing.

pub use loom::sync::atomic::{Ordering, fence};

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::marker::PhantomData;

use super::Fault;

/// loom's `SeqCst` accesses order as `AcqRel`; the fence gives what they lack.
pub fn model_fence() {
    fence(Ordering::SeqCst);
}

std::thread_local! {
    // All threads of a model run on one thread of the system.
    static SEED: Cell<u32> = const { Cell::new(0) };
}

/// Leaves these steps out from now on, and no others, in models that run on this thread.
pub fn seed(faults: &[Fault]) {
    SEED.set(faults.iter().fold(0, |set, &fault| set | 1 << fault as u32));
}

/// Whether to leave the step out.
#[must_use]
pub fn seeded(fault: Fault) -> bool {
    SEED.get() & (1 << fault as u32) != 0
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

/// Threads of a model beside the main one, which only prepares and joins.
const THREADS: usize = 3;

loom::thread_local! {
    static THREAD: Cell<Option<usize>> = Cell::new(None);
}

/// This thread's number in the model: 0 for the main one.
fn thread() -> usize {
    THREAD.with(|known| {
        known.get().unwrap_or_else(|| {
            let id = alloc::format!("{:?}", loom::thread::current().id());
            let digits: alloc::string::String = id.chars().filter(char::is_ascii_digit).collect();
            let number = digits.parse().expect("loom numbers its threads");
            assert!(number <= THREADS, "a model has at most {THREADS} threads");
            known.set(Some(number));
            number
        })
    })
}

/// See the module's text.
#[derive(Debug)]
struct Readers([loom::sync::atomic::AtomicUsize; THREADS]);

impl Readers {
    fn new() -> Self {
        Self(core::array::from_fn(|_| {
            loom::sync::atomic::AtomicUsize::new(0)
        }))
    }

    fn load(&self) {
        if let Some(own) = thread().checked_sub(1) {
            self.0[own].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&self) {
        let Some(own) = thread().checked_sub(1) else {
            return;
        };
        for other in (0..THREADS).filter(|&other| other != own) {
            self.0[other].fetch_add(1, Ordering::Relaxed);
        }
    }
}

macro_rules! atomic {
    ($(#[$doc:meta])* $name:ident $(<$param:ident>)?, $value:ty, $($write:ident),*) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name $(<$param>)? {
            value: loom::sync::atomic::$name $(<$param>)?,
            readers: Readers,
        }

        #[allow(missing_docs, reason = "as the methods of the standard library")]
        impl $(<$param>)? $name $(<$param>)? {
            pub fn new(value: $value) -> Self {
                Self {
                    value: loom::sync::atomic::$name::new(value),
                    readers: Readers::new(),
                }
            }

            pub fn load(&self, order: Ordering) -> $value {
                self.readers.load();
                self.value.load(order)
            }

            pub fn store(&self, value: $value, order: Ordering) {
                self.readers.write();
                self.value.store(value, order);
            }

            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.readers.write();
                self.value.compare_exchange(current, new, success, failure)
            }

            pub fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(current, new, success, failure)
            }

            $(pub fn $write(&self, value: $value, order: Ordering) -> $value {
                self.readers.write();
                self.value.$write(value, order)
            })*
        }
    };
}

atomic!(
    /// A word.
    AtomicUsize, usize, fetch_add, fetch_sub, fetch_and, swap
);
atomic!(
    /// A flag.
    AtomicBool, bool, swap
);
atomic!(
    /// A pointer.
    AtomicPtr<T>, *mut T, swap
);

impl Default for AtomicUsize {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<T> Default for AtomicPtr<T> {
    fn default() -> Self {
        Self::new(core::ptr::null_mut())
    }
}

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
#[derive(Debug)]
pub struct Snapshots<T> {
    index: AtomicUsize,
    table: std::sync::Mutex<Vec<Arc<T>>>,
}

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
