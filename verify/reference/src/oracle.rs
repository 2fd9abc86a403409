//! The oracle: one `bool` per granule, and every rule written as the contract states it.

use alloc::vec;
use alloc::vec::Vec;

use crate::span::Span;
use crate::{AddError, Fit, FreeError, Granules};

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
    span: Span,
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
        let span = Span::new(self.order, start, size)?;
        let overlaps = |c: &&Chunk| c.span.start <= span.last && span.start <= c.span.last;
        if let Some(other) = self.chunks.iter().find(overlaps) {
            return Err(other.span.overlapped_by(span));
        }
        let mut bits = Vec::new();
        let granules = span.granules();
        bits.try_reserve_exact(granules)
            .map_err(|_| AddError::NoMemory { granules })?;
        bits.resize(granules, false);
        self.chunks.push(Chunk { span, bits });
        Ok(())
    }

    /// Removes the `chunk`-th chunk added (from 0) into an oracle of its own, with what is allocated in it. The later
    /// chunks move up by one. Returns `None` if there is no such chunk.
    pub fn split_off(&mut self, chunk: usize) -> Option<Self> {
        let removed = (chunk < self.chunks.len()).then(|| self.chunks.remove(chunk))?;
        Some(Self {
            order: self.order,
            chunks: vec![removed],
        })
    }

    /// Allocates `size` bytes, rounded up to whole granules, in the newest chunk where `fit` finds room. Also returns
    /// `None` for size 0, and for an alignment or offset that [`Fit`] excludes.
    pub fn alloc(&mut self, size: usize, fit: Fit) -> Option<usize> {
        let granule = 1u128.checked_shl(self.order)?;
        let n = (size as u128).div_ceil(granule) as usize;
        self.alloc_where(size, |chunk| {
            let lowest = |align: u128| {
                let mut all = chunk.all();
                all.find(|&at| chunk.are_free(at, n) && chunk.addr(at).is_multiple_of(align))
            };
            match fit {
                Fit::FirstFit => lowest(1),
                Fit::FirstFitAlign(align) if !align.is_power_of_two() => None,
                Fit::FirstFitAlign(align) => lowest(align as u128),
                Fit::OrderAlign => lowest((size as u128).next_power_of_two()),
                Fit::BestFit => {
                    let fitting = chunk.free_runs().into_iter().filter(|&(_, len)| len >= n);
                    fitting.min_by_key(|&(at, len)| (len, at)).map(|(at, _)| at)
                }
                Fit::FixedOffset(offset) if !(offset as u128).is_multiple_of(granule) => None,
                Fit::FixedOffset(offset) => Some((offset as u128 / granule) as usize),
            }
        })
    }

    /// Allocates `size` bytes at a place of the caller's choice. `choose` sees the granules of a chunk, newest chunk
    /// first, and returns the first granule to take. If the run there is not free, the next chunk is asked.
    pub fn alloc_where(
        &mut self,
        size: usize,
        mut choose: impl FnMut(Granules<'_>) -> Option<usize>,
    ) -> Option<usize> {
        let granule = 1usize.checked_shl(self.order)?;
        let n = size.div_ceil(granule);
        if n == 0 {
            return None;
        }
        for chunk in self.chunks.iter_mut().rev() {
            let granules = chunk.granules(self.order);
            let Some(at) = choose(granules) else {
                continue;
            };
            if granules.are_free(at, n) {
                chunk.bits[at..at + n].fill(true);
                return Some(chunk.span.start + at * granule);
            }
        }
        None
    }

    /// Allocates `size` bytes in the chunk of `addr`, from the granule of `addr` on, if they are free.
    pub fn alloc_at(&mut self, addr: usize, size: usize) -> Option<usize> {
        self.alloc_where(size, |chunk| chunk.granule_at(addr))
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
        let chunk = &mut self.chunks[index];
        let granules = chunk.span.freed(addr, size)?;
        let range = &mut chunk.bits[granules];
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
        size > 0
            && self
                .chunk_of(addr)
                .is_some_and(|index| self.chunks[index].span.holds(addr, size))
    }

    /// Returns the granules of the `chunk`-th chunk added (from 0), if there is such a chunk.
    pub fn granules(&self, chunk: usize) -> Option<Granules<'_>> {
        Some(self.chunks.get(chunk)?.granules(self.order))
    }

    /// Returns the free runs of the `chunk`-th chunk added (from 0), lowest first, as the first granule in the chunk
    /// and the number of granules. Returns an empty list if there is no such chunk.
    pub fn free_runs(&self, chunk: usize) -> Vec<(usize, usize)> {
        let granules = self.granules(chunk);
        granules.map_or_else(Vec::new, |granules| granules.free_runs())
    }

    fn chunk_of(&self, addr: usize) -> Option<usize> {
        self.chunks.iter().position(|c| c.span.contains(addr))
    }
}

impl Chunk {
    fn granules(&self, order: u32) -> Granules<'_> {
        Granules {
            start: self.span.start,
            order,
            bits: &self.bits,
        }
    }
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
    fn a_chunk_that_is_split_off_keeps_what_is_allocated() {
        let mut pool = Oracle::new(0);
        for start in [0, 10, 20] {
            pool.add(start, 4).unwrap();
        }
        assert_eq!(pool.alloc_at(11, 2), Some(11));
        assert_eq!(pool.alloc_at(14, 1), None);
        let middle = pool.split_off(1).unwrap();
        assert_eq!(
            (middle.size(), middle.free_runs(0)),
            (4, vec![(0, 1), (3, 1)])
        );
        assert_eq!((pool.size(), pool.avail()), (8, 8));
        assert_eq!(pool.alloc(4, Fit::FirstFit), Some(20));
        assert!(pool.split_off(2).is_none());
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
            pool.alloc_where(1, |chunk| chunk.all().rfind(|&at| chunk.are_free(at, 1))),
            Some(103)
        );
    }
}
