//! Allocations that outlive their device.

use std::fmt;

use genpool_core::{Held, Owner, contained, owner_name};

/// An allocation that was live when its device ended. `Display` prints the tag and the owner if there are any.
///
/// ```
/// use genpool::devm::Device;
/// use genpool::{ChunkSpec, Pool};
///
/// let device = Device::new("video");
/// let pool = device.create_pool(Pool::builder().order(5).name("rx").boundary_tracking())?;
/// pool.add_chunk(ChunkSpec::new(0x1000, 0x1000).owner("bank 0"))?;
/// let ring = pool.alloc_owned(100)?;
/// ring.set_tag(7);
///
/// let released = device.release()?;
/// let held = &released.outstanding[0];
/// assert_eq!((held.addr, held.size, held.tag), (0x1000, 128, Some(7)));
/// assert_eq!((held.pool.as_deref(), held.owner_name()), (Some("rx"), Some("bank 0")));
/// assert_eq!(held.to_string(), "0x80 bytes at 0x1000 of rx, tag 0x7, owner bank 0");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Outstanding {
    /// The pool's name.
    pub pool: Option<String>,
    /// The address of the first byte.
    pub addr: usize,
    /// The size in bytes: whole granules.
    pub size: usize,
    /// The tag that the holder set, 0 if it set none. `None` without boundary tracking: adjacent allocations then
    /// appear as one range.
    pub tag: Option<usize>,
    /// The owner of the chunk.
    pub owner: Option<Owner>,
}

impl Outstanding {
    pub(crate) fn new(pool: Option<&str>, mut held: Held) -> Self {
        Self {
            pool: pool.map(str::to_owned),
            addr: held.addr,
            size: held.size,
            tag: held.tag,
            owner: held.owner.take(),
        }
    }

    /// Returns the owner, if it is a text.
    #[must_use]
    pub fn owner_name(&self) -> Option<&str> {
        owner_name(self.owner.as_ref()?)
    }
}

impl Drop for Outstanding {
    /// Drops the owner, which may be its last reference. If several of a list panic in their drops, the first panic
    /// goes on.
    fn drop(&mut self) {
        contained(|| drop(self.owner.take()));
    }
}

impl fmt::Display for Outstanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pool = self.pool.as_deref().unwrap_or("the unnamed pool");
        write!(f, "{:#x} bytes at {:#x} of {pool}", self.size, self.addr)?;
        if let Some(tag) = self.tag.filter(|&tag| tag != 0) {
            write!(f, ", tag {tag:#x}")?;
        }
        if let Some(owner) = self.owner_name() {
            write!(f, ", owner {owner}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Outstanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outstanding({self})")
    }
}
