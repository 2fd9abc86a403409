//! Pools that belong to devices, and the pools that device trees describe.
//!
//! In the kernel a pool usually belongs to a device. It is created when the device is probed and destroyed when the
//! device is removed. Other devices find it by name, or through a *phandle* of the device tree: a number by which one
//! node refers to another. Here a [`Device`] has a stack of managed resources, among them [`ManagedPool`]s. When a
//! device is released, its pools refuse new allocations. Live allocations stay valid and are listed in the result.
//! The stack is released in reverse order; the mapping of a pool's memory is released after the last allocation.
//!
//! This is the module `devm` of the crate `genpool`, compiled with the feature `devm`; the examples use that path.
//!
//! ```
//! use genpool::devm::{Registry, Tree, address_only};
//!
//! let tree = Tree::load("examples/board.dtb")?;
//! let registry = Registry::new();
//! for (node, probed) in registry.probe_srams(&tree, address_only) {
//!     println!("{node}: {} pools", probed?.pools().len());
//! }
//! let codec = tree.find("/soc/codec@2000").ok_or("no codec")?;
//! let ring = registry.of_gen_pool_get(codec, "sram", 0)?.alloc_owned(1024)?;
//!
//! let released = registry.remove("/soc/sram@0")?; // the device ends, the ring stays
//! assert_eq!(released.outstanding.len(), 1);
//! drop(ring);
//! assert!(released.is_complete());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Device trees
//!
//! [`Tree::load`] reads a flattened device tree (`.dtb`), as the bootloader passes it to the kernel. A source text
//! (`.dts`) must be compiled first, by `dtc -I dts -O dtb`. [`Tree::running`] loads the tree of this system. The file
//! `examples/board.dtb` of these examples is in the repository.
//!
//! # Errors
//!
//! The text of an error leaves out that of its [`source`](std::error::Error::source), such as the system's reason why a
//! file cannot be read. Print the whole chain; `main` prints it if it returns the error.
//!
//! # Panics in user code
//!
//! Actions, values, owners of chunks, algorithms and observers may panic at the end of a device. All the others are
//! still run or dropped, in order. [`Released::panics`] has the message of each step that panicked. Code that is
//! dropped with a report, or with a device whose report nobody has, may panic too: the first of these panics is
//! resumed when all is done, and later ones are discarded.
//!
//! # Signal safety
//!
//! The calls that a [`ManagedPool`] takes from [`Pool`](genpool_core::Pool) are as
//! [signal-safe](genpool_core#signal-safety) as there, until its device ends. From then on, giving back the last
//! allocation may run actions and destructors, which are user code. Nothing else here is signal-safe: devices,
//! registries and trees take locks and allocate memory. In a signal handler,
//! [`Contended`](genpool_core::AllocError::Contended) counts as a refusal.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod device;
mod error;
mod outstanding;
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
pub use crate::outstanding::Outstanding;
pub use crate::path::NodePath;
pub use crate::pool::ManagedPool;
pub use crate::registry::{RegisterError, Registry, RemoveError};
#[doc(hidden)]
pub use crate::release::Fault;
pub use crate::release::Released;
#[cfg(all(feature = "dma", target_os = "linux"))]
pub use crate::sram::uio_memory;
pub use crate::sram::{
    LayoutError, MapRequest, Mapped, ORDER, Partition, Sram, SramError, address_only,
};
pub use crate::tree::{
    BlobError, BlobFault, Complaint, LoadError, Node, PhysRange, Tree, TreeError,
};
