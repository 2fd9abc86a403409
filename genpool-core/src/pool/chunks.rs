//! An iterator over the chunks of a pool at one instant.

use crate::sync::Arc;
use core::fmt;

use crate::bitmap::Look;
use crate::chunk::{Chunk, Owner, State, text_of};
use crate::chunk_ops::PoolState;
use crate::shared::Shared;
use crate::units::{Granule, Run};

/// An iterator over the chunks of a pool at one instant, newest first, made by
/// [`PoolView::chunks`](crate::PoolView::chunks). The chunks stay readable whatever happens to the pool.
///
/// ```
/// use genpool::Pool;
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// pool.add(0x8000, 0x4000)?;
/// let starts: Vec<usize> = pool.chunks().map(|chunk| chunk.start()).collect();
/// assert_eq!(starts, [0x8000, 0x1000]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Chunks {
    shared: Arc<Shared>,
    list: alloc::vec::IntoIter<Arc<Chunk>>,
}

impl Chunks {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let list = shared.chunk_set.load();
        let chunks: alloc::vec::Vec<_> = list.chunks().cloned().collect();
        drop(list);
        Self {
            shared: Arc::clone(shared),
            list: chunks.into_iter(),
        }
    }
}

impl Iterator for Chunks {
    type Item = ChunkInfo;

    fn next(&mut self) -> Option<ChunkInfo> {
        self.list.next().map(|chunk| ChunkInfo {
            shared: Arc::clone(&self.shared),
            chunk,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.list.size_hint()
    }
}

impl ExactSizeIterator for Chunks {}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list.as_slice()).finish()
    }
}

/// One chunk of a pool. It stays readable after the chunk was removed. All calls are
/// [signal-safe](crate#signal-safety). The drop is not, because it may free the pool's bookkeeping.
///
/// ```
/// use genpool::{ChunkSpec, Pool};
///
/// let pool = Pool::new(12)?;
/// pool.add_chunk(ChunkSpec::new(0x1000, 0x4000).phys(0x8000_0000))?;
/// let _held = pool.alloc(1)?;
/// let chunk = pool.chunks().next().expect("there is one");
/// assert_eq!((chunk.start(), chunk.last(), chunk.phys()), (0x1000, 0x4fff, Some(0x8000_0000)));
/// assert_eq!((chunk.size(), chunk.avail(), chunk.is_draining()), (0x4000, 0x3000, false));
/// let runs: Vec<_> = chunk.free_runs().map(|run| (run.start.0, run.len)).collect();
/// assert_eq!(runs, [(1, 3)]); // from granule 1 on three are free
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ChunkInfo {
    shared: Arc<Shared>,
    chunk: Arc<Chunk>,
}

impl ChunkInfo {
    /// Returns the address of the first byte.
    #[must_use]
    pub fn start(&self) -> usize {
        self.chunk.start()
    }

    /// Returns the address of the last byte.
    #[must_use]
    pub fn last(&self) -> usize {
        self.chunk.last()
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.chunk.size()
    }

    /// Returns the bytes that are free now. Linear in the granules, 64 at a time.
    #[must_use]
    pub fn avail(&self) -> usize {
        self.shared.reveal(self.chunk.avail())
    }

    /// Returns the physical address of the first byte, if the chunk has one.
    #[must_use]
    pub fn phys(&self) -> Option<u64> {
        self.chunk.phys_of(self.chunk.start())
    }

    /// Returns the owner, if the chunk has one.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.chunk.owner()
    }

    /// Returns the owner, if it is a string.
    #[must_use]
    pub fn owner_name(&self) -> Option<&str> {
        text_of(self.owner()?)
    }

    /// Whether the chunk is being removed, or has been.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.chunk.state() != State::Alive
    }

    /// Returns the free runs as they are now, by ascending address. Linear in the granules, 64 at a time.
    pub fn free_runs(&self) -> impl Iterator<Item = Run> {
        let runs = self.chunk.bitmap().free_runs(Granule(0), 1, Look::Exact);
        runs.map(|run| self.shared.reveal(run))
    }
}

impl fmt::Debug for ChunkInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chunk.fmt(f)
    }
}
