//! A line of words as it was seen: which runs begin in it.

use super::word::{WORD_BITS, begins, free_bits, free_prefix, free_suffix};

/// Words in a line: a cache line on 64-bit machines, which a look for one length goes through in the time of two
/// locked instructions (2026-11). Two in the model, so that a few words are several lines.
pub(super) const WORDS: usize = if cfg!(genpool_loom) { 2 } else { 8 };

/// Granules in a line.
pub(super) const LINE: usize = WORDS * WORD_BITS;

/// What was seen of a line of words, and of the words beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) before: usize,
    pub(super) words: [usize; WORDS],
    pub(super) behind: usize,
}

impl Line {
    /// A word of the line with the one before it and the one behind it.
    #[inline(always)]
    fn around(&self, at: usize) -> (usize, usize, usize) {
        let before = if at == 0 {
            self.before
        } else {
            self.words[at - 1]
        };
        let behind = *self.words.get(at + 1).unwrap_or(&self.behind);
        (before, self.words[at], behind)
    }

    /// Where the first run of this length begins, which is below [`WORD_BITS`], counted from the line's first
    /// granule.
    #[inline]
    pub(super) fn first(&self, len: usize) -> Option<usize> {
        for at in 0..WORDS {
            let (before, word, behind) = self.around(at);
            let begins = begins(before, word);
            // Where each begins a carry sets out for the taken granule that ends it.
            let ends = free_bits(word).wrapping_add(begins) & word;
            let suffix = free_suffix(word);
            let through = suffix > 0 && suffix + free_prefix(behind) == len;
            let last = if through {
                1 << (WORD_BITS - suffix)
            } else {
                0
            };
            let mut found = begins & (ends >> len | last);
            while found != 0 {
                let from = found.trailing_zeros() as usize;
                // Another one's end may be as far away.
                if found & found.wrapping_neg() == last || free_prefix(word >> from) == len {
                    return Some(at * WORD_BITS + from);
                }
                found &= found - 1;
            }
        }
        None
    }

    /// Where runs of at least [`WORD_BITS`] begin, upwards.
    pub(super) fn long(self) -> impl Iterator<Item = usize> {
        (0..WORDS).filter_map(move |at| {
            let (before, word, behind) = self.around(at);
            let suffix = free_suffix(word);
            let begin = suffix > 0 && begins(before, word) >> (WORD_BITS - suffix) != 0;
            let is_long = begin && suffix + free_prefix(behind) >= WORD_BITS;
            is_long.then_some(at * WORD_BITS + WORD_BITS - suffix)
        })
    }
}
