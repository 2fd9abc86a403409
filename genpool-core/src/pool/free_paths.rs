//! How a range comes back: from an [`Allocation`], or by address.

use super::Inner;
use crate::allocation::{Allocation, Origin, OriginKind, RawRange};
use crate::bitmap::Released;
use crate::boundary_tags::{BoundaryTags, Extent, Ownership};
use crate::chunk::{Chunk, Refused, State, granules_for};
use crate::error::{FreeError, ResizeError};
use crate::sync::{Fault, seeded};

impl Inner {
    /// Takes back what an allocation held.
    #[inline(always)]
    pub(crate) fn give_back(&self, origin: Origin<'_>, addr: usize, extent: Extent) {
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.notifier() {
            return self.give_back_observed(notifier, origin, addr, extent);
        }
        let taken_back = match origin.kind() {
            OriginKind::Permanent(chunk) => self.give_back_to(chunk, addr, extent),
            OriginKind::Listed { generation } => self.give_back_listed(generation, addr, extent),
        };
        if !taken_back {
            // Somebody freed by address what an allocation held.
            self.counters.refused_free();
        }
    }

    #[cold]
    fn give_back_listed(&self, generation: usize, addr: usize, extent: Extent) -> bool {
        self.in_generation(addr, generation, |chunk| {
            self.give_back_to(chunk, addr, extent)
        })
        .unwrap_or(false)
    }

    /// Takes what fits registers, and leaves all that is uncommon to the end of other functions, so
    /// that none have to be saved.
    #[inline(never)]
    pub(super) fn give_back_to(&self, chunk: &Chunk, addr: usize, extent: Extent) -> bool {
        let start = chunk.granule_of(addr);
        if let Some(boundary_tags) = chunk.boundary_tags() {
            return self.give_back_tracked(chunk, boundary_tags, start, extent.ownership());
        }
        let n = extent.len();
        let bitmap = chunk.bitmap();
        let Some(released) = bitmap.release_at_once(start, n) else {
            return self.give_back_across(chunk, start, n);
        };
        if bitmap.is_settled(released)
            && (self.activity.has_no_listeners() || seeded(Fault::UnnotifiedDrop))
            && chunk.state() == State::Alive
        {
            return true;
        }
        self.settle(chunk, released)
    }

    #[inline(never)]
    fn give_back_tracked(
        &self,
        chunk: &Chunk,
        boundary_tags: &BoundaryTags,
        start: usize,
        ownership: Ownership,
    ) -> bool {
        let redeem = || boundary_tags.exchange(start, ownership, 0);
        let given = chunk.give_back_owned(start, ownership.len(), &self.activity, redeem);
        given.is_ok_and(|(_, outcome)| outcome.is_ok())
    }

    #[inline(never)]
    fn give_back_across(&self, chunk: &Chunk, start: usize, n: usize) -> bool {
        chunk.give_back(start, n, &self.activity).is_ok()
    }

    #[inline(never)]
    fn settle(&self, chunk: &Chunk, released: Released) -> bool {
        chunk.settle(released, &self.activity).is_ok()
    }

    /// Ends what an allocation held, where ownership words are kept; its granules stay taken. Refused if it was
    /// freed by address meanwhile.
    pub(crate) fn close(&self, chunk: &Chunk, addr: usize, extent: Extent) -> bool {
        let closed = chunk.boundary_tags().is_none_or(|boundary_tags| {
            let start = chunk.granule_of(addr);
            boundary_tags.exchange(start, extent.ownership(), 0).is_ok()
        });
        if !closed {
            self.counters.refused_free();
        }
        closed
    }

    /// Takes back a range by its address, and by its size where one is given. Answers what `with`
    /// makes of its chunk and its size in granules; the chunk may not outlive the call.
    pub(super) fn free<R>(
        &self,
        addr: usize,
        size: Option<usize>,
        with: impl FnOnce(&Chunk, usize) -> R,
    ) -> Result<R, FreeError> {
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.notifier() {
            return self.free_observed(notifier, addr, size, with);
        }
        self.free_unobserved(addr, size, with)
    }

    pub(super) fn free_unobserved<R>(
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
            self.counters.refused_free();
            // The refusal tells what is free.
            self.reveal(());
        }
        outcome
    }

    /// Answers how many granules came back.
    fn free_in(&self, chunk: &Chunk, addr: usize, size: Option<usize>) -> Result<usize, FreeError> {
        let (start, asked) = chunk.locate(addr, size.unwrap_or(1))?;
        let Some(boundary_tags) = chunk.boundary_tags() else {
            size.ok_or(FreeError::NotTracked)?;
            return chunk
                .give_back_checked(start, asked, &self.activity)
                .map(|()| asked)
                .map_err(|free| FreeError::NotAllocated {
                    addr: chunk.addr_of(free.granule),
                });
        };
        loop {
            let ownership = self.ownership_of(chunk, boundary_tags, start, size)?;
            let n = ownership.len();
            // Whoever exchanges the ownership word owns the range; a loser looks again at what is there now.
            if seeded(Fault::BitsBeforeOwnership) {
                chunk.give_back(start, n, &self.activity).ok();
            }
            let redeem = || boundary_tags.exchange(start, ownership, 0);
            if chunk
                .give_back_owned(start, n, &self.activity, redeem)
                .is_ok()
            {
                return Ok(n);
            }
        }
    }

    /// The allocation of a range that went as numbers.
    pub(super) fn adopt(&self, range: RawRange) -> Result<Allocation<'_>, FreeError> {
        let RawRange { addr, size } = range;
        let found = self.in_chunk(addr, |chunk| {
            let (start, n) = chunk.locate(addr, size)?;
            let extent = match chunk.boundary_tags() {
                Some(boundary_tags) => Extent::of_ownership(self.ownership_of(
                    chunk,
                    boundary_tags,
                    start,
                    Some(size),
                )?),
                None => {
                    let taken = chunk.bitmap().check_taken(start, n);
                    taken.map_err(|free| FreeError::NotAllocated {
                        addr: chunk.addr_of(free.granule),
                    })?;
                    Extent::of_len(n)
                }
            };
            // The chunk may not outlive the call, so later ones look it up.
            Ok((Origin::listed(chunk.generation()), extent))
        });
        // The answer says what is taken and what is free.
        let (origin, extent) =
            self.reveal(found.unwrap_or_else(|| Err(outside(addr, Some(size)))))?;
        Ok(Allocation::new(self, origin, addr, extent))
    }

    /// Gives an allocation at `addr` another size, in granules, in place.
    pub(crate) fn resize(
        &self,
        chunk: &Chunk,
        addr: usize,
        extent: Extent,
        wanted: usize,
    ) -> Result<Extent, ResizeError> {
        let (start, n) = (chunk.granule_of(addr), chunk.len_of(extent));
        let redeem = || match chunk.boundary_tags() {
            Some(boundary_tags) => boundary_tags
                .exchange(start, extent.ownership(), wanted)
                .map(Extent::of_ownership)
                .map_err(|_| ResizeError::Lost),
            None => Ok(Extent::of_len(wanted)),
        };
        let (end, tail) = (start + n.min(wanted), n.abs_diff(wanted));
        if wanted > n {
            if wanted > chunk.bitmap().len() - start {
                return Err(ResizeError::PastChunk);
            }
            // Claiming granules and amending the ownership word is one step to everybody else.
            let _in_flight = chunk.boundary_tags().map(|_| self.activity.enter());
            chunk
                .claim(end, tail, &self.activity)
                .map_err(|refused| match refused {
                    Refused::Taken => ResizeError::Neighbour,
                    Refused::Draining => ResizeError::Draining,
                })?;
            return redeem().inspect_err(|_| {
                chunk.give_back(end, tail, &self.activity).ok();
            });
        }
        let (extent, outcome) = chunk.give_back_owned(end, tail, &self.activity, redeem)?;
        if outcome.is_err() {
            self.counters.refused_free();
        }
        Ok(extent)
    }

    /// The ownership word of the allocation at a granule, which has so many bytes where they are given.
    fn ownership_of(
        &self,
        chunk: &Chunk,
        boundary_tags: &BoundaryTags,
        start: usize,
        size: Option<usize>,
    ) -> Result<Ownership, FreeError> {
        let ownership = boundary_tags.get(start);
        match size {
            _ if ownership.len() == 0 => Err(self.no_allocation_at(chunk, boundary_tags, start)),
            Some(size) if granules_for(size, self.order) != ownership.len() => {
                Err(FreeError::WrongSize {
                    addr: chunk.addr_of(start),
                    size,
                    allocated: ownership.len() << self.order,
                })
            }
            _ => Ok(ownership),
        }
    }

    fn no_allocation_at(
        &self,
        chunk: &Chunk,
        boundary_tags: &BoundaryTags,
        granule: usize,
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

/// Why a range in no chunk is refused.
fn outside(addr: usize, size: Option<usize>) -> FreeError {
    match size {
        Some(0) => FreeError::ZeroSize { addr },
        _ => FreeError::Foreign { addr },
    }
}
