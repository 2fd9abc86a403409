//! Spread first fit: the lowest fit in the units that the calling thread owns, or else the lowest of all.
//!
//! An alloc of as many granules as the last one looks where that found its run, unless the thread freed something in a
//! lower word since. Otherwise it searches. It claims what it finds. Where the own units have no fit, in this order:
//!
//! 1. The bytes of a few words are corrected from their bits, other ones each time.
//! 2. An unowned unit that has room is taken.
//! 3. Strict first fit searches the whole bitmap. If the unit of what it finds has much room, it is taken over.
//!
//! So whatever the index says, nothing is overlooked that strict first fit finds.

use super::bits::Bits;
use super::unit_index::{Shard, UnitIndex, UnitNumber};
use super::word::{FULL, find, free_bits, longest_free, mask};
use super::{Attempt, Bitmap, Released, WordRun};
use crate::activity::Activity;
use crate::sync::{Ordering, thread_index};
use crate::units::{Granule, WordIndex};

/// How often a thread searches its units again after it corrected a byte or lost a claim (2026-11).
const TRIES: usize = 8;

/// The granules that must be free in a unit for a thread to take it (2026-11).
const WORTH_TAKING: usize = if cfg!(genpool_small) { 1 } else { 64 };

impl Bitmap {
    /// Finds and claims `n` free granules, 1 to [`WORD_BITS`](crate::units::WORD_BITS), in the calling thread's units, if
    /// their bytes are right. Makes no call that is not inlined. The caller still has to notify the probers.
    #[inline(always)]
    pub(crate) fn take_own(&self, n: usize) -> Option<Granule> {
        let shard = self.units.as_deref()?.shard(thread_index());
        let last = shard.last();
        if last.is_lowest_for(n) {
            let seen = self.seen(last.word());
            if let Some(at) = find(seen, n, FULL) {
                return self.claim_in(last.word(), seen, at, n);
            }
        }
        let word = shard.find(n)?;
        let seen = self.seen(word);
        let found = find(seen, n, FULL);
        // The byte of the last claim is corrected only now. It takes no longer than the search, which does not wait for
        // it (a fifth of the time of an alloc and a free, 2026-11).
        shard.set(last.word(), self.longest_in(last.word()));
        let at = found?;
        shard.set_last(word, n);
        self.claim_in(word, seen, at, n)
    }

    /// Claims `n` granules of a word, from bit `at` on, which were seen free.
    #[inline(always)]
    fn claim_in(&self, word: WordIndex, seen: usize, at: usize, n: usize) -> Option<Granule> {
        Bits::try_claim(self.word(word), mask(at, n), seen).ok()?;
        Some(word.granule(at))
    }

    /// Finds and claims `n` free granules, 1 to [`WORD_BITS`](crate::units::WORD_BITS), where
    /// [`take_own`](Self::take_own) found none.
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
        if let Attempt::Found(start) = found {
            self.record_strict_claim(index, shard, start, n);
        }
        found
    }

    /// Records what strict first fit claimed in a unit of the shard. Takes another unit over if there is much room in it.
    fn record_strict_claim(&self, index: &UnitIndex, shard: Shard<'_>, start: Granule, n: usize) {
        for word in [start.word(), start.plus(n - 1).word()] {
            let Some(unit) = index.unit_of(word) else {
                return;
            };
            if shard.owns(unit) {
                shard.set(word, self.longest_in(word));
            } else if self.is_worth_taking(index, unit) {
                shard.take(unit, |word| self.longest_in(word));
            }
        }
    }

    /// Searches the shard's units once more. The byte that misled the first search is usually right now.
    #[inline(always)]
    fn take_own_again(&self, shard: Shard<'_>, n: usize) -> Option<Granule> {
        let word = shard.find(n)?;
        let seen = self.seen(word);
        shard.set_last(word, n);
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
        if let Some(unit) = index.find_unowned(shard, suits) {
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

    /// Returns true if there is a unit index.
    #[inline(always)]
    pub(crate) fn keeps_units(&self) -> bool {
        self.units.is_some()
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
    #[inline(always)]
    pub(super) fn record_free_in(&self, word: WordIndex) {
        if let Some(index) = self.units.as_deref() {
            self.record_word(index, word);
        }
    }

    #[cold]
    #[inline(never)]
    fn record_word(&self, index: &UnitIndex, word: WordIndex) {
        index.raise(word, self.longest_in(word), thread_index());
    }
}

#[cfg(all(test, not(genpool_loom), target_pointer_width = "64"))]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::units::{LINE_GRANULES, WORD_BITS};

    /// A bitmap of this many granules with a unit index.
    fn spread(granules: usize) -> (Bitmap, Activity) {
        let mut bitmap = Bitmap::new(granules, None).unwrap();
        bitmap.keep_units(None).unwrap();
        (bitmap, Activity::new())
    }

    fn index(bitmap: &Bitmap) -> &UnitIndex {
        bitmap.units.as_deref().expect("it is large enough")
    }

    /// Allocates as the pool does. A weak compare-exchange may fail spuriously.
    fn take(bitmap: &Bitmap, n: usize, activity: &Activity) -> Option<usize> {
        for _ in 0..100 {
            if let Some(start) = bitmap.take_own(n) {
                return Some(start.0);
            }
            match bitmap.take_spread(n, activity) {
                Attempt::Found(start) => return Some(start.0),
                Attempt::Nowhere => return None,
                Attempt::Missed => {}
            }
        }
        None
    }

    fn give(bitmap: &Bitmap, start: usize, n: usize, activity: &Activity) {
        bitmap.release(Granule(start), n, activity).unwrap();
    }

    /// Returns what a thread of another shard makes of a bitmap, which has four.
    fn elsewhere<T: Send>(work: impl Fn() -> T + Sync) -> T {
        let here = thread_index() % 4;
        let there = || (thread_index() % 4 != here).then(&work);
        // Other tests number threads too.
        let mut threads =
            (0..).map(|_| std::thread::scope(|threads| threads.spawn(there).join().unwrap()));
        threads.find_map(|found| found).unwrap()
    }

    /// Frees and allocates at random, and checks the index all along.
    fn churn(granules: usize, operations: usize) {
        let (bitmap, activity) = spread(granules);
        let shard = index(&bitmap).shard(thread_index());
        let mut random = 1_u64;
        let mut below = |limit: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) as usize % limit
        };
        let mut held = Vec::new();
        for operation in 0..operations {
            if below(5) > 1 {
                let n = 1 + below(if operation % 16 == 0 { WORD_BITS } else { 16 });
                if let Some(start) = take(&bitmap, n, &activity) {
                    held.push((start, n));
                }
            } else if !held.is_empty() {
                let (start, n) = held.swap_remove(below(held.len()));
                give(&bitmap, start, n, &activity);
            }
            if operation % 64 == 0 {
                assert!(shard.is_exact(|word| bitmap.longest_in(word)));
            }
        }
        let taken: usize = held.iter().map(|(_, n)| n).sum();
        assert_eq!(bitmap.taken(), taken);
        held.sort_unstable();
        assert!(
            held.windows(2)
                .all(|pair| pair[0].0 + pair[0].1 <= pair[1].0)
        );
        for (start, n) in held {
            give(&bitmap, start, n, &activity);
        }
        assert!(bitmap.is_sound() && bitmap.taken() == 0);
        assert!(shard.is_exact(|word| bitmap.longest_in(word)));
    }

    #[test]
    #[cfg_attr(miri, ignore = "long")]
    fn the_index_is_exact_while_one_thread_works() {
        churn(40 * LINE_GRANULES + 3, 20_000);
        // Large units.
        churn((1 << 18) + 5 * LINE_GRANULES, 20_000);
    }

    #[test]
    #[cfg_attr(miri, ignore = "a weak exchange may fail spuriously")]
    fn a_thread_gets_the_lowest_fit_in_its_units() {
        let (bitmap, activity) = spread(20 * LINE_GRANULES);
        let starts: Vec<_> = (0..8).map(|_| take(&bitmap, 16, &activity)).collect();
        assert_eq!(starts, [0, 16, 32, 48, 64, 80, 96, 112].map(Some));
        give(&bitmap, 96, 16, &activity);
        give(&bitmap, 16, 3, &activity);
        assert_eq!(take(&bitmap, 4, &activity), Some(96));
        assert_eq!(take(&bitmap, 3, &activity), Some(16));
        // Another thread has a unit that is not beside, and keeps to it.
        let others: Vec<_> = elsewhere(|| (0..20).map(|_| take(&bitmap, 1, &activity)).collect());
        assert!(
            others
                .iter()
                .all(|start| (1024..1536).contains(&start.unwrap()))
        );
        assert_eq!(take(&bitmap, 1, &activity), Some(100));
        // The unit that was passed over is next.
        let next: Vec<_> = (0..8).map(|_| take(&bitmap, 64, &activity)).collect();
        assert_eq!(next[6..], [512, 576].map(Some));
    }

    #[test]
    #[cfg_attr(miri, ignore = "a weak exchange may fail spuriously")]
    fn a_second_claim_of_one_length_is_the_lowest_too() {
        let (bitmap, activity) = spread(20 * LINE_GRANULES);
        for at in [0, 64, 128] {
            assert_eq!(take(&bitmap, 40, &activity), Some(at));
        }
        // The word of the last claim has room, but so have lower words from now on.
        assert_eq!(take(&bitmap, 4, &activity), Some(40));
        give(&bitmap, 0, 10, &activity);
        assert_eq!(take(&bitmap, 4, &activity), Some(0));
        assert_eq!(take(&bitmap, 4, &activity), Some(4));
        assert_eq!(take(&bitmap, 20, &activity), Some(44));
        assert_eq!(take(&bitmap, 20, &activity), Some(104));
        give(&bitmap, 44, 20, &activity);
        assert_eq!(take(&bitmap, 20, &activity), Some(44));
    }

    #[test]
    fn small_bitmaps_have_no_index() {
        for lines in [1, 2] {
            let (bitmap, activity) = spread(lines * 512);
            assert_eq!(bitmap.units.is_some(), lines > 1);
            assert_eq!(take(&bitmap, 1, &activity), Some(0));
            assert_eq!(
                take(&bitmap, 64, &activity),
                Some(if lines > 1 { 64 } else { 1 })
            );
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "long")]
    fn the_index_takes_few_bits_a_granule() {
        for granules in [1 << 12, 1 << 16, 1 << 18, (1 << 18) + 1, 1 << 22] {
            let (bitmap, _) = spread(granules);
            let bits = index(&bitmap).footprint() * 8;
            assert!(bits <= granules * 5 / 2 + 8 * 512, "{granules}: {bits}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "long")]
    fn the_last_units_are_left_to_strict_first_fit() {
        let (bitmap, activity) = spread(20 * 512);
        let index = index(&bitmap);
        assert!(index.unit_of(Granule(18 * 512 - 1).word()).is_some());
        assert_eq!(index.unit_of(Granule(18 * 512).word()), None);
        // It serves what the units do not.
        for _ in 0..20 * 8 {
            assert!(take(&bitmap, 64, &activity).is_some());
        }
        assert_eq!(take(&bitmap, 1, &activity), None);
        give(&bitmap, 19 * 512, 1, &activity);
        assert_eq!(take(&bitmap, 1, &activity), Some(19 * 512));
    }

    #[test]
    #[cfg_attr(miri, ignore = "long")]
    fn units_of_a_thread_that_is_gone_are_taken_over() {
        let (bitmap, activity) = spread(20 * 512);
        let held: Vec<_> = elsewhere(|| {
            (0..18 * 8)
                .map(|_| take(&bitmap, 64, &activity).unwrap())
                .collect()
        });
        // What the thread held is found, although another gives it back.
        for start in held {
            give(&bitmap, start, 64, &activity);
        }
        assert_eq!(take(&bitmap, 1, &activity), Some(0));
        let shard = index(&bitmap).shard(thread_index());
        assert!(shard.owns(index(&bitmap).unit_of(WordIndex(0)).unwrap()));
        assert_eq!(take(&bitmap, 1, &activity), Some(1));
    }

    #[test]
    fn the_owner_finds_what_other_threads_give_back() {
        let (bitmap, activity) = spread(20 * 512);
        for _ in 0..16 {
            take(&bitmap, 64, &activity).unwrap();
        }
        elsewhere(|| give(&bitmap, 70, 5, &activity));
        assert_eq!(take(&bitmap, 5, &activity), Some(70));
        elsewhere(|| bitmap.release_across(Granule(120), 20, &activity).unwrap());
        assert_eq!(take(&bitmap, 12, &activity), Some(128));
        assert_eq!(take(&bitmap, 8, &activity), Some(120));
    }

    #[test]
    #[cfg_attr(miri, ignore = "long")]
    fn wrong_bytes_are_corrected() {
        let (bitmap, activity) = spread(20 * 512);
        for _ in 0..8 {
            take(&bitmap, 64, &activity).unwrap();
        }
        let shard = index(&bitmap).shard(thread_index());
        // Too high: as if a word were free, and as if claims by others were unknown.
        shard.set(WordIndex(3), 64);
        assert_eq!(take(&bitmap, 9, &activity), Some(512));
        bitmap.claim(Granule(521), 503, &activity).unwrap();
        assert_eq!(take(&bitmap, 2, &activity), Some(1024));
        // Too low: strict first fit finds it, or a second look.
        give(&bitmap, 0, 2, &activity);
        shard.set(WordIndex(0), 0);
        while take(&bitmap, 64, &activity).is_some() {}
        assert_eq!(take(&bitmap, 2, &activity), Some(0));
    }

    #[test]
    #[cfg_attr(miri, ignore = "long")]
    fn threads_with_one_shard_share_its_units() {
        let (bitmap, activity) = spread(20 * 512);
        // There are four shards.
        let work = || {
            for round in 0..2_000 {
                let n = 1 + round % 16;
                let starts = [(); 3].map(|()| take(&bitmap, n, &activity).unwrap());
                for start in starts {
                    give(&bitmap, start, n, &activity);
                }
            }
        };
        std::thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(work);
            }
        });
        assert!(bitmap.taken() == 0 && bitmap.is_sound());
        for _ in 0..20 * 8 {
            assert!(take(&bitmap, 64, &activity).is_some());
        }
    }
}
