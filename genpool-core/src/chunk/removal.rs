//! The removal of a chunk.
//!
//! A chunk is alive, draining, or drained ([`State`]). A removal seals it: it sets the state to draining, then looks at
//! the bits. A claim sets its bits, then looks at the state. So a claim that raced with a removal takes itself back.
//!
//! A chunk is drained when a look after the seal found no bit set. Every release in a draining chunk looks. So does
//! `Drain::is_drained`, because the thread that released the last bits may have been stopped before its look. The
//! thread that changes the state to drained runs the callback and notifies the observer, so both happen once. The box
//! of the callback is kept until the chunk is dropped, because that thread may be in a signal handler, which must not
//! free memory.

use super::{Callback, Chunk, State};
use crate::memory::Box;
#[cfg(feature = "observe")]
use crate::observe::Event;
use crate::sync::Ordering;
use crate::unwind::contained;

impl Chunk {
    /// Seals the chunk. Returns false if it was sealed before.
    #[must_use]
    pub(crate) fn seal(&self) -> bool {
        let sealed = self.state.compare_exchange(
            State::Alive,
            State::Draining,
            Ordering::SeqCst,
            Ordering::Relaxed,
        );
        if sealed.is_ok() {
            crate::sync::model_fence();
            self.check_drained();
        }
        sealed.is_ok()
    }

    /// Returns true if the last allocation was given back. Looks at the bits itself, because the thread that gave it
    /// back may have been stopped before it could change the state.
    pub(crate) fn is_drained(&self) -> bool {
        self.check_drained();
        self.state() == State::Drained
    }

    /// Declares the chunk drained if it is draining and empty. This happens once.
    #[cold]
    pub(super) fn check_drained(&self) {
        if self.state() != State::Draining || !self.bitmap.is_empty(&self.busy) {
            return;
        }
        // Release: a thread that reads that the chunk is drained sees everything that was done to it until then (pairs
        // with `state`). We saw it with the bits.
        let last = self.state.compare_exchange(
            State::Draining,
            State::Drained,
            Ordering::Release,
            Ordering::Relaxed,
        );
        if last.is_ok() {
            #[cfg(feature = "observe")]
            if let Some(account) = &self.account {
                let (start, size) = (self.start, self.size());
                return account
                    .notifier
                    .around(|| self.call_back(), |_| Event::Drained { start, size });
            }
            self.call_back();
        }
    }

    /// Sets a callback that is called once when the chunk is drained, or now if it is drained already. Returns the
    /// earlier callback that this one replaces, if that was not called yet.
    pub(crate) fn on_drained(&self, callback: Callback) -> Option<Callback> {
        let earlier = self.on_drained.put(Box::new(callback));
        // The thread that drains the chunk looks for a callback after it has changed the state. Each look and each put
        // reads what the one before left (`AtomicOptionBox::swap`). So either that look finds this callback, or we see
        // that the chunk is drained.
        if self.state() == State::Drained {
            self.call_back();
        }
        earlier.map(|callback| *callback)
    }

    fn call_back(&self) {
        if let Some(mut callback) = self.on_drained.take() {
            contained(&mut *callback);
            // `called` is empty unless a callback was set after the chunk was drained. In that case the caller is not a
            // signal handler, so it may free the earlier box.
            drop(self.called.put(callback));
        }
    }
}
