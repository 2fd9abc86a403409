//! A line of words as it was read: which runs begin in it.

use crate::bitmap::word::{begins, free_bits, free_prefix, free_suffix};
use crate::units::{LINE_WORDS, WORD_BITS};

/// The values of a line of words, and of the words on either side.
#[derive(Clone, Copy, Debug)]
pub(in crate::bitmap) struct WordLine {
    pub(in crate::bitmap) before: usize,
    pub(in crate::bitmap) words: [usize; LINE_WORDS],
    pub(in crate::bitmap) after: usize,
}

impl WordLine {
    /// Returns a word of the line between the word before it and the word after it.
    #[inline(always)]
    fn around(&self, at: usize) -> (usize, usize, usize) {
        let before = if at == 0 {
            self.before
        } else {
            self.words[at - 1]
        };
        let after = *self.words.get(at + 1).unwrap_or(&self.after);
        (before, self.words[at], after)
    }

    /// Returns where the first run of this length begins, counted from the first granule of the line. The length is
    /// below [`WORD_BITS`].
    #[inline]
    pub(in crate::bitmap) fn first(&self, len: usize) -> Option<usize> {
        (0..LINE_WORDS).find_map(|at| self.starts_in(at, len).next())
    }

    /// Iterates over the starts of the runs of this length, below [`WORD_BITS`], in ascending order.
    pub(in crate::bitmap) fn all(&self, len: usize) -> impl Iterator<Item = usize> + '_ {
        (0..LINE_WORDS).flat_map(move |at| self.starts_in(at, len))
    }

    /// Iterates over the starts of the runs of this length that begin in one word.
    #[inline(always)]
    fn starts_in(&self, at: usize, len: usize) -> impl Iterator<Item = usize> + use<> {
        let (before, word, after) = self.around(at);
        let begins = begins(before, word);
        // The sum carries from the beginning of each run to the taken granule that ends the run.
        let ends = free_bits(word).wrapping_add(begins) & word;
        let suffix = free_suffix(word);
        let through = suffix > 0 && suffix + free_prefix(after) == len;
        let last = if through {
            1 << (WORD_BITS - suffix)
        } else {
            0
        };
        let mut found = begins & (ends >> len | last);
        core::iter::from_fn(move || {
            while found != 0 {
                let from = found.trailing_zeros() as usize;
                let lowest = found & found.wrapping_neg();
                found &= found - 1;
                // The taken granule at that distance may end another run.
                if lowest == last || free_prefix(word >> from) == len {
                    return Some(at * WORD_BITS + from);
                }
            }
            None
        })
    }

    /// Iterates over the starts of the runs of at least [`WORD_BITS`] granules, in ascending order.
    pub(in crate::bitmap) fn long(self) -> impl Iterator<Item = usize> {
        (0..LINE_WORDS).filter_map(move |at| {
            let (before, word, after) = self.around(at);
            let suffix = free_suffix(word);
            let begin = suffix > 0 && begins(before, word) >> (WORD_BITS - suffix) != 0;
            let is_long = begin && suffix + free_prefix(after) >= WORD_BITS;
            is_long.then_some(at * WORD_BITS + WORD_BITS - suffix)
        })
    }
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use super::*;
    use crate::bitmap::word::FULL;
    use crate::units::LINE_GRANULES;
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

    /// The runs that begin in a line, bit by bit: where each begins, and how long it is as far as it is seen.
    fn runs(line: &WordLine) -> Vec<(usize, usize)> {
        let words = [line.before].into_iter().chain(line.words);
        let bits: Vec<bool> = words
            .chain([line.after, FULL])
            .flat_map(|word| (0..WORD_BITS).map(move |at| word >> at & 1 == 0))
            .collect();
        (0..LINE_GRANULES)
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
        fn the_first_of_each_length_and_the_long_ones_are_found(
            before in word(),
            words in proptest::array::uniform::<_, LINE_WORDS>(word()),
            after in word(),
        ) {
            let line = WordLine { before, words, after };
            let runs = runs(&line);
            for len in 1..WORD_BITS {
                let first = runs.iter().find(|run| run.1 == len).map(|run| run.0);
                prop_assert_eq!(line.first(len), first, "of {}", len);
                let all = runs.iter().filter(|run| run.1 == len).map(|run| run.0);
                prop_assert!(line.all(len).eq(all), "of {}", len);
            }
            let long = runs.iter().filter(|run| run.1 >= WORD_BITS).map(|run| run.0);
            prop_assert!(line.long().eq(long));
        }
    }
}
