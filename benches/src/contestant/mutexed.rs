//! Single-threaded allocators from the registry, each under a mutex.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::{BuildFailure, Contestant, FreeRuns, Handle, Layout, Stage};

/// A single-threaded allocator of granules, which are numbered from 0.
pub trait Peer: Send + 'static {
    /// An allocation.
    type Held: Send + 'static;

    /// Makes an allocator of `granules` granules, all free.
    fn new(granules: u32) -> Self;

    /// Takes `granules` granules.
    fn alloc(&mut self, granules: u32) -> Option<Self::Held>;

    /// Takes one granule for a scene, which takes all granules in order; preferably number `next`.
    fn take_next(&mut self, _next: usize) -> Option<Self::Held> {
        self.alloc(1)
    }

    /// Gives an allocation back.
    fn free(&mut self, held: Self::Held);

    /// Returns the first granule of an allocation.
    fn first(held: &Self::Held) -> usize;

    /// Returns how the free granules lie, if the allocator knows it.
    fn free_runs(&self) -> Option<FreeRuns> {
        None
    }
}

/// A [`Peer`] that threads share. Two of them share no cache line.
#[repr(align(128))]
pub struct Mutexed<P: Peer> {
    peer: Mutex<P>,
    /// What the scene took, by its granule, because a peer takes back the allocation that it returned, not an address.
    pieces: Mutex<Vec<Option<P::Held>>>,
    /// How many granules the scene took.
    next: AtomicUsize,
    start: usize,
    order: u32,
}

impl<P: Peer> Mutexed<P> {
    /// Makes a pool of this layout.
    ///
    /// # Errors
    ///
    /// If the layout has several chunks, or more granules than a peer can number.
    pub fn new(layout: &Layout) -> Result<Self, BuildFailure> {
        let &[start] = layout.starts().as_slice() else {
            return Err(BuildFailure::new("a peer manages one chunk"));
        };
        Self::at(start, layout.granules, layout.order)
    }

    /// Makes a pool of `granules` granules from the address `start` on.
    pub(super) fn at(start: usize, granules: usize, order: u32) -> Result<Self, BuildFailure> {
        let pieces = std::iter::repeat_with(|| None).take(granules);
        let granules = u32::try_from(granules).map_err(BuildFailure::new)?;
        Ok(Self {
            peer: Mutex::new(P::new(granules)),
            pieces: Mutex::new(pieces.collect()),
            next: AtomicUsize::new(0),
            start,
            order,
        })
    }

    /// Returns the address of the first granule.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// Returns the address of an allocation.
    pub(super) fn addr_of(&self, held: &P::Held) -> usize {
        self.start + (P::first(held) << self.order)
    }

    fn granules(&self, bytes: usize) -> u32 {
        // A size that the peer cannot number is more than it has, and so is this.
        u32::try_from(bytes.div_ceil(1 << self.order)).unwrap_or(u32::MAX)
    }
}

impl<P: Peer> fmt::Debug for Mutexed<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutexed")
            .field("start", &self.start)
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

impl<P: Peer> Stage for Mutexed<P> {
    fn avail(&self) -> Option<usize> {
        None
    }

    fn take(&self, bytes: usize) -> Option<usize> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let held = match self.granules(bytes) {
            1 => self.peer.lock().take_next(next)?,
            granules => self.peer.lock().alloc(granules)?,
        };
        let (addr, first) = (self.addr_of(&held), P::first(&held));
        self.pieces.lock()[first] = Some(held);
        Some(addr)
    }

    fn give(&self, addr: usize, _: usize) -> Result<(), String> {
        let first = addr.wrapping_sub(self.start) >> self.order;
        let piece = self.pieces.lock().get_mut(first).and_then(Option::take);
        let piece = piece.ok_or_else(|| format!("nothing was taken at {addr:#x}"))?;
        self.peer.lock().free(piece);
        Ok(())
    }

    fn frees_parts(&self) -> bool {
        false
    }

    fn free_runs(&self) -> Option<FreeRuns> {
        self.peer.lock().free_runs()
    }

    fn retire(&self) {
        *self.peer.lock() = P::new(1);
        *self.pieces.lock() = Vec::new();
    }
}

impl<P: Peer> Contestant for Mutexed<P> {
    type Handle = &'static Mutexed<P>;

    fn handle(&'static self) -> Self::Handle {
        self
    }
}

impl<P: Peer> Handle for &'static Mutexed<P> {
    type Held = P::Held;

    #[inline]
    fn alloc(&mut self, bytes: usize) -> Option<Self::Held> {
        let granules = self.granules(bytes);
        self.peer.lock().alloc(granules)
    }

    #[inline]
    fn free(&mut self, held: Self::Held) {
        self.peer.lock().free(held);
    }

    #[inline]
    fn addr(held: &Self::Held) -> usize {
        P::first(held)
    }

    fn phys_of(&mut self, _: usize) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Buddy, OffsetTable, RangeList, VmTree};
    use super::*;

    /// Takes everything in single granules, gives back every other one and then the rest, and takes a long run.
    fn holds_its_granules<P: Peer>() {
        let mut peer = P::new(64);
        let mut held: Vec<Option<P::Held>> = (0..64).map(|_| peer.alloc(1)).collect();
        let mut firsts: Vec<usize> = held.iter().flatten().map(P::first).collect();
        firsts.sort_unstable();
        assert_eq!(firsts, (0..64).collect::<Vec<_>>());
        assert!(peer.alloc(1).is_none());

        held.sort_by_key(|held| held.as_ref().map(P::first));
        for parity in [1, 0] {
            for piece in held.iter_mut().skip(parity).step_by(2) {
                peer.free(piece.take().expect("each is given back once"));
            }
            assert_eq!(peer.alloc(2).is_some(), parity == 0);
        }
    }

    #[test]
    fn peers() {
        holds_its_granules::<Buddy>();
        holds_its_granules::<OffsetTable>();
        holds_its_granules::<RangeList>();
        holds_its_granules::<VmTree>();
    }

    #[test]
    fn pieces_come_back_by_address() {
        let layout = Layout {
            order: 12,
            granules: 16,
            chunks: 1,
        };
        let pool = Mutexed::<RangeList>::new(&layout).expect("one chunk");
        let addr = pool.take(4096).expect("all is free");
        assert_eq!(addr, layout.starts()[0]);
        assert_eq!(pool.give(addr, 4096), Ok(()));
        assert!(pool.give(addr, 4096).is_err());
        assert!(pool.give(0, 4096).is_err());
    }
}
