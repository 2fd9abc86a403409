//! The addresses of a chunk: what every pool refuses without a look at its granules.

use core::ops::Range;

use crate::{AddError, FreeError};

/// The addresses of a chunk. Its last address always exists, unlike the one after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) last: usize,
    order: u32,
}

impl Span {
    /// Returns the addresses of a new chunk.
    ///
    /// # Errors
    ///
    /// In this order: a granule larger than the address space, zero size, a start or size that is not a multiple of the
    /// granule, and a range past the top of the address space.
    pub(crate) fn new(order: u32, start: usize, size: usize) -> Result<Self, AddError> {
        let granule = 1usize
            .checked_shl(order)
            .ok_or(AddError::OrderTooLarge { order })?;
        if size == 0 {
            return Err(AddError::ZeroSize { start });
        }
        if !start.is_multiple_of(granule) || !size.is_multiple_of(granule) {
            return Err(AddError::Misaligned {
                start,
                size,
                granule,
            });
        }
        let last = start
            .checked_add(size - 1)
            .ok_or(AddError::Wraps { start, size })?;
        Ok(Self { start, last, order })
    }

    /// Returns the error for a new chunk that overlaps this one.
    pub(crate) fn overlapped_by(self, new: Self) -> AddError {
        AddError::Overlaps {
            start: new.start,
            size: new.last - new.start + 1,
            with: self.start,
        }
    }

    pub(crate) fn granules(self) -> usize {
        ((self.last - self.start) >> self.order) + 1
    }

    pub(crate) fn contains(self, addr: usize) -> bool {
        (self.start..=self.last).contains(&addr)
    }

    /// Returns whether all `size` bytes at `addr`, which lies in the chunk, do so too. `size` is not 0.
    pub(crate) fn holds(self, addr: usize, size: usize) -> bool {
        size - 1 <= self.last - addr
    }

    /// Returns the granules of a free of `size` bytes at `addr`, which lies in the chunk. `size` is not 0.
    ///
    /// # Errors
    ///
    /// In this order: a range past the chunk, and an address that does not start a granule.
    pub(crate) fn freed(self, addr: usize, size: usize) -> Result<Range<usize>, FreeError> {
        if !self.holds(addr, size) {
            return Err(FreeError::PastChunk { addr, size });
        }
        let granule = 1usize << self.order;
        if !addr.is_multiple_of(granule) {
            return Err(FreeError::Misaligned { addr, granule });
        }
        let at = (addr - self.start) >> self.order;
        Ok(at..at + size.div_ceil(granule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_by_hand() {
        let granules = |start, size| Span::new(4, start, size).map(Span::granules);
        assert_eq!(granules(0, 16), Ok(1));
        assert_eq!(granules(usize::MAX - 31, 32), Ok(2));
        assert_eq!(granules(32, 0), Err(AddError::ZeroSize { start: 32 }));
        for (start, size) in [(8, 16), (16, 8), (0, usize::MAX)] {
            let granule = 16;
            let refused = AddError::Misaligned {
                start,
                size,
                granule,
            };
            assert_eq!(granules(start, size), Err(refused));
        }
        let (start, size) = (usize::MAX - 31, 48);
        assert_eq!(granules(start, size), Err(AddError::Wraps { start, size }));
        let order = usize::BITS;
        let refused = Span::new(order, 0, 1).map(Span::granules);
        assert_eq!(refused, Err(AddError::OrderTooLarge { order }));
    }

    #[test]
    fn frees_by_hand() {
        for start in [0x20, usize::MAX - 63] {
            let span = Span::new(4, start, 64).unwrap();
            assert!(span.contains(start) && span.contains(start + 63));
            assert!(!span.contains(start - 1) && !span.contains(start.wrapping_add(64)));
            assert!(span.holds(start, 64) && !span.holds(start + 1, 64));
            assert_eq!(span.freed(start + 16, 17), Ok(1..3));
            let (addr, size) = (start + 17, 48);
            let refused = FreeError::PastChunk { addr, size };
            assert_eq!(span.freed(addr, size), Err(refused));
            let refused = FreeError::Misaligned { addr, granule: 16 };
            assert_eq!(span.freed(addr, 47), Err(refused));
        }
    }
}
