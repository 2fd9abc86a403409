//! The caches of a pool, as the pool knows them: how much each of them holds.
//!
//! A cache has a *seat* while it lives. Seats are in a list that only grows and whose seats are taken
//! again once they are left, so there are no more of them than caches lived at one time.
//!
//! # Orderings
//!
//! A seat is pushed with `Release` and reached with `Acquire`, so it is seen whole. It is taken with
//! `Acquire` and left with `Release`, so that of two caches that follow each other on a seat only one
//! writes to it at a time. The counts are `Relaxed`: nothing is concluded from them.

use core::ptr::{self, NonNull};

use alloc::boxed::Box;
use crossbeam_utils::CachePadded;

use super::SIZES;
use crate::sync::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// What one cache holds. Only the cache that has the seat writes here.
#[derive(Debug)]
pub(super) struct Seat {
    /// Unlike that of any other seat of the pool, and below the number of seats.
    number: usize,
    taken: AtomicBool,
    /// The seat that was pushed before; not changed once this one was.
    next: AtomicPtr<Seat>,
    /// How many runs of one granule, of two, and so on. On a line of its own, because it is written
    /// in every call.
    runs: CachePadded<[AtomicUsize; SIZES]>,
}

impl Seat {
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The cache holds `count` runs of `n` granules.
    #[inline]
    pub(super) fn tell(&self, n: usize, count: usize) {
        // A plain store: nobody else writes here.
        self.runs[n - 1].store(count, Ordering::Relaxed);
    }

    /// The cache is gone, and holds nothing.
    pub(super) fn leave(&self) {
        self.taken.store(false, Ordering::Release);
    }

    fn granules(&self) -> usize {
        let counts = self.runs.iter().map(|count| count.load(Ordering::Relaxed));
        counts.zip(1..).map(|(count, n)| count * n).sum()
    }
}

/// # Invariants
///
/// `head` and each seat's `next` are null or came from `Box::into_raw`. A seat that was pushed lives
/// as long as the list.
#[derive(Debug)]
pub(crate) struct Seats {
    head: AtomicPtr<Seat>,
}

impl Seats {
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// A seat that nobody has; a new one if need be, on the heap. Lock-free.
    pub(super) fn take(&self) -> &Seat {
        let left = self.iter().find(|seat| {
            // Relaxed: only a hint whether the exchange is worth a try.
            !seat.taken.load(Ordering::Relaxed)
                && seat
                    .taken
                    .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
        });
        left.unwrap_or_else(|| self.push())
    }

    fn push(&self) -> &Seat {
        let mut seat = Box::new(Seat {
            number: 0,
            taken: AtomicBool::new(true),
            next: AtomicPtr::new(ptr::null_mut()),
            runs: CachePadded::new(core::array::from_fn(|_| AtomicUsize::new(0))),
        });
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            // SAFETY: by the invariant it is null or a seat that lives as long as the list.
            let before = unsafe { head.as_ref() };
            seat.number = before.map_or(0, |seat| seat.number + 1);
            // Relaxed: the exchange publishes it.
            seat.next.store(head, Ordering::Relaxed);
            let new = Box::into_raw(seat);
            // AcqRel: the seat goes to others whole, and the one before it came to us whole.
            let pushed = self
                .head
                .compare_exchange(head, new, Ordering::AcqRel, Ordering::Acquire);
            match pushed {
                // SAFETY: it was pushed, so by the invariant it lives as long as the list.
                Ok(_) => return unsafe { &*new },
                Err(now) => head = now,
            }
            // SAFETY: it was not pushed, so it is still ours alone.
            seat = unsafe { Box::from_raw(new) };
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Seat> {
        let mut next = self.head.load(Ordering::Acquire);
        core::iter::from_fn(move || {
            // SAFETY: by the invariant it is null or a seat that lives as long as the list.
            let seat = unsafe { next.as_ref() }?;
            // Relaxed: written before the seat was pushed.
            next = seat.next.load(Ordering::Relaxed);
            Some(seat)
        })
    }

    /// Granules in all caches.
    pub(crate) fn granules(&self) -> usize {
        self.iter().map(Seat::granules).sum()
    }

    /// Bytes of bookkeeping.
    pub(crate) fn footprint(&self) -> usize {
        self.iter().map(size_of_val).sum()
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        // Relaxed: nobody else is there.
        let mut next = self.head.load(Ordering::Relaxed);
        while let Some(seat) = NonNull::new(next) {
            // SAFETY: by the invariant it is a box, and the list, which is gone, was all that had it.
            let seat = unsafe { Box::from_raw(seat.as_ptr()) };
            next = seat.next.load(Ordering::Relaxed);
        }
    }
}
