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
use super::starts::Starts;
use super::word::{AtomicWord, FULL, find, find_all, free_prefix, free_suffix, mask};
use super::{Bitmap, Look, Taken};
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
        let near = self.find_in_two(word, n, starts);
        near.or_else(|| self.find_further(word.next().next(), n, starts))
    }

    /// Returns the first such place in a word or the next. There is no branch between the two, because it could not be
    /// predicted.
    #[inline(always)]
    fn find_in_two<P: Starts>(&self, word: WordIndex, n: usize, starts: P) -> Option<Granule> {
        let places = |at: WordIndex, seen: &AtomicWord| {
            find_all(seen.load(Ordering::Relaxed), n) & starts.pattern(at.granule(0))
        };
        let (next, words) = (word.next(), self.bits.words());
        let first = places(word, words.get(word.0)?);
        let second = words.get(next.0).map_or(0, |seen| places(next, seen));
        let found = select_unpredictable(first != 0, first, second);
        let word = select_unpredictable(first != 0, word, next);
        (found != 0).then(|| word.granule(0).plus(found.trailing_zeros() as usize))
    }

    /// Returns the first such place from a word on, to the last.
    #[inline(never)]
    fn find_further<P: Starts>(&self, mut word: WordIndex, n: usize, starts: P) -> Option<Granule> {
        // To ask the hints costs as much as to read a word or two (2026-11).
        if let Some(found) = self.find_in_two(word, n, starts) {
            return Some(found);
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

    /// Finds and claims the lowest `n` free granules in the most common case only: they are in the words of node
    /// `node` of the hints, which is the first or the second, and no hint has to be changed. Calls no function, so
    /// that its caller keeps everything in registers. The caller still has to notify the probers.
    #[inline(always)]
    pub(crate) fn take_at_once(&self, node: usize, n: usize) -> Option<Granule> {
        if n > WORD_BITS {
            return None;
        }
        let need = Need::of(n);
        if node > 0 && self.hints.in_node(0, need).is_some() {
            // The hint of a lower word may have to be lowered first.
            return None;
        }
        // A single node has no level above, so a second node is of the lowest level too.
        let (word, hint) = self.hints.in_node(node, need)?;
        let seen = self.word(word).load(Ordering::Relaxed);
        let at = find(seen, n, FULL)?;
        let piece = Piece::new(word, at, n);
        if Self::shortens(piece, seen, hint) {
            return None;
        }
        Bits::try_claim(self.word(word), piece.mask, seen).ok()?;
        Some(word.granule(at))
    }

    /// Finds and claims the lowest `n` free granules, at most [`WORD_BITS`].
    pub(crate) fn take_lowest(&self, n: usize, activity: &Activity) -> Attempt {
        let need = Need::of(n);
        let mut next = self.hints.first(need);
        while let Some(word) = next {
            let mut seen = self.word(word).load(Ordering::Relaxed);
            let mut lost = 0;
            while let Some(at) = find(seen, n, FULL) {
                let piece = Piece::new(word, at, n);
                match Bits::try_claim(self.word(word), piece.mask, seen) {
                    Ok(()) => {
                        if Self::shortens(piece, seen, self.hints.get(word)) {
                            self.lower_hint(word, seen | piece.mask);
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
            }
            let past = word.end();
            let suffix = free_suffix(seen);
            if suffix > 0 && suffix + self.bits.free_after(past, Granule(past.0 + n - suffix)) == n
            {
                let start = Granule(past.0 - suffix);
                return match self.claim_across(start, n, activity) {
                    Ok(()) => Attempt::Found(start),
                    Err(Taken) => Attempt::Missed,
                };
            }
            self.lower_hint(word, seen);
            next = self.hints.next(word.next(), need);
        }
        Attempt::Nowhere
    }

    /// Returns true if the hint of a word is to be lowered along with the claim of a piece. It is if the piece is
    /// the beginning of the longest run and the word does not become full, because the next search would look there
    /// in vain. (One look shows that a full word is full.)
    #[inline(always)]
    fn shortens(piece: Piece, seen: usize, hint: usize) -> bool {
        let run = free_prefix(seen >> piece.mask.trailing_zeros());
        hint < LONG && run >= hint && seen | piece.mask != FULL
    }
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use super::super::NotTaken;
    use super::super::starts::AnyStart;
    use super::*;

    /// Where word `at` begins.
    const fn word(at: usize) -> usize {
        at * WORD_BITS
    }

    /// Words of a node of hints.
    const NODE: usize = size_of::<usize>();

    // A weak compare-exchange may fail spuriously, on some machines and in Miri.

    fn at_once(bitmap: &Bitmap, node: usize, n: usize) -> Option<Granule> {
        (0..100).find_map(|_| bitmap.take_at_once(node, n))
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
    fn the_commonest_case_is_taken_at_once() {
        let (bitmap, activity) = (Bitmap::new(word(24), None).unwrap(), Activity::new());
        assert_eq!(at_once(&bitmap, 0, 3), Some(Granule(0)));
        assert_eq!(at_once(&bitmap, 0, 2), Some(Granule(3)));
        assert_eq!(at_once(&bitmap, 0, WORD_BITS + 1), None);
        bitmap.claim(Granule(5), word(NODE) - 5, &activity).unwrap();
        // The hints of the first words are to be lowered first.
        assert_eq!(at_once(&bitmap, 0, 1), None);
        assert_eq!(at_once(&bitmap, 1, 1), None);
        assert_eq!(
            lowest(&bitmap, 1, &activity),
            Attempt::Found(Granule(word(NODE)))
        );
        // Now they are lowered.
        assert_eq!(at_once(&bitmap, 0, 1), None);
        assert_eq!(at_once(&bitmap, 1, 1), Some(Granule(word(NODE) + 1)));
        for words in 1..=NODE {
            let bitmap = Bitmap::new(word(words), None).unwrap();
            assert_eq!(at_once(&bitmap, 1, 1), None, "a lone node of {words}");
        }
        let bitmap = Bitmap::new(WORD_BITS, None).unwrap();
        assert_eq!(at_once(&bitmap, 0, WORD_BITS), Some(Granule(0)));
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
        // A claim from the beginning of the longest run lowers the hint too.
        assert_eq!(
            lowest(&bitmap, 7, &activity),
            Attempt::Found(Granule(word(1) - 5))
        );
        assert_eq!(
            bitmap.hints.get(WordIndex(0)),
            7,
            "unless it is seen at once"
        );
        assert_eq!(
            lowest(&bitmap, 3, &activity),
            Attempt::Found(Granule(word(2) + 2))
        );
        assert_eq!(
            (
                bitmap.hints.get(WordIndex(0)),
                bitmap.hints.get(WordIndex(1))
            ),
            (0, 2)
        );
        assert_eq!(
            lowest(&bitmap, 1, &activity),
            Attempt::Found(Granule(word(2) + 5))
        );
        assert_eq!(
            (
                bitmap.hints.get(WordIndex(0)),
                bitmap.hints.get(WordIndex(1))
            ),
            (0, 0)
        );
    }

    #[test]
    fn what_shortens_the_longest_run_is_known_at_once() {
        let (bitmap, activity) = full(2);
        bitmap.release(Granule(1), 3, &activity).unwrap();
        bitmap.release(Granule(10), 2, &activity).unwrap();
        assert_eq!(bitmap.hints.get(WordIndex(0)), 3);
        assert_eq!(at_once(&bitmap, 0, 2), None, "there is a hint to lower");
        assert_eq!(lowest(&bitmap, 2, &activity), Attempt::Found(Granule(1)));
        assert_eq!(bitmap.hints.get(WordIndex(0)), 2);
        assert_eq!(
            at_once(&bitmap, 0, 1),
            Some(Granule(3)),
            "it was not the longest"
        );
        assert_eq!(at_once(&bitmap, 0, 2), Some(Granule(10)));
        assert_eq!(
            bitmap.hints.get(WordIndex(0)),
            2,
            "a full word is seen to be full"
        );
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
