//! Pools that belong to devices, and the pools that device trees describe.
//!
//! In the kernel a pool usually belongs to a device: it is created when the device is probed, found by
//! name or through a *phandle* of the device tree, which is a number that one node refers to another by, and gone
//! when the device goes. Here a [`Device`] has a stack of managed resources, among them [`ManagedPool`]s. When a
//! device is released, its pools refuse new allocations. Live ones stay valid and are listed in the result. The
//! stack is released in reverse order; the mapping of a pool's memory is released after the last allocation.
//!
//! This is the module `devm` of the crate `genpool`, with its feature `devm`, and the examples use that path.
//!
//! ```
//! use genpool::devm::{AddressOnly, Registry, Tree};
//!
//! let tree = Tree::load("tests/trees/board.dtb")?;
//! let registry = Registry::new();
//! for (node, probed) in registry.probe_srams(&tree, &AddressOnly) {
//!     println!("{node}: {} pools", probed?.pools().len());
//! }
//! let codec = tree.find("/soc/codec@2000").ok_or("no codec")?;
//! let ring = registry.of_gen_pool_get(codec, "sram", 0)?.alloc_owned(1024)?;
//!
//! let released = registry.remove("/soc/sram@0")?; // the device goes, the ring stays
//! assert_eq!(released.outstanding.len(), 1);
//! drop(ring);
//! assert!(released.is_complete());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Users' code that panics
//!
//! Actions, values, owners of chunks, algorithms and observers may panic at the end of a device. All the others are
//! run or dropped all the same, in order. [`Released::panics`] has the message of each step that panicked. A panic of
//! code that is dropped with a report, or with a device whose report nobody has, goes on once all is done; a second
//! one is discarded.
//!
//! # Signal safety
//!
//! The calls that a [`ManagedPool`] takes from [`Pool`](genpool_core::Pool) are as
//! [signal-safe](genpool_core#signal-safety) as there, until its device ends: from then on the last allocation that is
//! given back may run actions and destructors, which are users' code. Nothing else here is signal-safe: devices,
//! registries and trees take locks and allocate memory. In a handler,
//! [`Contended`](genpool_core::AllocError::Contended) is a refusal.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod device;
mod error;
mod path;
mod pool;
mod registry;
mod release;

#[doc(hidden)]
pub mod fuzz;
mod of;
mod sram;
mod tree;

pub use crate::device::{Device, ProbeError};
pub use crate::error::{AddChunkError, CreateError, GetError, Gone, Rejected};
pub use crate::of::OfError;
pub use crate::path::NodePath;
pub use crate::pool::ManagedPool;
pub use crate::registry::{RegisterError, Registry, RemoveError};
pub use crate::release::{Outstanding, Released};
#[cfg(all(feature = "dma", target_os = "linux"))]
pub use crate::sram::UioMemory;
pub use crate::sram::{
    AddressOnly, LayoutError, MapMemory, MapRequest, Mapped, ORDER, Partition, Sram, SramError,
};
pub use crate::tree::{
    BlobError, BlobFault, Complaint, LoadError, Node, PhysRange, Tree, TreeError,
};
