//! An atomic slot for one boxed value. Threads put values in and take them out without waiting.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use alloc::boxed::Box;

use crate::sync::{AtomicPtr, Ordering, const_fn};

/// An atomic slot for one boxed value.
///
/// # Invariants
///
/// The pointer is null or came from `Box::into_raw` and belongs to the option box. A thread that swaps it out owns
/// the box.
#[derive(Debug)]
pub(crate) struct AtomicOptionBox<T> {
    boxed: AtomicPtr<T>,
    owns: PhantomData<Box<T>>,
}

// SAFETY: an option box owns its value as a box does.
unsafe impl<T: Send> Send for AtomicOptionBox<T> {}
// SAFETY: a shared option box moves values between threads and never lends one out.
unsafe impl<T: Send> Sync for AtomicOptionBox<T> {}

impl<T> AtomicOptionBox<T> {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                boxed: AtomicPtr::new(ptr::null_mut()),
                owns: PhantomData,
            }
        }
    }

    /// Puts a value in, and returns the one that was there.
    pub(crate) fn put(&self, value: Box<T>) -> Option<Box<T>> {
        self.swap(Box::into_raw(value))
    }

    /// Takes out the value that is there.
    pub(crate) fn take(&self) -> Option<Box<T>> {
        self.swap(ptr::null_mut())
    }

    fn swap(&self, new: *mut T) -> Option<Box<T>> {
        // AcqRel: the value is handed over whole, in both directions.
        let old = NonNull::new(self.boxed.swap(new, Ordering::AcqRel))?;
        // SAFETY: by the invariant the box is ours once it is swapped out.
        Some(unsafe { Box::from_raw(old.as_ptr()) })
    }
}

impl<T> Drop for AtomicOptionBox<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}
