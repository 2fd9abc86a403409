//! Sources of memory. Each source makes a [`Region`](crate::Region), which owns its mapping and gives it back when it
//! is dropped.
//!
//! | | memory | DMA addresses |
//! |---|---|---|
//! | [`RamSource`] | anonymous or memfd, in ordinary or huge pages, on a node, locked | none by itself |
//! | [`PageMap`] | any of them | physical, from `/proc/self/pagemap` (root) |
//! | [`PciDevice`] | a BAR | physical, from sysfs |
//! | [`UioMap`] | a map of a UIO device | physical, from sysfs |
//! | [`physical_memory`] | what `/dev/mem` shows | physical |
#![cfg_attr(
    feature = "vfio",
    doc = "| [`Iommu`] | any of the first | IOVAs of its own, mapped and unmapped with the memory |"
)]
//! | [`Region::from_raw`](crate::Region::from_raw) | what the caller brings | what the caller knows |
//!
//! # Physical addresses, and memory that moves
//!
//! The kernel may move a page to another frame whenever it likes: to make room for a huge page (compaction), to bring
//! the page near the processor that uses it (NUMA balancing), or to take memory out of service. The virtual address
//! stays and the physical one changes. A device that was given the old physical address then writes into somebody
//! else's memory.
//!
//! *Locking* ([`RamSource::locked`]) guarantees that a page is not swapped out and that no access faults for long. It
//! does **not** guarantee that the page stays in its frame: locked pages are compacted and balanced like others. Two
//! things do:
//!
//! - *Huge pages* that were reserved (`hugetlbfs`, [`PageSize::Huge2M`], [`PageSize::Huge1G`]) are not swapped, not
//!   compacted, and not balanced. With physical addresses, use them and nothing else. Even they are moved when memory
//!   goes out of service (by an administrator, or because of memory errors), when a large contiguous range is needed
//!   (pages of 1 GiB reserved at run time, CMA), when a cpuset migrates its memory, and when a process asks for it
//!   (`move_pages`, `mbind` with `MPOL_MF_MOVE`).
//! - *VFIO* pins frames of any size for as long as they are mapped, and the device is given IOVAs, which the IOMMU
//!   translates. It is also the only way to keep a device with wrong addresses from harming anybody.
//!
//! `mlock` is not applied to huge pages: they are never swapped, and they would count against the limit.
//!
//! A process that forks shares its private pages with the child until one of them writes. Then the *writer* gets the
//! copy, so the parent's page moves because of the parent's own write. Private memory of this module is therefore not
//! inherited by children (`MADV_DONTFORK`), and a child must neither use nor drop a pool over it. Memory of a memfd
//! or of a device is inherited. A second pool over it, in the child, hands out the same ranges.

mod error;
mod mapping;
mod node;
mod page_size;
mod pagemap;
mod pci;
mod physical;
mod ram;
mod sysfs;
mod uio;
#[cfg(feature = "vfio")]
mod vfio;

pub use self::error::SourceError;
pub use self::page_size::PageSize;
pub use self::pagemap::{PageMap, ResolveError, Unresolved};
pub use self::pci::{Bar, PciDevice};
pub use self::physical::physical_memory;
pub use self::ram::{MemFd, RamSource};
pub use self::uio::UioMap;
#[cfg(feature = "vfio")]
pub use self::vfio::{Iommu, MapError, MapRefused};
