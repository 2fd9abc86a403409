//! Where each thread allocates: the regions that a thread remembers in the chunks that it used last.
//!
//! In models, threads remember nothing, so that every execution runs alike. Nor do they without the feature `std`: they
//! have no storage of their own there.

use genpool_core::Granule;

#[cfg(any(genpool_loom, not(feature = "std")))]
pub(crate) use self::forgetful::*;
#[cfg(all(feature = "std", not(genpool_loom)))]
pub(crate) use self::real::*;

/// The region of a chunk in which a thread allocates, in granules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadPlace {
    /// Where the thread last found something.
    pub(crate) at: usize,
    /// Where its region begins.
    pub(crate) from: usize,
    /// How long its region is.
    pub(crate) len: usize,
}

impl ThreadPlace {
    /// Returns true if the granule lies in the region. Wraps if the region does not fit the chunk. The result does not
    /// matter then: a region is a preference.
    #[inline(always)]
    pub(crate) fn contains(self, granule: Granule) -> bool {
        granule.0.wrapping_sub(self.from) < self.len
    }
}

#[cfg(all(feature = "std", not(genpool_loom)))]
mod real {
    use std::cell::Cell;

    use super::ThreadPlace;

    /// The number of places that a thread remembers. Most threads use fewer chunks than this in turn (2026-11).
    const PLACES: usize = 4;

    /// A place and its key. Length 0 means that there is no place.
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
        // Constant-initialised and without a destructor, so the first use allocates nothing.
        static NOTED: [Noted; PLACES] = const { [const { Noted::nothing() }; PLACES] };
    }

    /// Returns the place that this thread noted under `key`, unless another has replaced it since. As signal-safe as
    /// [`thread_index`](genpool_core::sync::thread_index). A signal handler may note a place of its own in between,
    /// even between two fields, so the result is only a hint.
    #[inline(always)]
    #[must_use]
    pub(crate) fn thread_place(key: usize) -> Option<ThreadPlace> {
        NOTED.with(|noted| {
            let noted = &noted[key % PLACES];
            let place = ThreadPlace {
                at: noted.at.get(),
                from: noted.from.get(),
                len: noted.len.get(),
            };
            (noted.key.get() == key && place.len > 0).then_some(place)
        })
    }

    /// Notes a place for this thread under `key`. A place of length 0 counts as none.
    pub(crate) fn set_thread_place(key: usize, place: ThreadPlace) {
        NOTED.with(|noted| {
            let noted = &noted[key % PLACES];
            noted.key.set(key);
            noted.at.set(place.at);
            noted.from.set(place.from);
            noted.len.set(place.len);
        });
    }

    /// Records where this thread found something, in the place that it has noted under `key`.
    #[inline(always)]
    pub(crate) fn move_thread_place(key: usize, at: usize) {
        NOTED.with(|noted| noted[key % PLACES].at.set(at));
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn place(at: usize, len: usize) -> ThreadPlace {
            ThreadPlace { at, from: 64, len }
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
            // A place that replaces another, and one without a length.
            set_thread_place(keys[0] + PLACES, place(9, 1));
            assert_eq!(thread_place(keys[0]), None);
            set_thread_place(keys[0], place(9, 0));
            assert_eq!(thread_place(keys[0]), None);
            // Other threads have places of their own.
            let theirs = std::thread::spawn(move || thread_place(keys[2]));
            assert_eq!(theirs.join().unwrap(), None);
        }
    }
}

#[cfg(any(genpool_loom, not(feature = "std")))]
mod forgetful {
    use super::ThreadPlace;

    /// Returns `None`.
    pub(crate) fn thread_place(_key: usize) -> Option<ThreadPlace> {
        None
    }

    /// Does nothing.
    pub(crate) fn set_thread_place(_key: usize, _place: ThreadPlace) {}

    /// Does nothing.
    pub(crate) fn move_thread_place(_key: usize, _at: usize) {}
}
