//! Spread first fit: the lowest fit in the units that the calling thread owns, or else the lowest of all.
//!
//! It claims what it finds. Where the own units have no fit, in this order:
//!
//! 1. The bytes of a few words are corrected from their bits, other ones each time.
//! 2. An unowned unit that has room is taken.
//! 3. Strict first fit searches the whole bitmap. If the unit of what it finds has much room, it is taken over.
//!
//! So whatever the index says, nothing is overlooked that strict first fit finds.

use super::bits::{Bits, Piece};
use super::unit_index::{Shard, UnitIndex, UnitNumber};
use super::word::{FULL, find, free_bits, longest_free};
use super::{Attempt, Bitmap, Released, WordRun};
use crate::activity::Activity;
use crate::sync::{Ordering, thread_index};
use crate::units::{Granule, WordIndex};

/// How often a thread searches its units again after it corrected a byte or lost a claim (2026-11).
const TRIES: usize = 8;

/// The granules that must be free in a unit for a thread to take it (2026-11).
const WORTH_TAKING: usize = if cfg!(genpool_small) { 1 } else { 64 };

impl Bitmap {
    /// Finds and claims `n` free granules, 1 to [`WORD_BITS`](crate::units::WORD_BITS), in the calling thread's units,
    /// if their bytes are right. Calls no function. The caller still has to notify the probers.
    #[inline(always)]
    pub(crate) fn take_own(&self, n: usize) -> Option<Granule> {
        let shard = self.units.as_deref()?.shard(thread_index());
        // The second time, the byte that misled the first is right.
        (0..2).find_map(|_| self.take_in(shard, shard.find(n)?, n))
    }

    #[inline(always)]
    fn take_in(&self, shard: Shard<'_>, word: WordIndex, n: usize) -> Option<Granule> {
        let seen = self.word(word).load(Ordering::Relaxed);
        let at = find(seen, n, FULL);
        // The byte of the last claim is corrected here, because it takes no longer than the search, which does not
        // wait for it.
        let last = shard.last();
        shard.set(last, self.longest_in(last));
        shard.set_last(word);
        let piece = Piece::new(word, at?, n);
        Bits::try_claim(self.word(word), piece.mask, seen).ok()?;
        Some(piece.start())
    }

    /// Finds and claims `n` free granules, 1 to [`WORD_BITS`](crate::units::WORD_BITS), where
    /// [`take_own`](Self::take_own) found none.
    #[inline(never)]
    pub(crate) fn take_spread(&self, n: usize, activity: &Activity) -> Attempt {
        let Some(index) = self.units.as_deref() else {
            return self.take_lowest(n, activity);
        };
        let shard = index.shard(thread_index());
        if let Some(start) = self.take_own_slowly(index, shard, n) {
            self.claimed(start, n, activity);
            return Attempt::Found(start);
        }
        let found = self.take_lowest(n, activity);
        if let Attempt::Found(start) = found
            && let Some(unit) = index.unit_of(start.word())
            && !shard.owns(unit)
            && self.is_worth_taking(index, unit)
        {
            shard.take(unit, |word| self.longest_in(word));
        }
        found
    }

    fn take_own_slowly(&self, index: &UnitIndex, shard: Shard<'_>, n: usize) -> Option<Granule> {
        if let Some(start) = self.take_own_again(shard, n) {
            return Some(start);
        }
        let (unit, words) = index.next_look();
        if shard.owns(unit) {
            for word in words {
                shard.set(word, self.longest_in(word));
            }
        }
        let suits = |unit| {
            let mut words = index.words_of(unit);
            self.is_worth_taking(index, unit)
                && words.any(|word| find(self.seen(word), n, FULL).is_some())
        };
        if let Some(unit) = index.find_unowned(suits) {
            shard.take(unit, |word| self.longest_in(word));
        }
        self.take_own_again(shard, n)
    }

    /// Searches the shard's units, and corrects the bytes that are wrong.
    fn take_own_again(&self, shard: Shard<'_>, n: usize) -> Option<Granule> {
        for _ in 0..TRIES {
            let word = shard.find_slowly(n)?;
            if let Some(start) = self.take_in(shard, word, n) {
                return Some(start);
            }
            shard.set(word, self.longest_in(word));
        }
        None
    }

    /// Returns true if so much is free in a unit that a thread may own it.
    fn is_worth_taking(&self, index: &UnitIndex, unit: UnitNumber) -> bool {
        let mut free = 0;
        index.words_of(unit).any(|word| {
            free += free_bits(self.seen(word)).count_ones() as usize;
            free >= WORTH_TAKING
        })
    }

    fn longest_in(&self, word: WordIndex) -> usize {
        longest_free(self.seen(word))
    }

    fn seen(&self, word: WordIndex) -> usize {
        // Relaxed: for the index only.
        self.word(word).load(Ordering::Relaxed)
    }

    /// Records in the unit index the run that a release left in its word.
    #[inline(always)]
    pub(crate) fn record_free(&self, Released { piece, seen }: Released) {
        if let Some(index) = self.units.as_deref() {
            let run = WordRun::around(piece, seen);
            index.raise(piece.word, run.end - run.start, thread_index());
        }
    }

    /// Records in the unit index what is free in a word.
    pub(super) fn record_free_in(&self, word: WordIndex) {
        if let Some(index) = self.units.as_deref() {
            index.raise(word, self.longest_in(word), thread_index());
        }
    }
}
