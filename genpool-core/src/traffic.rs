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
//! # Remembering a refusal
//!
//! A full pool is asked again and again, and a proof costs a look at every bit. So whoever proved
//! that nowhere `n` granules are free in a row may leave that as a *verdict*, beside the count of
//! watchers. Whoever would tell a watcher takes the verdict back too, before it returns; an operation
//! of several steps does so when it announces itself. As long as the verdict stands, nothing that
//! changed a bit since has returned or told, and the argument above holds for whoever reads it.
//!
//! It is left in two steps, for the time between the proof and the verdict must be covered: first as
//! a *claim*, which everybody takes back like a verdict and nobody believes; then the readings once
//! more; then the claim, if it still stands, becomes the verdict. A version tells one claim from the
//! next. It has half of a word, and on 32-bit machines it comes again after 2^16 changes of the state: if a
//! prover is stopped between its two steps for just so many, and another prover's claim for the same size
//! stands then, it takes that one for its own. The verdict may be wrong then, until something changes. (Models `room beside verdict`, `chunk beside verdict`.)
//!
//! # Orderings
//!
//! "Bits changed, now the watchers" against "watching, now the bits" is store-to-load order:
//! `SeqCst` on both sides.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicUsize, Fault, Ordering, model_fence, seeded, thread_index};

/// Operations that cross words write to a stripe, so that threads seldom share one. Eight: beyond
/// that the bitmap's own lines are what threads meet on (2026-11). Two in small models.
const STRIPES: usize = if cfg!(genpool_small) { 2 } else { 8 };

/// The low part of a stripe counts operations in flight, the rest is the epoch. 2^16 threads in
/// the middle of an operation (2^10 on 32-bit machines) would overflow it.
const EPOCH: usize = if usize::BITS == 64 { 1 << 16 } else { 1 << 10 };

#[derive(Debug)]
pub(crate) struct Traffic {
    /// {epoch, in flight} each.
    stripes: [CachePadded<AtomicUsize>; STRIPES],
    audience: CachePadded<AtomicUsize>,
}

/// A quarter of a word.
const QUARTER: u32 = usize::BITS / 4;

/// Who is to be told of changes: {version, size of the verdict, whether lengths are kept, state of the verdict,
/// number of watchers}. The size has the bits of a quarter less three, so a long run's refusal is not
/// remembered. A quarter of a word counts 2^16 watchers (2^8 on 32-bit machines), less one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Audience(usize);

impl Audience {
    const WATCHERS: usize = (1 << QUARTER) - 1;
    const CLAIMED: usize = 1 << QUARTER;
    const STANDS: usize = 2 << QUARTER;
    const STATE: usize = 3 << QUARTER;
    const LENGTHS: usize = 4 << QUARTER;
    const SIZE_SHIFT: u32 = QUARTER + 3;
    const VERSION: usize = 1 << (2 * QUARTER);
    const MAX_SIZE: usize = (1 << (QUARTER - 3)) - 1;

    fn watches(self) -> bool {
        self.0 & (Self::WATCHERS | Self::STATE) != 0
    }

    #[inline(always)]
    fn is_empty(self) -> bool {
        self.0 & (Self::WATCHERS | Self::STATE | Self::LENGTHS) == 0
    }

    fn has_verdict(self) -> bool {
        self.0 & Self::STATE != 0
    }

    /// The size from which on requests are refused.
    #[inline(always)]
    fn verdict(self) -> Option<usize> {
        (self.0 & Self::STATE == Self::STANDS).then_some(self.size())
    }

    #[inline(always)]
    fn size(self) -> usize {
        self.0 >> Self::SIZE_SHIFT & Self::MAX_SIZE
    }

    /// The same watchers, another state.
    fn next(self, state: usize, size: usize) -> Self {
        let step = if seeded(Fault::UnversionedClaim) {
            0
        } else {
            Self::VERSION
        };
        let version = (self.0 & !(Self::VERSION - 1)).wrapping_add(step);
        Self(version | size << Self::SIZE_SHIFT | state | self.0 & (Self::LENGTHS | Self::WATCHERS))
    }

    /// The same claim, whoever watches.
    fn is_same(self, other: Self) -> bool {
        (self.0 ^ other.0) & !(Self::LENGTHS | Self::WATCHERS) == 0
    }
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
            audience: CachePadded::new(AtomicUsize::new(0)),
        }
    }

    #[inline(always)]
    fn audience(&self) -> Audience {
        // SeqCst: after the change that is to be told (pairs with `watch` and `Watch::remember`).
        Audience(self.audience.load(Ordering::SeqCst))
    }

    fn exchange(&self, old: Audience, new: Audience) -> Result<(), Audience> {
        // SeqCst: as `audience`. Relaxed where another change came first: what is read is no older than
        // what `audience` read before.
        self.audience
            .compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::Relaxed)
            .map(drop)
            .map_err(Audience)
    }

    /// Announces an operation of several steps until the guard is dropped.
    pub(crate) fn cross(&self) -> Crossing<'_> {
        let stripe = &self.stripes[thread_index() % STRIPES];
        if !seeded(Fault::Unannounced) {
            stripe.fetch_add(1, Ordering::SeqCst);
            model_fence();
            self.forget();
        }
        Crossing(stripe)
    }

    /// Whether a change need not be told, to watchers or as a length, by who has made it.
    #[inline(always)]
    pub(crate) fn is_unheeded(&self) -> bool {
        self.audience().is_empty()
    }

    /// Whether changes are to be told as lengths (see `bitmap/lengths.rs`).
    #[inline(always)]
    pub(crate) fn keeps_lengths(&self) -> bool {
        self.audience().0 & Audience::LENGTHS != 0
    }

    /// Has all changes from now on told as lengths.
    #[inline]
    pub(crate) fn keep_lengths(&self) {
        if !self.keeps_lengths() {
            // SeqCst: before the first look at bits (pairs with `audience`).
            self.audience.fetch_or(Audience::LENGTHS, Ordering::SeqCst);
            model_fence();
        }
    }

    /// Tells the watchers, if any, that one word changed.
    #[inline(always)]
    pub(crate) fn changed(&self) {
        if self.audience().watches() {
            self.tell();
        }
    }

    #[cold]
    #[inline(never)]
    fn tell(&self) {
        self.stripes[thread_index() % STRIPES].fetch_add(EPOCH, Ordering::SeqCst);
        model_fence();
        if !seeded(Fault::KeptVerdict) {
            self.forget();
        }
    }

    /// Takes the verdict back.
    fn forget(&self) {
        let mut seen = self.audience();
        while seen.has_verdict() {
            match self.exchange(seen, seen.next(0, 0)) {
                Ok(()) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Whether it is proved that nowhere `n` granules are free in a row.
    #[inline(always)]
    pub(crate) fn is_refused(&self, n: usize) -> bool {
        self.audience().verdict().is_some_and(|size| n >= size)
    }

    /// Becomes a watcher until the guard is dropped, unless there are as many as can be counted.
    pub(crate) fn watch(&self) -> Option<Watch<'_>> {
        let mut seen = self.audience();
        while seen.0 & Audience::WATCHERS != Audience::WATCHERS {
            match self.exchange(seen, Audience(seen.0 + 1)) {
                Ok(()) => {
                    model_fence();
                    return Some(Watch(self));
                }
                Err(now) => seen = now,
            }
        }
        None
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
        let passed = if seeded(Fault::KeptEpoch) { 0 } else { EPOCH };
        // One off the count and one onto the epoch, in one step. Release: who reads that it is over sees
        // all its changes (pairs with `Watch::read`). Whoever reads too late that it is over reads that it
        // is in flight, and proves nothing.
        // Not caught: the changes are `SeqCst`, and what loom and Miri execute later reads none of them
        // older.
        self.0.fetch_add(passed.wrapping_sub(1), Ordering::Release);
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

impl Watch<'_> {
    /// Leaves the verdict that nowhere `n` granules are free in a row, which was proved since the
    /// reading `before`, if that still holds; `list_stands` says whether the chunk list is the same.
    pub(crate) fn remember(&self, n: usize, before: Reading, list_stands: impl Fn() -> bool) {
        let traffic = self.0;
        let seen = traffic.audience();
        // A stronger verdict stands, or somebody else is about to leave one.
        let idle = !seen.has_verdict() || seen.verdict().is_some_and(|size| n < size);
        let claim = seen.next(Audience::CLAIMED, n);
        if n > Audience::MAX_SIZE || !idle || traffic.exchange(seen, claim).is_err() {
            return;
        }
        let holds = seeded(Fault::HastyVerdict) || (self.read() == before && list_stands());
        let mut now = traffic.audience();
        while now.is_same(claim) {
            let (state, size) = if holds { (Audience::STANDS, n) } else { (0, 0) };
            match traffic.exchange(now, now.next(state, size)) {
                Ok(()) => return,
                Err(changed) => now = changed,
            }
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // Relaxed: an operation that this watcher's scan saw the effect of has looked for watchers, or has
        // not returned, before.
        self.0.audience.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use super::*;

    /// Leaves the verdict, as one who proved it just now.
    fn prove(traffic: &Traffic, n: usize) {
        let watch = traffic.watch().unwrap();
        let before = watch.read();
        watch.remember(n, before, || true);
    }

    #[test]
    fn no_more_watch_than_are_counted() {
        let traffic = Traffic::new();
        let last_but_one = Audience::WATCHERS - 1;
        traffic.audience.store(last_but_one, Ordering::SeqCst);
        let last = traffic.watch().unwrap();
        assert!(traffic.watch().is_none() && traffic.watch().is_none());
        assert!(traffic.audience().watches() && !traffic.audience().has_verdict());
        let before = last.read();
        traffic.changed();
        assert_ne!(last.read(), before);
        drop(last);
        assert_eq!(traffic.audience.load(Ordering::SeqCst), last_but_one);
    }

    #[test]
    fn watchers_are_told_what_moves() {
        let traffic = Traffic::new();
        assert!(traffic.is_unheeded());
        let watches = [(); 2].map(|()| traffic.watch().unwrap());
        assert!(!traffic.is_unheeded());
        let before = watches[0].read();
        assert_eq!(watches[1].read(), before);
        assert!(before.is_quiet(0));
        traffic.changed();
        let changed = watches[0].read();
        assert_ne!(changed, before);
        assert!(changed.is_quiet(0));
        let crossings = [traffic.cross(), traffic.cross()];
        let crossed = watches[0].read();
        assert!(crossed.is_quiet(2) && !crossed.is_quiet(0));
        drop(crossings);
        let done = watches[0].read();
        assert!(done.is_quiet(0) && done != changed);
        // As long as one of them is there.
        let [first, second] = watches;
        drop(first);
        traffic.changed();
        assert_ne!(second.read(), done);
        drop(second);
        assert!(traffic.is_unheeded());
    }

    #[test]
    fn every_stripe_is_read() {
        let traffic = Traffic::new();
        let watch = traffic.watch().unwrap();
        for stripe in &traffic.stripes {
            let before = watch.read();
            // Begun and ended by a thread on that stripe.
            stripe.fetch_add(1, Ordering::SeqCst);
            let crossing = Crossing(stripe);
            let during = watch.read();
            assert!(during.is_quiet(1) && !during.is_quiet(0));
            drop(crossing);
            let after = watch.read();
            assert!(after.is_quiet(0) && after != before);
        }
    }

    #[test]
    fn changes_on_two_stripes_do_not_cancel_out() {
        for (at, one) in (0..).zip([0, 1, 2, STRIPES - 2]) {
            for other in one + 1..STRIPES {
                let traffic = Traffic::new();
                let watch = traffic.watch().unwrap();
                // Equally far to begin with, or not.
                traffic.stripes[one].fetch_add(at * EPOCH, Ordering::SeqCst);
                let before = watch.read();
                for stripe in [one, other] {
                    traffic.stripes[stripe].fetch_add(EPOCH, Ordering::SeqCst);
                }
                assert_ne!(watch.read(), before, "{one} and {other}");
            }
        }
    }

    #[test]
    fn threads_are_on_different_stripes_and_all_are_read() {
        let traffic = Traffic::new();
        let watch = traffic.watch().unwrap();
        let begun = std::sync::Barrier::new(STRIPES + 1);
        let read = std::sync::Barrier::new(STRIPES + 1);
        std::thread::scope(|scope| {
            for _ in 0..STRIPES {
                scope.spawn(|| {
                    let crossing = traffic.cross();
                    begun.wait();
                    read.wait();
                    drop(crossing);
                });
            }
            begun.wait();
            assert!(watch.read().is_quiet(STRIPES));
            let used = |stripe: &&CachePadded<AtomicUsize>| stripe.load(Ordering::SeqCst) != 0;
            // Other tests may have numbered threads in between.
            assert!(traffic.stripes.iter().filter(used).count() > 1);
            read.wait();
        });
        assert!(watch.read().is_quiet(0));
    }

    #[test]
    fn a_refusal_is_remembered_until_something_moves() {
        let traffic = Traffic::new();
        let moves: [fn(&Traffic); 2] = [Traffic::changed, |traffic| drop(traffic.cross())];
        assert!(!traffic.is_refused(usize::MAX));
        for moves in moves {
            prove(&traffic, 5);
            let refused = [1, 4, 5, 6, usize::MAX].map(|n| traffic.is_refused(n));
            assert_eq!(refused, [false, false, true, true, true]);
            assert!(!traffic.is_unheeded());
            moves(&traffic);
            assert!(!traffic.is_refused(usize::MAX) && traffic.is_unheeded());
        }
    }

    #[test]
    fn the_strongest_refusal_stands() {
        let traffic = Traffic::new();
        let most = Audience::MAX_SIZE;
        for (n, stands) in [
            (most + 1, None),
            (most, Some(most)),
            (9, Some(9)),
            (12, Some(9)),
            (1, Some(1)),
        ] {
            prove(&traffic, n);
            assert_eq!(traffic.audience().verdict(), stands, "{n}");
            assert_eq!(traffic.audience().0 & Audience::WATCHERS, 0);
        }
    }

    #[test]
    fn what_is_no_longer_proved_is_not_remembered() {
        let traffic = Traffic::new();
        let watch = traffic.watch().unwrap();
        let before = watch.read();
        watch.remember(5, before, || false);
        assert!(!traffic.is_refused(5));
        traffic.changed();
        watch.remember(5, before, || true);
        assert!(!traffic.is_refused(5));
        // Something moves, or somebody else looks, between the claim and the verdict.
        watch.remember(5, watch.read(), || {
            traffic.changed();
            true
        });
        assert!(!traffic.is_refused(5));
        watch.remember(5, watch.read(), || {
            drop(traffic.watch());
            assert!(!traffic.is_refused(5), "a claim is no verdict");
            prove(&traffic, 3);
            true
        });
        assert!(traffic.is_refused(5) && !traffic.is_refused(4));
    }
    #[test]
    fn a_claim_that_was_taken_back_is_not_taken_for_an_equal_one() {
        let traffic = Traffic::new();
        let watch = traffic.watch().unwrap();
        watch.remember(5, watch.read(), || {
            traffic.changed();
            // Another caller claims the same size, and has not looked at the readings again yet.
            let seen = traffic.audience();
            traffic
                .exchange(seen, seen.next(Audience::CLAIMED, 5))
                .unwrap();
            true
        });
        assert!(
            !traffic.is_refused(5),
            "nobody has proved that since the change"
        );
        assert!(
            traffic.audience().has_verdict(),
            "the other claim still stands"
        );
    }

    #[test]
    fn no_two_states_in_a_row_are_equal() {
        // The version wraps, and leaves all else alone.
        let last = !(Audience::VERSION - 1);
        for before in [0, Audience::VERSION, last, last | Audience::LENGTHS | 3] {
            let mut state = Audience(before);
            for (next, size) in [(Audience::CLAIMED, 5), (0, 0), (Audience::CLAIMED, 5)] {
                let after = state.next(next, size);
                assert!(!after.is_same(state));
                assert_eq!(after.size(), size);
                assert_eq!(after.0 & Audience::STATE, next);
                let kept = Audience::LENGTHS | Audience::WATCHERS;
                assert_eq!(after.0 & kept, before & kept);
                state = after;
            }
            assert!(
                !state.is_same(Audience(before).next(Audience::CLAIMED, 5)),
                "two claims"
            );
        }
    }
}
