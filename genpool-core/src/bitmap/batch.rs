//! Batches: several runs of one length at once. They are claimed inside one word by one compare-exchange, and
//! released a word at a time.

use super::bits::{Bits, Piece};
use super::word::{FULL, find, mask};
use super::{Bitmap, NotTaken, Released};
use crate::activity::Activity;
use crate::sync::Ordering;
use crate::units::{Granule, WORD_BITS, WordIndex};

/// How many words are looked at for a batch: two cache lines. If so many have no room, a search that goes by hints
/// is faster (2026-11).
const WINDOW: usize = 16;

/// Runs of one length in one word, claimed together. Iterates over their first granules, in ascending order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    word: WordIndex,
    /// A bit for the first granule of each run.
    starts: usize,
}

impl Iterator for Batch {
    type Item = Granule;

    fn next(&mut self) -> Option<Granule> {
        if self.starts == 0 {
            return None;
        }
        let at = self.starts.trailing_zeros() as usize;
        self.starts &= self.starts - 1;
        Some(self.word.granule(at))
    }
}

impl Bitmap {
    /// Claims up to `most` runs of `n` granules (1 to [`WORD_BITS`]) in one word, in one step. Takes the first word
    /// from granule `from` on that has room for so many, or else the word with the most room of those that are
    /// looked at. None says nothing about the words that are not.
    pub(crate) fn claim_batch(
        &self,
        from: Granule,
        n: usize,
        most: usize,
        activity: &Activity,
    ) -> Option<Batch> {
        let words = self.len().div_ceil(WORD_BITS);
        let first = from.word().0;
        let mut best = (0, 0);
        for at in (first..words).chain(0..first.min(words)).take(WINDOW) {
            // Relaxed: a proposal; the claim decides.
            let seen = self.word(WordIndex(at)).load(Ordering::Relaxed);
            let count = fits(seen, n, most).count_ones() as usize;
            if count > best.0 {
                best = (count, at);
            }
            if count == most {
                break;
            }
        }
        let (count, word) = (best.0, WordIndex(best.1));
        let starts = (count > 0).then(|| self.claim_fits(word, n, most))?;
        if starts == 0 {
            return None;
        }
        let batch = Batch { word, starts };
        if !activity.has_no_listeners() {
            self.notify_claims(batch, n, activity);
        }
        Some(batch)
    }

    /// Claims up to `most` runs of `n` granules in this word, and returns their starts as set bits.
    fn claim_fits(&self, word: WordIndex, n: usize, most: usize) -> usize {
        let word = self.word(word);
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let starts = fits(seen, n, most);
            let mask = spread(starts, n);
            if starts == 0 {
                return 0;
            }
            match Bits::try_claim(word, mask, seen) {
                Ok(()) => return starts,
                Err(now) => seen = now,
            }
        }
    }

    /// Releases the runs of `n` granules at `starts`, which the caller owns. Runs that follow each other in
    /// `starts` and lie in one word are released in one step. Otherwise does what [`release`](Self::release) does.
    pub(crate) fn release_batch(
        &self,
        starts: impl Iterator<Item = Granule>,
        n: usize,
        activity: &Activity,
    ) -> Result<(), NotTaken> {
        let mut outcome = Ok(());
        let mut starts = starts.peekable();
        while let Some(start) = starts.next() {
            let Some(mut piece) = Piece::single(start, n) else {
                outcome = outcome.and(self.release(start, n, activity));
                continue;
            };
            let same_word = |next: &Granule| {
                Piece::single(*next, n).is_some_and(|other| other.word == piece.word)
            };
            while let Some(next) = starts.next_if(same_word) {
                piece.mask |= mask(next.bit(), n);
            }
            outcome = outcome.and(self.release_pieces(piece, activity));
        }
        outcome
    }

    /// Releases all granules of the piece, which need not be neighbours.
    fn release_pieces(&self, piece: Piece, activity: &Activity) -> Result<(), NotTaken> {
        let seen = self.bits.release_piece(piece);
        let now = seen & !piece.mask;
        let mut rest = piece.mask;
        while rest != 0 {
            let at = rest.trailing_zeros() as usize;
            let len = (rest >> at).trailing_ones() as usize;
            let run = Piece::new(piece.word, at, len);
            rest &= !run.mask;
            self.update_and_notify(
                Released {
                    piece: run,
                    seen: now,
                },
                activity,
            );
        }
        self.record_free_in(piece.word);
        NotTaken::check(piece, piece.mask & !seen)
    }
}

/// Returns the starts of up to `most` runs of `n` free granules in the word that have no granule in common, lowest
/// first.
fn fits(word: usize, n: usize, most: usize) -> usize {
    let (mut taken, mut starts) = (word, 0);
    for _ in 0..most {
        let Some(at) = find(taken, n, FULL) else {
            break;
        };
        starts |= 1 << at;
        taken |= mask(at, n);
    }
    starts
}

/// Returns the granules of the runs of `n` granules at `starts`.
fn spread(starts: usize, n: usize) -> usize {
    (0..n).fold(0, |granules, offset| granules | starts << offset)
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use super::super::Attempt;
    use super::*;

    #[test]
    fn runs_of_a_word_share_nothing() {
        assert_eq!(fits(0, 1, 3), 0b111);
        assert_eq!(fits(0b0101, 1, 2), 0b1010);
        assert_eq!(fits(0b1001, 2, 1), 0b10);
        assert_eq!(fits(0, WORD_BITS, 9), 1);
        assert_eq!(fits(0, 3, WORD_BITS).count_ones() as usize, WORD_BITS / 3);
        assert_eq!(fits(FULL, 1, 1), 0);
        assert_eq!(spread(0b1_0001, 3), 0b111_0111);
    }

    #[test]
    fn a_batch_lies_in_the_word_that_has_most() {
        let (bitmap, activity) = (Bitmap::new(4 * WORD_BITS, None).unwrap(), Activity::new());
        for (at, free) in [(0, 1), (1, 3), (2, 2), (3, 0)] {
            let taken = WORD_BITS - free;
            bitmap
                .claim(Granule(at * WORD_BITS), taken, &activity)
                .unwrap();
        }
        let claim = |from, n, most| {
            let batch = bitmap.claim_batch(Granule(from), n, most, &activity)?;
            Some(batch.map(|start| start.0).collect::<Vec<_>>())
        };
        let end = |at: usize| at * WORD_BITS + WORD_BITS;
        assert_eq!(
            claim(0, 1, 4),
            Some(vec![end(1) - 3, end(1) - 2, end(1) - 1])
        );
        assert_eq!(claim(end(2), 1, 1), Some(vec![end(0) - 1]), "and round");
        assert_eq!(claim(0, 2, 1), Some(vec![end(2) - 2]));
        assert_eq!(claim(0, 1, 1), None);
        assert_eq!(bitmap.taken(), bitmap.len());
        assert!(bitmap.is_sound());
    }

    #[test]
    fn a_batch_is_near_where_it_is_looked_for() {
        let (bitmap, activity) = (Bitmap::new(4 * WORD_BITS, None).unwrap(), Activity::new());
        let claim = |from, most| {
            let batch = bitmap.claim_batch(Granule(from), 2, most, &activity)?;
            Some(batch.map(|start| start.0).collect::<Vec<_>>())
        };
        let word = |at: usize| at * WORD_BITS;
        assert_eq!(claim(word(2) + 7, 2), Some(vec![word(2), word(2) + 2]));
        // Of words with equal room the first, also if none has as much as is asked for.
        let all = WORD_BITS / 2;
        let found = claim(word(2), 2 * all).unwrap();
        assert_eq!((found.len(), found[0]), (all, word(3)));
        let found = claim(word(2), 2 * all).unwrap();
        assert_eq!((found.len(), found[0]), (all, word(0)));
    }

    #[test]
    fn a_batch_is_released_whatever_its_runs() {
        let (bitmap, activity) = (Bitmap::new(4 * WORD_BITS, None).unwrap(), Activity::new());
        bitmap.claim(Granule(0), 4 * WORD_BITS, &activity).unwrap();
        // Now the hints say that nothing is free.
        assert_eq!(bitmap.take_lowest(1, &activity), Attempt::Nowhere);
        // In one word, across words, in a later word, in an earlier one.
        let starts = [0, 2, 8, WORD_BITS - 1, 2 * WORD_BITS + 5, 4];
        let released = bitmap.release_batch(starts.into_iter().map(Granule), 2, &activity);
        assert_eq!(released, Ok(()));
        assert_eq!(bitmap.taken(), bitmap.len() - 12);
        assert!(
            starts
                .into_iter()
                .all(|start| bitmap.is_free(Granule(start), 2))
        );
        assert!(bitmap.is_sound());
        assert_eq!(
            [0, 1, 2].map(|word| bitmap.hints().get(WordIndex(word))),
            [6, 1, 2]
        );
        let again = bitmap.release_batch([10, 0].into_iter().map(Granule), 2, &activity);
        assert_eq!(
            again,
            Err(NotTaken {
                granule: Granule(0)
            })
        );
        assert_eq!(bitmap.taken(), bitmap.len() - 14);
    }

    #[test]
    fn runs_of_a_batch_join_over_what_is_free_between_them() {
        let (bitmap, activity) = (Bitmap::new(WORD_BITS, None).unwrap(), Activity::new());
        bitmap.claim(Granule(0), WORD_BITS, &activity).unwrap();
        assert_eq!(bitmap.take_lowest(1, &activity), Attempt::Nowhere);
        bitmap.release(Granule(4), 2, &activity).unwrap();
        let around = [2, 6].into_iter().map(Granule);
        assert_eq!(bitmap.release_batch(around, 2, &activity), Ok(()));
        assert_eq!(bitmap.hints().get(WordIndex(0)), 6);
        assert!(bitmap.is_sound());
    }
}
