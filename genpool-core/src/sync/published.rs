//! The owner of the current chunk list, built on `arc_swap`.

use alloc::sync::Arc;

/// The owner of the current value of a list: `arc_swap::ArcSwap`.
#[derive(Debug)]
pub struct Published<T>(arc_swap::ArcSwap<T>);

impl<T> Published<T> {
    /// Creates a holder of `value`.
    pub fn new(value: Arc<T>) -> Self {
        Self(arc_swap::ArcSwap::new(value))
    }

    /// Puts `value` on the heap.
    pub fn allocate(&self, value: T) -> Arc<T> {
        Arc::new(value)
    }

    /// Returns the current value, which the returned count keeps alive.
    pub fn load_full(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Replaces `current` by `next`, unless another value came first. Returns true if it did.
    #[must_use]
    pub fn replace(&self, current: &Arc<T>, next: Arc<T>) -> bool {
        let seen = self.0.compare_and_swap(current, next);
        Arc::ptr_eq(&seen, current)
    }
}
