//! Ranges as plain numbers.

/// An address range that was taken out of its pool, as plain numbers. It stays taken until the
/// pool's `free`, `free_addr` or `adopt` gets it.
///
/// ```
/// use genpool::Pool;
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// let range = pool.alloc(5000)?.into_raw(); // numbers, which a device can keep
/// assert_eq!((range.addr, range.size), (0x1000, 8192));
/// pool.free(range.addr, range.size)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a range that is forgotten stays taken: give it back with `free`"]
pub struct RawRange {
    /// The address of the first byte.
    pub addr: usize,
    /// The size in bytes, a multiple of the granule.
    pub size: usize,
}
