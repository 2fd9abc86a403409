//! Searches for a run of free granules, and first fit, which claims what it finds.
//!
//! # Orderings
//!
//! Looks that may be part of a proof (`is_free`, `find_exactly`) load with `SeqCst`: see `activity`. All other
//! searches load `Relaxed`. What they find is a proposal, which a claim takes or refuses. When they lower a hint,
//! the bits are looked at again. That they find nothing proves nothing. They still see what a free cleared that
//! returned before, because no word is ever read older than the thread already knows it to be.

use core::hint::{select_unpredictable, spin_loop};

use super::bits::{Bits, Piece};
use super::hints::{LONG, Need};
use super::starts::{AnyStart, Starts};
use super::word::{AtomicWord, FULL, find, find_all, free_prefix, free_suffix, mask};
use super::{Bitmap, Look};
use crate::activity::Activity;
use crate::sync::Ordering;
use crate::units::{Granule, WORD_BITS, WordIndex};

/// How often a word that other threads change at the same time is tried, before the caller looks at the whole
/// bitmap again (2026-11).
const MAX_LOSSES: u32 = 4;

/// The pause is twice this many spin hints after the first loss, and twice as long after each further one
/// (2026-11).
const PAUSES: u32 = 16;

/// The result of a search for a run to claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// A run is claimed, and begins here.
    Found(Granule),
    /// No run was seen.
    Nowhere,
    /// A run was seen, and could not be claimed.
    Missed,
}

impl Bitmap {
    // ---- search ----

    /// Returns the lowest `start` in `from..limit`, among `starts`, at which `n` granules are free. `n` is not
    /// zero.
    #[inline(always)]
    pub(crate) fn find_run<P: Starts>(
        &self,
        from: Granule,
        limit: Granule,
        n: usize,
        starts: P,
        look: Look,
    ) -> Option<Granule> {
        let limit = limit.min(Granule(self.len().checked_sub(n)?.saturating_add(1)));
        if from >= limit {
            return None;
        }
        let found = match look {
            Look::Hinted => self.find_hinted(from, limit, n, starts)?,
            Look::Exact => self.find_exactly(from, limit, n, starts)?,
        };
        (found < limit).then_some(found)
    }

    #[inline(always)]
    fn find_hinted<P: Starts>(
        &self,
        from: Granule,
        limit: Granule,
        n: usize,
        starts: P,
    ) -> Option<Granule> {
        let mut next = from;
        let need = Need::of(n);
        if from.bit() != 0 {
            match self.look_at(from.word(), from.bit(), n, starts) {
                Ok(found) => return Some(found),
                Err(end) => next = end,
            }
        }
        loop {
            let word = self.hints.next(next.word(), need)?;
            if word.granule(0) >= limit {
                return None;
            }
            match self.look_at(word, 0, n, starts) {
                Ok(found) => return Some(found),
                Err(end) => next = end,
            }
            self.lower_hint(word, self.word(word).load(Ordering::Relaxed));
        }
    }

    /// Returns the first of `starts`, from the word of `from` on, at which `n` granules are free inside one word.
    /// Leaves hints as they are, which pays if the next search begins where this one ended.
    #[inline(always)]
    pub(crate) fn find_nearby<P: Starts>(
        &self,
        from: Granule,
        n: usize,
        starts: P,
    ) -> Option<Granule> {
        if n > WORD_BITS {
            return None;
        }
        let word = from.word();
        match self.find_in_two(word, n, starts) {
            Some((piece, _)) => Some(piece.start()),
            None => self.find_further(word.next().next(), n, starts),
        }
    }

    /// Claims `n` free granules inside the word of `from` or the next, at the first place there, if `accept` is true of
    /// it. Leaves hints as they are, as [`find_nearby`](Self::find_nearby) does.
    #[inline(always)]
    pub(crate) fn take_nearby(
        &self,
        from: Granule,
        n: usize,
        accept: impl FnOnce(Granule) -> bool,
        activity: &Activity,
    ) -> Attempt {
        if n > WORD_BITS {
            return Attempt::Nowhere;
        }
        let Some((piece, seen)) = self.find_in_two(from.word(), n, AnyStart) else {
            return Attempt::Nowhere;
        };
        let start = piece.start();
        if !accept(start) {
            return Attempt::Nowhere;
        }
        if Bits::try_claim(self.word(piece.word), piece.mask, seen).is_err() {
            return Attempt::Missed;
        }
        self.claimed(start, n, activity);
        Attempt::Found(start)
    }

    /// Returns the first such place in a word or the next, and the value of its word. There is no branch between the
    /// two words, because it could not be predicted.
    #[inline(always)]
    fn find_in_two<P: Starts>(
        &self,
        word: WordIndex,
        n: usize,
        starts: P,
    ) -> Option<(Piece, usize)> {
        let look = |at: WordIndex, word: &AtomicWord| {
            let seen = word.load(Ordering::Relaxed);
            (seen, find_all(seen, n) & starts.pattern(at.granule(0)))
        };
        let (next, words) = (word.next(), self.bits.words());
        let first = look(word, words.get(word.0)?);
        let second = words.get(next.0).map_or((FULL, 0), |word| look(next, word));
        let is_first = first.1 != 0;
        let seen = select_unpredictable(is_first, first.0, second.0);
        let found = select_unpredictable(is_first, first.1, second.1);
        let word = select_unpredictable(is_first, word, next);
        (found != 0).then(|| (Piece::new(word, found.trailing_zeros() as usize, n), seen))
    }

    /// Returns the first such place from a word on, to the last.
    #[inline(never)]
    fn find_further<P: Starts>(&self, mut word: WordIndex, n: usize, starts: P) -> Option<Granule> {
        // To ask the hints costs as much as to read a word or two (2026-11).
        if let Some((piece, _)) = self.find_in_two(word, n, starts) {
            return Some(piece.start());
        }
        word = word.next().next();
        let need = Need::of(n);
        loop {
            word = self.hints.next(word, need)?;
            let seen = self.word(word).load(Ordering::Relaxed);
            if let Some(at) = find(seen, n, starts.pattern(word.granule(0))) {
                return Some(word.granule(at));
            }
            word = word.next();
        }
    }

    /// Looks among the runs that begin in a word, at bit `from` or above, for `n` free granules at one of `starts`.
    /// Returns where they are, or else, as the error, the granule at which the search goes on.
    #[inline(always)]
    fn look_at<P: Starts>(
        &self,
        word: WordIndex,
        from: usize,
        n: usize,
        starts: P,
    ) -> Result<Granule, Granule> {
        let seen = self.word(word).load(Ordering::Relaxed) | mask(0, from);
        if n <= WORD_BITS
            && let Some(at) = find(seen, n, starts.pattern(word.granule(0)))
        {
            return Ok(word.granule(at));
        }
        let past = word.end();
        let start = Granule(past.0 - free_suffix(seen));
        let place = starts.up(start);
        // The run ends with this word, or the place is so high that nothing fits there.
        let Some(end) = place.0.checked_add(n).filter(|_| start < past) else {
            return Err(past);
        };
        let end = Granule(end);
        let free_to = past.plus(self.bits.free_after(past, end));
        if free_to >= end {
            Ok(place)
        } else {
            // A place further up in the same run has no more room.
            Err(free_to)
        }
    }

    /// Searches as `find_hinted` does, but without the hints. Reads each word once.
    fn find_exactly<P: Starts>(
        &self,
        from: Granule,
        limit: Granule,
        n: usize,
        starts: P,
    ) -> Option<Granule> {
        // The length of the free run that reaches the start of the word.
        let mut carry = 0;
        for word in (from.word().0..self.len().div_ceil(WORD_BITS)).map(WordIndex) {
            let first = word.granule(0);
            // Where that run begins, or else the word.
            let start = Granule(first.0 - carry);
            if start >= limit {
                return None;
            }
            let mut seen = self.word(word).load(Ordering::SeqCst);
            if first < from {
                seen |= mask(0, from.0 - first.0);
            }
            if seen == FULL {
                carry = 0;
                continue;
            }
            let reach = carry + free_prefix(seen);
            if reach >= n {
                let place = starts.up(start);
                if place.0 - start.0 <= reach - n {
                    return Some(place);
                }
            }
            if seen == 0 {
                carry += WORD_BITS;
                continue;
            }
            if n <= WORD_BITS
                && let Some(at) = find(seen, n, starts.pattern(first))
            {
                return Some(word.granule(at));
            }
            carry = free_suffix(seen);
        }
        None
    }

    // ---- search and take ----

    /// Finds and claims the lowest `n` free granules in the simplest case only: they are in the words of the first two
    /// nodes of the hints, and no hint has to be changed. Without the second node, an alloc and a free in a nearly full
    /// pool took half as long again (2026-11). Calls no function, so that its caller keeps everything in registers. The
    /// caller still has to notify the probers.
    #[inline(always)]
    pub(crate) fn take_at_once(&self, n: usize) -> Option<Granule> {
        if n > WORD_BITS {
            return None;
        }
        let (word, hint) = self.hints.in_first_nodes(Need::of(n))?;
        let seen = self.word(word).load(Ordering::Relaxed);
        let at = find(seen, n, FULL)?;
        let piece = Piece::new(word, at, n);
        if hint < LONG && self.run_at(piece, seen) >= hint {
            return None;
        }
        Bits::try_claim(self.word(word), piece.mask, seen).ok()?;
        Some(word.granule(at))
    }

    /// Finds and claims the lowest `n` free granules, at most [`WORD_BITS`].
    #[inline(always)]
    pub(crate) fn take_lowest(&self, n: usize, activity: &Activity) -> Attempt {
        let need = Need::of(n);
        while let Some(mut sighting) = self.hints.sight(need) {
            let word = sighting.word;
            let mut seen = self.word(word).load(Ordering::Relaxed);
            let mut lost = 0;
            while let Some(at) = find(seen, n, FULL) {
                let piece = Piece::new(word, at, n);
                let low = self.hint_after(piece, seen, sighting.hint());
                match Bits::try_claim(self.word(word), piece.mask, seen) {
                    Ok(()) => {
                        if let Some(low) = low {
                            let then = seen | piece.mask;
                            self.hints.lower_sighted(&sighting, low, || {
                                self.longest_now(word, then, low)
                            });
                        }
                        let start = word.granule(at);
                        self.claimed(start, n, activity);
                        return Attempt::Found(start);
                    }
                    Err(_) if lost < MAX_LOSSES => lost += 1,
                    Err(_) => return Attempt::Missed,
                }
                // The thread that was faster has the cache line, and goes on with it meanwhile.
                (0..PAUSES << lost).for_each(|_| spin_loop());
                seen = self.word(word).load(Ordering::Relaxed);
                sighting = self.hints.sight_again(word);
            }
            let (past, suffix) = (word.end(), free_suffix(seen));
            if suffix > 0 && suffix + self.bits.free_after(past, Granule(past.0 + n - suffix)) == n
            {
                return self.take_across(Granule(past.0 - suffix), n, activity);
            }
            self.lower_hint(word, seen);
        }
        Attempt::Nowhere
    }

    /// Claims a run that crosses into the next word, and lowers the hints of both.
    #[inline(never)]
    fn take_across(&self, start: Granule, n: usize, activity: &Activity) -> Attempt {
        if self.claim_across(start, n, activity).is_err() {
            return Attempt::Missed;
        }
        for word in [start.word(), start.word().next()] {
            if self.hints.get(word) < LONG {
                self.lower_hint(word, self.word(word).load(Ordering::Relaxed));
            }
        }
        Attempt::Found(start)
    }

    /// Returns the hint that a word seen as `seen` has once `piece` is claimed, if it is to be lowered: if the piece is
    /// the beginning of the longest run. A single granule that fills the word is the exception. One look shows that the
    /// word is full, and where single granules come and go in a full pool, the next change is likely to be its release.
    #[inline(always)]
    fn hint_after(&self, piece: Piece, seen: usize, hint: usize) -> Option<usize> {
        let now = seen | piece.mask;
        let is_single = piece.mask & (piece.mask - 1) == 0;
        (hint < LONG && !(now == FULL && is_single) && self.run_at(piece, seen) >= hint)
            .then(|| self.longest_from_seen(piece.word, now))
            .filter(|&low| low < hint)
    }

    /// Returns the length of the free run that begins with `piece` in a word seen as `seen`.
    #[inline(always)]
    fn run_at(&self, piece: Piece, seen: usize) -> usize {
        let bit = piece.mask.trailing_zeros() as usize;
        let run = free_prefix(seen >> bit);
        if bit + run < WORD_BITS {
            return run;
        }
        WORD_BITS - bit + self.bits.free_prefix_of(piece.word.next())
    }
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use super::super::NotTaken;
    use super::*;

    /// Where word `at` begins.
    const fn word(at: usize) -> usize {
        at * WORD_BITS
    }

    /// Words of a node of hints.
    const NODE: usize = size_of::<usize>();

    // A weak compare-exchange may fail spuriously, on some machines and in Miri.

    fn at_once(bitmap: &Bitmap, n: usize) -> Option<Granule> {
        (0..100).find_map(|_| bitmap.take_at_once(n))
    }

    fn lowest(bitmap: &Bitmap, n: usize, activity: &Activity) -> Attempt {
        let mut searches = (0..100).map(|_| bitmap.take_lowest(n, activity));
        let settled = searches.find(|&search| search != Attempt::Missed);
        settled.unwrap_or(Attempt::Missed)
    }

    /// A bitmap of `words` words that are all taken, with hints that say so.
    fn full(words: usize) -> (Bitmap, Activity) {
        let (bitmap, activity) = (Bitmap::new(word(words), None).unwrap(), Activity::new());
        bitmap.claim(Granule(0), word(words), &activity).unwrap();
        assert_eq!(lowest(&bitmap, 1, &activity), Attempt::Nowhere);
        (bitmap, activity)
    }

    /// Releases the run. Returns true if there was nothing left to settle.
    fn is_settled(bitmap: &Bitmap, start: usize, n: usize, activity: &Activity) -> bool {
        let released = bitmap.release_in_word(Granule(start), n).unwrap();
        let settled = bitmap.is_settled(released);
        bitmap.complete_release(released, activity).unwrap();
        assert!(bitmap.is_sound());
        settled
    }

    #[test]
    fn the_simplest_case_is_taken_at_once() {
        let (bitmap, activity) = (Bitmap::new(word(24), None).unwrap(), Activity::new());
        assert_eq!(at_once(&bitmap, 3), Some(Granule(0)));
        assert_eq!(at_once(&bitmap, 2), Some(Granule(3)));
        assert_eq!(at_once(&bitmap, WORD_BITS + 1), None);
        bitmap.claim(Granule(5), word(NODE) - 5, &activity).unwrap();
        // The hints of the first words are to be lowered first.
        assert_eq!(at_once(&bitmap, 1), None);
        assert_eq!(
            lowest(&bitmap, 1, &activity),
            Attempt::Found(Granule(word(NODE)))
        );
        // The first node has nothing.
        assert_eq!(at_once(&bitmap, 1), Some(Granule(word(NODE) + 1)));
        let rest = Granule(word(NODE) + 2);
        bitmap.claim(rest, word(NODE) - 2, &activity).unwrap();
        // Nor has the second.
        assert_eq!(at_once(&bitmap, 1), None);
        let bitmap = Bitmap::new(WORD_BITS, None).unwrap();
        assert_eq!(at_once(&bitmap, WORD_BITS), Some(Granule(0)));
    }

    #[test]
    fn each_change_of_bits_notifies_the_probers() {
        let (bitmap, activity) = (Bitmap::new(word(4), None).unwrap(), Activity::new());
        let prober = activity.probe().unwrap();
        let mut last = prober.read();
        let mut observed = |by| {
            let now = prober.read();
            assert!(now != last && now.is_quiet(0), "{by}");
            last = now;
        };
        bitmap.claim(Granule(0), 3, &activity).unwrap();
        observed("a claim");
        bitmap.claim(Granule(word(1) - 3), 9, &activity).unwrap();
        observed("a claim across words");
        bitmap
            .claim(Granule(word(1) - 7), 9, &activity)
            .unwrap_err();
        assert_eq!(
            bitmap.claim(Granule(word(2) - 4), WORD_BITS, &activity),
            Ok(())
        );
        observed("a refused claim, and another");
        bitmap
            .claim(Granule(word(3) - 9), WORD_BITS, &activity)
            .unwrap_err();
        bitmap
            .claim(Granule(word(2) - 5), 9, &activity)
            .unwrap_err();
        observed("a claim that was rolled back");
        assert_eq!(lowest(&bitmap, 1, &activity), Attempt::Found(Granule(3)));
        observed("first fit");
        let mut batch = bitmap.claim_batch(Granule(0), 1, 2, &activity).unwrap();
        observed("a batch");
        bitmap.release(batch.next().unwrap(), 1, &activity).unwrap();
        observed("a release");
        bitmap.release(Granule(word(2) - 4), 9, &activity).unwrap();
        observed("a release across words");
        bitmap.release_checked(Granule(0), 2, &activity).unwrap();
        observed("a free");
        bitmap
            .release_checked(Granule(word(1) - 3), 9, &activity)
            .unwrap();
        observed("a free across words");
        bitmap.release_batch(batch, 1, &activity).unwrap();
        observed("a batch that is given back");
    }

    #[test]
    fn a_look_in_vain_is_remembered() {
        let (bitmap, activity) = (Bitmap::new(word(4), None).unwrap(), Activity::new());
        bitmap.claim(Granule(0), word(1) - 5, &activity).unwrap();
        bitmap
            .claim(Granule(word(1) + 2), WORD_BITS, &activity)
            .unwrap();
        let found = bitmap.find_run(Granule(0), Granule(word(4)), 8, AnyStart, Look::Hinted);
        assert_eq!(found, Some(Granule(word(2) + 2)));
        // Five granules at the end of the first word and two of the next are free; no run of eight begins in the
        // second.
        assert_eq!(
            (
                bitmap.hints.get(WordIndex(0)),
                bitmap.hints.get(WordIndex(1))
            ),
            (7, 2)
        );
        let (tight, _) = full(3);
        tight.release(Granule(word(1) - 5), 7, &activity).unwrap();
        tight.claim(Granule(word(1) - 3), 1, &activity).unwrap();
        assert_eq!(tight.hints.get(WordIndex(0)), 7);
        assert_eq!(tight.scan_tightest(5), None);
        assert_eq!(tight.hints.get(WordIndex(0)), 4);
        // A claim from the beginning of the longest run lowers the hint too, and that of the next word.
        let hints = || [0, 1].map(|at| bitmap.hints.get(WordIndex(at)));
        assert_eq!(
            lowest(&bitmap, 7, &activity),
            Attempt::Found(Granule(word(1) - 5))
        );
        assert_eq!(hints(), [0, 0]);
        assert_eq!(
            lowest(&bitmap, 3, &activity),
            Attempt::Found(Granule(word(2) + 2))
        );
    }

    #[test]
    fn what_shortens_the_longest_run_is_known_at_once() {
        let (bitmap, activity) = full(2);
        bitmap.release(Granule(1), 3, &activity).unwrap();
        bitmap.release(Granule(10), 2, &activity).unwrap();
        assert_eq!(bitmap.hints.get(WordIndex(0)), 3);
        assert_eq!(at_once(&bitmap, 2), None, "there is a hint to lower");
        assert_eq!(lowest(&bitmap, 2, &activity), Attempt::Found(Granule(1)));
        assert_eq!(bitmap.hints.get(WordIndex(0)), 2);
        assert_eq!(
            at_once(&bitmap, 1),
            Some(Granule(3)),
            "it was not the longest"
        );
        assert_eq!(at_once(&bitmap, 2), None, "there is a hint to lower");
        assert_eq!(lowest(&bitmap, 2, &activity), Attempt::Found(Granule(10)));
        assert_eq!(bitmap.hints.get(WordIndex(0)), 0, "the word is full");
        // A run over the border is long enough, or longer.
        bitmap.release(Granule(word(1) - 1), 7, &activity).unwrap();
        assert_eq!(
            lowest(&bitmap, 4, &activity),
            Attempt::Found(Granule(word(1) - 1))
        );
        assert_eq!(lowest(&bitmap, 4, &activity), Attempt::Nowhere);
        assert_eq!(
            lowest(&bitmap, 3, &activity),
            Attempt::Found(Granule(word(1) + 3))
        );
    }

    #[test]
    fn a_hint_is_raised_to_what_there_is() {
        let (bitmap, activity) = full(4);
        let hints = || [0, 1, 2, 3].map(|at| bitmap.hints.get(WordIndex(at)));
        assert_eq!(hints(), [0; 4]);
        bitmap.release(Granule(word(1) + 10), 3, &activity).unwrap();
        assert_eq!(hints(), [0, 3, 0, 0]);
        // On to the end of the word and into the next, and to the beginning of the word from the one before.
        bitmap.release(Granule(word(2)), 7, &activity).unwrap();
        assert_eq!(hints(), [0, 3, 7, 0]);
        bitmap.release(Granule(word(2) - 4), 4, &activity).unwrap();
        assert_eq!(hints(), [0, 11, 7, 0]);
        bitmap.release(Granule(word(1) - 1), 2, &activity).unwrap();
        assert_eq!(hints(), [2, 11, 7, 0]);
        bitmap
            .release(Granule(word(3)), WORD_BITS, &activity)
            .unwrap();
        assert_eq!(hints(), [2, 11, 7, WORD_BITS]);
        // A granule inside a run that is free already.
        bitmap.claim(Granule(word(2) + 2), 1, &activity).unwrap();
        bitmap.release(Granule(word(2) + 2), 1, &activity).unwrap();
        assert_eq!(hints(), [2, 11, 7, WORD_BITS]);
        assert_eq!(
            bitmap.release(Granule(word(2) + 2), 1, &activity),
            Err(NotTaken {
                granule: Granule(word(2) + 2)
            })
        );
    }

    #[test]
    fn what_is_hinted_at_already_is_given_back_in_one_step() {
        let (bitmap, activity) = full(3);
        let give = |start, n| is_settled(&bitmap, start, n, &activity);
        assert!(!give(word(1) + 10, 3), "the first");
        bitmap.claim(Granule(word(1) + 11), 1, &activity).unwrap();
        assert!(give(word(1) + 11, 1), "no longer than before");
        assert!(!give(word(1) + 13, 1), "longer");
        assert!(give(word(1), 2), "the word before is full");
        assert!(!give(word(1) - 1, 1), "a run to the end of the word");
        bitmap.claim(Granule(word(1)), 1, &activity).unwrap();
        bitmap.claim(Granule(word(1) + 11), 1, &activity).unwrap();
        assert!(
            give(word(1) + 11, 1),
            "what the word before ends with is not met"
        );
        assert!(!give(word(1), 1), "it is");
        // The hint of a fresh word says that anything may be free.
        let (bitmap, activity) = (Bitmap::new(word(2), None).unwrap(), Activity::new());
        bitmap
            .claim(Granule(word(1)), WORD_BITS, &activity)
            .unwrap();
        assert!(is_settled(&bitmap, word(1), 3, &activity));
        assert!(is_settled(&bitmap, word(2) - 3, 3, &activity));
        let again = bitmap.release_in_word(Granule(word(1)), 1).unwrap();
        assert!(!bitmap.is_settled(again), "it was free");
    }
}
