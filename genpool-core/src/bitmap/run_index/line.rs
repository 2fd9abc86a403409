//! Which runs begin in a word of a line, as it was read with the words on either side.

use crate::bitmap::word::{begins, free_bits, free_prefix, free_suffix};
use crate::units::WORD_BITS;

/// The value of a word, and of the words on either side.
#[derive(Clone, Copy, Debug)]
pub(in crate::bitmap) struct Surrounded {
    pub(in crate::bitmap) before: usize,
    pub(in crate::bitmap) word: usize,
    pub(in crate::bitmap) after: usize,
}

impl Surrounded {
    /// Returns where runs of this length, below [`WORD_BITS`], begin in the word, as set bits.
    #[inline(always)]
    pub(in crate::bitmap) fn starts(self, len: usize) -> usize {
        let Self {
            before,
            word,
            after,
        } = self;
        let begins = begins(before, word);
        // The sum carries from the beginning of each run to the taken granule that ends the run. A run that reaches
        // the end of the word ends at the lowest taken granule of the next.
        let ends = free_bits(word).wrapping_add(begins) & word;
        let reaches = 0_usize.wrapping_sub(free_bits(word) >> (WORD_BITS - 1));
        let last = after & after.wrapping_neg() & reaches;
        let mut found = begins & (ends >> len | last << (WORD_BITS - len));
        // The taken granule at that distance may end another run.
        let mut unchecked = found;
        while unchecked != 0 {
            let from = unchecked.trailing_zeros() as usize;
            let lowest = unchecked & unchecked.wrapping_neg();
            unchecked ^= lowest;
            let inside = free_prefix(word >> from).min(WORD_BITS - from);
            if inside != len && from + inside != WORD_BITS {
                found ^= lowest;
            }
        }
        found
    }

    /// Returns where a run of at least [`WORD_BITS`] granules begins in the word. There is at most one.
    #[inline(always)]
    pub(in crate::bitmap) fn long(self) -> Option<usize> {
        let Self {
            before,
            word,
            after,
        } = self;
        let is_last_free = |word| word >> (WORD_BITS - 1) == 0;
        if !is_last_free(word) || word == 0 && is_last_free(before) {
            return None;
        }
        let suffix = free_suffix(word);
        (suffix + free_prefix(after) >= WORD_BITS).then_some(WORD_BITS - suffix)
    }
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use super::*;
    use crate::bitmap::word::FULL;
    use proptest::prelude::*;

    /// Words with few runs and with many, and with long runs over their borders.
    fn word() -> impl Strategy<Value = usize> {
        let some = any::<usize>().prop_map(|word| word | word >> 7 | word << 11);
        let part = (0..WORD_BITS, any::<bool>()).prop_map(|(at, low)| {
            let upper = FULL << at;
            if low { !upper } else { upper }
        });
        prop_oneof![Just(0), Just(FULL), any::<usize>(), some, part]
    }

    /// The runs that begin in the word, bit by bit: where each begins, and how long it is as far as it is seen.
    fn runs(seen: Surrounded) -> Vec<(usize, usize)> {
        let bits: Vec<bool> = [seen.before, seen.word, seen.after, FULL]
            .into_iter()
            .flat_map(|word| (0..WORD_BITS).map(move |at| word >> at & 1 == 0))
            .collect();
        (0..WORD_BITS)
            .filter(|at| !bits[at + WORD_BITS - 1] && bits[at + WORD_BITS])
            .map(|at| {
                let free = bits[at + WORD_BITS..].iter().take_while(|&&free| free);
                (at, free.count())
            })
            .collect()
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "plain arithmetic")]
        fn the_runs_of_each_length_and_the_long_one_are_found(
            before in word(),
            word in word(),
            after in word(),
        ) {
            let seen = Surrounded { before, word, after };
            let runs = runs(seen);
            for len in 1..WORD_BITS {
                let starts = runs.iter().filter(|run| run.1 == len).map(|run| 1 << run.0);
                prop_assert_eq!(seen.starts(len), starts.sum::<usize>(), "of {}", len);
            }
            let long = runs.iter().find(|run| run.1 >= WORD_BITS);
            prop_assert_eq!(seen.long(), long.map(|run| run.0));
        }
    }
}
