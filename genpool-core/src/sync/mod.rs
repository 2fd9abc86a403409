//! The atomics of genpool's crates. All atomics of a pool's state come from here.
//!
//! Normally these are the machine's. Under `--cfg genpool_loom` they are loom's, so that `loom-tests` explores the real
//! code of the crates. If `--cfg genpool_shuttle` is given as well, they are shuttle's, for `verify/linearizability`. If
//! `--cfg genpool_machine` is given as well, they are the machine's after all, for Miri. This module is public for the
//! workspace's own crates. It is hidden from users, and is no part of the stable API.
//!
//! Without the feature `std` the code asks the [`platform`] which thread or core it runs on, and what a pause is. With the
//! feature `portable-atomic` the machine's atomics are those of that crate, for processors without compare-and-swap
//! (`portable.rs`).
//!
//! None of these changes a constant: words and tables have the sizes that users get. `--cfg genpool_small` makes them
//! so small that a few granules cross the borders of words, lines and levels. This keeps models short.
//!
//! Small states that are not words, such as a chunk's, are in an `atomic::Atomic`. That crate is built without its
//! lock-based fallback, and constant assertions prove that they are lock-free. In models, and with `portable-atomic`, each
//! has a word instead (`packed.rs`), which is as lock-free as words are.
//!
//! # Orderings
//!
//! The pool's protocols need store-to-load order in several places: "I changed the bitmap, now is there a prober?"
//! against "I am a prober, now what is in the bitmap?". Both sides use `SeqCst` accesses for it. That costs nothing
//! beyond the read-modify-write that is there anyway. loom treats `SeqCst` accesses as `AcqRel`, so there
//! [`model_fence`] supplies what the machine's accesses already give.
//!
//! # Seeded faults
//!
//! A model is believed only if it can fail. A control must fail on the code that runs in production, so the steps that
//! may be left out are named in that code: at each step that a protocol depends on, the code asks [`seeded`] whether to
//! leave it out. Normally that is the constant `false`, and nothing remains of it. In a model, `loom-tests` seeds one
//! fault at a time and expects the model of that protocol to fail. The core's faults are those of [`Fault`]. A crate
//! with protocols of its own has an enum of its own that implements [`Seed`].

#[cfg(not(genpool_loom))]
pub use self::real::*;

#[cfg(genpool_loom)]
pub use self::model::*;

pub use self::life::Life;
#[cfg(feature = "std")]
pub use self::lock::{Counted, Guard, Mutex};

/// A shared count and its weak form. The standard library has them only where there is compare-and-swap.
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub use alloc::sync::{Arc, Weak};
#[cfg(all(feature = "alloc", not(target_has_atomic = "ptr")))]
pub use portable_atomic_util::{Arc, Weak};

#[cfg(not(feature = "std"))]
pub(crate) use self::platform::Backoff;
#[cfg(feature = "std")]
pub(crate) use crossbeam_utils::Backoff;

mod life;
#[cfg(feature = "std")]
mod lock;
#[cfg(genpool_loom)]
mod model;
#[cfg(any(genpool_loom, feature = "portable-atomic"))]
mod packed;
pub mod platform;
#[cfg(all(not(genpool_loom), feature = "portable-atomic"))]
mod portable;
#[cfg(all(feature = "std", any(not(genpool_loom), genpool_machine)))]
mod published;

use core::fmt;

/// Defines a function that is `const`, except in models, whose atomics are made at run time.
macro_rules! const_fn {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),*) -> $returned:ty $body:block) => {
        #[cfg(not(genpool_loom))]
        $(#[$meta])*
        $vis const fn $name($($arg: $type),*) -> $returned $body

        #[cfg(genpool_loom)]
        $(#[$meta])*
        $vis fn $name($($arg: $type),*) -> $returned $body
    };
}
pub(crate) use const_fn;

/// Puts a value on the heap, under a shared count, as a trait object. Only the standard library's `Arc` makes one by
/// itself.
#[cfg(feature = "alloc")]
macro_rules! arc_dyn {
    ($value:expr, $trait:ty) => {{
        #[cfg(target_has_atomic = "ptr")]
        let arc: crate::sync::Arc<$trait> = crate::sync::Arc::new($value);
        #[cfg(not(target_has_atomic = "ptr"))]
        let arc: crate::sync::Arc<$trait> = {
            let boxed: alloc::boxed::Box<$trait> = alloc::boxed::Box::new($value);
            crate::sync::Arc::from(boxed)
        };
        arc
    }};
}
#[cfg(feature = "alloc")]
pub(crate) use arc_dyn;

/// Returns an array whose items are all made by the same expression, in constants too, except in models.
macro_rules! array_of {
    ($item:expr) => {{
        #[cfg(not(genpool_loom))]
        let array = [const { $item }; _];
        #[cfg(genpool_loom)]
        let array = core::array::from_fn(|_| $item);
        array
    }};
}
pub(crate) use array_of;

/// A fault that a model can seed: a step of a protocol that a control of `loom-tests` leaves out on purpose.
pub trait Seed: Copy + fmt::Debug + PartialEq + 'static {}

/// The faults of the core's protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A claim writes its bits without a compare-and-swap.
    TornClaim,
    /// A claim that crosses words keeps what it has when a word refuses.
    KeptClaim,
    /// A free does not raise the hint.
    UnraisedHint,
    /// A drop does not check that the hint of its word covers what it freed.
    UncheckedHint,
    /// A drop does not check whether the word before ends with a free run.
    UncheckedBorder,
    /// A thread that changes bits does not record the lengths of the runs that are left.
    UnrecordedRun,
    /// A thread that changes several words records only the run that begins in the first.
    UnrecordedRest,
    /// A thread that lowers a hint, or clears a bit of the run index, does not look again.
    NoSecondLook,
    /// A release lacks store-to-load order.
    NoFence,
    /// A release does not hand the memory over.
    RelaxedRelease,
    /// A free by address does not check what it clears in the same step.
    UncheckedFree,
    /// A claim does not check whether its chunk is being removed.
    UncheckedState,
    /// A release does not check whether its chunk is being removed.
    UncheckedDrain,
    /// A claim that was rolled back does not check whether its chunk is being removed.
    UncheckedRollback,
    /// A cache does not check whether the chunk of the runs that it keeps is being removed.
    UncheckedMagazine,
    /// A cache does not check whether the default algorithm is still the one that it goes by.
    UncheckedAlgorithm,
    /// A pin does not check that its list is still current.
    UncheckedPin,
    /// A list is brought to the readers without a pin on the one that they have.
    UnpinnedAdvance,
    /// A reader that finds all hazard slots taken does not count itself.
    UncountedReader,
    /// An operation that crosses words is not announced.
    Unannounced,
    /// An announced operation that ends does not change the epoch.
    KeptEpoch,
    /// A claim does not notify the probers.
    UnnotifiedClaim,
    /// A free does not notify the probers.
    UnnotifiedFree,
    /// A drop does not look for probers.
    UnnotifiedDrop,
    /// A thread that reveals what it read does not notify the probers.
    UnnotifiedAnswer,
    /// A prober that answers that a request fits nowhere does not notify the others.
    UnnotifiedRefusal,
    /// A thread that notifies the probers does not withdraw the cached refusal.
    KeptRefusal,
    /// A cached refusal is stored without another look at the readings.
    HastyRefusal,
    /// A cached refusal has no version.
    UnversionedReservation,
    /// A caller that found nothing does not prove it.
    Unproved,
    /// A proof does not check that the chunk list is still the one that was searched.
    UncheckedList,
    /// A change of the chunk list does not check whether another came first.
    LostUpdate,
    /// A change of the chunk list is revealed before the readers have it.
    ShownTooSoon,
    /// A change of the chunk list forgets a chunk that leaves and is not yet drained.
    ForgottenLeaving,
    /// The chunk in an address's bucket is not asked whether it contains the address.
    UncheckedBucket,
    /// A rewrite of the address index ends although it was asked for again.
    LostRequest,
    /// A change of the chunk list is not brought to the readers.
    Unpublished,
    /// An ownership word is exchanged whatever word the caller shows.
    SharedOwnership,
    /// The bits are given back before the ownership word.
    BitsBeforeOwnership,
    /// A new ownership word keeps the tag of the one before.
    KeptTag,
}

impl Seed for Fault {}

#[cfg(all(feature = "alloc", target_has_atomic = "64"))]
pub(crate) use self::counts::*;

/// Counts of 64 bits. Nothing is ordered by them, so models use the machine's atomics for them too.
#[cfg(all(feature = "alloc", target_has_atomic = "64"))]
mod counts {
    use core::sync::atomic::{AtomicU64, Ordering};

    /// Returns a number that is greater than all that were returned before, or none if all were.
    pub(crate) fn unlike_others() -> Option<u64> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Some(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// A number that only grows, and of which an earlier value serves as well.
    #[derive(Debug)]
    pub(crate) struct HighMark(AtomicU64);

    impl HighMark {
        pub(crate) const fn new(value: u64) -> Self {
            Self(AtomicU64::new(value))
        }

        pub(crate) fn get(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        pub(crate) fn raise(&self, value: u64) {
            self.0.fetch_max(value, Ordering::Relaxed);
        }
    }
}

#[cfg(all(feature = "alloc", not(target_has_atomic = "64")))]
pub(crate) use self::narrow_counts::*;

/// The same where no atomic has 64 bits: there are as many numbers as a word holds, and marks stay where they are.
#[cfg(all(feature = "alloc", not(target_has_atomic = "64")))]
mod narrow_counts {
    use super::{AtomicUsize, Ordering};

    pub(crate) fn unlike_others() -> Option<u64> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let mut next = NEXT.load(Ordering::Relaxed);
        loop {
            let after = next.checked_add(1)?;
            match NEXT.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(next as u64),
                Err(now) => next = now,
            }
        }
    }

    /// A number of which an earlier value serves as well. So it never grows here.
    #[derive(Debug)]
    pub(crate) struct HighMark(u64);

    impl HighMark {
        pub(crate) const fn new(value: u64) -> Self {
            Self(value)
        }

        pub(crate) fn get(&self) -> u64 {
            self.0
        }

        pub(crate) fn raise(&self, _value: u64) {}
    }
}

#[cfg(not(genpool_loom))]
mod real {
    #[cfg(feature = "portable-atomic")]
    pub use super::packed::Atomic;
    #[cfg(not(feature = "std"))]
    pub use super::platform::thread_index;
    #[cfg(feature = "portable-atomic")]
    pub use super::portable::{AtomicBool, AtomicPtr, AtomicUsize};
    #[cfg(feature = "std")]
    pub use super::published::Published;
    #[cfg(not(feature = "portable-atomic"))]
    pub use atomic::Atomic;
    #[cfg(not(feature = "portable-atomic"))]
    pub use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};
    pub use core::sync::atomic::{Ordering, fence};

    /// Does nothing here; in a model, a `SeqCst` fence (see the module's text).
    #[inline(always)]
    pub fn model_fence() {}

    /// Returns false: faults are seeded only in models.
    #[inline(always)]
    #[must_use]
    pub const fn seeded(_: impl super::Seed) -> bool {
        false
    }

    /// Loads a hint on which nothing depends, `Relaxed`. In a model, loads its latest value: an earlier one is as wrong as
    /// that after another interleaving, and to explore both takes many times as long.
    #[inline(always)]
    #[must_use]
    pub fn load_hint(hint: &AtomicUsize) -> usize {
        hint.load(Ordering::Relaxed)
    }

    /// Returns a small number of this thread's own. Numbers are given out in order of first use and never reused.
    ///
    /// The thread-local is constant-initialised and has no destructor, so the first use allocates nothing. It is
    /// async-signal-safe wherever plain thread-local storage is (executables and libraries loaded at start).
    #[cfg(feature = "std")]
    #[inline]
    pub fn thread_index() -> usize {
        use core::cell::Cell;

        static NEXT: AtomicUsize = AtomicUsize::new(0);
        std::thread_local! {
            static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
        }
        INDEX.with(|index| {
            if index.get() == usize::MAX {
                // A signal handler may come in between and number the thread as well. Then one number is lost, and
                // nothing else.
                index.set(NEXT.fetch_add(1, Ordering::Relaxed) & (usize::MAX >> 1));
            }
            index.get()
        })
    }

    #[cfg(all(test, feature = "std"))]
    mod tests {
        use super::*;

        #[test]
        fn threads_have_numbers_of_their_own() {
            let number = || std::thread::spawn(thread_index).join().unwrap();
            let mut numbers = [(); 8].map(|()| number());
            numbers.sort_unstable();
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
            assert_eq!(thread_index(), thread_index());
            assert!(numbers[7] < 1 << 16, "given out in order");
        }
    }
}
