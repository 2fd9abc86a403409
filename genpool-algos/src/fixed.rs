//! Placement at a fixed offset or address.

use genpool_core::{
    Algorithm, AlgorithmName, ChunkView, Granule, Impossible, Request, Run, Unsuitable,
};

fn whole_granule(place: usize, request: &Request) -> Result<(), Unsuitable> {
    let granule = request.granule();
    if place.is_multiple_of(granule) {
        Ok(())
    } else {
        Err(Unsuitable::MisalignedPlace { place, granule })
    }
}

/// Returns the reason if constraints do not allow the request in this place of the chunk.
fn disallowed(chunk: &ChunkView<'_>, start: Granule, request: &Request) -> Option<Impossible> {
    let (len, size) = (request.granules(), request.size());
    let allowed = chunk.first_in(Run { start, len }, len);
    allowed.is_none().then_some(Impossible::NoPlace { size })
}

/// Allocates at an exact offset in a chunk, in the newest chunk where that range is free. Linear in the granules
/// requested, 64 at a time. [Signal-safe](genpool_core#signal-safety).
///
/// ```
/// use genpool::{FixedOffset, Pool};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x10_0000, 0x1_0000)?;
/// let third = FixedOffset::new(0x2000);
/// let page = pool.alloc_with(4096, &third)?;
/// assert_eq!(page.addr(), 0x10_2000);
/// assert!(pool.alloc_with(4096, &third).is_err()); // taken
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedOffset {
    offset: usize,
}

impl FixedOffset {
    /// Allocates `offset` bytes into a chunk. Each request checks that this is a multiple of the granule.
    #[must_use]
    pub const fn new(offset: usize) -> Self {
        Self { offset }
    }
}

impl Algorithm for FixedOffset {
    fn check(&self, request: &Request) -> Result<(), Unsuitable> {
        whole_granule(self.offset, request)
    }

    fn name(&self) -> Option<AlgorithmName> {
        Some(AlgorithmName::with("fixed", self.offset))
    }

    fn rules_out(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Impossible> {
        let room = chunk.granules().checked_sub(self.offset >> chunk.order());
        let fits = room.is_some_and(|room| request.granules() <= room);
        if fits {
            return disallowed(chunk, Granule(self.offset >> chunk.order()), request);
        }
        Some(Impossible::PastChunks {
            offset: self.offset,
            size: request.size(),
            longest: chunk.granules() << chunk.order(),
        })
    }

    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let start = Granule(self.offset >> chunk.order());
        chunk.is_free(start, request.granules()).then_some(start)
    }
}

/// Allocates at an exact address. Linear in the granules requested, 64 at a time.
/// [Signal-safe](genpool_core#signal-safety). A refusal names the address and the reason: the range is
/// [`Taken`](genpool_core::AllocError::Taken), lies in no chunk ([`Outside`](Impossible::Outside)), or goes past the
/// end of its chunk ([`PastChunk`](Impossible::PastChunk)).
///
/// ```
/// use genpool::{AllocError, FixedAddress, Impossible, Pool};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x10_0000, 0x1_0000)?;
/// // First reserve what the firmware already uses.
/// let framebuffer = pool.alloc_with(0x4000, &FixedAddress::new(0x10_8000))?;
/// assert_eq!(framebuffer.addr(), 0x10_8000);
/// let at = |addr| pool.alloc_with(0x2000, &FixedAddress::new(addr)).unwrap_err();
/// assert_eq!(at(0x10_b000), AllocError::Taken { addr: 0x10_b000, size: 0x2000 });
/// assert_eq!(at(0x20_0000), AllocError::Impossible(Impossible::Outside { addr: 0x20_0000 }));
/// let past = Impossible::PastChunk { addr: 0x10_f000, size: 0x2000, last: 0x10_ffff };
/// assert_eq!(at(0x10_f000), AllocError::Impossible(past));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedAddress {
    addr: usize,
}

impl FixedAddress {
    /// Allocates at `addr`. Each request checks that this is a multiple of the granule.
    #[must_use]
    pub const fn new(addr: usize) -> Self {
        Self { addr }
    }
}

impl Algorithm for FixedAddress {
    fn check(&self, request: &Request) -> Result<(), Unsuitable> {
        whole_granule(self.addr, request)
    }

    fn name(&self) -> Option<AlgorithmName> {
        Some(AlgorithmName::with("fixed-address", self.addr))
    }

    fn rules_out(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Impossible> {
        let (addr, size, last) = (self.addr, request.size(), chunk.last());
        let Some(start) = chunk.granule_at(addr) else {
            return Some(Impossible::Outside { addr });
        };
        let room = chunk.granules() - start.0;
        if request.granules() <= room {
            return disallowed(chunk, start, request);
        }
        Some(Impossible::PastChunk { addr, size, last })
    }

    fn only_address(&self) -> Option<usize> {
        Some(self.addr)
    }

    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        let start = chunk.granule_at(self.addr)?;
        chunk.is_free(start, request.granules()).then_some(start)
    }
}
