//! genpool itself.

use genpool::{Algorithm, Allocation, Cache, Pool};

use super::{BuildFailure, Contestant, Handle, Layout, Stage};

/// A [`Pool`] through a shared reference; allocations are given back by being dropped.
#[derive(Debug)]
pub struct Ours(Pool);

/// The same, but allocations are given back by address and size, so that each free finds its chunk.
#[derive(Debug)]
pub struct ByAddress(Pool);

/// A [`Pool`] whose callers name the algorithm, so that it is known where they are compiled.
#[derive(Debug)]
pub struct Named<A> {
    pool: Pool,
    algorithm: A,
}

/// A [`Pool`] through a [`Cache`] for each handle.
#[derive(Debug)]
pub struct Cached(Pool);

fn build(layout: &Layout, algorithm: impl Algorithm + 'static) -> Result<Pool, BuildFailure> {
    let pool = Pool::builder()
        .order(layout.order)
        .algorithm(algorithm)
        .build()
        .map_err(BuildFailure::new)?;
    layout.add_to(|start, phys, size| pool.add_virt(start, phys, size))?;
    Ok(pool)
}

/// Bytes of bookkeeping of a pool of that layout, without or with boundary tracking.
///
/// # Errors
///
/// When the layout makes no pool.
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

fn take(pool: &Pool, bytes: usize) -> Option<usize> {
    Some(pool.alloc(bytes).ok()?.into_raw().addr)
}

impl Ours {
    /// A pool of that layout with that default algorithm.
    ///
    /// # Errors
    ///
    /// When the layout makes no pool.
    pub fn new(layout: &Layout, algorithm: impl Algorithm + 'static) -> Result<Self, BuildFailure> {
        build(layout, algorithm).map(Self)
    }
}

impl ByAddress {
    /// A pool of that layout with that default algorithm.
    ///
    /// # Errors
    ///
    /// When the layout makes no pool.
    pub fn new(layout: &Layout, algorithm: impl Algorithm + 'static) -> Result<Self, BuildFailure> {
        build(layout, algorithm).map(Self)
    }
}

impl<A: Algorithm> Named<A> {
    /// A pool of that layout whose callers name that algorithm.
    ///
    /// # Errors
    ///
    /// When the layout makes no pool.
    pub fn new(layout: &Layout, algorithm: A) -> Result<Self, BuildFailure> {
        let pool = build(layout, genpool::FirstFit)?;
        Ok(Self { pool, algorithm })
    }
}

impl Cached {
    /// A pool of that layout with that default algorithm.
    ///
    /// # Errors
    ///
    /// When the layout makes no pool.
    pub fn new(layout: &Layout, algorithm: impl Algorithm + 'static) -> Result<Self, BuildFailure> {
        build(layout, algorithm).map(Self)
    }
}

impl Stage for Ours {
    fn avail(&self) -> Option<usize> {
        Some(self.0.avail())
    }

    fn take(&self, bytes: usize) -> Option<usize> {
        take(&self.0, bytes)
    }

    fn give(&self, addr: usize, bytes: usize) -> Result<(), String> {
        self.0.free(addr, bytes).map_err(|error| error.to_string())
    }
}

impl Contestant for Ours {
    type Handle = &'static Ours;

    fn handle(&'static self) -> Self::Handle {
        self
    }
}

impl Handle for &'static Ours {
    type Held = Allocation<'static>;

    #[inline]
    fn alloc(&mut self, bytes: usize) -> Option<Self::Held> {
        self.0.alloc(bytes).ok()
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
        self.0.phys_of(addr)
    }
}

impl Stage for ByAddress {
    fn avail(&self) -> Option<usize> {
        Some(self.0.avail())
    }

    fn take(&self, bytes: usize) -> Option<usize> {
        take(&self.0, bytes)
    }

    fn give(&self, addr: usize, bytes: usize) -> Result<(), String> {
        self.0.free(addr, bytes).map_err(|error| error.to_string())
    }
}

impl Contestant for ByAddress {
    type Handle = &'static ByAddress;

    fn handle(&'static self) -> Self::Handle {
        self
    }
}

impl Handle for &'static ByAddress {
    type Held = (usize, usize);

    #[inline]
    fn alloc(&mut self, bytes: usize) -> Option<Self::Held> {
        let raw = self.0.alloc(bytes).ok()?.into_raw();
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
        self.0.phys_of(addr)
    }
}

impl<A: Algorithm + 'static> Stage for Named<A> {
    fn avail(&self) -> Option<usize> {
        Some(self.pool.avail())
    }

    fn take(&self, bytes: usize) -> Option<usize> {
        take(&self.pool, bytes)
    }

    fn give(&self, addr: usize, bytes: usize) -> Result<(), String> {
        self.pool
            .free(addr, bytes)
            .map_err(|error| error.to_string())
    }
}

impl<A: Algorithm + 'static> Contestant for Named<A> {
    type Handle = &'static Named<A>;

    fn handle(&'static self) -> Self::Handle {
        self
    }
}

impl<A: Algorithm + 'static> Handle for &'static Named<A> {
    type Held = Allocation<'static>;

    #[inline]
    fn alloc(&mut self, bytes: usize) -> Option<Self::Held> {
        self.pool.alloc_with(bytes, &self.algorithm).ok()
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
        self.pool.phys_of(addr)
    }
}

impl Stage for Cached {
    fn avail(&self) -> Option<usize> {
        Some(self.0.avail())
    }

    fn take(&self, bytes: usize) -> Option<usize> {
        take(&self.0, bytes)
    }

    fn give(&self, addr: usize, bytes: usize) -> Result<(), String> {
        self.0.free(addr, bytes).map_err(|error| error.to_string())
    }
}

impl Contestant for Cached {
    type Handle = Cache<'static>;

    fn handle(&'static self) -> Self::Handle {
        self.0.cache()
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
