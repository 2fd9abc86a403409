//! What a pool tells about itself.

use alloc::vec::Vec;

use super::{Chunks, Inner, Pool};
use crate::chunk::{Chunk, State};
use crate::error::FreeError;
use crate::stats::{Fragmentation, Held, Stats, held_in};

impl Pool {
    /// The chunks at this instant, newest first. Later changes of the pool do not change the answer,
    /// and it holds up nobody. Linear in the number of chunks. Not [signal-safe](crate#signal-safety).
    #[must_use]
    pub fn chunks(&self) -> Chunks {
        self.inner.reveal(Chunks::new(&self.inner))
    }

    /// Bytes in all chunks but those that are being removed. Linear in the number of chunks.
    /// [Signal-safe](crate#signal-safety).
    #[must_use]
    pub fn size(&self) -> usize {
        self.inner.reveal(self.inner.sum_alive(Chunk::size))
    }

    /// Bytes that are free, in all chunks but those that are being removed: counted in the bitmap,
    /// so never more than [`size`](Self::size), and exact when nobody moves. Linear in the granules,
    /// 64 at a time. [Signal-safe](crate#signal-safety).
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
        self.inner.reveal(self.inner.sum_alive(Chunk::avail))
    }

    /// Whether the whole range of `size` bytes at `addr` lies inside one chunk. An empty range and
    /// one that wraps never do. Logarithmic in the number of chunks. [Signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// assert!(pool.contains(0x1000, 0x4000));
    /// assert!(!pool.contains(0x4fff, 2)); // the second byte is outside
    /// assert!(!pool.contains(usize::MAX, 2)); // never, where it wraps
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn contains(&self, addr: usize, size: usize) -> bool {
        let Some(last) = size.checked_sub(1).and_then(|more| addr.checked_add(more)) else {
            return false;
        };
        let inside = self.inner.in_chunk(addr, |chunk| chunk.contains(last));
        self.inner.reveal(inside).unwrap_or(false)
    }

    /// The physical address that `addr` stands for, if its chunk was given one. Logarithmic in the
    /// number of chunks. [Signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add_virt(0x1000, 0x8000_0000, 0x1000)?;
    /// pool.add(0x2000, 0x1000)?;
    /// assert_eq!(pool.phys_of(0x1234), Some(0x8000_0234));
    /// assert_eq!(pool.phys_of(0x2234), None); // that chunk has none, and none is made up
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn phys_of(&self, addr: usize) -> Option<u64> {
        let phys = self.inner.in_chunk(addr, |chunk| chunk.phys_of(addr));
        self.inner.reveal(phys).flatten()
    }

    /// Totals and counts. Linear in the granules, 64 at a time. [Signal-safe](crate#signal-safety).
    #[must_use]
    pub fn stats(&self) -> Stats {
        let pin = self.inner.chunk_set.pin();
        let stats = Stats::gather(&pin, &self.inner);
        self.inner.reveal(stats)
    }

    /// How the free space is cut up, by a scan of every chunk that serves. Linear in the granules.
    /// [Signal-safe](crate#signal-safety).
    #[must_use]
    pub fn fragmentation(&self) -> Fragmentation {
        let pin = self.inner.chunk_set.pin();
        let fragmentation = Fragmentation::gather(&pin, self.inner.order);
        self.inner.reveal(fragmentation)
    }

    /// The live allocations, by address. Needs boundary tracking. Linear in the granules. Not
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
    /// [`FreeError::NotTracked`] without boundary tracking.
    pub fn live(&self) -> Result<Vec<Held>, FreeError> {
        if !self.inner.tracked {
            return Err(FreeError::NotTracked);
        }
        Ok(self.held(usize::MAX))
    }

    /// What is held, by address, at most so much of it: allocation by allocation with boundary tracking,
    /// else run by run. For the workspace's reports.
    #[doc(hidden)]
    #[must_use]
    pub fn held(&self, most: usize) -> Vec<Held> {
        let list = self.inner.chunk_set.load();
        let held = self.inner.reveal(held_in(&list, most));
        // A value that is returned already would be lost if this panics.
        drop(list);
        held
    }

    /// For tests, while nobody moves: whether the bookkeeping agrees with itself. Where boundaries are
    /// tracked, what is taken and has no owner must be in a cache.
    #[doc(hidden)]
    #[must_use]
    pub fn is_sound(&self) -> bool {
        // First, for whoever takes a count brings readers up to the list.
        let is_read = self.inner.chunk_set.is_read();
        let list = self.inner.chunk_set.load();
        // Granules that are taken and not known to belong to an allocation.
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
                    && self.inner.chunk_set.address_index.knows(chunk);
            chunk.bitmap().is_sound() && spare.is_some() && is_found
        });
        let cached = self.inner.slots.granules();
        is_read && sound && cached <= unowned && (cached == unowned || !self.inner.tracked)
    }
}

impl Inner {
    fn sum_alive(&self, figure: impl Fn(&Chunk) -> usize) -> usize {
        let pin = self.chunk_set.pin();
        pin.chunks()
            .filter(|chunk| chunk.state() == State::Alive)
            .map(|chunk| figure(chunk))
            .sum()
    }
}
