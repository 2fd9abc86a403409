//! Adding chunks and removing them.

use alloc::sync::Arc;

use super::{Inner, Pool};
use crate::chunk::{Chunk, ChunkSpec};
use crate::chunk_set::{Change, ChunkList};
use crate::drain::Drain;
use crate::error::{AddError, RemoveError};
use crate::memory::probe_spare;
#[cfg(feature = "observe")]
use crate::observer::Event;
use crate::sync::{Ordering, unlike_others};
use crate::unwind::FirstPanic;

impl Pool {
    /// Adds `size` bytes at the address `start`, without a physical address. Others allocate and
    /// free meanwhile. Linear in the number of chunks, plus zeroed memory for the bookkeeping: a little
    /// more than a bit a granule, and two words more with boundary tracking.
    /// Not [signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// pool.add(0x8000, 0x4000)?; // the two need not be neighbours
    /// assert_eq!(pool.size(), 0x8000);
    /// assert!(pool.add(0x4000, 0x1000).is_err()); // taken
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AddError`] with the rule that the chunk breaks, an [`AddRefused`](crate::AddRefused), and the chunk
    /// itself; nothing was changed.
    ///
    /// # Panics
    ///
    /// If the destructor of an owner does, of a chunk that was removed before: see [`Pool`]. If nothing else is
    /// wrong, the chunk was added.
    pub fn add(&self, start: usize, size: usize) -> Result<(), AddError> {
        self.add_chunk(ChunkSpec::new(start, size))
    }

    /// As [`add`](Self::add), with the physical address of the first byte.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_virt(&self, virt: usize, phys: u64, size: usize) -> Result<(), AddError> {
        self.add_chunk(ChunkSpec::new(virt, size).phys(phys))
    }

    /// As [`add`](Self::add), with all that can be said of a chunk.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add); the chunk comes back in the error.
    pub fn add_chunk(&self, chunk: ChunkSpec) -> Result<(), AddError> {
        let mut panics = FirstPanic::default();
        let added = self.add_chunk_then(chunk, || {}, &mut panics);
        panics.resume();
        added
    }

    /// As [`add_chunk`](Self::add_chunk), and does `then` before anybody is told of it: for the workspace's
    /// wrappers, which let go of their locks there. They have the answer also where a destructor panics, and
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
        let mut change = self.inner.chunk_set.change();
        let add = || {
            let added = self.add_unobserved(chunk, &mut change);
            then();
            added
        };
        #[cfg(feature = "observe")]
        let added = match self.inner.notifier() {
            Some(notifier) => Inner::add_observed(notifier, range, add),
            None => add(),
        };
        #[cfg(not(feature = "observe"))]
        let added = add();
        panics.run(|| drop(change));
        added
    }

    fn add_unobserved(&self, chunk: ChunkSpec, change: &mut Change<'_>) -> Result<(), AddError> {
        let inner = &*self.inner;
        let generation = unlike_others();
        let (order, tracked, node) = (inner.order, inner.tracked, inner.node);
        let mut unpublished = None;
        let added = chunk.check(order, tracked).and_then(|()| {
            change.publish(|list| {
                list.admits(&chunk)?;
                probe_spare()?;
                // Read again whenever another change came first: a permanent chunk is older than all
                // that are not.
                // Relaxed: who sees a chunk in the list that is not sees why.
                let permanent = !inner.removals.load(Ordering::Relaxed);
                let mut new = Chunk::new(&chunk, order, generation, permanent, tracked, node)?;
                let index = permanent.then(|| list.permanent());
                if let Some(index) = index {
                    new.set_parent(inner.chunk_set.free_summary.parent_of(index)?);
                }
                #[cfg(feature = "observe")]
                new.set_notifier(inner.notifier());
                let new = Arc::new(new);
                unpublished = index.map(|index| (index, Arc::clone(&new)));
                list.with_chunk(&new).map(Some)
            })
        });
        if let (Ok(()), Some((index, new))) = (&added, unpublished) {
            inner.chunk_set.publish(index, &new);
        }
        // Room came, or the refusal tells what there is.
        inner
            .reveal(added)
            .map_err(|reason| AddError { reason, chunk })
    }

    /// Begins to remove the chunk that starts at `start`: it hands out nothing more, and what is
    /// held in it stays valid until it is given back. The answer tells when that is. Others allocate
    /// and free meanwhile. Linear in the size of the chunk. Not [signal-safe](crate#signal-safety).
    ///
    /// The bookkeeping of a chunk that was added before the pool's first removal, and its owner's
    /// value, are kept until the pool goes; those of a later one until a later change of the chunk
    /// list. While more than eight threads are in the middle of a call that looks at the list, all lists that were
    /// replaced meanwhile are kept, with what is in them.
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
    /// [`RemoveError::NoChunk`] where none starts there, [`RemoveError::Draining`] the second time.
    pub fn remove(&self, start: usize) -> Result<Drain, RemoveError> {
        let chunk = self
            .inner
            .chunk_set
            .pin()
            .find(start)
            .filter(|chunk| chunk.start() == start)
            .cloned()
            .ok_or(RemoveError::NoChunk { start });
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.inner.notifier() {
            match &chunk {
                Ok(chunk) => Inner::remove_observed(notifier, chunk, || self.seal(chunk))?,
                &Err(error) => notifier.notify(&Event::RemoveRefused { start, error }),
            }
            return Ok(Drain::new(Arc::clone(&self.inner), chunk?));
        }
        let chunk = chunk?;
        self.seal(&chunk)?;
        Ok(Drain::new(Arc::clone(&self.inner), chunk))
    }

    /// From now on the chunk hands out nothing.
    fn seal(&self, chunk: &Chunk) -> Result<(), RemoveError> {
        // Relaxed: a chunk that is added beside this may still count as permanent, which only means that it
        // is kept.
        self.inner.removals.store(true, Ordering::Relaxed);
        let start = chunk.start();
        if !chunk.seal() {
            return Err(RemoveError::Draining { start });
        }
        self.inner.chunk_set.refresh_newest();
        Ok(())
    }
}

impl Inner {
    /// Takes the chunks that are drained, such as this one, off the list. Best effort: without memory for
    /// a new list they stay on it, handing out nothing, until the next change.
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
