//! One word of the bitmap: as wide as the kernel's `long`. A set bit is a taken granule.

use crate::sync::AtomicUsize;
use crate::units::WORD_BITS;

/// The value of a word whose granules are all taken.
pub(crate) const FULL: usize = usize::MAX >> (usize::BITS as usize - WORD_BITS);

/// A word in shared memory.
pub(crate) type AtomicWord = AtomicUsize;

/// Returns `len` set bits from bit `from` on. `from + len` is at most [`WORD_BITS`].
#[inline]
pub(crate) const fn mask(from: usize, len: usize) -> usize {
    if len == 0 {
        0
    } else {
        (FULL >> (WORD_BITS - len)) << from
    }
}

/// Returns the free granules of a word, as set bits.
#[inline]
pub(crate) const fn free_bits(word: usize) -> usize {
    !word & FULL
}

/// Returns the free granules of a word that begin a run, where `before` is the word before.
#[inline(always)]
pub(crate) const fn begins(before: usize, word: usize) -> usize {
    free_bits(word) & (word << 1 | before >> (WORD_BITS - 1))
}

/// Returns how many granules are free from the first of the word on.
#[inline]
pub(crate) const fn free_prefix(word: usize) -> usize {
    if word == 0 {
        WORD_BITS
    } else {
        word.trailing_zeros() as usize
    }
}

/// Returns how many granules are free up to the last of the word.
#[inline]
pub(crate) const fn free_suffix(word: usize) -> usize {
    let shifted = word << (usize::BITS as usize - WORD_BITS);
    if shifted == 0 {
        WORD_BITS
    } else {
        shifted.leading_zeros() as usize
    }
}

/// How often a run is doubled until it fills a word.
const DOUBLINGS: u32 = usize::BITS.trailing_zeros();

/// Returns the first bit of `starts` at which `n` free granules begin inside the word. `n` is 1 to [`WORD_BITS`].
#[inline(always)]
pub(crate) const fn find(word: usize, n: usize, starts: usize) -> Option<usize> {
    let starts = find_all(word, n) & starts;
    if starts == 0 {
        None
    } else {
        Some(starts.trailing_zeros() as usize)
    }
}

/// Returns all bits at which `n` free granules begin inside the word.
#[inline(always)]
pub(crate) const fn find_all(word: usize, n: usize) -> usize {
    let starts = free_bits(word);
    // There are only three numbers of steps, so the branches are predicted well.
    if n > 16 {
        narrowed(starts, n, DOUBLINGS)
    } else if n > 1 {
        narrowed(starts, n, 4)
    } else {
        starts
    }
}

/// For each length, how far the set bits of a word are shifted in each doubling, until those are left at which so
/// many begin. A byte for each doubling, the first lowest.
const SHIFTS: [u64; usize::BITS as usize + 1] = {
    let (mut all, mut n) = ([0; usize::BITS as usize + 1], 1);
    while n < all.len() {
        let mut doubling = 0;
        while doubling < DOUBLINGS {
            let run = 1 << doubling;
            let missing = n.saturating_sub(run);
            let shift = if missing < run { missing } else { run };
            all[n] |= (shift as u64) << (8 * doubling);
            doubling += 1;
        }
        n += 1;
    }
    all
};

/// Returns the bits at which `n` set bits begin. `n` is at most two to the power of `doublings`.
#[inline(always)]
const fn narrowed(mut starts: usize, n: usize, doublings: u32) -> usize {
    // Bit i stays set while bits i to i + run - 1 are set. The run doubles, up to n.
    let (mut shifts, mut doubling) = (SHIFTS[n], 0);
    while doubling < doublings {
        starts &= starts >> (shifts as u32 % usize::BITS);
        shifts >>= 8;
        doubling += 1;
    }
    starts
}

/// Returns the length of the longest run of free granules inside the word.
#[inline]
pub(crate) const fn longest_free(word: usize) -> usize {
    // Where 1, 2, 4, ... free granules begin.
    let mut begin = [free_bits(word); DOUBLINGS as usize];
    if begin[0] == usize::MAX {
        return WORD_BITS;
    }
    let mut doubling = 1;
    while doubling < begin.len() {
        let half = begin[doubling - 1];
        begin[doubling] = half & half >> (1 << (doubling - 1));
        doubling += 1;
    }
    let (mut starts, mut run) = (usize::MAX, 0);
    while doubling > 0 {
        doubling -= 1;
        let longer = starts & begin[doubling] >> run;
        if longer != 0 {
            starts = longer;
            run += 1 << doubling;
        }
    }
    run
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use super::*;

    /// Does the same as `find`, bit by bit.
    fn find_slowly(word: usize, n: usize, starts: usize) -> Option<usize> {
        (0..=WORD_BITS - n).find(|&at| starts & mask(at, 1) != 0 && word & mask(at, n) == 0)
    }

    #[test]
    fn edges_of_a_word() {
        assert_eq!((longest_free(FULL), longest_free(0)), (0, WORD_BITS));
        assert_eq!(longest_free(!0b1011_1100), 4);
        assert_eq!(mask(0, 0), 0);
        assert_eq!(mask(0, WORD_BITS), FULL);
        assert_eq!(mask(WORD_BITS - 1, 1), 1 << (WORD_BITS - 1));
        assert_eq!(free_prefix(0), WORD_BITS);
        assert_eq!(free_suffix(0), WORD_BITS);
        assert_eq!(free_prefix(FULL), 0);
        assert_eq!(free_suffix(FULL), 0);
        assert_eq!(free_prefix(0b1000), 3);
        assert_eq!(free_suffix(0b1000), WORD_BITS - 4);
        assert_eq!(find(FULL, 1, FULL), None);
        assert_eq!(find(0, WORD_BITS, FULL), Some(0));
        assert_eq!(find(1, WORD_BITS, FULL), None);
        assert_eq!(find(0, 1, 1 << 5), Some(5));
    }

    proptest::proptest! {
        #[test]
        fn searches_agree_with_the_slow_way(
            word: usize,
            other: usize,
            n in 1..=WORD_BITS,
            starts: usize,
        ) {
            for word in [word, word & other, word & other & other.rotate_left(17)] {
                let longest = (1..=WORD_BITS).rev().find(|&n| find_slowly(word, n, FULL).is_some());
                proptest::prop_assert_eq!(longest_free(word), longest.unwrap_or(0));
                for starts in [starts, FULL] {
                    let slowly = find_slowly(word, n, starts);
                    proptest::prop_assert_eq!(find(word, n, starts), slowly);
                }
            }
        }
    }
}
