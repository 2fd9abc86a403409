//! In a service: one pool in a program that runs for months.
//!
//! # One pool, shared
//!
//! A pool is `Sync` and has no lock, so one is enough, in an `Arc` or in a `static`. Several pools are for
//! several kinds of memory, or for sizes that are far apart ([`choosing`](super::choosing)).
//!
//! ```
//! use std::sync::OnceLock;
//!
//! use genpool::{AllocError, BuildError, OwnedAllocation, Pool, ThreadStart};
//!
//! fn buffers() -> &'static Pool {
//!     static BUFFERS: OnceLock<Pool> = OnceLock::new();
//!     BUFFERS.get_or_init(|| {
//!         let pool = Pool::builder().order(11).name("buffers").algorithm(ThreadStart).build();
//!         let pool = pool.expect("the order is one of this machine's");
//!         pool.add(0x4000_0000, 64 << 20).expect("the range is whole granules");
//!         pool
//!     })
//! }
//!
//! let buffer = buffers().alloc(1514)?; // `Allocation<'static>`: may be kept anywhere
//! std::thread::spawn(move || drop(buffer)).join().expect("it does not panic");
//! assert_eq!(buffers().avail(), 64 << 20);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A cache for each thread
//!
//! A [`Cache`](crate::Cache) belongs to one thread and borrows the pool. Have each worker make one when it
//! begins; it goes with the worker. Three things to know:
//!
//! - **Runs kept by a cache are unavailable to other threads**: at most
//!   [`Cache::MOST_GRANULES`](crate::Cache::MOST_GRANULES) (246) granules, in runs of one to eight. A pool for
//!   `n` workers has at least `246 * n` granules more than what all of them hold, or a worker may be told that
//!   the pool is full while others sit on what it needs.
//! - **A thread that is about to wait for long** calls [`flush`](crate::Cache::flush) first.
//! - **Caching is off** (1) with [`OrderAlign`](crate::OrderAlign), [`Constrained`](crate::Constrained) and the like
//!   as default, (2) for chunks added after the first [`remove`](crate::Pool::remove). The cache's calls still work,
//!   as the pool's do.
//!
//! ```
//! use genpool::{Cache, Pool};
//!
//! const WORKERS: usize = 4;
//! /// What a worker holds at a time, in granules.
//! const HELD: usize = 64;
//! const GRANULES: usize = WORKERS * (HELD + Cache::MOST_GRANULES);
//!
//! let pool = Pool::new(11)?;
//! pool.add(0, GRANULES << 11)?;
//! std::thread::scope(|threads| {
//!     for _ in 0..WORKERS {
//!         threads.spawn(|| {
//!             let mut cache = pool.cache();
//!             for _ in 0..100 {
//!                 let held: Vec<_> = (0..HELD).map(|_| cache.alloc(1514)).collect();
//!                 assert!(held.iter().all(Result::is_ok)); // there is room by construction
//!                 for buffer in held.into_iter().flatten() {
//!                     cache.free(buffer);
//!                 }
//!             }
//!         });
//!     }
//! });
//! assert_eq!(pool.stats().exhausted, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/buffer_service.rs` is a TCP service that is built so.
//!
//! # When it is full
//!
//! An allocation fails in five ways, and each asks for something else:
//!
//! | | it says | do |
//! |---|---|---|
//! | [`Exhausted`](crate::AllocError::Exhausted) | at some instant of the call there was no fit: a proof | refuse work, or wait for a free, or add a chunk. Trying again at once is no use |
//! | [`Taken`](crate::AllocError::Taken) | a part of the fixed range is taken | as `Exhausted`: wait for that free |
//! | [`Impossible`](crate::AllocError::Impossible) | no chunk could serve the request even if all were free; the value says why | mend the request or add a chunk; waiting is no use |
//! | [`Contended`](crate::AllocError::Contended) | others moved all the time, so no proof could be given | try again after a short sleep, up to a deadline; it is rare, and more than a few times in a row means that a thread is stopped in the middle of a call. In a signal handler, and in a thread of real-time priority that does not sleep, it is a refusal ([below](#signals)) |
//! | all others | the request makes no sense: no bytes, an alignment that the pool cannot have | mend the caller |
//!
//! No call of the pool waits for memory: waiting is a policy, and the service knows better what to wait for.
//! The simplest limit is one outside: a semaphore, or a bounded channel, for as many requests as there is room
//! for. Where that is not possible:
//!
//! ```
//! use std::thread;
//! use std::time::{Duration, Instant};
//!
//! use genpool::{AllocError, Pool};
//!
//! /// Calls `alloc` until it succeeds, for no longer than `patience`. Not for signal handlers.
//! fn patiently<T>(
//!     patience: Duration,
//!     mut alloc: impl FnMut() -> Result<T, AllocError>,
//! ) -> Result<T, AllocError> {
//!     let began = Instant::now();
//!     loop {
//!         let outcome = alloc();
//!         let left = patience.saturating_sub(began.elapsed());
//!         match outcome {
//!             Err(
//!                 AllocError::Exhausted { .. }
//!                 | AllocError::Taken { .. }
//!                 | AllocError::Contended { .. },
//!             ) if !left.is_zero() => {
//!                 thread::sleep(left.min(Duration::from_millis(1)));
//!             }
//!             outcome => return outcome,
//!         }
//!     }
//! }
//!
//! let pool = Pool::new(12)?;
//! pool.add(0, 0x4000)?;
//! let held = pool.alloc(0x4000)?;
//! let refused = patiently(Duration::from_millis(5), || pool.alloc(1));
//! assert_eq!(refused.err(), Some(AllocError::Exhausted { size: 1 }));
//! drop(held);
//! assert!(patiently(Duration::from_millis(5), || pool.alloc(1)).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The deadline holds for all of these answers: with another thread stopped in the middle of a call, `Contended` may be
//! the answer for as long as that thread stands still. It sleeps rather than yields or spins, so that a thread
//! of a lower real-time priority can go on, which may be the cause.
//!
//! "Exhausted" with much free space is fragmentation: compare
//! [`fragmentation().largest_run`](crate::Fragmentation::largest_run) with what was asked for. It may also be
//! what caches keep ([`stats().cached`](crate::Stats::cached)), or constraints that only a part of the memory
//! meets.
//!
//! # More memory, and less
//!
//! A chunk is added in a moment, and nobody waits for it; it is tried first from then on. To take one out,
//! [`remove`](crate::Pool::remove) it: it hands out nothing more, and
//! [`on_drained`](crate::Drain::on_drained) says when the last allocation in it is back. An allocation that is
//! never given back keeps it for ever, and [`held`](crate::Drain::held) says how much that is; with boundary
//! tracking [`live`](crate::Pool::live) says which. A cache gives its part of such a chunk back with its next
//! call for that length, so one whose thread sleeps holds up the removal: flush it before.
//!
//! ```
//! use std::time::Duration;
//!
//! use genpool::Pool;
//!
//! let pool = Pool::builder().order(12).boundary_tracking().build()?;
//! pool.add(0x1000, 0x4000)?;
//! let held = pool.alloc(5000)?;
//! held.set_tag(17); // the number of the connection, say
//!
//! pool.add(0x8000, 0x8000)?; // more room, at once
//! let drain = pool.remove(0x1000)?; // the old bank
//! if !drain.wait(Some(Duration::from_millis(5))) {
//!     for late in pool.live()?.iter().filter(|held| held.addr < 0x5000) {
//!         println!("connection {:?} still holds {} bytes", late.tag, late.size);
//!     }
//! }
//! drop(held);
//! assert!(drain.is_drained());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `Watermarks` (feature `observe`) says when it is time: it calls back when less is available than a mark, in
//! the thread that crossed it, which may add a chunk at once. Set the mark above what all threads can allocate while
//! the new chunk is being added. What caches keep counts as taken, for other threads cannot have it. With `on_refusal`
//! the callback also hears of each request that found no room, as happens above the mark where the pool is cut up.
//! Where a chunk takes long to come by, the callback wakes a thread that adds it, so that no request waits:
//!
//! ```
//! # #[cfg(feature = "observe")] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // features = ["observe"]
//! use std::sync::mpsc::sync_channel;
//! use std::time::Duration;
//!
//! use genpool::Pool;
//! use genpool::observe::Watermarks;
//!
//! let (wake, woken) = sync_channel(1);
//! let marks = Watermarks::new(0x4000, usize::MAX, move |_| {
//!     wake.try_send(()).ok(); // full: it is awake already
//! });
//! let pool = Pool::builder().order(12).observer(marks).build()?;
//! pool.add(0x1000, 0x6000)?;
//!
//! let (first, grown) = std::thread::scope(|threads| {
//!     let pool = &pool;
//!     let grower = threads.spawn(move || {
//!         woken.recv_timeout(Duration::from_secs(10)).is_ok_and(|()| {
//!             // Until there is enough: what is added may be taken at once, and then no mark is crossed.
//!             let mut more = [0x10_0000, 0x20_0000].into_iter();
//!             while pool.avail() < 0x4000 && more.next().is_some_and(|at| pool.add(at, 0x6000).is_ok()) {}
//!             true
//!         })
//!     });
//!     let first = pool.alloc(0x3000); // leaves less than the mark
//!     (first.is_ok(), grower.join())
//! });
//! assert!(first && grown.is_ok_and(|grown| grown));
//! assert_eq!(pool.size(), 0xc000);
//! # Ok(()) }
//! # #[cfg(not(feature = "observe"))] fn main() {}
//! ```
//!
//! Pools over memory and pools of devices may be added to so, too; the example `grow_in_time` of
//! `genpool-observe` adds in the callback.
//!
//! # What to watch
//!
//! [`stats`](crate::Pool::stats) and [`fragmentation`](crate::Pool::fragmentation) read the bitmap, 64 granules
//! at a time, while others allocate: cheap enough for once a second, not for every request.
//!
//! | | tells |
//! |---|---|
//! | `free`, `size` | how full it is |
//! | `largest_run` against `free` | how fragmented |
//! | `exhausted` | requests that were refused: the pool is too small, or cut up |
//! | `contended`, `lost_claims` | threads in each other's way: try [`ThreadStart`](crate::ThreadStart) and caches |
//! | `cached` | what caches keep from everybody else |
//! | `draining`, `draining_used` | chunks on their way out, and what holds them up |
//! | `refused_frees`, `bad_proposals`, `unsuitable`, `observer_panics` | mistakes of the program; each should be 0 for ever |
//!
//! How they leave the process:
//!
//! - **As they are.** With the feature `serde` both, and the lists of chunks and of what is held, go into any
//!   format. The example `prometheus` of `genpool-observe` serves them as text over the standard library alone.
//! - **`metrics`.** With the feature of that name `genpool::observe::report` sets gauges and counters of
//!   that crate, every few seconds or before they are fetched; a `Meter` in the pool counts calls, for rates.
//! - **`tracing`.** With the feature of that name a `Traced` in the pool tells requests that found no room and
//!   frees that were refused as warnings, chunks that come and go as information, and the rest below.
//! - **A picture.** `genpool::observe::Snapshot::of(&pool)`, taken while others allocate, has each chunk, the
//!   runs that are taken in it, and with boundary tracking what is held, with tags. Written by
//!   `serde_json::to_writer` behind an address for maintenance, it is what `genpool show FILE` draws.
//!
//! `report` and snapshots do nothing on the way of an allocation. Observers do, and say how much: a pair of
//! alloc and free takes two to three times as long with watermarks, up to four times with a recorder, and five
//! times while that is full.
//!
//! # Frees by address
//!
//! Where numbers go through tables and devices, a double free is only a matter of time. A free by address is
//! checked as a whole and changes nothing when it is refused; but without boundary tracking a pool knows which
//! granules are taken, not by whom, so a wrong size inside other allocations passes. Have
//! [`boundary_tracking`](crate::Builder::boundary_tracking) on where the two words a granule can be afforded,
//! and in tests always.
//!
//! # Panics
//!
//! No call on a pool panics by itself, whatever it is given. An allocation is given back as a panic unwinds
//! through its holder, and a cache empties itself. Code of yours that the pool calls may panic: an algorithm's
//! panic passes through `alloc` and loses nothing; an observer's ends where it was told something, and is
//! counted; a callback of a drain panics in whichever thread gave the last allocation back, so let it not. A
//! panic of a destructor, of an owner or an algorithm, comes out of the call that dropped it when the call is
//! over: see [`Pool`](crate::Pool#panics-of-users-code).
//!
//! # Signals
//!
//! `alloc`, the drop of an allocation, and frees by address are [signal-safe](crate#signal-safety): a handler may
//! call them on a pool that it interrupted in the middle of any call. Each call's documentation says whether it
//! is signal-safe. Adding and removing chunks and calls that return lists are not, nor is the drop of an owned
//! allocation that outlives its pool, nor a drain's callback unless you write it so. The handler uses the pool,
//! not a cache of the code that it interrupted.
//!
//! **In a handler `Contended` is a refusal.** The interrupted thread may be the one in the middle of a call, and it
//! cannot go on before the handler returns, so trying again until there is another answer hangs the thread. Have
//! the handler try once, go without, and leave the rest to a thread. So it is with real-time priorities
//! (`SCHED_FIFO`, `SCHED_RR`): a thread that spins, or only yields, keeps a thread of lower priority on its
//! processor from finishing the call. Sleep up to a deadline, or count `Contended` as a refusal.
//!
//! ```
//! use genpool::Pool;
//!
//! /// Called in a signal handler: a buffer for the event, if there is one now.
//! fn note(pool: &Pool, size: usize) -> Option<usize> {
//!     let buffer = pool.alloc(size).ok()?; // one try: "contended" is a refusal here
//!     Some(buffer.into_raw().addr) // the thread that reads it frees it by address
//! }
//!
//! let pool = Pool::new(6)?;
//! pool.add(0x1000, 0x1000)?;
//! let event = note(&pool, 64).ok_or("no room")?;
//! pool.free(event, 64)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Fork
//!
//! A child has a copy of the bookkeeping as it was, and may go on with it; what other threads were in the
//! middle of stays as it is, so a few granules may be taken for ever. If a change over several words of the
//! bitmap was among it, the child is told "contended" where it would be told "exhausted", for good, and each time
//! after up to 48 looks at the whole bitmap. It does not share the memory that the pool stands for, unless that is
//! shared: a child that hands out a device's memory does it behind the parent's back. Private memory of
//! `genpool::dma` is not in the child at all (`MADV_DONTFORK`). So after a fork use the pool in one of the two
//! processes.
//!
//! # Threads that are stopped
//!
//! A thread that is stopped at any instruction, or killed, stops no other. What it held stays taken; while it
//! is in the middle of a change that crosses words of the bitmap, others are told "contended" in place of
//! "exhausted". The lists of chunks that were current while it stood still may stay in memory until it goes on.
//!
//! # Memory of the pool's own
//!
//! Allocating and freeing by address need no memory of the heap. A pool takes some when it is built, a chunk is added,
//! the default algorithm is exchanged, a cache is made or a callback is left with a [`Drain`](crate::Drain). If there
//! is none for a chunk's bookkeeping, [`add`](crate::Pool::add) is refused with
//! [`NoMemory`](crate::AddRefused::NoMemory), and nothing changes. The small allocations of these calls end the
//! process, as those of the standard library do: make such calls where that is acceptable. No call that gives
//! something back needs memory, a removal included. [`Pool`](crate::Pool#memory) lists which call needs some.
//!
//! # The end
//!
//! [`destroy`](crate::Pool::destroy) answers what is still held, and a pool that is dropped tells
//! [`on_leak`](crate::Builder::on_leak). Have it logged: a service that ends cleanly with something held has a
//! leak.
//!
//! ```
//! use genpool::Pool;
//!
//! let pool = Pool::builder().order(12).name("buffers").on_leak(|report| eprintln!("{report}"));
//! let pool = pool.build()?;
//! pool.add(0, 0x4000)?;
//! drop(pool); // nothing is held, so nothing is said
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
