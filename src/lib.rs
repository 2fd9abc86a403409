//! genpool: a lock-free allocator for special-purpose memory.
//!
//! Device SRAM, PCI BARs, DMA huge pages, IOVA windows, plain numbers: memory that malloc does not
//! know, handed out in runs of granules to any number of threads at once, with the semantics of the
//! Linux kernel's genalloc. The pool never touches the memory that it manages.
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
//! | [`guide::tour`] | everything there is, once |
//! | [`guide::genalloc`] | each call of genalloc, its form here, what is stricter |
//! | [`guide::choosing`] | which algorithm, which order, with figures |
//! | [`guide::service`] | one pool in a program that runs for months |
//! | [`Pool`], [`Allocation`], [`Cache`], [`Drain`] | what most programs use |
//! | [`Algorithm`], [`Constraints`], [`Fit`] | where an allocation goes |
//! | `devm` (feature) | pools that belong to devices, and device trees |
//! | `dma` (feature) | pools over memory that they own, such as huge pages and PCI BARs; DMA addresses; `vfio` and `vfio-cdev` for memory behind an IOMMU |
//! | `observe` (feature) | observers, which a pool tells what it does: a recorder of real loads, watermarks; with `metrics` and `tracing` those for these crates; snapshots |
//! | `serde` (feature) | totals, chunks, what is held, snapshots in any format |
//!
//! # Failure
//!
//! Every failure is a value that says what was wrong with what. [`AllocError::Exhausted`] is a
//! proof: at some instant during the call there was no fit. Where that could not be established,
//! because others kept moving, the answer is [`AllocError::Contended`], which is worth another try up to a
//! deadline, but not in a signal handler ([below](#signal-safety)).
//!
//! # Signal safety
//!
//! *Signal-safe* means that a call takes no lock, allocates no heap memory and builds no thread-local, so
//! it may be made in a signal handler that interrupted any call on the same pool, in any thread.
//!
//! **In a handler [`Contended`](AllocError::Contended) is a refusal.** The interrupted thread may be in the
//! middle of the step that keeps a proof from succeeding, and it cannot go on before the handler returns:
//! a handler that tries again until it gets another answer hangs. Try once, or a fixed number of times. So it
//! is in a thread of real-time priority: while it spins or yields, a thread of lower priority on its processor
//! cannot finish. Let it sleep between tries, up to a deadline.
//!
//! Allocating and freeing is signal-safe. Calls that are not say so, and [`guide::service`] has
//! [an example](guide::service#signals).
//!
//! # This crate
//!
//! A facade: documentation, and the names of `genpool-core` (the pool, the algorithm trait) and
//! `genpool-algos` (the algorithms) in one place. It is the only crate to depend on: `genpool::dma`, `genpool::devm`
//! and `genpool::observe` are there with the feature of that name.
//!
//! # Examples
//!
//! A comment at the top of an example lists the features and the other crates that it takes. On the pages of
//! `genpool::dma`, `genpool::devm` and `genpool::observe` that feature goes without saying. An example
//! without `main` is the body of a function that returns `Result<(), Box<dyn std::error::Error>>`.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod guide;

pub use genpool_algos::{
    BestFit, Constrained, ConstraintError, Constraints, FirstFitAlign, Fit, FixedAddress,
    FixedOffset, NextFit, OrderAlign, ThreadStart,
};
pub use genpool_core::{
    AddError, AddRefused, Algorithm, AllocError, Allocation, BuildError, Builder, Cache, ChunkInfo,
    ChunkSpec, ChunkView, Chunks, Destroyed, Drain, FirstFit, Fragmentation, FreeError, Granule,
    Held, Impossible, Notation, OwnedAllocation, Owner, Pool, RawRange, RemoveError, Request,
    ResizeError, Run, Stats, Unsuitable,
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
