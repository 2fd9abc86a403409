//! What scripts need of a pool.

use genpool::{Algorithm, AllocError, FreeError, RawRange, ResizeError, StaticPool};
#[cfg(feature = "alloc")]
use genpool::{Pool, PoolView};

/// A pool of one chunk.
pub trait Target {
    /// Returns the order of the pool.
    fn order(&self) -> u32;

    /// Returns the addresses of its chunk: the first, and how many there are.
    fn range(&self) -> (usize, usize);

    /// Allocates, and leaves the range taken. Returns its address.
    ///
    /// # Errors
    ///
    /// As the pool's.
    fn alloc(&self, size: usize, algorithm: &dyn Algorithm) -> Result<RawRange, AllocError>;

    /// Gives a range back.
    ///
    /// # Errors
    ///
    /// As the pool's.
    fn free(&self, addr: usize, size: usize) -> Result<(), FreeError>;

    /// Makes an allocation of a range again, and resizes it.
    ///
    /// # Errors
    ///
    /// As the pool's.
    fn resize(&self, range: RawRange, size: usize) -> Result<Result<(), ResizeError>, FreeError>;

    /// Returns the number of free bytes.
    fn avail(&self) -> usize;
}

macro_rules! target {
    ($pool:ty, $view:ty, $range:expr) => {
        impl Target for $pool {
            fn order(&self) -> u32 {
                <$view>::order(self)
            }

            fn range(&self) -> (usize, usize) {
                let range: fn(&$pool) -> (usize, usize) = $range;
                range(self)
            }

            fn alloc(
                &self,
                size: usize,
                algorithm: &dyn Algorithm,
            ) -> Result<RawRange, AllocError> {
                Ok(self.alloc_with(size, algorithm)?.into_raw())
            }

            fn free(&self, addr: usize, size: usize) -> Result<(), FreeError> {
                <$pool>::free(self, addr, size)
            }

            fn resize(
                &self,
                range: RawRange,
                size: usize,
            ) -> Result<Result<(), ResizeError>, FreeError> {
                let mut held = self.adopt(range)?;
                let resized = held.resize(size);
                let _ = held.into_raw();
                Ok(resized)
            }

            fn avail(&self) -> usize {
                <$view>::avail(self)
            }
        }
    };
}

target!(StaticPool, StaticPool, |pool| (pool.start(), pool.size()));
#[cfg(feature = "alloc")]
target!(Pool, PoolView, |pool| {
    let chunk = pool.chunks().next();
    chunk.map_or((0, 0), |chunk| (chunk.start(), chunk.size()))
});
