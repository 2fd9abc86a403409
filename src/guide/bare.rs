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
//! [`static_pool!`](crate::static_pool) computes the sizes of the bookkeeping when the program is compiled, and puts it
//! into a `static` of its own. The pool is ready before the first instruction. Its one chunk stays for good.
//!
//! ```
//! use genpool::{AllocError, StaticAllocation, StaticPool, static_pool};
//!
//! /// On-chip memory, in blocks of 32 bytes. The allocator never touches it.
//! static SRAM: StaticPool = static_pool!(order: 5, start: 0x2000_0000, size: 0x8000);
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
//! If the bookkeeping must be in a certain section, make it yourself: see [`StaticPool::new`].
//!
//! # Interrupt handlers
//!
//! A handler may allocate and free, whatever it interrupted, as a signal handler may. Nothing is locked and no interrupt is
//! masked. In a handler [`Contended`](crate::AllocError::Contended) is a refusal: the interrupted code may be in the middle
//! of the step that keeps the proof from succeeding, and it cannot go on before the handler returns. So a handler tries
//! once, or a fixed number of times. What it takes as granted may be given back anywhere.
//!
//! # A heap before there is one
//!
//! [`static_heap!`](crate::static_heap) is a global allocator over an array of the program's own:
//!
//! ```
//! use genpool::{StaticHeap, static_heap};
//!
//! #[global_allocator]
//! static HEAP: StaticHeap = static_heap!(order: 4, size: 64 << 10);
//!
//! let text = format!("{} bytes are free", HEAP.avail());
//! assert!(text.ends_with("free"));
//! ```
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
//!     // MPIDR on Arm, the local APIC on x86, mhartid on RISC-V.
//!     # 0
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
//! pool all the same.
//!
//! [`StaticPool`]: crate::StaticPool
//! [`StaticHeap`]: crate::StaticHeap
//! [`StaticPool::new`]: crate::StaticPool::new
