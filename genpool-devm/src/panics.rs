//! Panics of users' code, none of which keeps the end of a device from being completed.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::panicking;

/// Drops the payload of a panic, whose destructor is a user's code too and may panic.
pub(crate) fn discard_panic(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(again);
    }
}

/// The first panic of several steps, of which each is taken.
#[derive(Default)]
#[must_use = "a panic goes on to the caller"]
pub(crate) struct FirstPanic(Option<Box<dyn Any + Send>>);

impl FirstPanic {
    /// Takes a step. None if it panicked.
    pub(crate) fn run<R>(&mut self, step: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(step)) {
            Ok(outcome) => return Some(outcome),
            Err(payload) if self.0.is_none() => self.0 = Some(payload),
            Err(payload) => discard_panic(payload),
        }
        None
    }

    /// Panics if a step did, unless the thread panics already.
    pub(crate) fn resume(self) {
        match self.0 {
            Some(payload) if panicking() => discard_panic(payload),
            Some(payload) => resume_unwind(payload),
            None => {}
        }
    }
}
