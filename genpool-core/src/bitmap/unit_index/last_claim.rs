//! The last claim of a shard.

use crate::units::WordIndex;

/// The last claim of a shard: {word, granules, or 0 if the thread freed something in a lower word of its units since}.
#[derive(Clone, Copy, Debug)]
pub(in crate::bitmap) struct LastClaim(pub(super) usize);

impl LastClaim {
    const GRANULES_BITS: u32 = u8::BITS;
    const GRANULES: usize = (1 << Self::GRANULES_BITS) - 1;

    #[inline(always)]
    pub(super) fn new(word: WordIndex, n: usize) -> Self {
        Self(word.0 << Self::GRANULES_BITS | n)
    }

    /// Returns the word, whose byte is still that before the claim.
    #[inline(always)]
    pub(in crate::bitmap) fn word(self) -> WordIndex {
        WordIndex(self.0 >> Self::GRANULES_BITS)
    }

    /// Returns the same claim as one that is no longer the lowest for any length.
    #[inline(always)]
    pub(super) fn outdated(self) -> Self {
        Self(self.0 & !Self::GRANULES)
    }

    /// Returns true if no claim is recorded, as before the first.
    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Returns true if it was of `n` granules, and no lower word of the shard's units has a fit for as many, unless another
    /// thread freed something there. After a claim of fewer than `n` no search is needed either, but that test is often
    /// mispredicted.
    #[inline(always)]
    pub(in crate::bitmap) fn is_lowest_for(self, n: usize) -> bool {
        self.0 & Self::GRANULES == n
    }
}
