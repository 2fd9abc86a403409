//! Everything there is, once.
//!
//! # A pool and its chunks
//!
//! A [`Pool`](crate::Pool) hands out ranges of addresses. What an address stands for is the caller's business:
//! the pool never touches it. It may be on-chip SRAM, a window of a PCI device, an IOVA, a port number.
//!
//! The ranges come from *chunks*, which the caller adds. A chunk is divided into *granules* of `1 << order`
//! bytes; an allocation consists of whole granules of one chunk. The order is chosen once, for the whole
//! pool. It is what an allocation is rounded up to and aligned to, and what a bit of bookkeeping stands for.
//!
//! ```
//! use genpool::Pool;
//!
//! let pool = Pool::new(12)?; // granules of 4 KiB
//! pool.add(0x4000_0000, 0x10_0000)?; // 1 MiB
//! pool.add_virt(0x5000_0000, 0x1_0000_0000, 0x10_0000)?; // another, and where a device sees it
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
//! An [`Allocation`](crate::Allocation) borrows its pool and gives its range back when it is dropped, in
//! whichever thread that is. Where it has to live on its own there is an
//! [`OwnedAllocation`](crate::OwnedAllocation), and where only a number can be kept, because a device or a
//! table keeps it, [`into_raw`](crate::Allocation::into_raw) and [`Pool::free`](crate::Pool::free), which
//! checks what it is given.
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
//! *Boundary tracking* costs two words a granule. It detects wrong sizes and addresses inside an allocation,
//! frees by address alone, and lists what is [live](crate::Pool::live).
//!
//! Several allocations at once, all or nothing, are [`alloc_many`](crate::Pool::alloc_many); growing and
//! shrinking in place is [`resize`](crate::Allocation::resize).
//!
//! # Algorithms
//!
//! An [`Algorithm`](crate::Algorithm) decides where in a chunk an allocation goes. The pool has a default
//! one, which can be [exchanged](crate::Pool::set_algorithm) while others allocate, and each call may name
//! another. [`choosing`](super::choosing) says which is good for what.
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
//! One of your own is a function from a read-only [view](crate::ChunkView) of a chunk to a place in it. The
//! pool claims the place and asks again if another thread was faster, so there is nothing to get wrong about
//! threads; a place that is taken is refused, never handed out.
//!
//! ```
//! use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
//!
//! /// The highest place that is free.
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
//! What several devices ask for at once is a set of [`Constraints`](crate::Constraints) on any
//! [`Fit`](crate::Fit): alignment, and a fixed offset from it (the phase), the lowest and the highest address, a boundary that may not be
//! crossed; of the pool's own address, and with the names that begin with `dma` of the one that the device
//! sees.
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
//! assert!(pool.alloc_with(0x9000, &frames).is_err()); // it would cross a boundary anywhere
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Owners and tags
//!
//! Whoever adds a chunk may attach any value to it, and gets it back with every allocation: which bank this
//! is, the mapping that keeps the memory there, a handle to switch its power off. Whoever allocates may leave
//! a number, the tag, for reports (with boundary tracking).
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
//! A [`Cache`](crate::Cache) is a handle for one thread that keeps a few short runs at hand, so that most of
//! its calls touch nothing that another thread uses. Its allocations are ordinary ones: freed into a cache
//! they stay at hand, dropped anywhere they go home to the pool. Runs kept by a cache are unavailable to other threads;
//! [`service`](super::service#a-cache-for-each-thread) says how to plan for that.
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
//! Adding a chunk holds up nobody, and so does removing one: from then on it hands out nothing, and the
//! [`Drain`](crate::Drain) tells when the last allocation in it is back, by a question, by waiting, or by a
//! callback. Only then its memory may be unmapped.
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
//! drop(held); // here it is said
//! assert_eq!(drain.finish().map(|chunk| chunk.size()).ok(), Some(0x4000));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/drain_under_load.rs` does it while four threads allocate.
//!
//! # Real memory and devices: `dma`
//!
//! With the feature `dma` a `MemoryPool` owns the memory that it hands out: huge pages, a NUMA node's, a PCI
//! BAR, what a UIO device shows. It hands out buffers, which are slices as long as they are the processor's,
//! and become an address for the device by a conversion that consumes them. Virtual, physical and DMA
//! addresses are types of their own. With `vfio`, memory lies behind an IOMMU. A pool over ordinary memory is
//! an allocator for a `Vec` or a `HashMap`.
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
//! With the feature `devm` a `Device` has a stack of managed resources, pools among them, which are released
//! in reverse order when it ends. When a device is released, its pools refuse new allocations. Live ones stay valid
//! and are listed in the result; the mapping is released after the last of them. A `Registry` finds devices by name or through a phandle of a device tree,
//! and makes devices of its `mmio-sram` nodes.
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
//! With the feature `observe` a pool is built with an observer, which it tells each operation in the thread
//! that does it. A pool without one has a branch more in each call, and without the feature nothing. There
//! are observers to take: a `Recorder` writes a real load as a trace, `Watermarks` calls back when what is available
//! falls below a mark or rises above one or a request is refused, and with the features `metrics` and `tracing` a `Meter` and a
//! `Traced` tell those crates. `Observers` are several for one pool.
//!
//! A `Snapshot` takes no observer: it is what any pool looks like now, taken while others allocate. With the
//! feature `serde` it goes into JSON, which `genpool show` draws, as do [`Stats`](crate::Stats) and
//! [`Fragmentation`](crate::Fragmentation).
//!
//! ```
//! # #[cfg(feature = "observe")] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // features = ["observe"]
//! use genpool::Pool;
//! use genpool::observe::{Mark, Observers, Recorder, Snapshot, Watermarks};
//!
//! let (recorder, tap) = Recorder::new(1 << 12)?; // holds so many operations that are not written yet
//! let marks = Watermarks::new(0x2000, usize::MAX, |crossing| {
//!     assert_eq!((crossing.mark, crossing.free), (Mark::Low, 0x1000)); // a chunk could be added
//! });
//! let pool = Pool::builder().order(12).observer(Observers::new().and(tap).and(marks)).build()?;
//! pool.add(0x10_0000, 0x4000)?;
//! let ring = pool.alloc(0x3000)?;
//!
//! let snapshot = Snapshot::of(&pool);
//! assert_eq!(snapshot.chunks[0].taken, [(0, 3)]); // three granules from the first on
//!
//! let mut trace = Vec::new();
//! recorder.write_to(&mut trace)?; // for `genpool compare`
//! assert!(String::from_utf8(trace)?.ends_with("alloc 1 size=12288 algo=first-fit -> 0x100000\n"));
//! assert_eq!(pool.stats().observer_panics, 0); // an observer that panics stops nobody, but is counted
//! # drop(ring);
//! # Ok(()) }
//! # #[cfg(not(feature = "observe"))] fn main() {}
//! ```
//!
//! Programs that do so are in `genpool-observe/examples`; [`service`](super::service) says what to watch.
//!
//! # When there is no room
//!
//! [`AllocError::Exhausted`](crate::AllocError::Exhausted) is a proof: at some instant during the call there
//! was no fit. [`AllocError::Contended`](crate::AllocError::Contended) says that none could be given, because
//! other threads kept allocating and freeing. [`service`](super::service#when-it-is-full) says what to do in which case; in a signal
//! handler both are refusals.
