//! In-flight operations and epochs: how a caller that found no room proves it.
//!
//! A scan reads words one after the other while other threads allocate and free, so finding nothing proves nothing.
//! A hole may have moved from ahead of the scan to a place already scanned, or bits may have been taken by a claim
//! that was rolled back later. The proof is a pair of equal readings around the scan.
//!
//! # The protocol
//!
//! - An operation whose bits lie in several words, or that must count as one step for another reason, takes an
//!   in-flight guard before its first change ([`Activity::enter`]). When the operation is done or rolled back, one
//!   atomic step takes it off the count in flight and adds one to the epoch.
//! - An operation inside one word is atomic by itself and pays one load. After its change, and before it returns,
//!   it adds one to the epoch if there is a prober ([`Activity::notify`]).
//! - A caller that found nothing becomes a prober ([`Activity::probe`]), reads the epochs, scans every bit again,
//!   and reads the epochs again. It reports `Exhausted` only if the readings are equal, nothing was in flight, and
//!   the chunk list is still the same.
//!
//! The counts and epochs are in stripes, each shared by few threads. They belong to the pool, not to a chunk,
//! because a proof covers all chunks at once.
//!
//! # Why equal readings with nothing in flight prove that there was no room
//!
//! No operation that crosses words changed a bit between the readings. Every operation inside one word that did is
//! still under way at the second reading, or the epoch would have moved. So all of them overlap the second reading,
//! are concurrent with one another, and may be put in any order. Choose the order in which those that the scan saw
//! come before this caller, and the others after it. In that order, the words as they were read are the state of the
//! pool at one instant, and there was no room in it.
//!
//! The order is free only as long as nobody knows of another one. So there is one rule for every call: *it returns
//! nothing that depends on a change still under way unless it has notified*. Then a call that depends on such a change
//! is after the second reading too, or the reading shows it.
//!
//! # What the proof requires
//!
//! - *Each word is read once.* A scan that reads a word twice may see it in two states, and no order of the
//!   operations under way may allow both. So the pass that finds nothing never skips a word to return to it. Next fit
//!   and start positions of a thread end with a pass over the whole chunk, and the contract of
//!   [`Algorithm`](crate::Algorithm) asks the same of a user's algorithm. A prober makes two such passes between its
//!   readings, by the algorithm and by no rules at all. Each is a proof by itself: the first of the answer, the second
//!   of the cached refusal.
//! - *Claims notify as frees do.* If only frees did, this caller would be wrongly refused: a free of two granules
//!   that the scan has passed is stopped before it notifies. Another thread takes one of the two and returns, and
//!   then takes the only hole ahead of the scan. The second of the two granules was free all the time. (Model
//!   `half-taken free` in `loom-tests`, and its control `UnnotifiedClaim`.)
//! - *A reader that reveals what it read notifies too.* A query such as `avail`, a refused free, or the refusal of an
//!   algorithm that may not use the room there is may publish a change whose author is still under way. What another
//!   thread does because of it then comes after that change, and so does its next call. (Models `answer before free`,
//!   `refusal before room`.) The refusal of a request that fits nowhere reveals such changes to the other probers, and
//!   notifies only them: in the order above it is consistent with every cached refusal. It has a count of its own,
//!   which the second reading includes, and which is raised before the refusal is returned or cached. (Model `refusal
//!   before claim`.)
//!
//! | answer | notifies |
//! |---|---|
//! | a claim, a release | the probers, and withdraws the cached refusal |
//! | a query, a refused free or resize; `Impossible`, `Taken`, `BadProposal`; `Exhausted` where another algorithm has room | the same |
//! | `Exhausted` where nothing fits at all | the other probers |
//! | `Exhausted` from the cached refusal | nobody: it shows nothing newer than that refusal |
//! | `Contended` | nobody: it shows nothing |
//! | the removal of a chunk | nobody: room only goes, and a proof compares the chunk list |
//!
//! - *A change of several parts is not revealed by halves.* `arc_swap` lists a chunk before readers can reach it,
//!   so a thread that reads the list first brings the readers up to it (model `listed chunk`). With boundary tags
//!   the ownership word is given up before the bits are cleared, so both happen under one in-flight guard (model
//!   `listed free`).
//!
//! # When a failure cannot be proved
//!
//! After a bounded number of attempts at the proof a caller reports `Contended`. An operation that crosses words
//! and is stopped in the middle makes other callers report `Contended` where they would report `Exhausted`. It
//! never keeps them from finding room. A signal handler that interrupted such an operation gets `Contended` however
//! often it tries.
//!
//! # Cached refusals
//!
//! A full pool is asked again and again, and a proof reads every word. So a prober that has proved that nowhere `n`
//! granules are free in a row may leave that as a *cached refusal*, in the word that counts the probers. It refuses
//! requests of `n` and more granules after one load.
//!
//! A cached refusal acts as a prober that stays. An operation that would notify a prober also withdraws the cached
//! refusal before it returns; an operation of several steps does so when it takes its guard. As in the proof, this
//! includes claims, and queries that reveal room or a new chunk. While the cached refusal stands, no operation that
//! changed a bit since has returned or notified, and the argument above holds for every caller that reads it.
//!
//! It is left in two steps, because an operation may come between the proof and the cached refusal. The prober
//! first leaves a *reservation*, which is withdrawn as a cached refusal is, but refuses nothing. Then it reads the
//! epochs and looks at the chunk list once more. If neither has changed, and the reservation still stands, the
//! reservation becomes the cached refusal. (Models `room vs cached refusal`, `chunk vs cached refusal`.)
//!
//! A version tells one reservation from the next. It has half of a word, so on 32-bit machines it comes again after
//! 2^16 changes of the state. If a prober is stopped between its two steps for just so many changes, and another
//! prober's reservation for the same size stands then, it takes that one for its own. The cached refusal may then
//! be wrong until something changes.
//!
//! # Orderings
//!
//! "Bits changed, now the probers" against "prober registered, now the bits" is store-to-load order: `SeqCst` on
//! both sides.

use crossbeam_utils::CachePadded;

use crate::sync::{
    AtomicUsize, Fault, Ordering, array_of, const_fn, model_fence, seeded, thread_index,
};

/// Operations that cross words write to a stripe, so that threads seldom share one. With more than eight, threads
/// meet on the lines of the bitmap instead (2026-11). Two in small models.
const STRIPES: usize = if cfg!(genpool_small) { 2 } else { 8 };

/// One step of the epoch. The low part of a stripe counts operations in flight, and the rest is the epoch. 2^16
/// threads in the middle of an operation (2^10 on 32-bit machines) would overflow the count.
const EPOCH: usize = if usize::BITS == 64 { 1 << 16 } else { 1 << 10 };

#[derive(Debug)]
pub(crate) struct Activity {
    /// {epoch, in flight} each.
    stripes: [CachePadded<AtomicUsize>; STRIPES],
    listeners: CachePadded<AtomicUsize>,
    /// How often a prober has answered that a request fits nowhere.
    refusals: CachePadded<AtomicUsize>,
}

/// Bits in a quarter of a word.
const QUARTER: u32 = usize::BITS / 4;

/// What depends on changes: {version, size of the cached refusal, whether run indexes are kept, state of the cached
/// refusal, number of probers}. The size has the bits of a quarter less three, so the refusal of a longer run is
/// not cached. The number of probers has a quarter of a word: at most 2^16 (2^8 on 32-bit machines) less one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listeners(usize);

impl Listeners {
    const PROBERS: usize = (1 << QUARTER) - 1;
    const RESERVED: usize = 1 << QUARTER;
    const CACHED: usize = 2 << QUARTER;
    const STATE: usize = 3 << QUARTER;
    const RUN_INDEX: usize = 4 << QUARTER;
    const SIZE_SHIFT: u32 = QUARTER + 3;
    const VERSION: usize = 1 << (2 * QUARTER);
    const MAX_SIZE: usize = (1 << (QUARTER - 3)) - 1;

    fn must_notify(self) -> bool {
        self.0 & (Self::PROBERS | Self::STATE) != 0
    }

    #[inline(always)]
    fn is_empty(self) -> bool {
        self.0 & (Self::PROBERS | Self::STATE | Self::RUN_INDEX) == 0
    }

    fn has_refusal(self) -> bool {
        self.0 & Self::STATE != 0
    }

    /// Returns the size from which on requests are refused.
    #[inline(always)]
    fn refused_size(self) -> Option<usize> {
        (self.0 & Self::STATE == Self::CACHED).then_some(self.size())
    }

    #[inline(always)]
    fn size(self) -> usize {
        self.0 >> Self::SIZE_SHIFT & Self::MAX_SIZE
    }

    /// Returns the same probers with another state, and the next version.
    fn next(self, state: usize, size: usize) -> Self {
        let step = if seeded(Fault::UnversionedReservation) {
            0
        } else {
            Self::VERSION
        };
        let version = (self.0 & !(Self::VERSION - 1)).wrapping_add(step);
        Self(
            version | size << Self::SIZE_SHIFT | state | self.0 & (Self::RUN_INDEX | Self::PROBERS),
        )
    }

    /// Returns true if the reservation is the same, whatever probers there are.
    fn is_same(self, other: Self) -> bool {
        (self.0 ^ other.0) & !(Self::RUN_INDEX | Self::PROBERS) == 0
    }
}

/// What a prober read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    changes: Changes,
    refusals: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Changes {
    /// The sum over the stripes. Epochs only grow, so equal sums mean equal epochs.
    epochs: usize,
    in_flight: usize,
}

impl Reading {
    /// Returns true if nothing was in flight but what the prober itself announced (see `chunk_ops/search.rs`).
    pub(crate) fn is_quiet(self, own_guards: usize) -> bool {
        self.changes.in_flight == own_guards
    }
}

impl Activity {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                stripes: array_of!(CachePadded::new(AtomicUsize::new(0))),
                listeners: CachePadded::new(AtomicUsize::new(0)),
                refusals: CachePadded::new(AtomicUsize::new(0)),
            }
        }
    }

    #[inline(always)]
    fn listeners(&self) -> Listeners {
        // SeqCst: comes after the change that is to be notified of (pairs with `probe` and
        // `Prober::cache_refusal`).
        Listeners(self.listeners.load(Ordering::SeqCst))
    }

    fn exchange(&self, old: Listeners, new: Listeners) -> Result<(), Listeners> {
        // SeqCst: as in `listeners`. Relaxed where another change came first: what is read is no older than what
        // `listeners` read before.
        self.listeners
            .compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::Relaxed)
            .map(drop)
            .map_err(Listeners)
    }

    /// Announces an operation of several steps until the guard is dropped.
    pub(crate) fn enter(&self) -> InFlight<'_> {
        let stripe = &self.stripes[thread_index() % STRIPES];
        if !seeded(Fault::Unannounced) {
            stripe.fetch_add(1, Ordering::SeqCst);
            model_fence();
            self.withdraw_refusal();
        }
        InFlight(stripe)
    }

    /// Returns true if no prober, cached refusal or run index depends on the change that the caller has made.
    #[inline(always)]
    pub(crate) fn has_no_listeners(&self) -> bool {
        self.listeners().is_empty()
    }

    /// Returns true if changes are to be recorded in run indexes (see `bitmap/run_index/mod.rs`).
    #[inline(always)]
    pub(crate) fn keeps_run_index(&self) -> bool {
        self.listeners().0 & Listeners::RUN_INDEX != 0
    }

    /// Turns on the recording of changes in run indexes, for good.
    #[inline]
    pub(crate) fn start_run_index(&self) {
        if !self.keeps_run_index() {
            // SeqCst: comes before the first look at bits (pairs with `listeners`).
            self.listeners
                .fetch_or(Listeners::RUN_INDEX, Ordering::SeqCst);
            model_fence();
        }
    }

    /// Notifies the probers, if there are any, that one word changed.
    #[inline(always)]
    pub(crate) fn notify(&self) {
        if self.listeners().must_notify() {
            self.notify_probers();
        }
    }

    #[cold]
    #[inline(never)]
    fn notify_probers(&self) {
        self.stripes[thread_index() % STRIPES].fetch_add(EPOCH, Ordering::SeqCst);
        model_fence();
        if !seeded(Fault::KeptRefusal) {
            self.withdraw_refusal();
        }
    }

    /// Withdraws the cached refusal, or a reservation of one.
    fn withdraw_refusal(&self) {
        let mut seen = self.listeners();
        while seen.has_refusal() {
            match self.exchange(seen, seen.next(0, 0)) {
                Ok(()) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Returns true if it is proved that nowhere `n` granules are free in a row.
    #[inline(always)]
    pub(crate) fn is_refused(&self, n: usize) -> bool {
        self.listeners()
            .refused_size()
            .is_some_and(|size| n >= size)
    }

    /// Registers a prober until the guard is dropped. Returns none if there are as many as can be counted.
    pub(crate) fn probe(&self) -> Option<Prober<'_>> {
        let mut seen = self.listeners();
        while seen.0 & Listeners::PROBERS != Listeners::PROBERS {
            match self.exchange(seen, Listeners(seen.0 + 1)) {
                Ok(()) => {
                    model_fence();
                    return Some(Prober(self));
                }
                Err(now) => seen = now,
            }
        }
        None
    }
}

/// An in-flight guard: an operation of several steps is under way.
#[derive(Debug)]
pub(crate) struct InFlight<'t>(&'t AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if seeded(Fault::Unannounced) {
            return;
        }
        let passed = if seeded(Fault::KeptEpoch) { 0 } else { EPOCH };
        // One off the count and one onto the epoch, in one step. Release: a thread that reads that the operation is
        // over sees all its changes (pairs with `Prober::read`). A thread that does not read it yet reads that the
        // operation is in flight, and proves nothing.
        // Not caught: the changes are `SeqCst`, or a fence comes after them, and what loom and Miri execute later reads none
        // of them older.
        self.0.fetch_add(passed.wrapping_sub(1), Ordering::Release);
    }
}

/// A registered prober.
#[derive(Debug)]
pub(crate) struct Prober<'t>(&'t Activity);

impl Prober<'_> {
    pub(crate) fn read(&self) -> Reading {
        model_fence();
        // SeqCst: an answer that this thread has seen the effects of came before (pairs with `notify_of_refusal`).
        // Not caught: in a model the threads tell each other of an answer by what orders the count too.
        let refusals = self.0.refusals.load(Ordering::SeqCst);
        let changes = self.read_changes();
        Reading { changes, refusals }
    }

    fn read_changes(&self) -> Changes {
        model_fence();
        let mut changes = Changes {
            epochs: 0,
            in_flight: 0,
        };
        for stripe in &self.0.stripes {
            let word = stripe.load(Ordering::SeqCst);
            changes.epochs = changes.epochs.wrapping_add(word & !(EPOCH - 1));
            changes.in_flight += word & (EPOCH - 1);
        }
        model_fence();
        changes
    }

    /// Notifies the other probers that this one is about to answer, or to leave a cached refusal, that a request fits
    /// nowhere. It withdraws no cached refusal.
    pub(crate) fn notify_of_refusal(&self) {
        if !seeded(Fault::UnnotifiedRefusal) {
            // Not caught: as in `Prober::read`.
            self.0.refusals.fetch_add(1, Ordering::SeqCst);
            model_fence();
        }
    }

    /// Caches the refusal that nowhere `n` granules are free in a row, if that still holds. It was proved after the
    /// reading `before`. `list_stands` returns whether the chunk list is still the same.
    pub(crate) fn cache_refusal(&self, n: usize, before: Reading, list_stands: impl Fn() -> bool) {
        let activity = self.0;
        let seen = activity.listeners();
        // A stronger cached refusal stands, or another prober is about to leave one.
        let idle = !seen.has_refusal() || seen.refused_size().is_some_and(|size| n < size);
        let reservation = seen.next(Listeners::RESERVED, n);
        if n > Listeners::MAX_SIZE || !idle || activity.exchange(seen, reservation).is_err() {
            return;
        }
        let holds =
            seeded(Fault::HastyRefusal) || (self.read_changes() == before.changes && list_stands());
        let mut now = activity.listeners();
        while now.is_same(reservation) {
            let (state, size) = if holds {
                (Listeners::CACHED, n)
            } else {
                (0, 0)
            };
            match activity.exchange(now, now.next(state, size)) {
                Ok(()) => return,
                Err(changed) => now = changed,
            }
        }
    }
}

impl Drop for Prober<'_> {
    fn drop(&mut self) {
        // Relaxed: an operation whose effect this prober's scan saw has either read the listeners already, or is still
        // running.
        self.0.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(genpool_loom)))]
mod tests;
