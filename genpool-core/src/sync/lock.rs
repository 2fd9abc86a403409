//! A lock and a shared count for the bookkeeping of layers above the pool, such as a device's list of resources. No
//! alloc or free takes the lock.

use core::fmt;
use core::ops::{Deref, DerefMut};

#[cfg(all(genpool_loom, not(genpool_machine)))]
use loom::sync as imp;
#[cfg(any(not(genpool_loom), genpool_machine))]
use std::sync as imp;

/// A shared count: `std::sync::Arc`, or in models loom's, which knows the ordering that the last drop gives.
pub use imp::Arc as Counted;

/// A lock without poisoning: what it guards is consistent whenever it is released.
pub struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    /// Creates a lock around `value`.
    pub fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    /// Takes the lock. Waits while another thread holds it.
    pub fn lock(&self) -> Guard<'_, T> {
        Guard(
            self.0
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

/// Access to what a [`Mutex`] guards.
#[must_use = "the lock is released when this is dropped"]
pub struct Guard<'a, T>(imp::MutexGuard<'a, T>);

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
