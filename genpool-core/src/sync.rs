//! The one place where genpool's crates get their atomics from.
//!
//! Normally these are the machine's. Under `--cfg genpool_loom` they are loom's, so that
//! `loom-tests` explores the real code of the crates. Nothing else in the workspace imports
//! atomics for the pool's own state.
//!
//! # Orderings
//!
//! The pool's protocols need store-to-load order in several places: "I changed the bitmap, now is
//! anybody watching?" against "I am watching, now what is in the bitmap?". Both sides use `SeqCst`
//! accesses for it, which costs nothing beyond the read-modify-write that is there anyway. loom
//! treats `SeqCst` accesses as `AcqRel`, so there [`model_fence`] supplies what the hardware
//! accesses already give.

#[cfg(not(genpool_loom))]
pub use self::real::*;

#[cfg(genpool_loom)]
pub use self::model::*;

#[cfg(not(genpool_loom))]
mod real {
    pub use atomic::Atomic;
    pub use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};

    use alloc::sync::Arc;
    use core::cell::Cell;

    /// Nothing here; a `SeqCst` fence in the model (see the module's text).
    #[inline(always)]
    pub fn model_fence() {}

    /// A small number of this thread's own, given out in order of first use and never reused.
    ///
    /// Constant-initialised and without a destructor, so the first use allocates nothing: it is
    /// async-signal-safe wherever plain thread-local storage is (executables and libraries loaded
    /// at start).
    #[inline]
    pub fn thread_index() -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        std::thread_local! {
            static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
        }
        INDEX.with(|index| {
            if index.get() == usize::MAX {
                // A signal handler may come in between and number the thread as well: a number
                // is lost, nothing else.
                index.set(NEXT.fetch_add(1, Ordering::Relaxed) & (usize::MAX >> 1));
            }
            index.get()
        })
    }

    /// The owner of the current value of a snapshot: `arc_swap::ArcSwap`.
    #[derive(Debug)]
    pub struct Snapshots<T>(arc_swap::ArcSwap<T>);

    impl<T> Snapshots<T> {
        /// A holder of `value`.
        pub fn new(value: Arc<T>) -> Self {
            Self(arc_swap::ArcSwap::new(value))
        }

        /// The current value, kept alive by the returned count.
        pub fn load_full(&self) -> Arc<T> {
            self.0.load_full()
        }

        /// Replaces `current` by `next`, unless another value came first; says whether it did.
        #[must_use]
        pub fn replace(&self, current: &Arc<T>, next: Arc<T>) -> bool {
            let seen = self.0.compare_and_swap(current, next);
            Arc::ptr_eq(&seen, current)
        }
    }
}

#[cfg(genpool_loom)]
mod model {
    pub use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};

    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use core::marker::PhantomData;

    /// loom's `SeqCst` accesses order as `AcqRel`; the fence gives what they lack.
    pub fn model_fence() {
        fence(Ordering::SeqCst);
    }

    /// All threads of a model share number 0, so that they meet in the same slots.
    pub fn thread_index() -> usize {
        0
    }

    /// `atomic::Atomic` over loom's word, for values of at most eight bytes.
    #[derive(Debug)]
    pub struct Atomic<T> {
        bits: loom::sync::atomic::AtomicU64,
        value: PhantomData<T>,
    }

    impl<T: bytemuck::NoUninit + bytemuck::CheckedBitPattern> Atomic<T> {
        fn pack(value: T) -> u64 {
            let mut bytes = [0; 8];
            bytes[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
            u64::from_ne_bytes(bytes)
        }

        fn unpack(bits: u64) -> T {
            *bytemuck::checked::from_bytes(&bits.to_ne_bytes()[..size_of::<T>()])
        }

        /// An atomic of `value`.
        pub fn new(value: T) -> Self {
            Self {
                bits: loom::sync::atomic::AtomicU64::new(Self::pack(value)),
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

    /// Stands in for `arc_swap::ArcSwap` with what it guarantees and no more: a version index
    /// (load `Acquire`, replace `AcqRel`) into a table that only grows and lives as long as the
    /// execution.
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
            self.index
                .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        }
    }
}
