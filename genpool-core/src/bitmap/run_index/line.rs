//! Which runs begin in a line of words, found from one look at each word.

use core::ops::Range;

use crate::bitmap::word::{FULL, begins, free_bits, mask};
use crate::units::{LINE_WORDS, WORD_BITS};

/// The words of a line by their positions, and the words on either side.
pub(in crate::bitmap) const SURROUNDED: Range<usize> = 0..LINE_WORDS + 2;

/// Calls `place` with the start of each run of this length, below [`WORD_BITS`], that begins in a line, until it
/// returns something. The start is counted from the first granule of the line. `word_at` reads a word by its position:
/// the words of the line come after the word before it, which is 0.
#[inline(always)]
pub(in crate::bitmap) fn find_in_line<R>(
    len: usize,
    mut word_at: impl FnMut(usize) -> usize,
    mut place: impl FnMut(usize) -> Option<R>,
) -> Option<R> {
    let low = mask(0, len);
    // Where runs begin in the word before, rotated up by the length. So the low bits stand for granules of the next.
    let (mut before, mut starts_before) = (word_at(0), 0);
    let mut at = 1;
    while at < SURROUNDED.end {
        let word = word_at(at);
        let begins = begins(before, word);
        let goes_on = free_bits(before) >> (WORD_BITS - 1);
        // The sum carries through each run to the taken granule that ends the run.
        let ends = free_bits(word).wrapping_add(begins).wrapping_add(goes_on);
        let starts = begins << len | begins >> (len.wrapping_neg() % WORD_BITS);
        // A run ends there, and a run begins at the right distance from there.
        let found = ends & word & (starts_before & low | starts & !low);
        if found != 0
            && let at_last @ Some(_) = first_whole(len, at, (before, word), found, &mut place)
        {
            return at_last;
        }
        (before, starts_before) = (word, starts);
        at += 1;
    }
    None
}

/// Does the same for the runs that may end at the granules `ends` of the word at this position.
#[inline(never)]
fn first_whole<R>(
    len: usize,
    at: usize,
    (before, word): (usize, usize),
    mut ends: usize,
    place: &mut impl FnMut(usize) -> Option<R>,
) -> Option<R> {
    if at > LINE_WORDS {
        // Others begin in the next line.
        ends &= mask(0, len);
    }
    while ends != 0 {
        let end = ends.trailing_zeros() as usize;
        // The granules up to the end, the last of them highest.
        let window = word << 1 << (WORD_BITS - 1 - end) | before >> end;
        // Or else a shorter run ends there.
        if window & FULL & !(FULL >> len) == 0
            && let at_last @ Some(_) = place((at - 1) * WORD_BITS + end - len)
        {
            return at_last;
        }
        ends &= ends - 1;
    }
    None
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

    /// The runs that begin in a line, bit by bit: where each begins, and how long it is as far as it is seen.
    fn runs(words: &[usize]) -> Vec<(usize, usize)> {
        let bits: Vec<bool> = words
            .iter()
            .chain([&FULL])
            .flat_map(|word| (0..WORD_BITS).map(move |at| word >> at & 1 == 0))
            .collect();
        (WORD_BITS..(LINE_WORDS + 1) * WORD_BITS)
            .filter(|&at| !bits[at - 1] && bits[at])
            .map(|at| {
                let free = bits[at..].iter().take_while(|&&free| free);
                (at - WORD_BITS, free.count())
            })
            .collect()
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "plain arithmetic")]
        fn the_runs_of_each_length_are_found(
            words in proptest::array::uniform::<_, { SURROUNDED.end }>(word()),
        ) {
            let runs = runs(&words);
            for len in 1..WORD_BITS {
                let expected = runs.iter().filter(|run| run.1 == len).map(|run| run.0);
                let expected: Vec<_> = expected.collect();
                let mut starts = Vec::new();
                let none = find_in_line(len, |at| words[at], |start| {
                    starts.push(start);
                    None::<()>
                });
                prop_assert_eq!(none, None);
                prop_assert_eq!(&starts, &expected, "of {}", len);
                let first = find_in_line(len, |at| words[at], Some);
                prop_assert_eq!(first, expected.first().copied(), "of {}", len);
            }
        }
    }
}
