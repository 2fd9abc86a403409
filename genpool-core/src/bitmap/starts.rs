//! Which granules a run may start at.

use super::word::{FULL, mask};
use crate::units::{Granule, WORD_BITS};

/// Which granules a run may start at.
pub(crate) trait Starts: Copy {
    /// Returns the first of them that is not below `granule`.
    fn up(self, granule: Granule) -> Granule;

    /// Returns those of the word whose first granule is `start`, as set bits.
    fn pattern(self, start: Granule) -> usize;
}

/// Every granule.
#[derive(Clone, Copy)]
pub(crate) struct AnyStart;

impl Starts for AnyStart {
    #[inline]
    fn up(self, granule: Granule) -> Granule {
        granule
    }

    #[inline]
    fn pattern(self, _: Granule) -> usize {
        FULL
    }
}

/// Every granule whose number, with `shift` added, is a multiple of `mask + 1`, a power of two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AlignedStarts {
    pub(crate) mask: usize,
    pub(crate) shift: usize,
}

impl Starts for AlignedStarts {
    #[inline]
    fn up(self, granule: Granule) -> Granule {
        let past = granule.0.wrapping_add(self.shift) & self.mask;
        Granule(granule.0.saturating_add(past.wrapping_neg() & self.mask))
    }

    #[inline]
    fn pattern(self, start: Granule) -> usize {
        let first = self.up(start).0 - start.0;
        if first >= WORD_BITS {
            0
        } else if self.mask >= WORD_BITS - 1 {
            1 << first
        } else {
            (FULL / mask(0, self.mask + 1)) << first & FULL
        }
    }
}
