//! genpool: a lock-free allocator for special-purpose memory.
//!
//! Device SRAM, PCI BARs, DMA huge pages, IOVA windows, plain numbers: memory that malloc does not manage. genpool
//! hands it out in runs of granules, to any number of threads at once, with the semantics of the Linux kernel's
//! genalloc. The pool never touches the memory that it manages.
//!
//! ```
//! use genpool::{FirstFitAlign, Pool};
//!
//! let pool = Pool::new(12)?; // granules of 4 KiB
//! pool.add_virt(0x4000_0000, 0x1_0000_0000, 0x10_0000)?; // 1 MiB, with its physical address
//!
//! let a = pool.alloc(10_000)?; // three granules
//! assert_eq!((a.addr(), a.size()), (0x4000_0000, 12_288));
//! assert_eq!(a.phys(), Some(0x1_0000_0000));
//! let b = pool.alloc_with(4096, &FirstFitAlign::new(0x1_0000)?)?;
//! assert_eq!(b.addr(), 0x4001_0000);
//! drop((a, b));
//! assert_eq!(pool.avail(), pool.size());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to begin
//!
//! | | |
//! |---|---|
//! | [`guide::tour`] | every feature, once |
//! | [`guide::genalloc`] | each call of genalloc, its counterpart here, and what is stricter |
//! | [`guide::choosing`] | which algorithm and which order, with measurements |
//! | [`guide::caches`] | sizing a [`Cache`] |
//! | [`guide::service`] | one pool in a program that runs for months: when it is full, async code, what to watch, leaks |
//! | [`guide::driver`] | testing a driver without its device, barriers and doorbells |
//! | [`guide::bare`] | kernels and firmware: without the standard library, and without a heap |
//! | [`guide::reference`] | tables: `Send` and `Sync`, signal handlers, `fork`; platforms |
//! | [`Pool`], [`Allocation`], [`Cache`], [`Drain`] | what most programs use |
//! | [`StaticPool`], [`StaticHeap`] | a pool, and a global allocator, that are a `static` and need no heap |
//! | [`Algorithm`], [`Constraints`] | where an allocation goes |
//! | `devm` (feature) | pools that belong to devices, and device trees |
//! | `dma` (feature) | pools that own their memory, such as huge pages and PCI BARs; DMA addresses; with `vfio` or `vfio-cdev`, memory behind an IOMMU |
//! | `observe` (feature) | observers, which a pool notifies of each operation: a recorder of real loads, watermarks, and exporters for the crates `metrics` and `tracing` (features of the same names); snapshots |
//! | `serde` (feature) | serializes statistics, chunks, live allocations and snapshots |
//!
//! # Failure
//!
//! Every failure is a value that names the offending input and the rule that it broke. [`AllocError::Exhausted`] is a
//! proof: at some instant during the call nothing fitted. If that cannot be established because other threads keep
//! changing the pool, the call returns [`AllocError::Contended`]. That is worth retrying up to a deadline, but not in a
//! signal handler ([below](#signal-safety)).
//!
//! # Signal safety
//!
//! A *signal-safe* call takes no lock, allocates no heap memory and builds no thread-local. So it may be made in a
//! signal handler that interrupted any call on the same pool, in any thread.
//!
//! **In a handler, [`Contended`](AllocError::Contended) is a refusal.** The interrupted thread may be in the middle of
//! the step that prevents a proof, and it cannot continue before the handler returns: a handler that retries until it
//! gets another answer hangs. Try once, or a fixed number of times. The same holds for a thread of real-time priority:
//! while it spins or yields, a thread of lower priority on the same processor cannot finish its step. Such a thread
//! should sleep between tries, up to a deadline.
//!
//! Allocating and freeing is signal-safe. Calls that are not say so, and [`guide::service`] has [an
//! example](guide::service#signals).
//!
//! # This crate
//!
//! This crate is a facade: documentation, and re-exports of `genpool-core` (the pool, the algorithm trait) and
//! `genpool-algos` (the algorithms). It is the only crate to depend on: `genpool::dma`, `genpool::devm` and
//! `genpool::observe` are there with the feature of that name.
//!
//! # Examples
//!
//! A comment at the top of an example lists the features and the other crates that it needs. On the pages of
//! `genpool::dma`, `genpool::devm` and `genpool::observe` that feature is assumed. An example without `main` is the
//! body of a function that returns `Result<(), Box<dyn std::error::Error>>`.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![forbid(unsafe_code)]

pub mod guide;

pub use genpool_algos::{
    BestFit, FirstFitAlign, FixedAddress, FixedOffset, NextFit, OrderAlign, SpreadFit, ThreadStart,
};
#[doc(inline)]
pub use genpool_core::platform;
pub use genpool_core::{
    AddRefused, Algorithm, AlgorithmName, AllocError, BuildError, ChunkView, Claim, Claimed,
    Constrained, ConstraintError, Constraints, FirstFit, FreeError, Granule, Impossible, RawRange,
    Request, ResizeError, Run, StaticAllocation, StaticPool, Unsuitable,
};
#[cfg(not(genpool_loom))]
pub use genpool_core::{HeapMemory, StaticBooks, StaticHeap, static_heap, static_pool};

#[cfg(feature = "alloc")]
pub use genpool_core::{
    AddError, AddManyError, Allocation, Builder, Cache, ChunkInfo, ChunkSpec, Chunks, Destroyed,
    Drain, Fragmentation, Held, NotTracked, OwnedAllocation, Owner, Pool, PoolView, RemoveError,
    Stats,
};

#[cfg(feature = "observe")]
pub use genpool_core::{Event, Observer};

#[cfg(feature = "devm")]
pub use genpool_devm as devm;

#[cfg(feature = "dma")]
pub use genpool_dma as dma;

#[cfg(feature = "observe")]
pub use genpool_observe as observe;

/// Compiles the README's examples, of which one takes Linux and a feature, and runs what it can.
#[cfg(all(doctest, target_os = "linux", feature = "dma"))]
#[doc = include_str!("../README.md")]
struct Readme;
