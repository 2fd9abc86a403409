//! The oracle: one `bool` per granule, and every rule written as the contract states it.
//!
//! Addresses are compared as `u128`, so that a chunk may end exactly at the top of the address space.

use crate::{AddError, Fit, FreeError};

/// A pool that is slow and obviously correct, to test others against.
///
/// It has a byte for each granule and reads all of them.
#[derive(Debug, Clone)]
pub struct Oracle {
    order: u32,
    chunks: Vec<Chunk>,
}

#[derive(Debug, Clone)]
struct Chunk {
    start: usize,
    /// `true`: allocated.
    bits: Vec<bool>,
}

impl Oracle {
    /// Makes an empty pool with granules of `1 << order` bytes. Nothing can be added if that exceeds the address space.
    pub fn new(order: u32) -> Self {
        Self {
            order,
            chunks: Vec::new(),
        }
    }

    /// Adds the chunk of `size` bytes at `start`.
    ///
    /// # Errors
    ///
    /// Zero size, a start or size that is not a multiple of the granule, a range past the top of the address space, or
    /// one that overlaps a chunk of the pool.
    pub fn add(&mut self, start: usize, size: usize) -> Result<(), AddError> {
        let granule = 1usize
            .checked_shl(self.order)
            .ok_or(AddError::OrderTooLarge { order: self.order })?;
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
        let end = start as u128 + size as u128;
        if end > 1 << usize::BITS {
            return Err(AddError::Wraps { start, size });
        }
        if let Some(other) = self
            .chunks
            .iter()
            .find(|c| (start as u128) < self.end(c) && (c.start as u128) < end)
        {
            return Err(AddError::Overlaps {
                start,
                size,
                with: other.start,
            });
        }
        let mut bits = Vec::new();
        bits.try_reserve_exact(size / granule)
            .map_err(|_| AddError::NoMemory {
                granules: size / granule,
            })?;
        bits.resize(size / granule, false);
        self.chunks.push(Chunk { start, bits });
        Ok(())
    }

    /// Allocates `size` bytes, rounded up to whole granules, in the newest chunk where `fit` finds room. Also returns
    /// `None` for size 0, and for an alignment or offset that [`Fit`] excludes.
    pub fn alloc(&mut self, size: usize, fit: Fit) -> Option<usize> {
        let granule = 1u128.checked_shl(self.order)?;
        let granules = (size as u128).div_ceil(granule) as usize;
        self.alloc_where(size, |start, bits| {
            let mut all = 0..bits.len();
            let aligned = |at: usize, align: u128| {
                (start as u128 + at as u128 * granule).is_multiple_of(align)
            };
            match fit {
                Fit::FirstFit => all.find(|&at| is_free(bits, at, granules)),
                Fit::FirstFitAlign(align) if !align.is_power_of_two() => None,
                Fit::FirstFitAlign(align) => {
                    all.find(|&at| aligned(at, align as u128) && is_free(bits, at, granules))
                }
                Fit::OrderAlign => {
                    let align = (size as u128).next_power_of_two();
                    all.find(|&at| aligned(at, align) && is_free(bits, at, granules))
                }
                Fit::BestFit => {
                    let fitting = runs(bits).into_iter().filter(|&(_, len)| len >= granules);
                    fitting.min_by_key(|&(at, len)| (len, at)).map(|(at, _)| at)
                }
                Fit::FixedOffset(offset) if !(offset as u128).is_multiple_of(granule) => None,
                Fit::FixedOffset(offset) => Some((offset as u128 / granule) as usize),
            }
        })
    }

    /// Allocates `size` bytes at a place of the caller's choice. `choose` sees a chunk's first address and its granules
    /// (`true`: allocated), newest chunk first, and returns the first granule to take. If the run there is not free,
    /// the next chunk is asked.
    pub fn alloc_where(
        &mut self,
        size: usize,
        mut choose: impl FnMut(usize, &[bool]) -> Option<usize>,
    ) -> Option<usize> {
        let granule = 1usize.checked_shl(self.order)?;
        let granules = size.div_ceil(granule);
        if granules == 0 {
            return None;
        }
        for chunk in self.chunks.iter_mut().rev() {
            let Some(at) = choose(chunk.start, &chunk.bits) else {
                continue;
            };
            if is_free(&chunk.bits, at, granules) {
                chunk.bits[at..at + granules].fill(true);
                return Some(chunk.start + at * granule);
            }
        }
        None
    }

    /// Gives back `size` bytes at `addr`, rounded up to whole granules.
    ///
    /// # Errors
    ///
    /// In this order: zero size, an address in no chunk, a range past its chunk, an address that does not start a
    /// granule, and a range that is not entirely allocated.
    pub fn free(&mut self, addr: usize, size: usize) -> Result<(), FreeError> {
        if size == 0 {
            return Err(FreeError::ZeroSize { addr });
        }
        let index = self.chunk_of(addr).ok_or(FreeError::Foreign { addr })?;
        if addr as u128 + size as u128 > self.end(&self.chunks[index]) {
            return Err(FreeError::PastChunk { addr, size });
        }
        let granule = 1usize << self.order;
        if !addr.is_multiple_of(granule) {
            return Err(FreeError::Misaligned { addr, granule });
        }
        let at = (addr - self.chunks[index].start) / granule;
        let range = &mut self.chunks[index].bits[at..at + size.div_ceil(granule)];
        if !range.iter().all(|&taken| taken) {
            return Err(FreeError::NotAllocated { addr, size });
        }
        range.fill(false);
        Ok(())
    }

    /// Returns the number of free bytes. If the chunks fill the address space and all is free, that is [`usize::MAX`].
    pub fn avail(&self) -> usize {
        let free = self
            .chunks
            .iter()
            .map(|c| c.bits.iter().filter(|&&taken| !taken).count());
        free.map(|granules| granules << self.order)
            .fold(0, usize::saturating_add)
    }

    /// Returns the number of bytes in all chunks. If they fill the address space, that is [`usize::MAX`].
    pub fn size(&self) -> usize {
        self.chunks
            .iter()
            .map(|c| c.bits.len() << self.order)
            .fold(0, usize::saturating_add)
    }

    /// Returns whether all `size` bytes at `addr` lie in one chunk. An empty range lies in none.
    pub fn contains(&self, addr: usize, size: usize) -> bool {
        let end = addr as u128 + size as u128;
        size > 0
            && self
                .chunk_of(addr)
                .is_some_and(|index| end <= self.end(&self.chunks[index]))
    }

    /// Returns the free runs of the `chunk`-th chunk added (from 0), lowest first, as the first granule in the chunk
    /// and the number of granules. Returns an empty list if there is no such chunk.
    pub fn free_runs(&self, chunk: usize) -> Vec<(usize, usize)> {
        self.chunks
            .get(chunk)
            .map(|c| runs(&c.bits))
            .unwrap_or_default()
    }

    fn chunk_of(&self, addr: usize) -> Option<usize> {
        self.chunks
            .iter()
            .position(|c| c.start <= addr && (addr as u128) < self.end(c))
    }

    /// Returns the address after the chunk's last.
    fn end(&self, chunk: &Chunk) -> u128 {
        chunk.start as u128 + ((chunk.bits.len() as u128) << self.order)
    }
}

/// Returns whether `len` granules from `at` exist and are free.
fn is_free(bits: &[bool], at: usize, len: usize) -> bool {
    let range = at.checked_add(len).and_then(|end| bits.get(at..end));
    range.is_some_and(|range| range.iter().all(|&taken| !taken))
}

/// Returns the maximal runs of free granules, lowest first.
fn runs(bits: &[bool]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, _) in bits.iter().enumerate().filter(|&(_, &taken)| !taken) {
        match runs.last_mut() {
            Some((start, len)) if *start + *len == at => *len += 1,
            _ => runs.push((at, 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_by_hand() {
        let mut pool = Oracle::new(4);
        pool.add(0x30, 0x100).unwrap();
        assert_eq!(pool.alloc(16, Fit::FixedOffset(1)), None);
        assert_eq!(pool.alloc(60, Fit::OrderAlign), Some(0x40));
        assert_eq!(pool.free_runs(0), [(0, 1), (5, 11)]);
        assert_eq!(pool.alloc(16, Fit::BestFit), Some(0x30));
        assert_eq!(pool.alloc(1, Fit::FirstFitAlign(128)), Some(0x80));
        assert_eq!(pool.alloc(1, Fit::FirstFitAlign(96)), None);
        assert_eq!(pool.alloc(0, Fit::FirstFit), None);
        assert_eq!(pool.alloc(32, Fit::FixedOffset(0xe0)), Some(0x110));
        assert_eq!(pool.alloc(32, Fit::FixedOffset(0xe0)), None);
        assert_eq!(pool.alloc(32, Fit::FixedOffset(0xe1)), None);
        assert_eq!(pool.free(0x40, 64), Ok(()));
        assert_eq!(
            pool.free(0x40, 64),
            Err(FreeError::NotAllocated {
                addr: 0x40,
                size: 64
            })
        );
        assert_eq!(pool.alloc(64, Fit::FirstFit), Some(0x40));
        assert_eq!((pool.avail(), pool.size()), (0x100 - 8 * 16, 0x100));
    }

    #[test]
    fn what_there_is_no_memory_for_is_counted_in_granules() {
        let mut pool = Oracle::new(4);
        let granules = 1 << (usize::BITS - 6);
        let refused = pool.add(0, granules << 4);
        assert_eq!(refused, Err(AddError::NoMemory { granules }));
        assert_eq!(pool.size(), 0);
    }

    #[test]
    fn a_chunk_ends_before_the_next_one() {
        let mut pool = Oracle::new(0);
        pool.add(0, 4).unwrap();
        pool.add(4, 4).unwrap();
        assert_eq!(pool.alloc(1, Fit::FirstFit), Some(4));
        assert_eq!(pool.free(4, 1), Ok(()));
    }

    #[test]
    fn newest_chunk_first() {
        let mut pool = Oracle::new(0);
        pool.add(0, 4).unwrap();
        pool.add(100, 4).unwrap();
        assert_eq!(pool.alloc(3, Fit::FirstFit), Some(100));
        assert_eq!(pool.alloc(2, Fit::FirstFit), Some(0));
        assert_eq!(pool.alloc(1, Fit::FixedOffset(2)), Some(2));
        assert_eq!(
            pool.alloc_where(1, |_, bits| bits.iter().rposition(|&taken| !taken)),
            Some(103)
        );
    }
}
