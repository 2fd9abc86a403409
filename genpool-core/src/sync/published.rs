//! Who owns the current list, by `arc_swap`.

use alloc::sync::Arc;

/// The owner of the current value of a list: `arc_swap::ArcSwap`.
#[derive(Debug)]
pub struct Published<T>(arc_swap::ArcSwap<T>);

impl<T> Published<T> {
    /// A holder of `value`.
    pub fn new(value: Arc<T>) -> Self {
        Self(arc_swap::ArcSwap::new(value))
    }

    /// `value` on the heap.
    pub fn allocate(&self, value: T) -> Arc<T> {
        Arc::new(value)
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
