//! Real memory for genpool's pools, and the addresses at which devices see it.
//!
//! | | |
//! |---|---|
//! | [`VirtAddr`], [`PhysAddr`], [`DmaAddr`], [`AddressMask`] | addresses, a type for each kind |
//! | [`Translation`], [`Window`] | from virtual to DMA addresses: exact for every byte, or an error |
//! | [`DmaAlloc`] | genalloc's dma calls on any [`Pool`](genpool_core::Pool): addresses only |
//! | [`Region`] | owned memory; [`source`] makes regions |
//! | [`MemoryPool`] | a pool over regions: the dma calls, zeroing, buffers, an allocator |
//! | [`CpuBuffer`], [`DeviceBuffer`], [`IoBuffer`] | which of processor and device may access the bytes, and how |
//!
//! ```text
//! source ──► Region ──► MemoryPool ──► CpuBuffer ⇄ DeviceBuffer     memory: may be accessed
//!              │            │     └───► IoBuffer, Allocator
//!         Translation     Pool  ◄── DmaAlloc ──► DmaAllocation      addresses: never accessed
//! ```
//!
//! System calls and `unsafe` are concentrated in this crate, so a program that only pools numbers does not
//! compile it. It is the module `dma` of the crate `genpool`, compiled with the feature `dma`; the examples use
//! that path. The feature `vfio` adds memory that an IOMMU translates, through VFIO's container and groups. With
//! `vfio-cdev` the same type can also use iommufd.
//!
//! # What a device can reach
//!
//! An address mask and a boundary that must not be crossed are constraints like any other:
//!
//! ```
//! use genpool::dma::{AddressMask, DmaAlloc};
//! use genpool::{Constrained, Constraints, FirstFit, Pool};
//!
//! let pool = Pool::new(12)?;
//! pool.add_virt(0x7000_0000, 0x0ff0_0000, 0x20_0000)?; // extends past 1 << 28
//! let asked = AddressMask::bits(28)?.constrain(Constraints::new());
//! let asked = asked.dma_align(0x4000)?.dma_boundary(0x1_0000)?;
//! let ring = pool.dma_alloc_with(0x3000, &Constrained::new(FirstFit, asked))?;
//! assert!(ring.dma().get() < 1 << 28);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Zeroing
//!
//! The pool accesses the memory only to zero it. Zeroing covers whole granules. It uses volatile stores of
//! the width that the memory accepts, and the compiler never removes them.
//!
//! # Signal safety
//!
//! Allocating and dropping buffers is as [signal-safe](genpool_core#signal-safety) as it is in a
//! [`Pool`](genpool_core::Pool). Adding and removing regions is not signal-safe. In a signal handler,
//! [`Contended`](genpool_core::AllocError::Contended) counts as a refusal.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub use allocator_api2;

mod addr;
mod window;

mod allocation;
mod allocator;
mod buffer;
mod io;
mod kind;
mod pool;
mod region;
#[cfg(target_os = "linux")]
pub mod source;
mod volatile;

pub use crate::addr::{AddressMask, DmaAddr, MaskError, PhysAddr, VirtAddr};
pub use crate::allocation::{DmaAlloc, DmaAllocation, DmaError};
pub use crate::allocator::SharedPool;
pub use crate::buffer::{Content, CpuBuffer, DeviceBuffer};
pub use crate::io::IoBuffer;
pub use crate::kind::{Device, Kind, Ram};
pub use crate::pool::{DevicePoolError, MemoryPool, RegionDrain, RegionError, RegionRefused};
pub use crate::region::{AddressSpace, Bus, Region};
pub use crate::volatile::{AccessError, Width, Word};
pub use crate::window::{Overlap, Translation, Untranslated, Window};
