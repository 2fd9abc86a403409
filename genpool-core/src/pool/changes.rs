//! Adds and removes chunks.

use alloc::sync::Arc;

use super::Pool;
use crate::chunk::{Chunk, ChunkSpec, check_spec};
use crate::chunks::{Change, ChunkList};
use crate::drain::Drain;
use crate::error::{AddError, RemoveError};
use crate::memory::probe_spare;
#[cfg(feature = "observe")]
use crate::observe::Event;
use crate::shared::Shared;
use crate::sync::{Ordering, unlike_others};
use crate::unwind::FirstPanic;

impl Pool {
    /// Adds `size` bytes at the address `start`, without a physical address. Other threads may allocate and free
    /// meanwhile. Linear in the number of chunks, plus zeroed memory for the bookkeeping: a little more than one bit
    /// per granule, and two more words per granule with boundary tracking. Not [signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// pool.add(0x8000, 0x4000)?; // the two need not be adjacent
    /// assert_eq!(pool.size(), 0x8000);
    /// assert!(pool.add(0x4000, 0x1000).is_err()); // taken
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AddError`], which holds the [`AddRefused`](crate::AddRefused) rule that the chunk breaks and the chunk
    /// itself. Nothing was changed.
    ///
    /// # Panics
    ///
    /// If the destructor of the owner of a chunk removed earlier panics: see [`Pool`]. The chunk was then added,
    /// unless it broke a rule as well.
    pub fn add(&self, start: usize, size: usize) -> Result<(), AddError> {
        self.add_chunk(ChunkSpec::new(start, size))
    }

    /// Adds a chunk as [`add`](Self::add) does, with the physical address of its first byte.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_virt(&self, virt: usize, phys: u64, size: usize) -> Result<(), AddError> {
        self.add_chunk(ChunkSpec::new(virt, size).phys(phys))
    }

    /// Adds a chunk as [`add`](Self::add) does, with every property of a [`ChunkSpec`].
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add); the error returns the chunk.
    pub fn add_chunk(&self, chunk: ChunkSpec) -> Result<(), AddError> {
        let mut panics = FirstPanic::default();
        let added = self.add_chunk_then(chunk, || {}, &mut panics);
        panics.resume();
        added
    }

    /// Adds a chunk as [`add_chunk`](Self::add_chunk) does, and calls `then` before the observer is notified. The
    /// workspace's wrappers release their locks in `then`. They get the result even if a destructor panics, and
    /// resume the panic when their own work is complete.
    #[doc(hidden)]
    pub fn add_chunk_then(
        &self,
        chunk: ChunkSpec,
        then: impl FnOnce(),
        panics: &mut FirstPanic,
    ) -> Result<(), AddError> {
        #[cfg(feature = "observe")]
        let range = (chunk.start(), chunk.size(), chunk.phys_of_start());
        let mut change = self.shared.chunk_set.change();
        let add = || {
            let added = self.add_unobserved(chunk, &mut change);
            then();
            added
        };
        #[cfg(feature = "observe")]
        let added = match self.shared.notifier() {
            Some(notifier) => Shared::add_observed(notifier, range, add),
            None => add(),
        };
        #[cfg(not(feature = "observe"))]
        let added = add();
        panics.run(|| drop(change));
        added
    }

    fn add_unobserved(&self, chunk: ChunkSpec, change: &mut Change<'_>) -> Result<(), AddError> {
        let shared = &*self.shared;
        let generation = unlike_others();
        let (order, tracked, node) = (shared.order, shared.tracked, shared.node);
        let mut unpublished = None;
        let added = check_spec(&chunk, order, tracked).and_then(|()| {
            change.publish(|list| {
                list.admits(&chunk)?;
                probe_spare()?;
                // Read again after every concurrent change, because a permanent chunk must be older than all chunks
                // that are not permanent.
                // Relaxed: a thread that sees a non-permanent chunk in the list also sees the removal that made it
                // so.
                let permanent = !shared.removals.load(Ordering::Relaxed);
                let mut new = Chunk::new(&chunk, order, generation, permanent, tracked, node)?;
                if shared.spread {
                    new.keep_units(node)?;
                }
                let index = permanent.then(|| list.permanent());
                if let Some(index) = index {
                    new.set_parent(shared.chunk_set.free_summary.parent_of(index)?);
                }
                #[cfg(feature = "observe")]
                new.set_notifier(shared.notifier());
                let new = Arc::new(new);
                unpublished = index.map(|index| (index, Arc::clone(&new)));
                list.with_chunk(&new).map(Some)
            })
        });
        if let (Ok(()), Some((index, new))) = (&added, unpublished) {
            shared.chunk_set.publish(index, &new);
        }
        // Either room was added, or the refusal reveals what the pool contains.
        shared
            .reveal(added)
            .map_err(|reason| AddError { reason, chunk })
    }

    /// Begins to remove the chunk that starts at `start`. The chunk hands out nothing more; ranges held in it stay
    /// valid until they are given back. The returned [`Drain`] reports when all of them are. Other threads may
    /// allocate and free meanwhile. Linear in the size of the chunk. Not [signal-safe](crate#signal-safety).
    ///
    /// If the chunk was added before the pool's first removal, its bookkeeping and its owner are kept until the pool
    /// goes. Those of a later chunk are kept until a later change of the chunk list. While more than eight threads
    /// are inside a call that reads the list, every list replaced meanwhile is kept, with its chunks.
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// let held = pool.alloc(1)?;
    /// let drain = pool.remove(0x1000)?;
    /// assert!(pool.alloc(1).is_err());
    /// assert!(!drain.is_drained());
    /// drop(held);
    /// let chunk = drain.finish().expect("nothing is held any more");
    /// assert_eq!((chunk.start(), pool.contains(0x1000, 1)), (0x1000, false));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RemoveError::NoChunk`] if no chunk starts there, [`RemoveError::Draining`] if it is already being removed.
    pub fn remove(&self, start: usize) -> Result<Drain, RemoveError> {
        let chunk = self
            .shared
            .chunk_set
            .pin()
            .find(start)
            .filter(|chunk| chunk.start() == start)
            .cloned()
            .ok_or(RemoveError::NoChunk { start });
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.shared.notifier() {
            match &chunk {
                Ok(chunk) => Shared::remove_observed(notifier, chunk, || self.seal(chunk))?,
                &Err(error) => notifier.notify(&Event::RemoveRefused { start, error }),
            }
            return Ok(Drain::new(Arc::clone(&self.shared), chunk?));
        }
        let chunk = chunk?;
        self.seal(&chunk)?;
        Ok(Drain::new(Arc::clone(&self.shared), chunk))
    }

    /// Stops the chunk from handing out anything.
    fn seal(&self, chunk: &Chunk) -> Result<(), RemoveError> {
        // Relaxed: a chunk that is added concurrently may still count as permanent, which only means that it is kept.
        self.shared.removals.store(true, Ordering::Relaxed);
        let start = chunk.start();
        if !chunk.seal() {
            return Err(RemoveError::Draining { start });
        }
        self.shared.chunk_set.refresh_newest();
        Ok(())
    }
}

impl Shared {
    /// Takes all drained chunks, including this one, off the list. Best effort: without memory for a new list they
    /// stay on it, handing out nothing, until the next change.
    pub(crate) fn remove_drained(&self, chunk: &Chunk) {
        let mut change = self.chunk_set.change();
        change.reclaims();
        if probe_spare().is_err() {
            return;
        }
        change.publish(ChunkList::without_drained).ok();
        if chunk.is_permanent() {
            self.chunk_set.rebuild_address_index();
        }
    }
}
