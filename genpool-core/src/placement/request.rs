//! The request for an allocation, as an algorithm sees it.

use crate::chunk::granules_for;

/// A request for an allocation. Its calls take constant time and are [signal-safe](crate#signal-safety).
///
/// ```
/// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
///
/// /// First fit that checks the request it gets.
/// struct Checking;
///
/// impl Algorithm for Checking {
///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
///         assert_eq!((request.size(), request.granules(), request.granule()), (5000, 2, 4096));
///         chunk.find_run(Granule(0), Granule(usize::MAX), request.granules())
///     }
/// }
///
/// let pool = Pool::new(12)?;
/// pool.add(0, 0x4000)?;
/// assert_eq!(pool.alloc_with(5000, &Checking)?.size(), 8192);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    size: usize,
    order: u32,
}

impl Request {
    /// Returns none if the size is zero.
    pub(crate) fn new(size: usize, order: u32) -> Option<Self> {
        (size > 0).then_some(Self { size, order })
    }

    /// Returns the bytes that the caller asked for, at least one.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the number of granules that hold them.
    #[must_use]
    #[inline]
    pub fn granules(&self) -> usize {
        granules_for(self.size, self.order)
    }

    pub(super) fn order(&self) -> u32 {
        self.order
    }

    /// Returns the size of a granule in bytes.
    #[must_use]
    pub fn granule(&self) -> usize {
        1 << self.order
    }
}
