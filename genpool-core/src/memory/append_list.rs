//! An append-only list. Threads push at its newest end and walk it from there without waiting, and it is dropped as
//! a whole. Its items stay in place, so no pin is needed to use them.
//!
//! # Orderings
//!
//! An item is pushed with `Release` and reached with `Acquire`. A thread that sees an item sees all of it, and the
//! older ones, which the thread that pushed it had reached in the same way.

use core::fmt;
use core::iter::successors;
use core::marker::PhantomData;
use core::ptr;

use alloc::boxed::Box;

use crate::sync::{AtomicPtr, Ordering};

struct Item<T> {
    value: T,
    /// Null in the oldest item.
    older: *mut Item<T>,
}

impl<T> Item<T> {
    fn older(&self) -> Option<&Self> {
        // SAFETY: by the list's invariant it is null or an item that lives as long as this one.
        unsafe { self.older.as_ref() }
    }
}

/// An append-only list: see the module's text.
///
/// # Invariants
///
/// `newest` and each item's `older` are null or came from `Box::into_raw`. An item that was pushed lives as long as
/// the list.
pub(crate) struct AppendList<T> {
    newest: AtomicPtr<Item<T>>,
    owns: PhantomData<Box<Item<T>>>,
}

/// The newest item of a list at the time of the look.
pub(crate) struct Newest<'l, T> {
    item: *mut Item<T>,
    list: PhantomData<&'l T>,
}

impl<'l, T> Newest<'l, T> {
    #[inline(always)]
    fn item(&self) -> Option<&'l Item<T>> {
        // SAFETY: by the list's invariant it is null or an item that lives as long as the list.
        unsafe { self.item.as_ref() }
    }

    /// Returns the value, or none if the list was empty.
    #[inline(always)]
    pub(crate) fn value(&self) -> Option<&'l T> {
        Some(&self.item()?.value)
    }
}

// SAFETY: a list owns its values, as boxes do.
unsafe impl<T: Send> Send for AppendList<T> {}
// SAFETY: a shared list lends its values to any thread, and takes values from any thread.
unsafe impl<T: Send + Sync> Sync for AppendList<T> {}

impl<T> AppendList<T> {
    pub(crate) fn new() -> Self {
        Self {
            newest: AtomicPtr::new(ptr::null_mut()),
            owns: PhantomData,
        }
    }

    /// Returns the newest value at this instant.
    #[inline(always)]
    pub(crate) fn newest(&self) -> Newest<'_, T> {
        Newest {
            item: self.newest.load(Ordering::Acquire),
            list: PhantomData,
        }
    }

    /// Iterates over all values, the newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        successors(self.newest().item(), |item| item.older()).map(|item| &item.value)
    }

    /// Pushes `value` after what was the newest, and returns a reference to it. Returns none if another value was
    /// pushed since.
    pub(crate) fn push(&self, after: &Newest<'_, T>, value: T) -> Option<&T> {
        let older = after.item;
        let item = Box::into_raw(Box::new(Item { value, older }));
        let pushed =
            self.newest
                .compare_exchange(older, item, Ordering::Release, Ordering::Relaxed);
        if pushed.is_err() {
            // SAFETY: the item was not pushed, so it is still ours alone.
            drop(unsafe { Box::from_raw(item) });
            return None;
        }
        // SAFETY: the item was pushed, so by the invariant it lives as long as the list.
        Some(unsafe { &(*item).value })
    }

    /// Returns the bytes on the heap. `more` returns what a value has there besides.
    pub(crate) fn footprint(&self, more: impl Fn(&T) -> usize) -> usize {
        self.iter()
            .map(|value| size_of::<Item<T>>() + more(value))
            .sum()
    }
}

impl<T> Drop for AppendList<T> {
    fn drop(&mut self) {
        // Relaxed: no other thread has the list any more.
        let mut next = self.newest.load(Ordering::Relaxed);
        while !next.is_null() {
            // SAFETY: by the invariant it is a box, and only the list, which is being dropped, refers to it.
            next = unsafe { Box::from_raw(next) }.older;
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for AppendList<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
