//! The plain pool under one mutex.

use parking_lot::Mutex;

use crate::{AddError, Fit, FreeError, PlainPool};

/// A [`PlainPool`] under one [`parking_lot::Mutex`], which every call takes once.
#[derive(Debug)]
pub struct LockedPool(Mutex<PlainPool>);

impl LockedPool {
    /// Makes an empty pool with granules of `1 << order` bytes. Nothing can be added if that exceeds the address space.
    pub fn new(order: u32) -> Self {
        Self(Mutex::new(PlainPool::new(order)))
    }

    /// Adds the chunk of `size` bytes at `start`; see [`PlainPool::add`].
    ///
    /// # Errors
    ///
    /// As for [`PlainPool::add`].
    pub fn add(&self, start: usize, size: usize) -> Result<(), AddError> {
        self.0.lock().add(start, size)
    }

    /// Adds a chunk with a physical address; see [`PlainPool::add_virt`].
    ///
    /// # Errors
    ///
    /// As for [`PlainPool::add_virt`].
    pub fn add_virt(&self, virt: usize, phys: u64, size: usize) -> Result<(), AddError> {
        self.0.lock().add_virt(virt, phys, size)
    }

    /// Allocates `size` bytes; see [`PlainPool::alloc`].
    pub fn alloc(&self, size: usize, fit: Fit) -> Option<usize> {
        self.0.lock().alloc(size, fit)
    }

    /// Gives back `size` bytes at `addr`; see [`PlainPool::free`].
    ///
    /// # Errors
    ///
    /// As for [`PlainPool::free`].
    pub fn free(&self, addr: usize, size: usize) -> Result<(), FreeError> {
        self.0.lock().free(addr, size)
    }

    /// Returns the number of free bytes.
    pub fn avail(&self) -> usize {
        self.0.lock().avail()
    }

    /// Returns the number of bytes in all chunks.
    pub fn size(&self) -> usize {
        self.0.lock().size()
    }

    /// Returns whether all `size` bytes at `addr` lie in one chunk; see [`PlainPool::contains`].
    pub fn contains(&self, addr: usize, size: usize) -> bool {
        self.0.lock().contains(addr, size)
    }

    /// Returns the physical address of `addr`; see [`PlainPool::phys_of`].
    pub fn phys_of(&self, addr: usize) -> Option<u64> {
        self.0.lock().phys_of(addr)
    }
}
