//! The chunks of a pool at one instant, for who looks at them.

use alloc::sync::Arc;
use core::fmt;

use super::Inner;
use crate::bitmap::Look;
use crate::chunk::{Chunk, Owner, State, text_of};
use crate::view::{Granule, Run};

/// The chunks of a pool at one instant, newest first: an iterator that [`Pool::chunks`](crate::Pool::chunks)
/// makes. It keeps them readable, whatever happens to the pool.
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
    inner: Arc<Inner>,
    list: alloc::vec::IntoIter<Arc<Chunk>>,
}

impl Chunks {
    pub(super) fn new(inner: &Arc<Inner>) -> Self {
        let list = inner.chunk_set.load();
        let chunks: alloc::vec::Vec<_> = list.chunks().cloned().collect();
        drop(list);
        Self {
            inner: Arc::clone(inner),
            list: chunks.into_iter(),
        }
    }
}

impl Iterator for Chunks {
    type Item = ChunkInfo;

    fn next(&mut self) -> Option<ChunkInfo> {
        self.list.next().map(|chunk| ChunkInfo {
            inner: Arc::clone(&self.inner),
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

/// One chunk of a pool. It stays readable after the chunk was removed. All of it
/// is [signal-safe](crate#signal-safety), but
/// for its drop, which may be the last use of the pool's bookkeeping.
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
    inner: Arc<Inner>,
    chunk: Arc<Chunk>,
}

impl ChunkInfo {
    /// The address of the first byte.
    #[must_use]
    pub fn start(&self) -> usize {
        self.chunk.start()
    }

    /// The address of the last byte.
    #[must_use]
    pub fn last(&self) -> usize {
        self.chunk.last()
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.chunk.size()
    }

    /// Bytes that are free now. Linear in the granules, 64 at a time.
    #[must_use]
    pub fn avail(&self) -> usize {
        self.inner.reveal(self.chunk.avail())
    }

    /// The physical address of the first byte, if it was given.
    #[must_use]
    pub fn phys(&self) -> Option<u64> {
        self.chunk.phys_of(self.chunk.start())
    }

    /// The owner's value, if one was given.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.chunk.owner()
    }

    /// The owner's value, if it is a text.
    #[must_use]
    pub fn owner_name(&self) -> Option<&str> {
        text_of(self.owner()?)
    }

    /// Whether the chunk is being removed, or was.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.chunk.state() != State::Alive
    }

    /// The free runs as they are now, upwards. Linear in the granules, 64 at a time.
    pub fn free_runs(&self) -> impl Iterator<Item = Run> {
        let runs = self.chunk.bitmap().free_runs(0, 1, Look::Exact);
        runs.map(|(start, len)| {
            self.inner.reveal(Run {
                start: Granule(start),
                len,
            })
        })
    }
}

impl fmt::Debug for ChunkInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chunk.fmt(f)
    }
}
