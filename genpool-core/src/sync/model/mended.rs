//! loom's atomics, with a fix for orders that loom does not explore.
//!
//! At each access to an atomic, loom 0.7.2 looks at the last access with which this one may be exchanged, to decide
//! what else to explore. It remembers only one such access. A thread that loads a word and then writes it thereby
//! overwrites the record of another thread's load, and the orders in which that load comes later are never tried.
//! "Load, then compare-exchange" is what a lock-free pool does everywhere, and models of this pool passed with faults
//! in them.
//!
//! So each atomic here has a [`Readers`]: one word for each thread. The thread writes its word when it loads the
//! atomic, and every other thread writes that word when it changes the atomic. loom never forgets writes, and two loads
//! remain independent. The extra writes are `Relaxed` and order nothing. They make models two to a hundred times as
//! long, and every control fails as it should.

use alloc::format;
use alloc::string::String;
use core::cell::Cell;

use loom::sync::atomic::Ordering;

/// The number of threads of a model, without the main one, which only prepares and joins.
const THREADS: usize = 3;

loom::thread_local! {
    static THREAD: Cell<Option<usize>> = Cell::new(None);
}

/// Returns this thread's number in the model: 0 for the main one.
fn thread() -> usize {
    THREAD.with(|known| {
        known.get().unwrap_or_else(|| {
            let id = format!("{:?}", loom::thread::current().id());
            let digits: String = id.chars().filter(char::is_ascii_digit).collect();
            let number = digits.parse().expect("loom numbers its threads");
            assert!(number <= THREADS, "a model has at most {THREADS} threads");
            known.set(Some(number));
            number
        })
    })
}

/// The readers of one atomic: see the module's text.
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
    AtomicUsize, usize, fetch_add, fetch_sub, fetch_and, fetch_or, swap
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
