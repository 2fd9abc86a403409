//! Giving back what an allocation of a [`Pool`](crate::Pool) holds, and adopting ranges.
//!
//! A chunk that is not permanent is looked up under a pin and is used only inside the call. So a range that was freed
//! by address while an allocation held it leaves nothing dangling (see `chunks/mod.rs`).

use crate::allocation::{Allocation, Origin, OriginKind};
use crate::chunk::{Chunk, Extent};
use crate::chunk_ops::Free;
use crate::error::FreeError;
use crate::raw_range::RawRange;
use crate::shared::Shared;

impl Shared {
    /// Gives back what an allocation held.
    #[inline(always)]
    pub(crate) fn give_back(&self, origin: Origin<'_>, addr: usize, extent: Extent) {
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.notifier() {
            return self.give_back_observed(notifier, origin, addr, extent);
        }
        let taken_back = match origin.kind() {
            OriginKind::Permanent(chunk) => self.give_back_to(chunk, addr, extent),
            OriginKind::ByGeneration { generation } => {
                self.give_back_by_generation(generation, addr, extent)
            }
        };
        if !taken_back {
            // Only a free by address can have released this range before.
            self.counters.refused_free();
        }
    }

    #[cold]
    fn give_back_by_generation(&self, generation: usize, addr: usize, extent: Extent) -> bool {
        self.in_generation(addr, generation, |chunk| {
            self.give_back_to(chunk, addr, extent)
        })
        .unwrap_or(false)
    }

    /// Frees a range by its address, and by its size if one is given. Returns what `with` makes of the chunk and the
    /// size in granules. The chunk may not outlive the call.
    pub(crate) fn free<R>(
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

    /// Returns the allocation of a range that was turned into plain numbers.
    pub(crate) fn adopt_range(&self, range: RawRange) -> Result<Allocation<'_>, FreeError> {
        let RawRange { addr, size } = range;
        // The chunk may not outlive the call, so later calls look it up.
        let found = |chunk: &Chunk, extent| (Origin::by_generation(chunk.generation()), extent);
        let (origin, extent) = self.adopt(addr, size, found)?;
        Ok(Allocation::new(self, origin, addr, extent))
    }
}
