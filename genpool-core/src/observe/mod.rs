//! Observers: the trait, the events, and how a pool reports them.
//!
//! Compiled with the feature `observe` only. A pool that was built with an observer takes other paths from the
//! beginning of each public call (`ops/observed.rs`), which do the usual work and then notify the observer. So the
//! usual paths have one more branch with the feature, and nothing without it (`ci/counts.sh` builds without it).
//!
//! The trait has one method that takes an enum, rather than a method for each event. Observers can then be combined
//! in one place, and a new event breaks no observer.
//!
//! # Numbers
//!
//! The number of an event is drawn after the operation has taken what it takes, and before other threads can take
//! what it gives back. Claims acquire, releases release, and numbers are drawn by one read-modify-write. So events in
//! the order of their numbers are a possible history of the pool: no range is handed out before it came back. A free
//! into a cache may draw its number late, because no other thread can take what a cache keeps.
//!
//! The pool draws the numbers, not the observer, so several observers can share them. Each number belongs to exactly
//! one event, so a reader knows what is missing. Only a pool whose observer asks for numbers has the counter.
//!
//! # Accounts
//!
//! Whether a free changes what is free in chunks that are not being removed depends on a race with the removal of its
//! chunk. So each chunk has a word that counts what allocations hold in it and also records whether its removal has
//! begun. This word decides the race once, for both sides. A second such word counts what caches keep in the chunk.
//!
//! Each event therefore knows whether it changed what is free, and the sums over all events are exact whatever the
//! interleaving. [`Event::change`] goes by the first word, [`Event::available`] by both. An observer needs one atomic
//! and no list of chunks. A sum that subtracts the size of each removed chunk instead would be too low by what is
//! still held in it. The sums are not exact if a free by address takes what an allocation or a cache still holds: see
//! [`Event::change`].
//!
//! A run that moves between an allocation and a cache changes both words. If the chunk's removal begins between the
//! two changes, only one of them counts. Two events are then reported instead of one: the pool has the run back, and
//! a cache takes it, or the other way round. Each event belongs to one word.
//!
//! # Panics
//!
//! A panic of an observer is caught where it is notified, and counted. A panic of its destructor is caught where it
//! is dropped. Otherwise the result of the call would be lost. An allocation would give itself back, but other
//! results would not: the `Drain` of a removal, without which nobody can wait for the chunk, a refused chunk, the
//! pool itself, or the report of a destroyed pool. A caller that makes several calls, for example to seal all pools
//! of a device, would be stopped halfway.
//!
//! Giving something back may run callbacks of drained chunks, which may panic as well. The event is then reported as
//! done, and the panic goes on.

mod account;
mod event;
mod notifier;

use crate::sync::Arc;
use alloc::boxed::Box;

pub(crate) use self::account::Account;
pub use self::event::Event;
pub(crate) use self::notifier::{Notifier, SilentDrop};

/// Receives notifications of what a pool does, on the thread that does it: see
/// [`Builder::observer`](crate::Builder::observer).
///
/// The observer runs while nothing is half done that another thread could run into: an allocation already holds its
/// range, and a free is complete. (The exception is a refused [`alloc_many`](crate::PoolView::alloc_many), which is
/// reported before it is rolled back.) So an observer may call the pool, and a pool over memory or of a device that
/// wraps it. Those calls are reported to the observer too.
///
/// # Signal safety
///
/// A call on a pool with an observer is as [signal-safe](crate#signal-safety) as the observer.
///
/// # Panics
///
/// A panic of the observer does not affect the call that it was notified of: the panic is caught, and the call goes
/// on and returns as it would have otherwise. The program's panic hook has run by then, and
/// [`Stats::observer_panics`](crate::Stats::observer_panics) counts the panic. A test whose observer asserts
/// something should check that count. A panic of the observer's destructor is caught too, so the pool that drops it
/// still returns its result, such as the report of [`destroy`](crate::Pool::destroy).
///
/// ```
/// // features = ["observe"]
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use genpool::{Event, Observer, Pool};
///
/// #[derive(Default)]
/// struct Refusals(AtomicUsize);
///
/// impl Observer for Refusals {
///     fn event(&self, _number: usize, event: &Event<'_>) {
///         if let Event::AllocRefused { .. } = event {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let refusals = Arc::new(Refusals::default());
/// let pool = Pool::builder().order(12).observer(Arc::clone(&refusals)).build()?;
/// pool.add(0, 4096)?;
/// assert!(pool.alloc(4097).is_err());
/// assert_eq!(refusals.0.load(Ordering::Relaxed), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Observer: Send + Sync {
    /// Returns true if the observer wants numbered events. Each event then costs a read-modify-write on a word that
    /// all threads share. Called once, when the pool is built. False by default.
    fn numbered(&self) -> bool {
        false
    }

    /// Handles an event. Threads report concurrently, so events may arrive in a different order from that of their
    /// numbers. The order of the numbers is one in which they could have happened one after the other.
    ///
    /// Numbers begin at 0, have no gaps, and wrap. They are all 0 if numbers were not asked for.
    fn event(&self, number: usize, event: &Event<'_>);
}

macro_rules! forward {
    ($($pointer:ty),+) => {
        $(impl<O: Observer + ?Sized> Observer for $pointer {
            fn numbered(&self) -> bool {
                (**self).numbered()
            }

            fn event(&self, number: usize, event: &Event<'_>) {
                (**self).event(number, event);
            }
        })+
    };
}

forward!(&O, Box<O>, Arc<O>);
