//! Kernels and firmware: without the standard library, and without a heap.
//!
//! # What is there
//!
//! | features | there is |
//! |---|---|
//! | none | [`StaticPool`], [`StaticHeap`], all algorithms and [`Constraints`](crate::Constraints). No crate that is linked needs an allocator |
//! | `alloc` | and [`Pool`](crate::Pool) with everything but the rows below. A program needs a global allocator: its own, or a [`StaticHeap`] |
//! | `std` (default) | and NUMA nodes, [`Drain::wait`](crate::Drain::wait), panics that are contained, threads that are numbered by themselves |
//!
//! `dma`, `devm` and `observe` take `std`. Without it, the pool's own hazard pointers own the list of chunks, where
//! `arc_swap` does otherwise; a panic is the end, as it is for `panic = "abort"`; `ThreadStart` remembers nothing between
//! calls. Without `alloc`, best fit looks at every word, and code is small rather than fast.
//!
//! # A pool that is a static
//!
//! [`static_pool!`](crate::static_pool!) computes the sizes of the bookkeeping when the program is compiled, and puts it
//! into a `static` of its own. The pool is ready as soon as initialised data is in place and atomics work on it (on Arm,
//! memory that is cached). Its one chunk stays for good. Nothing checks that the linker leaves its addresses alone.
//!
//! ```
//! use genpool::{AllocError, StaticAllocation, StaticPool, static_pool};
//!
//! /// On-chip memory, in blocks of 32 bytes. The allocator never touches it.
//! static SRAM: StaticPool = static_pool!(order: 5, start: 0x3000_0000, size: 0x8000);
//!
//! struct Frame {
//!     memory: StaticAllocation<'static>,
//! }
//!
//! fn receive(length: usize) -> Result<Frame, AllocError> {
//!     Ok(Frame { memory: SRAM.alloc(length)? })
//! }
//!
//! let frame = receive(1514)?;
//! assert_eq!(frame.memory.addr() % 32, 0);
//! drop(frame); // from whatever core
//! assert_eq!(SRAM.avail(), SRAM.size());
//! # Ok::<(), AllocError>(())
//! ```
//!
//! If the bookkeeping must be in a certain section, or the start is known at run time only, see [`StaticPool::new`].
//!
//! [`SpreadFit`](crate::SpreadFit) is first fit on such a pool, and there are no caches.
//!
//! # Interrupt handlers
//!
//! A handler may allocate and free, whatever it interrupted, as a signal handler may. Nothing is locked and no interrupt is
//! masked, where the processor has compare-and-swap. In a handler [`Contended`](crate::AllocError::Contended) is a refusal: the interrupted code may be in the middle
//! of the step that keeps the proof from succeeding, and it cannot go on before the handler returns. So a handler tries
//! once, or a fixed number of times.
//!
//! What a device holds goes through it as numbers, and the handler makes an allocation of them again:
//!
//! ```
//! use std::sync::atomic::{AtomicUsize, Ordering}; // `core` without the standard library
//!
//! use genpool::{RawRange, StaticPool, static_pool};
//!
//! static BUFFERS: StaticPool = static_pool!(order: 6, start: 0x3000_0000, size: 0x1_0000);
//! /// The address in the device's only descriptor.
//! static DESCRIPTOR: AtomicUsize = AtomicUsize::new(0);
//!
//! fn submit() -> Result<(), genpool::AllocError> {
//!     let RawRange { addr, .. } = BUFFERS.alloc(512)?.into_raw();
//!     // Barriers and cache maintenance are the driver's.
//!     DESCRIPTOR.store(addr, Ordering::Release);
//!     Ok(())
//! }
//!
//! fn interrupt() {
//!     let addr = DESCRIPTOR.swap(0, Ordering::Acquire);
//!     match BUFFERS.adopt(RawRange { addr, size: 512 }) {
//!         Ok(done) => drop(done), // or pass it on to the code that waits for it
//!         Err(error) => println!("the device names what it does not have: {error}"),
//!     }
//! }
//!
//! submit()?;
//! interrupt();
//! assert_eq!(BUFFERS.avail(), BUFFERS.size());
//! # Ok::<(), genpool::AllocError>(())
//! ```
//!
//! # A heap before there is one
//!
//! [`static_heap!`](crate::static_heap!) makes a global allocator over an array of the program's own. It serves before the
//! program's first line, and its page has an example. A kernel may hand over to another allocator later: blocks know by
//! their address where they came from. [`StaticHeap::from_raw`](crate::StaticHeap::from_raw) takes memory that is known at run
//! time only.
//!
//! # Cores
//!
//! Threads keep apart by their number: each begins at another hazard slot and counter, [`SpreadFit`](crate::SpreadFit) and
//! [`ThreadStart`](crate::ThreadStart) give each a place of its own. Without the standard library nobody numbers them, and
//! all of them count as number 0, which is correct and slower. A platform with several cores says once how a core learns its
//! number, and what it does while it waits:
//!
//! ```
//! fn core_number() -> usize {
//!     0 // a variable of each core: behind GS on x86, TPIDR on Arm, tp on RISC-V
//! }
//!
//! genpool::platform::set_thread_index(core_number);
//! genpool::platform::set_pause(core::hint::spin_loop);
//! ```
//!
//! # Processors without compare-and-swap
//!
//! The feature `portable-atomic` takes atomics from the crate of that name, and the program says how it makes them, by a
//! feature of that crate (`unsafe-assume-single-core`). The feature `critical-section` says that they are sections of the
//! crate `critical-section`, which the program's platform crate provides (`cortex-m` with `critical-section-single-core`).
//! There is nothing lock-free about such a program; but an interrupt handler and the code that it interrupts may share a
//! pool all the same. Only handlers that no section keeps out, as those of faults and of NMI, must not call it.
//!
//! ```toml
//! [dependencies] # of a program for a Cortex-M0
//! genpool = { version = "0.1", default-features = false, features = ["critical-section"] }
//! cortex-m = { version = "0.7", features = ["critical-section-single-core"] }
//! ```
//!
//! [`StaticPool`]: crate::StaticPool
//! [`StaticHeap`]: crate::StaticHeap
//! [`StaticPool::new`]: crate::StaticPool::new
