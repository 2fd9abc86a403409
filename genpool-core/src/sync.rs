//! The one place where genpool's crates get their atomics from.
//!
//! Normally these are the machine's. Under `--cfg genpool_loom` they are loom's, so that
//! `loom-tests` explores the real code of the crates; with `--cfg genpool_shuttle` beside it they are
//! shuttle's, for `proofs`, and with `--cfg genpool_machine` the machine's, for Miri. All atomics of the pool's state come from
//! here. The module is public for the workspace's own crates and hidden from users: it is no part of the stable API.
//!
//! None of these changes a constant: words and tables have the sizes that users get. `--cfg genpool_small`
//! makes them so small that a few granules cross the borders of words, lines and levels, which keeps models short.
//!
//! # Orderings
//!
//! The pool's protocols need store-to-load order in several places: "I changed the bitmap, now is
//! anybody watching?" against "I am watching, now what is in the bitmap?". Both sides use `SeqCst`
//! accesses for it, which costs nothing beyond the read-modify-write that is there anyway. loom
//! treats `SeqCst` accesses as `AcqRel`, so there [`model_fence`] supplies what the hardware
//! accesses already give.
//!
//! # Seeded faults
//!
//! A model is believed only if it can fail. At the steps that a protocol stands on, the code asks
//! [`seeded`] whether to leave the step out. Normally that is the constant `false` and nothing
//! remains of it; in the model, `loom-tests` seeds one [`Fault`] at a time and expects the model of
//! that protocol to fail.

#[cfg(not(genpool_loom))]
pub use self::real::*;

#[cfg(genpool_loom)]
pub use self::model::*;

pub use self::life::Life;
pub use self::lock::{Counted, Guard, Mutex};

mod life;
mod lock;
#[cfg(genpool_loom)]
mod model;
#[cfg(any(not(genpool_loom), genpool_machine))]
mod published;

/// A step of a protocol, left out on purpose in a control of `loom-tests`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A claim writes its bits without a compare-and-swap.
    TornClaim,
    /// A claim that crosses words keeps what it had when a word refuses.
    KeptClaim,
    /// A free does not raise the hint.
    UnraisedHint,
    /// A drop does not look whether the hint of its word covers what it freed.
    UncheckedHint,
    /// A drop does not look whether the word before ends with a free run.
    UncheckedBorder,
    /// Who changes bits does not tell the lengths of the runs that are left.
    UnrecordedRun,
    /// Who changes several words tells only of the run that begins with the first.
    UnrecordedRest,
    /// Who lowers a hint, or what is told of lengths, does not look again.
    NoSecondLook,
    /// Store-to-load order is not asked for after a release.
    NoFence,
    /// A release does not hand the memory over.
    RelaxedRelease,
    /// A free by address does not check what it clears in the same step.
    UncheckedFree,
    /// A claim does not look whether its chunk is being removed.
    UncheckedState,
    /// A release does not look whether its chunk is being removed.
    UncheckedDrain,
    /// A claim that was rolled back does not look whether its chunk is being removed.
    UncheckedRollback,
    /// A cache does not look whether the chunk of what it keeps is being removed.
    UncheckedMagazine,
    /// A cache does not look whether the default algorithm is still the one it goes by.
    UncheckedAlgorithm,
    /// A pin does not look whether its list is still current.
    UncheckedPin,
    /// The list is brought to the readers without a pin on the one that they have.
    UnpinnedAdvance,
    /// A reader that finds all slots taken does not count itself.
    UncountedReader,
    /// An operation that crosses words is not announced.
    Unannounced,
    /// One that ends leaves no trace.
    KeptEpoch,
    /// A claim does not tell the probers.
    UnnotifiedClaim,
    /// A free does not tell the probers.
    UnnotifiedFree,
    /// A drop does not look whether anybody watches.
    UnnotifiedDrop,
    /// Who tells what it read does not tell the probers.
    UnnotifiedAnswer,
    /// Who tells the probers does not take the cached refusal back.
    KeptRefusal,
    /// A cached refusal is left without another look at the readings.
    HastyRefusal,
    /// A cached refusal has no version.
    UnversionedReservation,
    /// A caller that found nothing does not prove it.
    Unproved,
    /// A proof does not look whether the chunk list is still the one that was looked through.
    UncheckedList,
    /// A change of the chunk list does not look whether another came first.
    LostUpdate,
    /// A change of the chunk list is told before the readers have it.
    ShownTooSoon,
    /// The chunk in an address's bucket is not asked whether the address lies in it.
    UncheckedBucket,
    /// A rewrite of the address index ends although it was asked for again.
    LostRequest,
    /// A change of the chunk list is not brought to the readers.
    Unpublished,
    /// An ownership word changes hands whatever ownership word is shown.
    SharedOwnership,
    /// The bitmap is given back before the ownership word.
    BitsBeforeOwnership,
    /// A new ownership word keeps the tag of the one before.
    KeptTag,
    /// What lies under a device's pool is released without waiting for what is held.
    HastyRelease,
    /// Who finds no room in a recorder's ring leaves no note.
    UnrecordedMiss,
}

/// Where a thread works: granules of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadPlace {
    /// Where it found something last.
    pub at: usize,
    /// Where its region begins.
    pub from: usize,
    /// How long its region is.
    pub len: usize,
}

/// A number unlike all others of the process, below half of what a word can hold. (On a machine of 32 bits
/// they come again after 2^31.) Nothing is ordered by it, so the models have it as it is.
pub(crate) fn unlike_others() -> usize {
    use core::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed) & (usize::MAX >> 1)
}

#[cfg(not(genpool_loom))]
mod real {
    pub use super::published::Published;
    pub use atomic::Atomic;
    pub use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

    use core::cell::Cell;

    /// Nothing here; a `SeqCst` fence in the model (see the module's text).
    #[inline(always)]
    pub fn model_fence() {}

    /// No: faults are seeded in the model only.
    #[inline(always)]
    #[must_use]
    pub const fn seeded(_: super::Fault) -> bool {
        false
    }

    /// A small number of this thread's own, given out in order of first use and never reused.
    ///
    /// Constant-initialised and without a destructor, so the first use allocates nothing: it is
    /// async-signal-safe wherever plain thread-local storage is (executables and libraries loaded
    /// at start).
    #[inline]
    pub fn thread_index() -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        std::thread_local! {
            static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
        }
        INDEX.with(|index| {
            if index.get() == usize::MAX {
                // A signal handler may come in between and number the thread as well: a number
                // is lost, nothing else.
                index.set(NEXT.fetch_add(1, Ordering::Relaxed) & (usize::MAX >> 1));
            }
            index.get()
        })
    }

    /// Places that a thread remembers: more than the chunks that most threads use in turn (2026-11).
    const PLACES: usize = 4;

    /// A place and its key. No place has no length.
    struct Noted {
        key: Cell<usize>,
        at: Cell<usize>,
        from: Cell<usize>,
        len: Cell<usize>,
    }

    impl Noted {
        const fn nothing() -> Self {
            Self {
                key: Cell::new(0),
                at: Cell::new(0),
                from: Cell::new(0),
                len: Cell::new(0),
            }
        }
    }

    std::thread_local! {
        static NOTED: [Noted; PLACES] = const { [const { Noted::nothing() }; PLACES] };
    }

    /// The place that this thread noted under `key`, unless it noted another instead since. As
    /// signal-safe as [`thread_index`]: a handler may note a place of its own in between, even between
    /// two parts, so it is no more than a hint.
    #[inline(always)]
    #[must_use]
    pub fn thread_place(key: usize) -> Option<super::ThreadPlace> {
        NOTED.with(|noted| {
            let noted = &noted[key % PLACES];
            let place = super::ThreadPlace {
                at: noted.at.get(),
                from: noted.from.get(),
                len: noted.len.get(),
            };
            (noted.key.get() == key && place.len > 0).then_some(place)
        })
    }

    /// Notes a place for this thread under `key`. One without a length is none.
    pub fn set_thread_place(key: usize, place: super::ThreadPlace) {
        NOTED.with(|noted| {
            let noted = &noted[key % PLACES];
            noted.key.set(key);
            noted.at.set(place.at);
            noted.from.set(place.from);
            noted.len.set(place.len);
        });
    }

    /// Notes where this thread found something, in the place that it has noted under `key`.
    #[inline(always)]
    pub fn move_thread_place(key: usize, at: usize) {
        NOTED.with(|noted| noted[key % PLACES].at.set(at));
    }

    #[cfg(test)]
    mod tests {
        use super::super::ThreadPlace;
        use super::*;

        fn place(at: usize, len: usize) -> ThreadPlace {
            ThreadPlace { at, from: 64, len }
        }

        #[test]
        fn threads_have_numbers_of_their_own() {
            let number = || std::thread::spawn(thread_index).join().unwrap();
            let mut numbers = [(); 8].map(|()| number());
            numbers.sort_unstable();
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
            assert_eq!(thread_index(), thread_index());
            assert!(numbers[7] < 1 << 16, "given out in order");
        }

        #[test]
        fn a_thread_remembers_places_by_their_keys() {
            let keys = [100, 101, 102, 103];
            for (at, key) in (100..).zip(keys) {
                assert_eq!(thread_place(key), None);
                set_thread_place(key, place(at, 512));
            }
            let noted = keys.map(thread_place);
            assert_eq!(noted, [100, 101, 102, 103].map(|at| Some(place(at, 512))));
            move_thread_place(keys[2], 7);
            assert_eq!(thread_place(keys[2]), Some(place(7, 512)));
            assert_eq!(thread_place(keys[1]), Some(place(101, 512)));
            // One that is noted instead, and one without a length.
            set_thread_place(keys[0] + PLACES, place(9, 1));
            assert_eq!(thread_place(keys[0]), None);
            set_thread_place(keys[0], place(9, 0));
            assert_eq!(thread_place(keys[0]), None);
            // Others have their own.
            let theirs = std::thread::spawn(move || thread_place(keys[2]));
            assert_eq!(theirs.join().unwrap(), None);
        }
    }
}
