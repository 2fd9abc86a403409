//! The single-threaded pool: a bitmap and a count of free granules for each chunk.

use alloc::vec::Vec;

use crate::bitmap::Bitmap;
use crate::span::Span;
use crate::{AddError, Fit, FreeError};

/// A single-threaded pool on a bitmap of 64-bit words.
///
/// An alloc skips the chunks with too few free granules and scans the others a word at a time. A free finds its chunk
/// by binary search.
#[derive(Debug, Clone)]
pub struct PlainPool {
    order: u32,
    chunks: Vec<Chunk>,
    /// Indices into `chunks`, by address.
    by_start: Vec<usize>,
    /// The number of free granules in all chunks.
    free: usize,
    /// The number of granules in all chunks.
    granules: usize,
}

#[derive(Debug, Clone)]
struct Chunk {
    span: Span,
    phys: Option<u64>,
    free: usize,
    bits: Bitmap,
}

impl PlainPool {
    /// Makes an empty pool with granules of `1 << order` bytes. Nothing can be added if that exceeds the address space.
    pub fn new(order: u32) -> Self {
        Self {
            order,
            chunks: Vec::new(),
            by_start: Vec::new(),
            free: 0,
            granules: 0,
        }
    }

    /// Returns the pool's order: a granule is `1 << order` bytes.
    pub fn order(&self) -> u32 {
        self.order
    }

    /// Adds the chunk of `size` bytes at `start`, without a physical address.
    ///
    /// # Errors
    ///
    /// Zero size, a start or size that is not a multiple of the granule, a range past the top of the address space, one
    /// that overlaps a chunk of the pool, or no memory for the bitmap.
    pub fn add(&mut self, start: usize, size: usize) -> Result<(), AddError> {
        self.add_chunk(start, None, size)
    }

    /// Adds the chunk of `size` bytes at `virt`, whose physical address is `phys`.
    ///
    /// # Errors
    ///
    /// As for [`add`](Self::add).
    pub fn add_virt(&mut self, virt: usize, phys: u64, size: usize) -> Result<(), AddError> {
        self.add_chunk(virt, Some(phys), size)
    }

    fn add_chunk(&mut self, start: usize, phys: Option<u64>, size: usize) -> Result<(), AddError> {
        let span = Span::new(self.order, start, size)?;
        // Only the last of the chunks that start at or below `last` can overlap.
        let place = self
            .by_start
            .partition_point(|&index| self.chunks[index].span.start <= span.last);
        if let Some(&index) = place
            .checked_sub(1)
            .and_then(|below| self.by_start.get(below))
            && self.chunks[index].span.last >= start
        {
            return Err(self.chunks[index].span.overlapped_by(span));
        }
        let granules = span.granules();
        let bits = Bitmap::new(granules).ok_or(AddError::NoMemory { granules })?;
        self.by_start.insert(place, self.chunks.len());
        self.chunks.push(Chunk {
            span,
            phys,
            free: granules,
            bits,
        });
        self.free += granules;
        self.granules += granules;
        Ok(())
    }

    /// Allocates `size` bytes, rounded up to whole granules, in the newest chunk where `fit` finds room. Also returns
    /// `None` for size 0, and for an alignment or offset that [`Fit`] excludes.
    pub fn alloc(&mut self, size: usize, fit: Fit) -> Option<usize> {
        let granule = 1usize.checked_shl(self.order)?;
        let granules = size.div_ceil(granule);
        if granules == 0 || granules > self.free {
            return None;
        }
        for chunk in self.chunks.iter_mut().rev() {
            if granules > chunk.free {
                continue;
            }
            if let Some(at) = chunk.find(granules, fit, self.order) {
                chunk.bits.set(at, granules);
                chunk.free -= granules;
                self.free -= granules;
                return Some(chunk.span.start + (at << self.order));
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
        let chunk = &mut self.chunks[index];
        let freed = chunk.span.freed(addr, size)?;
        let (at, granules) = (freed.start, freed.len());
        if !chunk.bits.is_set(at, granules) {
            return Err(FreeError::NotAllocated { addr, size });
        }
        chunk.bits.clear(at, granules);
        chunk.free += granules;
        self.free += granules;
        Ok(())
    }

    /// Returns the number of free bytes. If the chunks fill the address space and all is free, that is [`usize::MAX`].
    pub fn avail(&self) -> usize {
        self.bytes(self.free)
    }

    /// Returns the number of bytes in all chunks. If they fill the address space, that is [`usize::MAX`].
    pub fn size(&self) -> usize {
        self.bytes(self.granules)
    }

    fn bytes(&self, granules: usize) -> usize {
        let granule = 1usize.checked_shl(self.order).unwrap_or(usize::MAX);
        granules.saturating_mul(granule)
    }

    /// Returns whether all `size` bytes at `addr` lie in one chunk. An empty range lies in none.
    pub fn contains(&self, addr: usize, size: usize) -> bool {
        size > 0
            && self
                .chunk_of(addr)
                .is_some_and(|index| self.chunks[index].span.holds(addr, size))
    }

    /// Returns the physical address of `addr`, if it lies in a chunk that has one.
    pub fn phys_of(&self, addr: usize) -> Option<u64> {
        let chunk = &self.chunks[self.chunk_of(addr)?];
        chunk
            .phys?
            .checked_add(u64::try_from(addr - chunk.span.start).ok()?)
    }

    /// Returns the index of the chunk that contains `addr`.
    fn chunk_of(&self, addr: usize) -> Option<usize> {
        let above = self
            .by_start
            .partition_point(|&index| self.chunks[index].span.start <= addr);
        let index = *self.by_start.get(above.checked_sub(1)?)?;
        self.chunks[index].span.contains(addr).then_some(index)
    }
}

impl Chunk {
    /// Returns where `fit` puts `granules` granules, all of them free.
    fn find(&self, granules: usize, fit: Fit, order: u32) -> Option<usize> {
        let base = self.span.start >> order;
        match fit {
            Fit::FirstFit => self.bits.first_fit(granules, base, 1),
            Fit::FirstFitAlign(align) if !align.is_power_of_two() => None,
            Fit::FirstFitAlign(align) => {
                self.bits.first_fit(granules, base, (align >> order).max(1))
            }
            Fit::OrderAlign => {
                self.bits
                    .first_fit(granules, base, granules.checked_next_power_of_two()?)
            }
            Fit::BestFit => self.bits.best_fit(granules),
            Fit::FixedOffset(offset) => {
                let at = offset >> order;
                (at << order == offset && self.bits.is_clear(at, granules)).then_some(at)
            }
        }
    }
}
