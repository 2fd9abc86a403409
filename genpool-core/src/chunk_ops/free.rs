//! Giving ranges back to their chunk, by address or by who holds them; adopting and resizing them. For every kind of
//! pool.

use super::SMALL_CODE;
use super::state::PoolState;
use crate::bitmap::Released;
use crate::chunk::{BoundaryTags, Extent, Ownership};
use crate::chunk::{Chunk, ClaimError, State, granules_for};
use crate::error::{FreeError, ResizeError};
use crate::sync::{Fault, seeded};
use crate::units::Granule;

/// Giving back, adopting and resizing, for every kind of pool.
pub(crate) trait Free: PoolState {
    /// Gives a run back to its chunk. Returns false if it had been freed already. Takes what fits in registers, and
    /// leaves everything uncommon to functions that it ends with, so that no registers need to be saved.
    #[inline(never)]
    fn give_back_to(&self, chunk: &Chunk, addr: usize, extent: Extent) -> bool {
        let start = chunk.granule_of(addr);
        if extent.ownership().is_some() {
            return self.give_back_tracked(chunk, start, extent);
        }
        let n = extent.len();
        if SMALL_CODE {
            return self.give_back_across(chunk, start, n);
        }
        let bitmap = chunk.bitmap();
        let Some(released) = bitmap.release_in_word(start, n) else {
            return self.give_back_across(chunk, start, n);
        };
        if bitmap.is_settled(released)
            && (self.activity().has_no_listeners() || seeded(Fault::UnnotifiedDrop))
            && chunk.state() == State::Alive
        {
            if bitmap.keeps_units() {
                return self.record_free(chunk, released);
            }
            return true;
        }
        self.complete_release(chunk, released)
    }

    #[inline(never)]
    fn give_back_tracked(&self, chunk: &Chunk, start: Granule, extent: Extent) -> bool {
        let exchange_ownership = || chunk.exchange(start, extent, 0);
        let given = chunk.give_back_with_ownership(
            start,
            extent.len(),
            self.activity(),
            exchange_ownership,
        );
        given.is_ok_and(|(_, outcome)| outcome.is_ok())
    }

    #[inline(never)]
    fn give_back_across(&self, chunk: &Chunk, start: Granule, n: usize) -> bool {
        chunk.give_back(start, n, self.activity()).is_ok()
    }

    #[inline(never)]
    fn record_free(&self, chunk: &Chunk, released: Released) -> bool {
        chunk.bitmap().record_free(released);
        true
    }

    #[inline(never)]
    fn complete_release(&self, chunk: &Chunk, released: Released) -> bool {
        chunk.complete_release(released, self.activity()).is_ok()
    }

    /// Ends an allocation; its granules stay taken. Returns false if the boundary tags say that it was freed by address
    /// meanwhile.
    fn close(&self, chunk: &Chunk, addr: usize, extent: Extent) -> bool {
        let closed = chunk.exchange(chunk.granule_of(addr), extent, 0).is_ok();
        if !closed {
            self.counters().refused_free();
        }
        closed
    }

    /// Frees a range as `Shared::free` does, without an observer.
    fn free_unobserved<R>(
        &self,
        addr: usize,
        size: Option<usize>,
        with: impl FnOnce(&Chunk, usize) -> R,
    ) -> Result<R, FreeError> {
        let outcome = self
            .in_chunk(addr, |chunk| {
                let n = self.free_in(chunk, addr, size)?;
                Ok(with(chunk, n))
            })
            .unwrap_or_else(|| Err(outside(addr, size)));
        if outcome.is_err() {
            self.counters().refused_free();
            // The refusal reveals what is free.
            self.reveal(());
        }
        outcome
    }

    /// Frees a range in its chunk. Returns the number of granules that came back.
    fn free_in(&self, chunk: &Chunk, addr: usize, size: Option<usize>) -> Result<usize, FreeError> {
        let (start, asked) = chunk.locate(addr, size.unwrap_or(1))?;
        let Some(boundary_tags) = chunk.boundary_tags() else {
            size.ok_or(FreeError::NotTracked)?;
            return chunk
                .give_back_checked(start, asked, self.activity())
                .map(|()| asked)
                .map_err(|free| FreeError::NotAllocated {
                    addr: chunk.addr_of(free.granule),
                });
        };
        loop {
            let ownership = self.ownership_of(chunk, boundary_tags, start, size)?;
            let n = ownership.len();
            // The thread that exchanges the ownership word owns the range. A thread that loses reads the word again.
            if seeded(Fault::BitsBeforeOwnership) {
                chunk.give_back(start, n, self.activity()).ok();
            }
            let exchange_ownership = || boundary_tags.exchange(start, ownership, 0);
            if chunk
                .give_back_with_ownership(start, n, self.activity(), exchange_ownership)
                .is_ok()
            {
                return Ok(n);
            }
        }
    }

    /// Returns what `with` makes of the chunk of a range that was turned into plain numbers, and of its extent.
    fn adopt<R>(
        &self,
        addr: usize,
        size: usize,
        with: impl FnOnce(&Chunk, Extent) -> R,
    ) -> Result<R, FreeError> {
        let found = self.in_chunk(addr, |chunk| {
            let (start, n) = chunk.locate(addr, size)?;
            let extent = match chunk.boundary_tags() {
                Some(boundary_tags) => {
                    Extent::tracked(self.ownership_of(chunk, boundary_tags, start, Some(size))?)
                }
                None => {
                    let taken = chunk.bitmap().check_taken(start, n);
                    taken.map_err(|free| FreeError::NotAllocated {
                        addr: chunk.addr_of(free.granule),
                    })?;
                    Extent::untracked(n)
                }
            };
            Ok(with(chunk, extent))
        });
        // The answer reveals what is taken and what is free.
        self.reveal(found.unwrap_or_else(|| Err(outside(addr, Some(size)))))
    }

    /// Resizes the allocation at `addr` in place, to `wanted` granules.
    fn resize(
        &self,
        chunk: &Chunk,
        addr: usize,
        extent: Extent,
        wanted: usize,
    ) -> Result<Extent, ResizeError> {
        let (start, n) = (chunk.granule_of(addr), extent.len());
        let exchange_ownership = || {
            let exchanged = chunk.exchange(start, extent, wanted);
            exchanged.map_err(|_| ResizeError::Lost)
        };
        let (end, tail) = (start.plus(n.min(wanted)), n.abs_diff(wanted));
        if wanted > n {
            if wanted > chunk.bitmap().len() - start.0 {
                return Err(ResizeError::PastChunk);
            }
            // Announced, so that claiming the granules and changing the ownership word count as one step.
            let _in_flight = chunk.boundary_tags().map(|_| self.activity().enter());
            chunk
                .claim(end, tail, self.activity())
                .map_err(|refused| match refused {
                    // It shows that a granule is taken.
                    ClaimError::Taken => self.reveal(ResizeError::Neighbour),
                    ClaimError::Draining => ResizeError::Draining,
                })?;
            return exchange_ownership().inspect_err(|_| {
                chunk.give_back(end, tail, self.activity()).ok();
            });
        }
        let (extent, outcome) =
            chunk.give_back_with_ownership(end, tail, self.activity(), exchange_ownership)?;
        if outcome.is_err() {
            self.counters().refused_free();
        }
        Ok(extent)
    }

    /// Returns the ownership word of the allocation at granule `start`. Fails if `size` is given and is not its size.
    fn ownership_of(
        &self,
        chunk: &Chunk,
        boundary_tags: &BoundaryTags,
        start: Granule,
        size: Option<usize>,
    ) -> Result<Ownership, FreeError> {
        let ownership = boundary_tags.get(start);
        match size {
            _ if ownership.len() == 0 => Err(self.no_allocation_at(chunk, boundary_tags, start)),
            Some(size) if granules_for(size, self.order()) != ownership.len() => {
                Err(FreeError::WrongSize {
                    addr: chunk.addr_of(start),
                    size,
                    allocated: ownership.len() << self.order(),
                })
            }
            _ => Ok(ownership),
        }
    }

    fn no_allocation_at(
        &self,
        chunk: &Chunk,
        boundary_tags: &BoundaryTags,
        granule: Granule,
    ) -> FreeError {
        let addr = chunk.addr_of(granule);
        match boundary_tags.covering(granule) {
            Some((start, _)) => FreeError::Interior {
                addr,
                start: chunk.addr_of(start),
            },
            None => FreeError::NotAllocated { addr },
        }
    }
}

impl<P: PoolState> Free for P {}

/// Returns why a range that lies in no chunk is refused.
fn outside(addr: usize, size: Option<usize>) -> FreeError {
    match size {
        Some(0) => FreeError::ZeroSize { addr },
        _ => FreeError::Foreign { addr },
    }
}
