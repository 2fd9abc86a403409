//! First fit at aligned addresses.

use genpool_core::{
    Algorithm, AlgorithmName, ChunkView, Constrained, ConstraintError, Constraints, FirstFit,
    Granule, Impossible, Request,
};

/// First fit at an address that is a multiple of a power of two. The absolute address is aligned. At worst linear in
/// the granules of the chunk, a whole word of the bitmap at a time. [Signal-safe](genpool_core#signal-safety).
///
/// ```
/// use genpool::{FirstFitAlign, Pool};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x10_0000)?;
/// let table = pool.alloc_with(100, &FirstFitAlign::new(0x4000)?)?;
/// assert_eq!(table.addr(), 0x4000); // the address, not the offset in the chunk
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstFitAlign {
    bytes: usize,
    fit: Constrained<FirstFit>,
}

impl FirstFitAlign {
    /// Creates a first fit that is aligned to `bytes`. An alignment below the granule has no effect.
    ///
    /// ```
    /// use genpool::{ConstraintError, FirstFitAlign};
    ///
    /// assert!(FirstFitAlign::new(64).is_ok());
    /// assert_eq!(FirstFitAlign::new(48), Err(ConstraintError::Align { bytes: 48 }));
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConstraintError::Align`] unless `bytes` is a power of two.
    pub fn new(bytes: usize) -> Result<Self, ConstraintError> {
        let constraints = Constraints::new().align(bytes)?;
        Ok(Self {
            bytes,
            fit: Constrained::new(FirstFit, constraints),
        })
    }
}

impl Algorithm for FirstFitAlign {
    fn name(&self) -> Option<AlgorithmName> {
        Some(AlgorithmName::with("first-fit-align", self.bytes))
    }

    fn rules_out(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Impossible> {
        self.fit.rules_out(chunk, request)
    }

    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        self.fit.propose(chunk, request)
    }
}

/// First fit at a multiple of the requested size, rounded up to a power of two: 60 bytes are aligned to 64. The
/// absolute address is aligned. Costs the same as [`FirstFitAlign`]. [Signal-safe](genpool_core#signal-safety).
///
/// ```
/// use genpool::{OrderAlign, Pool};
///
/// let pool = Pool::builder().algorithm(OrderAlign).build()?; // granules of a byte
/// pool.add(0x1010, 0x1000)?;
/// assert_eq!(pool.alloc(60)?.addr(), 0x1040);
/// assert_eq!(pool.alloc(16)?.addr(), 0x1010);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderAlign;

impl Algorithm for OrderAlign {
    fn name(&self) -> Option<AlgorithmName> {
        Some(AlgorithmName::new("order-align"))
    }

    fn rules_out(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Impossible> {
        let size = request.size();
        match size.checked_next_power_of_two() {
            Some(align) => FirstFitAlign::new(align).ok()?.rules_out(chunk, request),
            None => (chunk.start() != 0 && request.granules() <= chunk.granules())
                .then_some(Impossible::NoPlace { size }),
        }
    }

    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        match request.size().checked_next_power_of_two() {
            Some(align) => FirstFitAlign::new(align).ok()?.propose(chunk, request),
            // More than half of all addresses: only address 0 has that alignment.
            None => FirstFit
                .propose(chunk, request)
                .filter(|&start| chunk.addr_of(start) == 0),
        }
    }
}
