//! A pool that belongs to a device.

use std::fmt;
use std::sync::Arc;

use genpool_core::sync::Mutex;
use genpool_core::{
    Algorithm, AllocError, Allocation, Cache, ChunkSpec, Chunks, Drain, FirstPanic, Fragmentation,
    FreeError, OwnedAllocation, Owner, Pool, Stats,
};

use crate::error::AddChunkError;
use crate::release::Outstanding;

/// A counted handle on a pool that belongs to a device. It never dangles: when the device ends, the
/// pool is *sealed*, it hands out nothing more and takes in no chunk, and what is held stays
/// valid until it is given back.
///
/// The calls are those of [`Pool`], with their costs, but for removing a chunk: the memory under a device's
/// pool goes when the device goes.
///
/// ```
/// use genpool::devm::Device;
/// use genpool::{ChunkSpec, Pool};
///
/// let device = Device::new("video");
/// let pool = device.create_pool(Pool::builder().order(5))?;
/// pool.add_chunk(ChunkSpec::new(0x1000, 0x1000))?;
/// let ring = pool.alloc(100)?;
///
/// drop(device);
/// assert!(pool.is_sealed() && pool.alloc(1).is_err());
/// assert_eq!(ring.addr(), 0x1000); // valid until it is given back
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ManagedPool {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    /// False once sealed. Held while a chunk is added, so that a seal sees all chunks. Beside those
    /// two only [`is_sealed`](ManagedPool::is_sealed) takes it.
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

    /// Adds memory, as [`Pool::add_chunk`]. Waits for others that add to the same pool; allocations do not.
    ///
    /// # Errors
    ///
    /// [`AddChunkError`]; the chunk comes back in it.
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

    /// Whether the device has ended, so that nothing more is handed out. Linear in the number of chunks.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        !*self.shared.open.lock() && self.pool().chunks().all(|chunk| chunk.is_draining())
    }

    /// Ends the handing out, and answers what tells when each chunk's last allocation is back. What may drop
    /// an algorithm that was replaced, which is a user's code, is done by `run`, and again if it panicked.
    pub(crate) fn seal(&self, run: impl Fn(&mut dyn FnMut()) -> Option<()>) -> Vec<Drain> {
        let pool = self.pool();
        // Let go at once: observers are told of what follows.
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

    /// What is held: allocation by allocation with boundary tracking, else run by run. A claim that
    /// lost against a seal and is about to be taken back shows in runs. `run` is as in [`seal`](Self::seal).
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

/// The calls of [`Pool`], under their names.
impl ManagedPool {
    /// As [`Pool::alloc`]. [`Impossible`](AllocError::Impossible) once the pool is sealed.
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    #[inline]
    pub fn alloc(&self, size: usize) -> Result<Allocation<'_>, AllocError> {
        self.pool().alloc(size)
    }

    /// As [`Pool::alloc_with`].
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    #[inline]
    pub fn alloc_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<Allocation<'_>, AllocError> {
        self.pool().alloc_with(size, algorithm)
    }

    /// As [`Pool::alloc_owned`].
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    pub fn alloc_owned(&self, size: usize) -> Result<OwnedAllocation, AllocError> {
        self.pool().alloc_owned(size)
    }

    /// As [`Pool::alloc_owned_with`].
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    pub fn alloc_owned_with<A: Algorithm + ?Sized>(
        &self,
        size: usize,
        algorithm: &A,
    ) -> Result<OwnedAllocation, AllocError> {
        self.pool().alloc_owned_with(size, algorithm)
    }

    /// As [`Pool::alloc_many`].
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    pub fn alloc_many(&self, sizes: &[usize]) -> Result<Vec<Allocation<'_>>, AllocError> {
        self.pool().alloc_many(sizes)
    }

    /// As [`Pool::cache`].
    pub fn cache(&self) -> Cache<'_> {
        self.pool().cache()
    }

    /// As [`Pool::set_algorithm`].
    pub fn set_algorithm<A: Algorithm + 'static>(&self, algorithm: A) {
        self.pool().set_algorithm(algorithm);
    }

    /// As [`Pool::free`].
    ///
    /// # Errors
    ///
    /// [`FreeError`]; nothing was changed.
    pub fn free(&self, addr: usize, size: usize) -> Result<(), FreeError> {
        self.pool().free(addr, size)
    }

    /// As [`Pool::free_owner`].
    ///
    /// # Errors
    ///
    /// [`FreeError`]; nothing was changed.
    pub fn free_owner(&self, addr: usize, size: usize) -> Result<Option<Owner>, FreeError> {
        self.pool().free_owner(addr, size)
    }

    /// As [`Pool::free_addr`].
    ///
    /// # Errors
    ///
    /// [`FreeError`]; nothing was changed.
    pub fn free_addr(&self, addr: usize) -> Result<usize, FreeError> {
        self.pool().free_addr(addr)
    }

    /// As [`Pool::name`]: the name that the device knows it by.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.pool().name()
    }

    /// As [`Pool::order`].
    #[must_use]
    pub fn order(&self) -> u32 {
        self.pool().order()
    }

    /// As [`Pool::granule`].
    #[must_use]
    pub fn granule(&self) -> usize {
        self.pool().granule()
    }

    /// As [`Pool::size`].
    #[must_use]
    pub fn size(&self) -> usize {
        self.pool().size()
    }

    /// As [`Pool::avail`].
    #[must_use]
    pub fn avail(&self) -> usize {
        self.pool().avail()
    }

    /// As [`Pool::contains`].
    #[must_use]
    pub fn contains(&self, addr: usize, size: usize) -> bool {
        self.pool().contains(addr, size)
    }

    /// As [`Pool::phys_of`].
    #[must_use]
    pub fn phys_of(&self, addr: usize) -> Option<u64> {
        self.pool().phys_of(addr)
    }

    /// As [`Pool::chunks`].
    #[must_use]
    pub fn chunks(&self) -> Chunks {
        self.pool().chunks()
    }

    /// As [`Pool::stats`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.pool().stats()
    }

    /// As [`Pool::fragmentation`].
    #[must_use]
    pub fn fragmentation(&self) -> Fragmentation {
        self.pool().fragmentation()
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
