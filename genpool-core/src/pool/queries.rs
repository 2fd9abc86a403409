//! Read-only queries of a pool.

use alloc::vec::Vec;

use super::{Chunks, PoolView};
use crate::chunk::{Chunk, State};
use crate::chunk_ops::PoolState;
use crate::error::NotTracked;
use crate::shared::Shared;
use crate::stats::{Fragmentation, Held, Stats, held_in};

impl PoolView {
    /// Returns the chunks at this instant, newest first. Later changes of the pool do not affect the iterator, and it
    /// holds up no other thread. Linear in the number of chunks. Not [signal-safe](crate#signal-safety).
    #[must_use]
    pub fn chunks(&self) -> Chunks {
        self.shared.reveal(Chunks::new(&self.shared))
    }

    /// Returns the bytes in all chunks that are not being removed. Linear in the number of chunks.
    /// [Signal-safe](crate#signal-safety).
    #[must_use]
    pub fn size(&self) -> usize {
        self.shared.reveal(self.shared.sum_alive(Chunk::size))
    }

    /// Returns the free bytes in all chunks that are not being removed. They are counted in the bitmap, so the result
    /// never exceeds [`size`](Self::size), and it is exact if no other thread changes the pool meanwhile. Linear in
    /// the granules, 64 at a time. [Signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// let _held = pool.alloc(1)?;
    /// assert_eq!((pool.size(), pool.avail()), (0x4000, 0x3000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn avail(&self) -> usize {
        self.shared.reveal(self.shared.sum_alive(Chunk::avail))
    }

    /// Returns true if the whole range of `size` bytes at `addr` lies inside one chunk. False for an empty range and
    /// for one that wraps. Logarithmic in the number of chunks. [Signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// assert!(pool.contains(0x1000, 0x4000));
    /// assert!(!pool.contains(0x4fff, 2)); // the second byte is outside
    /// assert!(!pool.contains(usize::MAX, 2)); // a range that wraps is never inside
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn contains(&self, addr: usize, size: usize) -> bool {
        let Some(last) = size.checked_sub(1).and_then(|more| addr.checked_add(more)) else {
            return false;
        };
        let inside = self.shared.in_chunk(addr, |chunk| chunk.contains(last));
        self.shared.reveal(inside).unwrap_or(false)
    }

    /// Returns the physical address that corresponds to `addr`, if its chunk has one. Logarithmic in the number of
    /// chunks. [Signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add_virt(0x1000, 0x8000_0000, 0x1000)?;
    /// pool.add(0x2000, 0x1000)?;
    /// assert_eq!(pool.phys_of(0x1234), Some(0x8000_0234));
    /// assert_eq!(pool.phys_of(0x2234), None); // that chunk has none
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn phys_of(&self, addr: usize) -> Option<u64> {
        let phys = self.shared.in_chunk(addr, |chunk| chunk.phys_of(addr));
        self.shared.reveal(phys).flatten()
    }

    /// Returns totals and counts. Linear in the granules, 64 at a time. [Signal-safe](crate#signal-safety).
    #[must_use]
    pub fn stats(&self) -> Stats {
        let pin = self.shared.chunk_set.pin();
        let stats = Stats::gather(&pin, &self.shared);
        self.shared.reveal(stats)
    }

    /// Returns how fragmented the free space is, from a scan of every chunk that is not being removed. Linear in the
    /// granules. [Signal-safe](crate#signal-safety).
    #[must_use]
    pub fn fragmentation(&self) -> Fragmentation {
        let pin = self.shared.chunk_set.pin();
        let fragmentation = Fragmentation::gather(&pin, self.shared.order);
        self.shared.reveal(fragmentation)
    }

    /// Returns the live allocations, by address. Requires boundary tracking. Linear in the granules. Not
    /// [signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::builder().order(12).boundary_tracking().build()?;
    /// pool.add(0x1000, 0x4000)?;
    /// let (_first, second) = (pool.alloc(1)?, pool.alloc(5000)?);
    /// second.set_tag(2);
    /// let live = pool.live()?;
    /// assert_eq!((live[1].addr, live[1].size, live[1].tag), (0x2000, 8192, Some(2)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotTracked`] if the pool was built without boundary tracking.
    pub fn live(&self) -> Result<Vec<Held>, NotTracked> {
        if !self.shared.tracked {
            return Err(NotTracked);
        }
        Ok(self.held(usize::MAX))
    }

    /// Returns at most `most` held ranges, by address: one for each allocation with boundary tracking, one for each
    /// run without. Used by the workspace's reports.
    #[doc(hidden)]
    #[must_use]
    pub fn held(&self, most: usize) -> Vec<Held> {
        let list = self.shared.chunk_set.load();
        let held = self.shared.reveal(held_in(&list, most));
        // Dropped here: if this panicked after the return, the returned value would be lost.
        drop(list);
        held
    }

    /// Whether the bookkeeping is consistent. For tests, while no other thread uses the pool. With boundary tracking,
    /// granules that are taken and have no owner must be in a cache.
    #[doc(hidden)]
    #[must_use]
    pub fn is_sound(&self) -> bool {
        // First, because `load` brings the readers up to the current list.
        let readers_are_current = self.shared.chunk_set.readers_are_current();
        let list = self.shared.chunk_set.load();
        // Granules that are taken and belong to no known allocation.
        let mut unowned = 0;
        let sound = list.chunks().all(|chunk| {
            let taken = chunk.bitmap().taken();
            let recorded = chunk.boundary_tags().map(|boundary_tags| {
                let live = boundary_tags.live();
                live.map(|(_, ownership)| ownership.len()).sum::<usize>()
            });
            let spare = taken.checked_sub(recorded.unwrap_or(0));
            unowned += spare.unwrap_or(0);
            let is_found = !chunk.is_permanent()
                || chunk.state() != State::Alive
                || chunk.bitmap().hints().is_covered()
                    && self.shared.chunk_set.address_index.knows(chunk);
            chunk.bitmap().is_sound() && spare.is_some() && is_found
        });
        let cached = self.shared.slots.granules();
        readers_are_current
            && sound
            && cached <= unowned
            && (cached == unowned || !self.shared.tracked)
    }
}

impl Shared {
    fn sum_alive(&self, figure: impl Fn(&Chunk) -> usize) -> usize {
        let pin = self.chunk_set.pin();
        pin.chunks()
            .filter(|chunk| chunk.state() == State::Alive)
            .map(|chunk| figure(chunk))
            .sum()
    }
}
