//! genpool: a lock-free allocator for special-purpose memory.
//!
//! Device SRAM, PCI BARs, DMA huge pages, IOVA windows, plain numbers: memory that malloc does not
//! know, handed out in runs of granules to any number of threads at once, with the semantics of the
//! Linux kernel's genalloc. The pool never touches the memory that it manages.
//!
//! This crate is a facade: documentation, and the names of `genpool-core` (the pool, the algorithm
//! trait) and `genpool-algos` (the algorithms) in one place.
//!
//! # A pool
//!
//! A [`Pool`] manages *chunks* (address ranges) in *granules* of `1 << order` bytes. An
//! [`Allocation`] gives its range back when it is dropped.
//!
//! ```
//! use genpool::Pool;
//!
//! let pool = Pool::new(12)?; // granules of 4 KiB
//! pool.add_virt(0x4000_0000, 0x1_0000_0000, 0x10_0000)?; // 1 MiB, with its physical address
//!
//! let a = pool.alloc(10_000)?; // three granules
//! assert_eq!((a.addr(), a.size()), (0x4000_0000, 12_288));
//! assert_eq!(a.phys(), Some(0x1_0000_0000));
//! drop(a);
//! assert_eq!(pool.avail(), pool.size());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Algorithms
//!
//! An [`Algorithm`] chooses where in a chunk an allocation goes; it and its data are one value. A
//! pool has a default one, and each call may name another. What several devices ask for at once,
//! such as alignment, an address mask and a boundary that may not be crossed, is a set of
//! [`Constraints`] on any [`Fit`].
//!
//! ```
//! use genpool::{BestFit, Constrained, Constraints, FirstFitAlign, Pool};
//!
//! let pool = Pool::builder().order(12).algorithm(BestFit).build()?;
//! pool.add(0x1000, 0x100_0000)?;
//!
//! let aligned = pool.alloc_with(4096, &FirstFitAlign::new(0x1_0000)?)?;
//! assert_eq!(aligned.addr(), 0x1_0000);
//!
//! let low = Constraints::new().highest(0xf_ffff).boundary(0x1_0000)?;
//! let buffer = pool.alloc_with(0xc000, &Constrained::new(BestFit, low))?;
//! assert_eq!(buffer.addr(), 0x1000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # By address
//!
//! Where no Rust value can be kept, for instance because a device holds the address, an allocation
//! becomes plain numbers, and an explicit free checks what it is given. With boundary tracking the
//! address alone is enough.
//!
//! ```
//! use genpool::{FreeError, Pool};
//!
//! let pool = Pool::builder().order(5).name("sram").boundary_tracking().build()?;
//! pool.add(0, 4096)?; // address 0 is an ordinary address
//!
//! let range = pool.alloc(100)?.into_raw();
//! assert_eq!(pool.free(range.addr + 32, 32), Err(FreeError::Interior { addr: 32, start: 0 }));
//! assert_eq!(pool.free_addr(range.addr), Ok(128));
//! assert_eq!(pool.free_addr(range.addr), Err(FreeError::NotAllocated { addr: 0 }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Chunks come and go
//!
//! Chunks are added and removed, and the default algorithm is exchanged, while others allocate. A
//! chunk that is being removed hands out nothing more; a [`Drain`] tells when the last allocation
//! is back.
//!
//! ```
//! use genpool::{ChunkSpec, Pool, ThreadStart};
//!
//! let pool = Pool::new(12)?;
//! pool.add_chunk(ChunkSpec::new(0x1000, 0x4000).owner("bank 0"))?;
//! pool.set_algorithm(ThreadStart);
//!
//! let held = pool.alloc(1)?;
//! assert_eq!(held.owner_as::<&str>(), Some("bank 0"));
//!
//! let drain = pool.remove(0x1000)?;
//! assert!(pool.alloc(1).is_err());
//! drop(held);
//! assert!(drain.is_drained());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A cache for each thread
//!
//! A [`Cache`] keeps a few short runs at hand for the thread that has it. Its allocations are ordinary
//! ones: freed into a cache they stay at hand, dropped anywhere they go home to the pool.
//!
//! ```
//! use genpool::Pool;
//!
//! let pool = Pool::new(12)?;
//! pool.add(0x1000, 0x10_0000)?;
//! let mut cache = pool.cache();
//! let buffer = cache.alloc(4096)?;
//! cache.free(buffer);
//! assert_eq!(pool.stats().cached, cache.held());
//! drop(cache);
//! assert_eq!(pool.avail(), pool.size());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Devices and device trees
//!
//! With the feature `devm`, the module `devm` has pools that belong to devices: created when a device is
//! probed, found by name or through a phandle of the device tree, and gone with the device, but for
//! what is still held.
//!
//! # Real memory and devices
//!
//! With the feature `dma` the module `dma` is `genpool-dma`: pools over memory that they own, such as
//! huge pages and PCI BARs, DMA addresses by type, and buffers that say who may touch them. The feature
//! `vfio` adds memory behind an IOMMU.
//!
//! # In production
//!
//! With the feature `observe`, a pool may be built with an observer that is told what it does, and the
//! module `observe` has some: a recorder of real loads, watermarks, `metrics` and `tracing`, each by the
//! feature of its name; and snapshots. The feature `serde` makes what a pool tells about itself
//! serialisable.
//!
//! # Failure
//!
//! Every failure is a value that says what was wrong with what. [`AllocError::Exhausted`] is a
//! proof: at some instant during the call there was no fit. Where that could not be established,
//! because others kept moving, the answer is [`AllocError::Contended`].
//!
//! # Signal safety
//!
//! Allocating and freeing takes no lock and allocates no heap memory, and may be done in a signal
//! handler that interrupted any call on the same pool. Calls that cannot keep this say so.

#![forbid(unsafe_code)]

pub use genpool_algos::{
    BestFit, Constrained, ConstraintError, Constraints, FirstFitAlign, Fit, FixedAddress,
    FixedOffset, NextFit, OrderAlign, ThreadStart,
};
pub use genpool_core::{
    AddError, AddRefused, Algorithm, AllocError, Allocation, BuildError, Builder, Cache, ChunkInfo,
    ChunkSpec, ChunkView, Chunks, Destroyed, Drain, FirstFit, Fragmentation, FreeError, Granule,
    Held, Notation, OwnedAllocation, Owner, Pool, RawRange, RemoveError, Request, ResizeError, Run,
    Stats, Unsuitable,
};

#[cfg(feature = "observe")]
pub use genpool_core::{Event, Observer};

#[cfg(feature = "devm")]
pub use genpool_devm as devm;

#[cfg(feature = "dma")]
pub use genpool_dma as dma;

#[cfg(feature = "observe")]
pub use genpool_observe as observe;

/// Compiles the README's examples, of which one takes Linux and one a feature, and runs what it can.
#[cfg(all(doctest, target_os = "linux", feature = "devm"))]
#[doc = include_str!("../README.md")]
struct Readme;
