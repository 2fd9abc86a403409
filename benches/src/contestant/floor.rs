//! The least that an alloc and a free can cost while other processors may look on: one locked instruction each.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Contestant, Handle, Stage};

/// Nothing but one word for each handle, in a cache line of its own.
#[derive(Debug, Default)]
pub struct Floor;

/// A word that only its owner touches.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct FloorHandle(AtomicUsize);

/// The bit that every alloc takes.
const BIT: usize = 1;

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
    type Held = ();

    #[inline]
    fn alloc(&mut self, _: usize) -> Option<()> {
        let before = self.0.fetch_or(BIT, Ordering::AcqRel);
        (before & BIT == 0).then_some(())
    }

    #[inline]
    fn free(&mut self, (): ()) {
        self.0.fetch_and(!BIT, Ordering::Release);
    }

    fn addr((): &()) -> usize {
        0
    }

    fn phys_of(&mut self, _: usize) -> Option<u64> {
        None
    }
}
