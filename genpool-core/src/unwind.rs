//! Panics of user code: destructors of owners, algorithms and observers, and callbacks.
//!
//! Such a panic never keeps the pool from completing its work. Everything else that is to be dropped or called is
//! dropped or called too, and then the first panic continues in the caller. Later panics are discarded. So is every
//! panic in a thread that is panicking already, because it would abort the process if it left a destructor. The
//! program's panic hook has seen each of them.
//!
//! Without the feature `std` nothing unwinds, and a panic is the end.

use core::mem::{self, ManuallyDrop};
use core::ops::{Deref, DerefMut};

pub use self::imp::*;

#[cfg(feature = "std")]
mod imp {
    use core::any::Any;
    use core::mem;
    use core::panic::AssertUnwindSafe;
    use std::panic::{catch_unwind, resume_unwind};
    use std::thread::panicking;

    use alloc::boxed::Box;

    /// Drops the payload of a panic. Its destructor is user code too and may panic. For the workspace's crates.
    #[doc(hidden)]
    pub fn discard_panic(payload: Box<dyn Any + Send>) {
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            mem::forget(again);
        }
    }

    /// Runs a step that may run user code in a destructor. If the thread is panicking already, a panic of the step is
    /// discarded. For the workspace's crates.
    #[doc(hidden)]
    pub fn contained(step: impl FnOnce()) {
        if !panicking() {
            step();
        } else if let Err(payload) = catch_unwind(AssertUnwindSafe(step)) {
            discard_panic(payload);
        }
    }

    /// The first panic of several steps, all of which are run. For the workspace's crates.
    #[doc(hidden)]
    #[derive(Default)]
    #[must_use = "a panic goes on to the caller"]
    pub struct FirstPanic(Option<Box<dyn Any + Send>>);

    impl FirstPanic {
        /// Runs a step. Returns `None` if it panicked.
        pub fn run<R>(&mut self, step: impl FnOnce() -> R) -> Option<R> {
            match catch_unwind(AssertUnwindSafe(step)) {
                Ok(outcome) => return Some(outcome),
                Err(payload) if self.0.is_none() => self.0 = Some(payload),
                Err(payload) => discard_panic(payload),
            }
            None
        }

        /// Resumes the first panic of a step, if there was one and the thread is not panicking already.
        pub fn resume(self) {
            match self.0 {
                Some(payload) if panicking() => discard_panic(payload),
                Some(payload) => resume_unwind(payload),
                None => {}
            }
        }
    }
}

/// The same where nothing unwinds.
#[cfg(not(feature = "std"))]
mod imp {
    /// Runs a step. For the workspace's crates.
    #[doc(hidden)]
    pub fn contained(step: impl FnOnce()) {
        step();
    }

    /// Several steps, all of which are run. For the workspace's crates.
    #[doc(hidden)]
    #[derive(Default)]
    #[must_use = "as with the feature `std`"]
    pub struct FirstPanic(());

    impl FirstPanic {
        /// Runs a step.
        pub fn run<R>(&mut self, step: impl FnOnce() -> R) -> Option<R> {
            Some(step())
        }

        /// Does nothing.
        pub fn resume(self) {}
    }
}

/// A user's value whose destructor may panic. Several guarded values can be dropped together.
pub(crate) struct Guarded<T: ?Sized>(ManuallyDrop<T>);

impl<T> Guarded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }

    pub(crate) fn into_inner(self) -> T {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is neither dropped nor used again.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl<T: ?Sized> Drop for Guarded<T> {
    fn drop(&mut self) {
        if mem::needs_drop::<T>() {
            // SAFETY: dropped once, here, and not used again.
            contained(|| unsafe { ManuallyDrop::drop(&mut self.0) });
        }
    }
}

impl<T: ?Sized> Deref for Guarded<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Clone> Clone for Guarded<T> {
    fn clone(&self) -> Self {
        Self::new(T::clone(self))
    }
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use alloc::vec::Vec;
    use core::panic::AssertUnwindSafe;
    use std::panic::{catch_unwind, panic_any};
    use std::sync::Mutex;

    use super::*;

    /// Records its number when it is dropped, and panics with it.
    struct Panics<'n>(u32, &'n Mutex<Vec<u32>>);

    impl Drop for Panics<'_> {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0);
            panic_any(self.0);
        }
    }

    fn caught(step: impl FnOnce()) -> Option<u32> {
        let outcome = catch_unwind(AssertUnwindSafe(step));
        outcome
            .err()
            .map(|payload| *payload.downcast().expect("a number"))
    }

    #[test]
    fn all_steps_are_taken_and_the_first_panic_goes_on() {
        let dropped = Mutex::new(Vec::new());
        let mut panics = FirstPanic::default();
        let numbers = [1, 2, 3].map(|number| panics.run(|| number));
        assert_eq!(numbers, [Some(1), Some(2), Some(3)]);
        for number in [4, 5] {
            let value = Panics(number, &dropped);
            assert_eq!(panics.run(|| drop(value)), None);
        }
        assert_eq!(caught(|| panics.resume()), Some(4));
        assert_eq!(*dropped.lock().unwrap(), [4, 5]);
        FirstPanic::default().resume();
    }

    #[test]
    fn guarded_values_that_all_panic_are_all_dropped() {
        let dropped = Mutex::new(Vec::new());
        let guarded = |number| Guarded::new(Panics(number, &dropped));
        let values: Vec<_> = [1, 2, 3].map(guarded).into();
        assert_eq!(caught(|| drop(values)), Some(1));
        // In a thread that is panicking for another reason.
        let value = guarded(4);
        let panics = || {
            let _value = value;
            panic_any(9_u32)
        };
        assert_eq!(caught(panics), Some(9));
        assert_eq!(*dropped.lock().unwrap(), [1, 2, 3, 4]);
        mem::forget(guarded(5).into_inner());
        assert_eq!(dropped.lock().unwrap().len(), 4);
    }

    #[test]
    fn what_panics_while_its_thread_panics_is_discarded() {
        struct Ends<F: FnMut()>(F);
        impl<F: FnMut()> Drop for Ends<F> {
            fn drop(&mut self) {
                (self.0)();
            }
        }
        let mut resumed = 0;
        let panics = || {
            let _ends = Ends(|| {
                let mut first = FirstPanic::default();
                first.run(|| panic_any(2_u32));
                first.resume();
                contained(|| panic_any(3_u32));
                resumed += 1;
            });
            panic_any(1_u32)
        };
        assert_eq!((caught(panics), resumed), (Some(1), 1));
    }
}
