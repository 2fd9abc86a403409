//! The description of a chunk to be added.

use core::any::Any;
use core::fmt;

use alloc::string::String;

use crate::sync::{Arc, arc_dyn};
use crate::unwind::Guarded;

/// A value that the owner of a chunk's memory attaches to the chunk. Allocations and frees hand it back.
///
/// ```
/// use std::sync::Arc;
///
/// use genpool::{ChunkSpec, Owner, Pool};
///
/// let bank: Owner = Arc::new(String::from("bank 0"));
/// let pool = Pool::new(12)?;
/// pool.add_chunk(ChunkSpec::new(0x1000, 0x1000).shared_owner(Arc::clone(&bank)))?;
/// pool.add_chunk(ChunkSpec::new(0x2000, 0x1000).shared_owner(bank))?; // both belong to this bank
/// let range = pool.alloc(1)?.into_raw();
/// let owner = pool.free_owner(range.addr, range.size)?.expect("it has one");
/// assert_eq!(owner.downcast_ref::<String>().map(String::as_str), Some("bank 0"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Owner = Arc<dyn Any + Send + Sync>;

/// Returns an owner's value if it is a string.
pub(crate) fn text_of(owner: &Owner) -> Option<&str> {
    owner
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| owner.downcast_ref::<&'static str>().copied())
}

/// A chunk to be added: a range of addresses in bytes, and optionally its physical address and an owner's value. An
/// owner's value is kept on the heap, so giving one is not [signal-safe](crate#signal-safety).
///
/// ```
/// use genpool::{ChunkSpec, Pool};
///
/// let pool = Pool::new(12)?;
/// pool.add_chunk(ChunkSpec::new(0x4000_0000, 0x10_0000).phys(0x1_0000_0000).owner("bank 0"))?;
/// let block = pool.alloc(4096)?;
/// assert_eq!(block.owner_as::<&str>(), Some("bank 0"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ChunkSpec {
    start: usize,
    size: usize,
    phys: Option<u64>,
    owner: Option<Guarded<Owner>>,
}

impl ChunkSpec {
    /// Describes a chunk of `size` bytes at the address `start`. The values are checked when the chunk is added.
    #[must_use]
    pub fn new(start: usize, size: usize) -> Self {
        Self {
            start,
            size,
            phys: None,
            owner: None,
        }
    }

    /// Sets the physical address of the chunk's first byte.
    #[must_use]
    pub fn phys(mut self, phys: u64) -> Self {
        self.phys = Some(phys);
        self
    }

    /// Attaches a value that comes back with every allocation in the chunk.
    #[must_use]
    pub fn owner(self, owner: impl Any + Send + Sync) -> Self {
        self.shared_owner(arc_dyn!(owner, dyn Any + Send + Sync))
    }

    /// Attaches a value as [`owner`](Self::owner) does, but one that is shared with others.
    #[must_use]
    pub fn shared_owner(mut self, owner: Owner) -> Self {
        self.owner = Some(Guarded::new(owner));
        self
    }

    /// Returns the address of the first byte.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the physical address of the first byte, if one was given.
    pub(crate) fn phys_of_start(&self) -> Option<u64> {
        self.phys
    }

    /// Returns the address of the last byte. The spec was checked before.
    pub(crate) fn last(&self) -> usize {
        self.start + (self.size - 1)
    }

    /// Describes an existing chunk: see [`ChunkSpec::new`].
    pub(super) fn of_parts(
        start: usize,
        size: usize,
        phys: Option<u64>,
        owner: Option<Guarded<Owner>>,
    ) -> Self {
        Self {
            start,
            size,
            phys,
            owner,
        }
    }

    pub(super) fn guarded_owner(&self) -> Option<&Guarded<Owner>> {
        self.owner.as_ref()
    }

    /// Returns the owner's value as it was given.
    #[must_use]
    pub fn into_owner(self) -> Option<Owner> {
        self.owner.map(Guarded::into_inner)
    }
}

impl fmt::Debug for ChunkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkSpec")
            .field("start", &format_args!("{:#x}", self.start))
            .field("size", &format_args!("{:#x}", self.size))
            .field("phys", &self.phys)
            .field("owner", &self.owner.is_some())
            .finish()
    }
}
