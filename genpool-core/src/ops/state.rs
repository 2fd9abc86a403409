//! What the operations on chunks need of a [`Pool`](crate::Pool): pinned lists, and allocations that are taken apart.

use crate::activity::Activity;
use crate::allocation::{Origin, Parts};
use crate::chunk::{Chunk, Extent, State};
use crate::chunk_ops::PoolState;
use crate::chunks::Pin;
use crate::counters::Counters;
use crate::shared::Shared;
use crate::units::Granule;

impl PoolState for Shared {
    type Pin<'p> = Pin<'p>;
    type Found<'p> = Parts<'p>;

    #[inline(always)]
    fn order(&self) -> u32 {
        self.order
    }

    #[inline(always)]
    fn activity(&self) -> &Activity {
        &self.activity
    }

    #[inline(always)]
    fn counters(&self) -> &Counters {
        &self.counters
    }

    #[inline(always)]
    fn newest(&self) -> Option<&Chunk> {
        self.chunk_set.newest()
    }

    fn pin(&self) -> Pin<'_> {
        self.chunk_set.pin()
    }

    fn is_current(&self, pin: &Pin<'_>) -> bool {
        self.chunk_set.is_current(pin)
    }

    fn chunks<'a, 'p: 'a>(pin: &'a Pin<'p>) -> impl Iterator<Item = &'a Chunk> {
        pin.chunks().map(|chunk| &**chunk)
    }

    fn found<'p>(
        &'p self,
        pin: &Pin<'p>,
        chunk: &Chunk,
        granule: Granule,
        extent: Extent,
    ) -> Parts<'p> {
        // SAFETY: the chunk is a chunk of the pinned list.
        let permanent = unsafe { pin.permanent(chunk) };
        let listed = || Origin::by_generation(chunk.generation());
        Parts {
            extent,
            addr: chunk.addr_of(granule),
            origin: permanent.map_or_else(listed, Origin::permanent),
            shared: self,
        }
    }

    #[inline]
    fn in_chunk<R>(&self, addr: usize, with: impl FnOnce(&Chunk) -> R) -> Option<R> {
        if let Some(chunk) = self.chunk_set.newest()
            && chunk.contains(addr)
            && chunk.state() != State::Drained
        {
            return Some(with(chunk));
        }
        if let Some(chunk) = self.chunk_set.address_index.find(addr) {
            return Some(with(chunk));
        }
        let pin = self.chunk_set.pin();
        pin.find(addr).map(|chunk| with(chunk))
    }
}
