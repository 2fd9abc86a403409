//! Every feature, once.
//!
//! # A pool and its chunks
//!
//! A [`Pool`](crate::Pool) hands out ranges of addresses. The caller decides what an address stands for: the pool never
//! touches it. It may be on-chip SRAM, a window of a PCI device, an IOVA, a port number.
//!
//! The ranges come from *chunks*, which the caller adds. A chunk is divided into *granules* of `1 << order` bytes, and
//! an allocation consists of whole granules of one chunk. The order is chosen once, for the whole pool. Allocations are
//! rounded up to a granule and aligned to one, and each granule has a bit of bookkeeping.
//!
//! ```
//! use genpool::Pool;
//!
//! let pool = Pool::new(12)?; // granules of 4 KiB
//! pool.add(0x4000_0000, 0x10_0000)?; // 1 MiB
//! pool.add_virt(0x5000_0000, 0x1_0000_0000, 0x10_0000)?; // another, with the address that a device sees
//!
//! let buffer = pool.alloc(10_000)?; // chunks are tried newest first
//! assert_eq!((buffer.addr(), buffer.size()), (0x5000_0000, 12_288));
//! assert_eq!(buffer.phys(), Some(0x1_0000_0000));
//! drop(buffer); // given back
//! assert_eq!(pool.avail(), pool.size());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A pool is shared by reference, or in an `Arc`, between any number of threads. No call waits for another
//! thread.
//!
//! # Allocations
//!
//! An [`Allocation`](crate::Allocation) borrows its pool and gives its range back when it is dropped, in any thread. An
//! [`OwnedAllocation`](crate::OwnedAllocation) does not borrow. Where only a number can be kept, as in a device or a
//! table, use [`into_raw`](crate::Allocation::into_raw) and [`Pool::free`](crate::Pool::free), which checks its
//! arguments.
//!
//! ```
//! use genpool::{FreeError, Pool};
//!
//! let pool = Pool::builder().order(5).name("sram").boundary_tracking().build()?;
//! pool.add(0, 4096)?; // address 0 is an ordinary address
//!
//! let range = pool.alloc(100)?.into_raw();
//! assert_eq!(pool.free(range.addr + 32, 32), Err(FreeError::Interior { addr: 32, start: 0 }));
//! assert_eq!(pool.free_addr(range.addr), Ok(128)); // boundary tracking knows the size
//! assert_eq!(pool.free_addr(range.addr), Err(FreeError::NotAllocated { addr: 0 }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! *Boundary tracking* costs two words a granule. It detects wrong sizes and addresses inside an allocation, allows
//! frees by address alone, and lists what is [live](crate::PoolView::live).
//!
//! [`alloc_many`](crate::PoolView::alloc_many) makes several allocations at once, all or nothing.
//! [`resize`](crate::Allocation::resize) grows and shrinks in place.
//!
//! # Algorithms
//!
//! An [`Algorithm`](crate::Algorithm) decides where in a chunk an allocation goes. The pool has a default algorithm,
//! which can be [replaced](crate::PoolView::set_algorithm) while others allocate, and each call may name another.
//! [`choosing`](super::choosing) says which algorithm suits which load.
//!
//! ```
//! use genpool::{BestFit, FirstFitAlign, FixedAddress, OrderAlign, Pool};
//!
//! let pool = Pool::builder().order(12).algorithm(BestFit).build()?;
//! pool.add(0x1000, 0x100_0000)?;
//!
//! let table = pool.alloc_with(4096, &FirstFitAlign::new(0x1_0000)?)?;
//! let ring = pool.alloc_with(20_000, &OrderAlign)?; // aligned to 32 KiB
//! let screen = pool.alloc_with(0x8000, &FixedAddress::new(0x80_0000))?;
//! assert_eq!((table.addr(), ring.addr(), screen.addr()), (0x1_0000, 0x8000, 0x80_0000));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An algorithm of your own is a function from a read-only [view](crate::ChunkView) of a chunk to a place in it. The
//! pool claims the place, and asks again if another thread was faster. So an algorithm cannot cause a race, and a place
//! that is taken is refused, never handed out.
//!
//! ```
//! use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
//!
//! /// Proposes the highest free place.
//! struct LastFit;
//!
//! impl Algorithm for LastFit {
//!     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
//!         let last = chunk.runs(Granule(0), request.granules()).last()?;
//!         Some(Granule(last.start.0 + last.len - request.granules()))
//!     }
//! }
//!
//! let pool = Pool::new(12)?;
//! pool.add(0, 0x10_0000)?;
//! assert_eq!(pool.alloc_with(8192, &LastFit)?.addr(), 0xf_e000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Constraints
//!
//! What several devices need at once can be expressed as a set of [`Constraints`](crate::Constraints) on any
//! algorithm, also one of your own ([how](crate::Algorithm#under-constraints)): an alignment, a fixed offset from it
//! (the phase), the lowest and the highest address, and a boundary that may not be crossed. They apply to the pool's own
//! address, or, if their names begin with `dma`, to the address that the device sees.
//!
//! ```
//! use genpool::{BestFit, Constrained, Constraints, Pool};
//!
//! let pool = Pool::new(12)?;
//! pool.add_virt(0x7000_0000, 0x0fff_0000, 0x10_0000)?; // the border of 28 bits lies inside
//!
//! let device = Constraints::new().dma_highest(0x0fff_ffff).dma_boundary(0x8000)?;
//! let frames = Constrained::new(BestFit, device);
//! assert_eq!(pool.alloc_with(0x6000, &frames)?.phys(), Some(0x0fff_0000));
//! assert!(pool.alloc_with(0x9000, &frames).is_err()); // it would cross a boundary at any place
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Owners and tags
//!
//! A chunk may have an *owner*, any value that the caller attaches when adding the chunk. Every allocation in the chunk
//! gives access to it. Examples are the number of a memory bank, the mapping that keeps the memory alive, or a handle
//! that switches its power off. An allocation may have a *tag*, a number for reports (with boundary tracking).
//!
//! ```
//! use genpool::{ChunkSpec, Pool};
//!
//! let pool = Pool::builder().order(12).name("rings").boundary_tracking().build()?;
//! pool.add_chunk(ChunkSpec::new(0x1000, 0x4000).owner("bank 0"))?;
//!
//! let ring = pool.alloc_owned(5000)?;
//! ring.set_tag(7);
//! assert_eq!(ring.owner_as::<&str>(), Some("bank 0"));
//! assert_eq!(pool.live()?[0].tag, Some(7));
//!
//! // The end of a pool is a report, not a crash. What is held stays valid until it is given back.
//! let report = pool.destroy();
//! assert_eq!((report.held.len(), report.held[0].tag), (1, Some(7)));
//! drop(ring);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A cache for each thread
//!
//! A [`Cache`](crate::Cache) is a handle for one thread that keeps a few short runs at hand, so that most of its calls
//! touch nothing that another thread uses. Its allocations are ordinary ones: freed into a cache they stay at hand,
//! dropped elsewhere they return to the pool. Runs kept by a cache are unavailable to other threads;
//! [`caches`](super::caches) says how to plan for that.
//!
//! ```
//! use genpool::Pool;
//!
//! let pool = Pool::new(12)?;
//! pool.add(0x1000, 0x100_0000)?;
//! std::thread::scope(|threads| {
//!     for _ in 0..4 {
//!         threads.spawn(|| {
//!             let mut cache = pool.cache();
//!             for _ in 0..1000 {
//!                 let buffer = cache.alloc(4096).expect("there is room");
//!                 cache.free(buffer);
//!             }
//!         });
//!     }
//! });
//! assert_eq!(pool.avail(), pool.size());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Chunks come and go
//!
//! Adding a chunk blocks no thread, and neither does removing one. A removed chunk hands out nothing more, and its
//! [`Drain`](crate::Drain) reports when the last allocation in it is back: poll it, wait for it, or register a
//! callback. Only then may its memory be unmapped.
//!
//! ```
//! use genpool::Pool;
//!
//! let pool = Pool::new(12)?;
//! pool.add(0x1000, 0x4000)?;
//! let held = pool.alloc(1)?;
//!
//! let drain = pool.remove(0x1000)?;
//! drain.on_drained(|| println!("nobody uses it any more"));
//! assert!(pool.alloc(1).is_err() && !drain.is_drained());
//! drop(held); // runs the callback
//! assert_eq!(drain.finish().map(|chunk| chunk.size()).ok(), Some(0x4000));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/drain_under_load.rs` does it while four threads allocate.
//!
//! # Real memory and devices: `dma`
//!
//! With the feature `dma`, a `MemoryPool` owns the memory that it hands out: huge pages, the memory of a NUMA node, a
//! PCI BAR, the maps of a UIO device. It hands out buffers. A buffer is a slice while it belongs to the processor, and
//! a conversion that consumes it yields the address for the device. Virtual, physical and DMA addresses are different
//! types. With `vfio`, memory lies behind an IOMMU. A pool over ordinary memory is an allocator for a `Vec` or a
//! `HashMap`.
//!
//! ```
//! # #[cfg(all(feature = "dma", target_os = "linux", not(miri)))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // features = ["dma"]
//! use genpool::dma::MemoryPool;
//! use genpool::dma::allocator_api2::vec::Vec;
//! use genpool::dma::source::RamSource;
//!
//! let pool = MemoryPool::new(12)?;
//! pool.add(RamSource::new(1 << 20).map()?)?; // `.pages(PageSize::Huge2M)`, `.node(1)`, `.locked()`
//! let mut samples = Vec::new_in(&pool);
//! samples.extend(0..10_000_u32);
//! assert!(pool.avail() < pool.size());
//! # Ok(()) }
//! # #[cfg(not(all(feature = "dma", target_os = "linux", not(miri))))] fn main() {}
//! ```
//!
//! [`driver`](super::driver) is about barriers, and tests without hardware.
//!
//! The dma calls of genalloc work on any pool whose chunks have a physical address:
//!
//! ```
//! # #[cfg(feature = "dma")] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // features = ["dma"]
//! use genpool::Pool;
//! use genpool::dma::{DmaAddr, DmaAlloc};
//!
//! let pool = Pool::new(12)?;
//! pool.add_virt(0x4000_0000, 0x1_0000_0000, 0x10_0000)?;
//! let ring = pool.dma_alloc_align(0x3000, 0x1_0000)?;
//! assert_eq!(ring.dma(), DmaAddr::new(0x1_0000_0000));
//! # Ok(()) }
//! # #[cfg(not(feature = "dma"))] fn main() {}
//! ```
//!
//! # Pools of devices, device trees: `devm`
//!
//! With the feature `devm`, a `Device` has a stack of managed resources, pools among them, which are released in
//! reverse order when it ends. When a device is released, its pools refuse new allocations. Live ones stay valid and
//! are listed in the result; the mapping is released after the last of them. A `Registry` finds devices by name or
//! through a phandle of a device tree, and makes devices of its `mmio-sram` nodes.
//!
//! ```
//! # #[cfg(feature = "devm")] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // features = ["devm"]
//! use genpool::devm::Device;
//! use genpool::{ChunkSpec, Pool};
//!
//! let device = Device::new("video");
//! device.on_release(|| println!("unmapped"))?;
//! let pool = device.create_pool(Pool::builder().order(5))?;
//! pool.add_chunk(ChunkSpec::new(0x1000, 0x1000))?;
//!
//! let ring = device.pool(None)?.alloc_owned(100)?;
//! let released = device.release()?;
//! assert_eq!((released.outstanding.len(), released.is_complete()), (1, false));
//! drop(ring); // now it is unmapped
//! assert!(released.is_complete());
//! # Ok(()) }
//! # #[cfg(not(feature = "devm"))] fn main() {}
//! ```
//!
//! # Watching a pool: `observe`
//!
//! With the feature `observe`, a pool can be built with an observer, which it notifies of each operation in the thread
//! that performs it. A pool without an observer has one more branch in each call; without the feature there is no cost.
//! These observers exist: a `Recorder` writes a real load as a trace. `Watermarks` runs a callback when the available
//! space falls below one mark or rises above another, or when a request is refused. A `Meter` and a `Traced` (features
//! `metrics` and `tracing`) report to those crates. `Observers` combines several.
//!
//! A `Snapshot` needs no observer: it shows any pool as it is at the moment, taken while others allocate. With the
//! feature `serde` it can be written as JSON, which `genpool show` draws, and so can [`Stats`](crate::Stats) and
//! [`Fragmentation`](crate::Fragmentation).
//!
//! ```
//! # #[cfg(feature = "observe")] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // features = ["observe"]
//! use genpool::Pool;
//! use genpool::observe::{Mark, Observers, Recorder, Snapshot, Watermarks};
//!
//! let (recorder, tap) = Recorder::new(1 << 12)?; // room for 4096 operations not written yet
//! let marks = Watermarks::new(0x2000, usize::MAX, |crossing| {
//!     assert_eq!((crossing.mark, crossing.free), (Mark::Low, 0x1000)); // a chunk could be added
//! });
//! let pool = Pool::builder().order(12).observer(Observers::new().and(tap).and(marks)).build()?;
//! pool.add(0x10_0000, 0x4000)?;
//! let _ring = pool.alloc(0x3000)?;
//!
//! let snapshot = Snapshot::of(&pool);
//! assert_eq!(snapshot.chunks[0].taken, [(0, 3)]); // three granules from the start
//!
//! let mut trace = Vec::new();
//! recorder.write_to(&mut trace)?; // for `genpool compare`
//! assert!(String::from_utf8(trace)?.ends_with("alloc 1 size=12288 algo=first-fit -> 0x100000\n"));
//! assert_eq!(pool.stats().observer_panics, 0); // an observer's panic stops no call, but is counted
//! # Ok(()) }
//! # #[cfg(not(feature = "observe"))] fn main() {}
//! ```
//!
//! Complete programs are in `genpool-observe/examples`; [`service`](super::service) says what to watch.
//!
//! # When there is no room
//!
//! [`AllocError::Exhausted`](crate::AllocError::Exhausted) is a proof: at some instant during the call nothing fitted.
//! [`AllocError::Contended`](crate::AllocError::Contended) says that no proof was possible, because other threads kept
//! allocating and freeing. [`service`](super::service#when-it-is-full) says what to do in each case; in a signal
//! handler both are refusals.
