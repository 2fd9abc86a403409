//! The lowest possible cost of an alloc and a free of a run that other processors may access: one atomic operation
//! each, and a check of the old value, because a claim has to know that all was free, and a checked free that all was
//! taken.
//!
//! On `x86-64` that is a load and a compare-exchange each, because the instructions that return the old value change
//! only a single bit. On `aarch64` it is one instruction each.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Contestant, Handle, Stage};

/// One word for each handle, in a cache line of its own.
#[derive(Debug, Default)]
pub struct Floor;

/// A word that only its owner touches, and the bits of it that every alloc takes.
#[derive(Debug)]
#[repr(align(128))]
pub struct FloorHandle {
    word: AtomicUsize,
    bits: usize,
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
        FloorHandle {
            word: AtomicUsize::new(0),
            // Known only at run time, as those of a run are.
            bits: black_box(1),
        }
    }
}

impl Handle for FloorHandle {
    type Held = ();

    #[inline]
    fn alloc(&mut self, _: usize) -> Option<()> {
        let before = self.word.fetch_or(self.bits, Ordering::AcqRel);
        (before & self.bits == 0).then_some(())
    }

    #[inline]
    fn free(&mut self, (): ()) {
        let before = self.word.fetch_and(!self.bits, Ordering::Release);
        if before & self.bits != self.bits {
            // Freed twice: every alloc from now on is a miss.
            self.bits = usize::MAX;
            self.word.store(usize::MAX, Ordering::Relaxed);
        }
    }

    fn addr((): &()) -> usize {
        0
    }

    fn phys_of(&mut self, _: usize) -> Option<u64> {
        None
    }
}
