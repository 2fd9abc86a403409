//! The least that an alloc and a free can cost while other processors may look on: one locked instruction each, on bits
//! that are known at run time only, and a look at what was there before, for either may be in vain.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Contestant, Handle, Stage};

/// Nothing but one word for each handle, in a cache line of its own.
#[derive(Debug, Default)]
pub struct Floor;

/// A word that only its owner touches.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct FloorHandle(AtomicUsize);

/// The bits that every alloc takes. Not told to the compiler, which has an instruction for one bit that it knows, and
/// none for a run of any length.
#[inline(always)]
fn bits() -> usize {
    black_box(1)
}

impl Stage for Floor {
    fn avail(&self) -> Option<usize> {
        None
    }

    fn take(&self, _: usize) -> Option<usize> {
        None
    }

    fn give(&self, _: usize, _: usize) -> Result<(), String> {
        Err("the floor is no pool".into())
    }
}

impl Contestant for Floor {
    type Handle = FloorHandle;

    fn handle(&'static self) -> Self::Handle {
        FloorHandle::default()
    }
}

impl Handle for FloorHandle {
    /// The bits.
    type Held = usize;

    #[inline]
    fn alloc(&mut self, _: usize) -> Option<usize> {
        let bits = bits();
        let before = self.0.fetch_or(bits, Ordering::AcqRel);
        (before & bits == 0).then_some(bits)
    }

    #[inline]
    fn free(&mut self, bits: usize) {
        let before = self.0.fetch_and(!bits, Ordering::Release);
        // Freed twice: no load does that, but whoever gives memory back has to look.
        if before & bits != bits {
            self.0.store(usize::MAX, Ordering::Relaxed);
        }
    }

    fn addr(&bits: &usize) -> usize {
        bits
    }

    fn phys_of(&mut self, _: usize) -> Option<u64> {
        None
    }
}
