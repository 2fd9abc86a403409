//! A plain bitmap under a mutex.

use genpool_plain::{Fit, LockedPool};

use super::{BuildFailure, Contestant, Handle, Layout, Stage};

/// A [`LockedPool`] with one of its algorithms.
#[derive(Debug)]
pub struct Locked {
    pool: LockedPool,
    fit: Fit,
}

impl Locked {
    /// Makes a pool of this layout.
    ///
    /// # Errors
    ///
    /// If the layout makes no pool.
    pub fn new(layout: &Layout, fit: Fit) -> Result<Self, BuildFailure> {
        let pool = LockedPool::new(layout.order);
        layout.add_to(|start, phys, size| pool.add_virt(start, phys, size))?;
        Ok(Self { pool, fit })
    }
}

impl Stage for Locked {
    fn avail(&self) -> Option<usize> {
        Some(self.pool.avail())
    }

    fn take(&self, bytes: usize) -> Option<usize> {
        self.pool.alloc(bytes, self.fit)
    }

    fn give(&self, addr: usize, bytes: usize) -> Result<(), String> {
        self.pool
            .free(addr, bytes)
            .map_err(|error| error.to_string())
    }
}

impl Contestant for Locked {
    type Handle = &'static Locked;

    fn handle(&'static self) -> Self::Handle {
        self
    }
}

impl Handle for &'static Locked {
    type Held = (usize, usize);

    #[inline]
    fn alloc(&mut self, bytes: usize) -> Option<Self::Held> {
        self.pool.alloc(bytes, self.fit).map(|addr| (addr, bytes))
    }

    #[inline]
    fn free(&mut self, (addr, bytes): Self::Held) {
        // A load gives back what it got, and the cell compares the totals at the end.
        let _ = self.pool.free(addr, bytes);
    }

    #[inline]
    fn addr(held: &Self::Held) -> usize {
        held.0
    }

    #[inline]
    fn phys_of(&mut self, addr: usize) -> Option<u64> {
        self.pool.phys_of(addr)
    }
}
