//! Adds and removes chunks.

use core::slice;

use crate::sync::Arc;
use alloc::vec::Vec;

use super::Pool;
use crate::chunk::{Chunk, ChunkSpec, check_spec};
use crate::chunk_ops::PoolState;
use crate::chunks::{Change, ChunkList};
use crate::drain::Drain;
use crate::error::{AddError, AddManyError, AddRefused, RemoveError};
use crate::memory::{probe_spare, reserve};
#[cfg(feature = "observe")]
use crate::observe::Event;
use crate::shared::Shared;
use crate::sync::{Ordering, unlike_others};
use crate::unwind::FirstPanic;

impl Pool {
    /// Adds `size` bytes at the address `start`, without a physical address. Other threads may allocate and free
    /// meanwhile. Logarithmic in the number of chunks, linear in the removed ones that are held and whose [`Drain`] was
    /// dropped, plus zeroed memory for the bookkeeping: a little more than one bit per granule, and two more words per
    /// granule with boundary tracking. Not [signal-safe](crate#signal-safety).
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
    /// [`AddError`], which holds the [`AddRefused`] rule that the chunk breaks and the chunk
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
        self.add_all(slice::from_ref(&chunk), then, panics)
            .map_err(|(_, reason)| AddError { reason, chunk })
    }

    /// Adds several chunks: all, or none if one is refused. They come into the pool in one step, as if they were added
    /// one after the other, so the last is the newest. Costs as much as adding each, but changes the chunk list once.
    /// Not [signal-safe](crate#signal-safety).
    ///
    /// An observer is notified of each chunk. If one is refused, it is notified that each is, for the same reason.
    ///
    /// ```
    /// use genpool::{AddRefused, ChunkSpec, Pool};
    ///
    /// let pool = Pool::new(12)?;
    /// let banks = (0..1000).map(|bank| ChunkSpec::new(bank * 0x10_0000, 0x4000));
    /// pool.add_many(banks.collect())?;
    /// assert_eq!((pool.chunks().len(), pool.size()), (1000, 1000 * 0x4000));
    ///
    /// let two = vec![ChunkSpec::new(0x8000, 0x4000), ChunkSpec::new(0x10_0000, 0x4000)];
    /// let refused = pool.add_many(two).unwrap_err();
    /// let reason = AddRefused::Overlaps { start: 0x10_0000, size: 0x4000 };
    /// assert_eq!((refused.at, refused.reason), (1, reason));
    /// assert!(!pool.contains(0x8000, 1)); // the other was not added either
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AddManyError`], which says which chunk breaks which rule and returns all chunks. Nothing was changed.
    ///
    /// # Panics
    ///
    /// As [`add`](Self::add).
    pub fn add_many(&self, chunks: Vec<ChunkSpec>) -> Result<(), AddManyError> {
        let mut panics = FirstPanic::default();
        let added = self.add_many_then(chunks, || {}, &mut panics);
        panics.resume();
        added
    }

    /// Adds chunks as [`add_many`](Self::add_many) does; `then` and `panics` are as in
    /// [`add_chunk_then`](Self::add_chunk_then).
    #[doc(hidden)]
    pub fn add_many_then(
        &self,
        chunks: Vec<ChunkSpec>,
        then: impl FnOnce(),
        panics: &mut FirstPanic,
    ) -> Result<(), AddManyError> {
        let added = self.add_all(&chunks, then, panics);
        added.map_err(|(at, reason)| AddManyError { at, reason, chunks })
    }

    /// Adds all chunks, or says which was refused, and why.
    fn add_all(
        &self,
        chunks: &[ChunkSpec],
        then: impl FnOnce(),
        panics: &mut FirstPanic,
    ) -> Result<(), (usize, AddRefused)> {
        let mut change = self.shared.chunk_set.change();
        let add = || {
            let added = self.add_unobserved(chunks, &mut change);
            then();
            added
        };
        #[cfg(feature = "observe")]
        let added = match self.shared.notifier() {
            Some(notifier) => Shared::add_observed(notifier, chunks, add),
            None => add(),
        };
        #[cfg(not(feature = "observe"))]
        let added = add();
        panics.run(|| drop(change));
        added
    }

    fn add_unobserved(
        &self,
        chunks: &[ChunkSpec],
        change: &mut Change<'_>,
    ) -> Result<(), (usize, AddRefused)> {
        let shared = &*self.shared;
        // Permanent chunks, with their indices.
        let mut permanent = Vec::new();
        let mut add = || {
            change.takes_leaving();
            change.publish(|list| {
                permanent.clear();
                for (at, chunk) in chunks.iter().enumerate() {
                    let index = list.permanent();
                    let new = shared.add_to(list, chunk);
                    let new = new.map_err(|reason| (at, reason))?;
                    if new.is_permanent() {
                        reserve(&mut permanent, 1).map_err(|refused| (at, refused.into()))?;
                        permanent.push((index, new));
                    }
                }
                Ok(!chunks.is_empty())
            })
        };
        let added = add();
        if added.is_ok() && !permanent.is_empty() {
            let permanent = permanent.iter().map(|(index, chunk)| (*index, chunk));
            shared.chunk_set.publish(permanent);
        }
        // Either room was added, or the refusal reveals what the pool contains.
        shared.reveal(added)
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
    /// Adds a chunk to a list that is to be published.
    fn add_to(&self, list: &mut ChunkList, spec: &ChunkSpec) -> Result<Arc<Chunk>, AddRefused> {
        let (order, tracked, node) = (self.order, self.tracked, self.node);
        check_spec(spec, order, tracked)?;
        list.admit(spec)?;
        probe_spare()?;
        // Greater than that of every listed chunk, which was drawn before the list was published.
        let number = unlike_others().ok_or(AddRefused::NoNumber)?;
        // Read again after every concurrent change, because a permanent chunk must be older than all chunks that are
        // not permanent.
        // Relaxed: a thread that sees a non-permanent chunk in the list also sees the removal that made it so.
        let permanent = !self.removals.load(Ordering::Relaxed);
        let mut new = Chunk::new(spec, order, number, permanent, tracked, node)?;
        if self.spread {
            new.keep_units(node)?;
        }
        if permanent {
            let parent = self.chunk_set.free_summary.parent_of(list.permanent())?;
            new.set_parent(parent);
        }
        #[cfg(feature = "observe")]
        new.set_notifier(self.notifier());
        let new = Arc::new(new);
        list.add(&new)?;
        Ok(new)
    }

    /// Takes a drained chunk off the list, and those that leave. Best effort: without memory for a new list they stay on
    /// it, handing out nothing, until a later change.
    pub(crate) fn remove_drained(&self, chunk: &Arc<Chunk>) {
        let mut change = self.chunk_set.change();
        change.reclaims();
        let taken_off = probe_spare().and_then(|()| {
            change.takes_leaving();
            change.publish(|list| list.take_off(chunk))
        });
        match taken_off {
            Ok(()) if chunk.is_permanent() => self.chunk_set.forget_address(chunk),
            Ok(()) => {}
            Err(_) => self.chunk_set.leaving.push(Arc::clone(chunk)),
        }
    }
}
