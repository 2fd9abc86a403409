//! Where memory comes from. Each source makes a [`Region`](crate::Region) that owns its mapping and
//! gives it back when it is dropped.
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
//! The kernel may move a page to another frame whenever it likes: to make room for a huge page
//! (compaction), to bring it near the processor that uses it (NUMA balancing), to take memory out of
//! service. The virtual address stays, the physical one does not, and a device that was told the old
//! one writes into somebody else's memory.
//!
//! *Locking* ([`RamSource::locked`]) promises that a page is not swapped out and that no access faults
//! for long. It does **not** promise that the page stays where it is: locked pages are compacted and
//! balanced like others. What does:
//!
//! - *Huge pages* that were reserved (`hugetlbfs`, [`PageSize::Huge2M`], [`PageSize::Huge1G`]) are not
//!   swapped, not compacted, and not balanced. With physical addresses use them and nothing else. What
//!   moves them all the same: memory that goes out of service, by an administrator or for its errors; who
//!   needs a large contiguous range (pages of 1 GiB reserved while the machine runs, CMA); a cpuset that
//!   takes its memory along; a process that asks for it (`move_pages`, `mbind` with `MPOL_MF_MOVE`).
//! - *VFIO* pins the frames for as long as they are mapped, whatever their size, and the device is told
//!   IOVAs, which the IOMMU translates. It is also the only way in which a device that is told nonsense
//!   harms nobody.
//!
//! A process that forks shares its private pages with the child until one of them writes, and then the
//! *writer* gets the copy: the parent's page moves by its own write. So private memory from here is not
//! passed on to children (`MADV_DONTFORK`), and a child must neither use nor drop a pool over it. Memory of
//! a memfd or of a device is in the child as well, where a second pool hands out the same ranges.

mod error;
mod mapping;
mod node;
mod pagemap;
mod pci;
mod physical;
mod ram;
mod sysfs;
mod uio;
#[cfg(feature = "vfio")]
mod vfio;

pub use self::error::SourceError;
pub use self::pagemap::{PageMap, ResolveError, Unresolved};
pub use self::pci::{Bar, PciDevice};
pub use self::physical::physical_memory;
pub use self::ram::{MemFd, PageSize, RamSource};
pub use self::uio::UioMap;
#[cfg(feature = "vfio")]
pub use self::vfio::{Iommu, MapError, MapRefused};
