//! genpool itself, called in several ways.

use genpool::{Algorithm, Allocation, Cache, Pool};

use super::{BuildFailure, Contestant, FreeRuns, Handle, Layout, Stage};

/// A [`Pool`], and the way to call it.
#[derive(Debug)]
pub struct Ours<W> {
    pool: Pool,
    way: W,
    order: u32,
}

/// A way to call a pool.
pub trait Way: Sync + 'static {
    /// The type through which a thread works.
    type Handle: Handle;

    /// Makes a handle on the pool.
    fn handle(&'static self, pool: &'static Pool) -> Self::Handle;
}

/// Goes by the pool's default algorithm, through a shared reference; allocations are given back by a drop.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

/// Like [`Plain`], but allocations are given back by address and size, so that each free has to find its chunk.
#[derive(Clone, Copy, Debug)]
pub struct ByAddress;

/// Names the algorithm in each call, so that the compiler knows it.
#[derive(Clone, Copy, Debug)]
pub struct By<A>(pub A);

/// Goes through a [`Cache`] for each handle.
#[derive(Clone, Copy, Debug)]
pub struct ThroughCache;

impl<W: Way> Ours<W> {
    /// Makes a pool of this layout with this default algorithm.
    ///
    /// # Errors
    ///
    /// If the layout makes no pool.
    pub fn new(
        layout: &Layout,
        algorithm: impl Algorithm + 'static,
        way: W,
    ) -> Result<Self, BuildFailure> {
        let builder = Pool::builder().order(layout.order).algorithm(algorithm);
        let pool = builder.build().map_err(BuildFailure::new)?;
        layout.add_to(|start, phys, size| pool.add_virt(start, phys, size))?;
        Ok(Self {
            pool,
            way,
            order: layout.order,
        })
    }
}

/// Returns the bytes of bookkeeping of a pool of this layout, with or without boundary tracking.
///
/// # Errors
///
/// If the layout makes no pool.
pub fn bookkeeping(layout: &Layout, tracked: bool) -> Result<usize, BuildFailure> {
    let builder = Pool::builder().order(layout.order);
    let builder = if tracked {
        builder.boundary_tracking()
    } else {
        builder
    };
    let pool = builder.build().map_err(BuildFailure::new)?;
    layout.add_to(|start, phys, size| pool.add_virt(start, phys, size))?;
    Ok(pool.stats().bookkeeping)
}

impl<W: Way> Stage for Ours<W> {
    fn avail(&self) -> Option<usize> {
        Some(self.pool.avail())
    }

    fn take(&self, bytes: usize) -> Option<usize> {
        Some(self.pool.alloc(bytes).ok()?.into_raw().addr)
    }

    fn give(&self, addr: usize, bytes: usize) -> Result<(), String> {
        let freed = self.pool.free(addr, bytes);
        freed.map_err(|error| error.to_string())
    }

    fn free_runs(&self) -> Option<FreeRuns> {
        let fragmentation = self.pool.fragmentation();
        Some(FreeRuns {
            longest: fragmentation.largest_run >> self.order,
            count: fragmentation.free_runs,
        })
    }
}

impl<W: Way> Contestant for Ours<W> {
    type Handle = W::Handle;

    fn handle(&'static self) -> Self::Handle {
        self.way.handle(&self.pool)
    }
}

impl Way for Plain {
    type Handle = &'static Pool;

    fn handle(&'static self, pool: &'static Pool) -> Self::Handle {
        pool
    }
}

impl Handle for &'static Pool {
    type Held = Allocation<'static>;

    #[inline]
    fn alloc(&mut self, bytes: usize) -> Option<Self::Held> {
        (**self).alloc(bytes).ok()
    }

    #[inline]
    fn free(&mut self, held: Self::Held) {
        drop(held);
    }

    #[inline]
    fn addr(held: &Self::Held) -> usize {
        held.addr()
    }

    #[inline]
    fn phys_of(&mut self, addr: usize) -> Option<u64> {
        (**self).phys_of(addr)
    }
}

impl Way for ByAddress {
    type Handle = Addressed;

    fn handle(&'static self, pool: &'static Pool) -> Self::Handle {
        Addressed(pool)
    }
}

/// See [`ByAddress`].
#[derive(Debug)]
pub struct Addressed(&'static Pool);

impl Handle for Addressed {
    type Held = (usize, usize);

    #[inline]
    fn alloc(&mut self, bytes: usize) -> Option<Self::Held> {
        let raw = (*self.0).alloc(bytes).ok()?.into_raw();
        Some((raw.addr, raw.size))
    }

    #[inline]
    fn free(&mut self, (addr, bytes): Self::Held) {
        // A load gives back what it got, and the cell compares the totals at the end.
        let _ = self.0.free(addr, bytes);
    }

    #[inline]
    fn addr(held: &Self::Held) -> usize {
        held.0
    }

    #[inline]
    fn phys_of(&mut self, addr: usize) -> Option<u64> {
        (*self.0).phys_of(addr)
    }
}

impl<A: Algorithm + 'static> Way for By<A> {
    type Handle = Naming<A>;

    fn handle(&'static self, pool: &'static Pool) -> Self::Handle {
        Naming {
            pool,
            algorithm: &self.0,
        }
    }
}

/// See [`By`].
#[derive(Debug)]
pub struct Naming<A: 'static> {
    pool: &'static Pool,
    algorithm: &'static A,
}

impl<A: Algorithm> Handle for Naming<A> {
    type Held = Allocation<'static>;

    #[inline]
    fn alloc(&mut self, bytes: usize) -> Option<Self::Held> {
        self.pool.alloc_with(bytes, self.algorithm).ok()
    }

    #[inline]
    fn free(&mut self, held: Self::Held) {
        drop(held);
    }

    #[inline]
    fn addr(held: &Self::Held) -> usize {
        held.addr()
    }

    #[inline]
    fn phys_of(&mut self, addr: usize) -> Option<u64> {
        (*self.pool).phys_of(addr)
    }
}

impl Way for ThroughCache {
    type Handle = Cache<'static>;

    fn handle(&'static self, pool: &'static Pool) -> Self::Handle {
        pool.cache()
    }
}

impl Handle for Cache<'static> {
    type Held = Allocation<'static>;

    #[inline]
    fn alloc(&mut self, bytes: usize) -> Option<Self::Held> {
        self.alloc(bytes).ok()
    }

    #[inline]
    fn free(&mut self, held: Self::Held) {
        self.free(held);
    }

    #[inline]
    fn addr(held: &Self::Held) -> usize {
        held.addr()
    }

    #[inline]
    fn phys_of(&mut self, addr: usize) -> Option<u64> {
        self.pool().phys_of(addr)
    }
}
