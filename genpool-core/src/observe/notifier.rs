//! Numbers events, reports them to the observer, and contains the observer's panics.

use core::any::Any;
use core::panic::AssertUnwindSafe;
use std::panic::{catch_unwind, resume_unwind};

use alloc::boxed::Box;
use crossbeam_utils::CachePadded;

use super::{Event, Observer};
use crate::sync::{AtomicUsize, Ordering};
use crate::unwind::discard_panic;

/// The observer of a pool, with the counter of its events.
pub(crate) struct Notifier {
    observer: SilentDrop,
    /// The next number, if the observer asked for numbers.
    next: Option<CachePadded<AtomicUsize>>,
    panics: AtomicUsize,
}

/// An observer whose destructor's panic is caught. The panic would otherwise replace a result, such as the report of
/// a pool that is destroyed, or abort the process during another panic.
pub(crate) struct SilentDrop(Option<Box<dyn Observer>>);

impl SilentDrop {
    pub(crate) fn new(observer: impl Observer + 'static) -> Self {
        Self(Some(Box::new(observer)))
    }

    fn numbered(&self) -> bool {
        self.0.as_ref().is_some_and(|observer| observer.numbered())
    }

    fn event(&self, number: usize, event: &Event<'_>) {
        if let Some(observer) = &self.0 {
            observer.event(number, event);
        }
    }
}

impl Drop for SilentDrop {
    fn drop(&mut self) {
        let observer = self.0.take();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(observer))) {
            discard_panic(payload);
        }
    }
}

impl Notifier {
    pub(crate) fn new(observer: SilentDrop) -> Self {
        let next = observer
            .numbered()
            .then(|| CachePadded::new(AtomicUsize::new(0)));
        let panics = AtomicUsize::new(0);
        Self {
            observer,
            next,
            panics,
        }
    }

    /// Returns how often the observer panicked.
    pub(crate) fn panics(&self) -> usize {
        // Relaxed: a count.
        self.panics.load(Ordering::Relaxed)
    }

    /// Draws the number of an event. The caller must report exactly one event with it.
    pub(crate) fn number(&self) -> usize {
        self.numbers(1)
    }

    /// Draws the numbers of `count` events, and returns the first of them.
    fn numbers(&self, count: usize) -> usize {
        // Relaxed: claims and releases order what the numbers order (see the module's text).
        self.next
            .as_ref()
            .map_or(0, |next| next.fetch_add(count, Ordering::Relaxed))
    }

    /// Reports an operation that took something or changed nothing.
    pub(crate) fn notify(&self, event: &Event<'_>) {
        self.notify_as(self.number(), event);
    }

    fn notify_as(&self, number: usize, event: &Event<'_>) {
        let observed = catch_unwind(AssertUnwindSafe(|| self.observer.event(number, event)));
        if let Err(payload) = observed {
            self.end_panic(payload);
        }
    }

    #[cold]
    fn end_panic(&self, payload: Box<dyn Any + Send>) {
        // Relaxed: a count.
        self.panics.fetch_add(1, Ordering::Relaxed);
        discard_panic(payload);
    }

    /// Runs `step`, which may give something back, and reports the event that `event` makes of its result. The result
    /// is none if a callback of a drained chunk panicked; the step is complete in this case too.
    pub(crate) fn around<'e, R>(
        &self,
        step: impl FnOnce() -> R,
        event: impl Fn(Option<&R>) -> Event<'e>,
    ) -> R {
        self.around_all(1, step, |_, outcome| event(outcome))
    }

    /// Runs `step` as [`around`](Self::around) does, and reports `count` events, each of which `event` makes of its
    /// index and of the result.
    pub(crate) fn around_all<'e, R>(
        &self,
        count: usize,
        step: impl FnOnce() -> R,
        event: impl Fn(usize, Option<&R>) -> Event<'e>,
    ) -> R {
        let first = self.numbers(count);
        let done = catch_unwind(AssertUnwindSafe(step));
        for at in 0..count {
            let after = if self.next.is_some() { at } else { 0 };
            let number = first.wrapping_add(after);
            self.notify_as(number, &event(at, done.as_ref().ok()));
        }
        done.unwrap_or_else(|payload| resume_unwind(payload))
    }
}
