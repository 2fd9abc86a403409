//! Spread first fit: the lowest fit in the units that the calling thread owns, or else the lowest of all.
//!
//! It claims what it finds. Where the own units have no fit, in this order:
//!
//! 1. The bytes of a few words are corrected from their bits, other ones each time.
//! 2. An unowned unit that has room is taken.
//! 3. Strict first fit searches the whole bitmap. If the unit of what it finds has much room, it is taken over.
//!
//! So whatever the index says, nothing is overlooked that strict first fit finds.

use super::bits::Bits;
use super::unit_index::{Shard, UnitIndex, UnitNumber};
use super::word::{FULL, find, free_bits, longest_free};
use super::{Attempt, Bitmap, Released, WordRun};
use crate::activity::Activity;
use crate::sync::{Ordering, thread_index};
use crate::units::{Granule, WORD_BITS, WordIndex};

/// How often a thread searches its units again after it corrected a byte or lost a claim (2026-11).
const TRIES: usize = 8;

/// The granules that must be free in a unit for a thread to take it (2026-11).
const WORTH_TAKING: usize = if cfg!(genpool_small) { 1 } else { 64 };

impl Bitmap {
    /// Finds and claims `n` free granules, 1 to [`WORD_BITS`], in the calling thread's units, if their bytes are right.
    /// Calls no function. The caller still has to notify the probers.
    #[inline(always)]
    pub(crate) fn take_own(&self, n: usize) -> Option<Granule> {
        let shard = self.units.as_deref()?.shard(thread_index());
        let word = shard.find(n)?;
        let seen = self.seen(word);
        let found = find(seen, n, FULL);
        // The byte of the last claim is corrected only now. It takes no longer than the search, which does not wait for
        // it: 16 of 88 ns (2026-11).
        let last = shard.last();
        shard.set(last, self.longest_in(last));
        let at = found?;
        shard.set_last(word);
        self.claim_in(word, seen, at, n)
    }

    /// Claims `n` granules of a word, from bit `at` on, which were seen free.
    #[inline(always)]
    fn claim_in(&self, word: WordIndex, seen: usize, at: usize, n: usize) -> Option<Granule> {
        let mask = FULL >> (WORD_BITS - n) << at;
        Bits::try_claim(self.word(word), mask, seen).ok()?;
        Some(word.granule(at))
    }

    /// Finds and claims `n` free granules, 1 to [`WORD_BITS`], where [`take_own`](Self::take_own) found none.
    #[inline(never)]
    pub(crate) fn take_spread(&self, n: usize, activity: &Activity) -> Attempt {
        let Some(index) = self.units.as_deref() else {
            return self.take_lowest(n, activity);
        };
        let shard = index.shard(thread_index());
        let own = self.take_own_again(shard, n);
        if let Some(start) = own.or_else(|| self.take_own_slowly(index, shard, n)) {
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

    /// Searches the shard's units once more. The byte that misled the first search is usually right now.
    #[inline(always)]
    fn take_own_again(&self, shard: Shard<'_>, n: usize) -> Option<Granule> {
        let word = shard.find(n)?;
        let seen = self.seen(word);
        shard.set_last(word);
        self.claim_in(word, seen, find(seen, n, FULL)?, n)
    }

    #[cold]
    #[inline(never)]
    fn take_own_slowly(&self, index: &UnitIndex, shard: Shard<'_>, n: usize) -> Option<Granule> {
        if let Some(start) = self.take_corrected(shard, n) {
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
        self.take_corrected(shard, n)
    }

    /// Searches the shard's units, and corrects the bytes that are wrong.
    fn take_corrected(&self, shard: Shard<'_>, n: usize) -> Option<Granule> {
        for _ in 0..TRIES {
            let word = shard.find_slowly(n)?;
            let seen = self.seen(word);
            let found = find(seen, n, FULL).and_then(|at| self.claim_in(word, seen, at, n));
            shard.set(word, self.longest_in(word));
            if found.is_some() {
                return found;
            }
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

    #[inline(always)]
    fn longest_in(&self, word: WordIndex) -> usize {
        longest_free(self.seen(word))
    }

    #[inline(always)]
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
