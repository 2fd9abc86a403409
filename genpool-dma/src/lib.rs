//! Real memory under genpool's pools, and the addresses that devices see it at.
//!
//! | | |
//! |---|---|
//! | [`VirtAddr`], [`PhysAddr`], [`DmaAddr`], [`AddressMask`] | addresses, each kind a type of its own |
//! | [`Translation`], [`Window`] | from virtual to DMA addresses, exact for every byte or an error |
//! | [`DmaAlloc`] | genalloc's dma calls on any [`Pool`](genpool_core::Pool): addresses only |
//! | [`Region`] | memory that is owned; [`source`] makes them |
//! | [`MemoryPool`] | a pool over regions: the dma calls, zeroing, buffers, an allocator |
//! | [`CpuBuffer`], [`DeviceBuffer`], [`IoBuffer`] | who may touch the bytes, and how |
//!
//! This is the module `dma` of the crate `genpool`, with its feature `dma`, and the examples use that path.
//!
//! # What a device can reach
//!
//! An address mask, and a border that must not be crossed, are constraints like others:
//!
//! ```
//! use genpool::dma::{AddressMask, DmaAlloc};
//! use genpool::{Constrained, Constraints, FirstFit, Pool};
//!
//! let pool = Pool::new(12)?;
//! pool.add_virt(0x7000_0000, 0x0ff0_0000, 0x20_0000)?; // reaches over 1 << 28
//! let asked = AddressMask::bits(28)?.constrain(Constraints::new());
//! let asked = asked.dma_align(0x4000)?.dma_boundary(0x1_0000)?;
//! let ring = pool.dma_alloc_with(0x3000, &Constrained::new(FirstFit, asked))?;
//! assert!(ring.dma().get() < 1 << 28);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Zeroing
//!
//! The pool itself touches the memory in one place only: where it is asked to zero it. Zeroing covers whole
//! granules, goes by volatile stores of the width that the memory takes, and is never removed by the
//! compiler.
//!
//! # Signal safety
//!
//! Allocating and dropping buffers is as [signal-safe](genpool_core#signal-safety) as it is in a
//! [`Pool`](genpool_core::Pool); adding and removing regions is not. In a handler
//! [`Contended`](genpool_core::AllocError::Contended) is a refusal.

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
