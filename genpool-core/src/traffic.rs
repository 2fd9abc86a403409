//! How a caller that found no room proves it.
//!
//! A scan reads words one after the other while others allocate and free, so finding nothing
//! proves nothing: a hole may have moved from ahead of the scan to behind it, or bits were taken
//! by a claim that was rolled back later. The proof is a pair of equal readings around the scan.
//!
//! - An operation whose bits lie in several words (and any other that must count as one step)
//!   announces itself before its first change and, done or rolled back, takes that back and adds
//!   one to the epoch in the same step: [`Traffic::cross`].
//! - An operation inside one word is atomic by itself. It pays one load: after the change, and
//!   before it returns, it adds one to the epoch if somebody is watching: [`Traffic::changed`].
//! - A caller that found nothing becomes a watcher, reads, scans every bit again, and reads again.
//!
//! # Why equal readings with nothing in flight prove that there was no fit
//!
//! No operation that crosses words changed a bit between the readings. Every operation inside one
//! word that did is still on its way at the second reading, else the epoch had moved: so none of
//! them comes before another in time, each changed one word, and any choice of which of them came
//! first is a legal order. Choose: those that the scan saw came before this caller, the others
//! after. In that order the words as they were read are the state of the pool at one instant, and
//! there was no fit in it. This needs a scan that reads each word once: of two readings of a word
//! that changed in between, both cannot be the state. It is part of
//! [`Algorithm`](crate::Algorithm)'s contract.
//!
//! Whoever else reads bits and tells what it saw (`avail`, a refused free) may thereby publish a
//! change whose author is still on its way, so it tells the watchers too.
//!
//! Claims must tell the epoch as frees do. Were it frees alone, this would be wrongly refused: a
//! free of two granules behind the scan is stopped before it tells; another thread takes one of
//! the two, and then the only hole ahead of the scan; the second of the two was free all the time.
//! (Model `half-taken free` in `loom-tests`, with its control.)
//!
//! # Orderings
//!
//! "Bits changed, now the watchers" against "watching, now the bits" is store-to-load order:
//! `SeqCst` on both sides.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicUsize, Fault, Ordering, model_fence, seeded, thread_index};

/// Operations that cross words write to a stripe, so that threads seldom share one. Eight: beyond
/// that the bitmap's own lines are what threads meet on (2026-11).
const STRIPES: usize = if cfg!(genpool_loom) { 1 } else { 8 };

/// The low part of a stripe counts operations in flight, the rest is the epoch. 2^16 threads in
/// the middle of an operation (2^10 on 32-bit machines) would overflow it.
const EPOCH: usize = if usize::BITS == 64 { 1 << 16 } else { 1 << 10 };

#[derive(Debug)]
pub(crate) struct Traffic {
    /// {epoch, in flight} each.
    stripes: [CachePadded<AtomicUsize>; STRIPES],
    watchers: CachePadded<AtomicUsize>,
}

/// What a watcher read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The sum over the stripes. Epochs only grow, so equal sums are equal epochs.
    epochs: usize,
    in_flight: usize,
}

impl Reading {
    /// Whether nothing but the watcher's own `own` operations was in flight.
    pub(crate) fn is_quiet(self, own: usize) -> bool {
        self.in_flight == own
    }
}

impl Traffic {
    pub(crate) fn new() -> Self {
        Self {
            stripes: core::array::from_fn(|_| CachePadded::new(AtomicUsize::new(0))),
            watchers: CachePadded::new(AtomicUsize::new(0)),
        }
    }

    /// Announces an operation of several steps until the guard is dropped.
    pub(crate) fn cross(&self) -> Crossing<'_> {
        let stripe = &self.stripes[thread_index() % STRIPES];
        if !seeded(Fault::Unannounced) {
            stripe.fetch_add(1, Ordering::SeqCst);
            model_fence();
        }
        Crossing(stripe)
    }

    /// Tells the watchers, if any, that one word changed.
    #[inline]
    pub(crate) fn changed(&self) {
        if self.watchers.load(Ordering::SeqCst) != 0 {
            self.tell();
        }
    }

    #[cold]
    fn tell(&self) {
        self.stripes[thread_index() % STRIPES].fetch_add(EPOCH, Ordering::SeqCst);
    }

    /// Becomes a watcher until the guard is dropped.
    pub(crate) fn watch(&self) -> Watch<'_> {
        self.watchers.fetch_add(1, Ordering::SeqCst);
        model_fence();
        Watch(self)
    }
}

/// An operation of several steps is under way.
#[derive(Debug)]
pub(crate) struct Crossing<'t>(&'t AtomicUsize);

impl Drop for Crossing<'_> {
    fn drop(&mut self) {
        if seeded(Fault::Unannounced) {
            return;
        }
        model_fence();
        // One off the count and one onto the epoch, in one step.
        self.0.fetch_add(EPOCH - 1, Ordering::SeqCst);
    }
}

/// Somebody watches.
#[derive(Debug)]
pub(crate) struct Watch<'t>(&'t Traffic);

impl Watch<'_> {
    pub(crate) fn read(&self) -> Reading {
        model_fence();
        let mut reading = Reading {
            epochs: 0,
            in_flight: 0,
        };
        for stripe in &self.0.stripes {
            let word = stripe.load(Ordering::SeqCst);
            reading.epochs = reading.epochs.wrapping_add(word & !(EPOCH - 1));
            reading.in_flight += word & (EPOCH - 1);
        }
        model_fence();
        reading
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::SeqCst);
    }
}
