//! A pool that belongs to a device.
//!
//! A device's pool is never exposed as a [`Pool`]: a caller that can remove a chunk gets its [`Drain`], and with it
//! the notification that the memory may be released. A [`ManagedPool`] has the other calls, most of them as those of a
//! [`PoolView`], and guards `add_chunk`.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use genpool_core::sync::Mutex;
use genpool_core::{ChunkSpec, Drain, FirstPanic, FreeError, Owner, Pool, PoolView};

use crate::error::AddChunkError;
use crate::outstanding::Outstanding;

/// A counted handle on a pool that belongs to a device. The handle never dangles. When the device ends, the pool is
/// *sealed*: it allocates nothing more and accepts no chunk, and live allocations stay valid until they are given
/// back. A sealed pool refuses requests with [`Impossible::NoChunk`](genpool_core::Impossible::NoChunk), because all its
/// chunks are being removed. [`is_sealed`](Self::is_sealed) distinguishes it from a pool to which no chunk was added.
///
/// It dereferences to a [`PoolView`], which has the calls that allocate and query. No chunk can be removed: the memory
/// under a device's pool is released with the device.
///
/// ```
/// use genpool::devm::Device;
/// use genpool::{AllocError, ChunkSpec, Impossible, Pool};
///
/// let device = Device::new("video");
/// let pool = device.create_pool(Pool::builder().order(5))?;
/// pool.add_chunk(ChunkSpec::new(0x1000, 0x1000))?;
/// let ring = pool.alloc(100)?;
///
/// drop(device);
/// assert!(pool.is_sealed());
/// assert_eq!(pool.alloc(1).unwrap_err(), AllocError::Impossible(Impossible::NoChunk));
/// assert_eq!(ring.addr(), 0x1000); // valid until it is given back
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ManagedPool {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    /// False once sealed. Locked while a chunk is added, so that a seal sees all chunks. The only other user is
    /// [`is_sealed`](ManagedPool::is_sealed).
    open: Mutex<bool>,
}

impl ManagedPool {
    pub(crate) fn new(pool: Pool) -> Self {
        Self {
            shared: Arc::new(Shared {
                pool,
                open: Mutex::new(true),
            }),
        }
    }

    fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    /// Adds memory, as [`Pool::add_chunk`] does. Waits for other threads that add to the same pool; allocations do
    /// not wait.
    ///
    /// # Errors
    ///
    /// [`AddChunkError`], which returns the chunk.
    pub fn add_chunk(&self, chunk: ChunkSpec) -> Result<(), AddChunkError> {
        let open = self.shared.open.lock();
        if !*open {
            return Err(AddChunkError::Sealed(chunk));
        }
        let mut panics = FirstPanic::default();
        let added = self
            .pool()
            .add_chunk_then(chunk, || drop(open), &mut panics);
        panics.resume();
        Ok(added?)
    }

    /// Whether the device has ended, so that nothing more is allocated. Linear in the number of chunks.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        !*self.shared.open.lock() && self.pool().chunks().all(|chunk| chunk.is_draining())
    }

    /// Seals the pool and returns the drains of its chunks. Steps that may drop a replaced algorithm, which is user
    /// code, are passed to `run`, and again if they panicked.
    pub(crate) fn seal(&self, run: impl Fn(&mut dyn FnMut()) -> Option<()>) -> Vec<Drain> {
        let pool = self.pool();
        // The lock is released at once, because observers are notified of what follows.
        *self.shared.open.lock() = false;
        let mut chunks = Vec::new();
        while run(&mut || chunks = pool.chunks().collect()).is_none() {}
        let mut drains = Vec::new();
        for chunk in chunks {
            // Nobody else removes chunks, and a pool is sealed once.
            while run(&mut || drains.extend(pool.remove(chunk.start()).ok())).is_none() {}
        }
        drains
    }

    /// Returns what is allocated: each allocation with boundary tracking, otherwise each run. Runs may include a
    /// claim that lost a race against the seal and is about to be rolled back. `run` is as in [`seal`](Self::seal).
    pub(crate) fn outstanding(
        &self,
        run: impl Fn(&mut dyn FnMut()) -> Option<()>,
    ) -> impl Iterator<Item = Outstanding> {
        let mut held = Vec::new();
        while run(&mut || held = self.pool().held(usize::MAX)).is_none() {}
        held.into_iter()
            .map(|held| Outstanding::new(self.name(), held))
    }
}

/// Frees by address.
impl ManagedPool {
    /// See [`Pool::free`].
    ///
    /// # Errors
    ///
    /// [`FreeError`]; nothing was changed.
    pub fn free(&self, addr: usize, size: usize) -> Result<(), FreeError> {
        self.pool().free(addr, size)
    }

    /// See [`Pool::free_owner`].
    ///
    /// # Errors
    ///
    /// [`FreeError`]; nothing was changed.
    pub fn free_owner(&self, addr: usize, size: usize) -> Result<Option<Owner>, FreeError> {
        self.pool().free_owner(addr, size)
    }

    /// See [`Pool::free_addr`].
    ///
    /// # Errors
    ///
    /// [`FreeError`]; nothing was changed.
    pub fn free_addr(&self, addr: usize) -> Result<usize, FreeError> {
        self.pool().free_addr(addr)
    }
}

impl Deref for ManagedPool {
    type Target = PoolView;

    #[inline]
    fn deref(&self) -> &PoolView {
        self.pool()
    }
}

impl fmt::Debug for ManagedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedPool")
            .field("pool", self.pool())
            .field("sealed", &self.is_sealed())
            .finish()
    }
}
