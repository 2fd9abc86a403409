//! In a service: one pool in a program that runs for months.
//!
//! # One pool, shared
//!
//! A pool is `Sync` and has no lock, so one is enough, in a `static` or in an `Arc`. An [`Allocation`](crate::Allocation)
//! borrows the pool: from an `Arc`, take an [`OwnedAllocation`](crate::OwnedAllocation), by
//! [`alloc_owned`](crate::PoolView::alloc_owned). Use several pools for several kinds of memory, or for very different sizes
//! ([`choosing`](super::choosing)).
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
//! Threads that allocate and free all the time each take a [cache](super::caches).
//!
//! # When it is full
//!
//! An allocation fails in five ways, and each calls for a different response:
//!
//! | | meaning | response |
//! |---|---|---|
//! | [`Exhausted`](crate::AllocError::Exhausted) | at some instant of the call nothing fitted: a proof | refuse work, wait for a free, or add a chunk. Retrying at once is no use |
//! | [`Taken`](crate::AllocError::Taken) | a part of the fixed range is taken | as for `Exhausted`: wait for that part to be freed |
//! | [`Impossible`](crate::AllocError::Impossible) | no chunk could serve the request even if all were free; the value says why | fix the request or add a chunk; waiting is no use |
//! | [`Contended`](crate::AllocError::Contended) | other threads kept changing the pool, so nothing could be proved | retry after a short sleep, up to a deadline. It is rare; more than a few in a row mean that a thread is stopped in the middle of a call. In a signal handler, and in a thread of real-time priority that does not sleep, treat it as a refusal ([below](#signals)) |
//! | all others | the request is invalid: zero bytes, an alignment that the pool cannot provide | fix the caller |
//!
//! No call of the pool waits for memory: how long to wait, and for what, is the service's decision. The simplest limit
//! is outside the pool: a semaphore or a bounded channel that admits as many requests as there is room for. Where that
//! is not possible:
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
//! The deadline applies to all of these errors: while another thread is stopped in the middle of a call, every try may
//! return `Contended`. The function sleeps rather than yields or spins, so that a thread of lower real-time priority
//! can run: that thread may be the one in the middle of a call.
//!
//! `Exhausted` with much free space means fragmentation: compare
//! [`fragmentation().largest_run`](crate::Fragmentation::largest_run) with the size of the request. It may also mean
//! that caches keep the space ([`stats().cached`](crate::Stats::cached)), or that only a part of the memory meets the
//! constraints.
//!
//! # In async code
//!
//! No call of a pool waits for another thread, so all of them may be made in a task. An
//! [`OwnedAllocation`](crate::OwnedAllocation), or an [`Allocation`](crate::Allocation) of a pool in a `static`, may be
//! held across an `await` and dropped in another task or thread. Nothing in a pool wakes a task, so a task that waits
//! for room needs one of these:
//!
//! - A semaphore of the runtime, outside the pool, that admits as many tasks as there is room for.
//! - The loop above, with the runtime's timer in place of `thread::sleep`.
//! - An observer (feature `observe`) that wakes the tasks that wait whenever there is more room:
//!
//! ```
//! # #[cfg(feature = "observe")] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // features = ["observe"]
//! use std::future::{Future, poll_fn};
//! use std::mem::take;
//! use std::pin::pin;
//! use std::sync::{Arc, Mutex, PoisonError};
//! use std::task::{Context, Poll, Wake, Waker};
//! use std::thread::{self, Thread};
//!
//! use genpool::{AllocError, Event, Observer, OwnedAllocation, Pool};
//!
//! /// The tasks that wait for room.
//! #[derive(Default)]
//! struct Room(Mutex<Vec<Waker>>);
//!
//! impl Room {
//!     fn with<R>(&self, change: impl FnOnce(&mut Vec<Waker>) -> R) -> R {
//!         change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
//!     }
//! }
//!
//! impl Observer for Room {
//!     fn event(&self, _number: usize, event: &Event<'_>) {
//!         if event.available() > 0 {
//!             self.with(take).into_iter().for_each(Waker::wake); // not under the lock
//!         }
//!     }
//! }
//!
//! async fn alloc(pool: &Pool, room: &Room, size: usize) -> Result<OwnedAllocation, AllocError> {
//!     poll_fn(|context| {
//!         let waker = context.waker();
//!         // Before the attempt: a free that comes after it then finds the waker.
//!         room.with(|tasks| match tasks.iter().any(|task| task.will_wake(waker)) {
//!             true => {}
//!             false => tasks.push(waker.clone()),
//!         });
//!         match pool.alloc_owned(size) {
//!             Err(AllocError::Exhausted { .. } | AllocError::Taken { .. }) => Poll::Pending,
//!             Err(AllocError::Contended { .. }) => {
//!                 waker.wake_by_ref(); // nothing need be freed: try again, after other tasks
//!                 Poll::Pending
//!             }
//!             outcome => Poll::Ready(outcome),
//!         }
//!     })
//!     .await
//! }
//!
//! /// Stands for the runtime.
//! fn block_on<T>(task: impl Future<Output = T>) -> T {
//!     struct Unpark(Thread);
//!     impl Wake for Unpark {
//!         fn wake(self: Arc<Self>) {
//!             self.0.unpark();
//!         }
//!     }
//!     let waker = Waker::from(Arc::new(Unpark(thread::current())));
//!     let mut task = pin!(task);
//!     loop {
//!         match task.as_mut().poll(&mut Context::from_waker(&waker)) {
//!             Poll::Ready(result) => return result,
//!             Poll::Pending => thread::park(),
//!         }
//!     }
//! }
//!
//! let room = Arc::new(Room::default());
//! let pool = Pool::builder().order(12).observer(Arc::clone(&room)).build()?;
//! pool.add(0x1000, 0x4000)?;
//! let all = pool.alloc_owned(0x4000)?;
//! let other = thread::spawn(move || drop(all)); // wakes the task if it waits already
//! assert_eq!(block_on(alloc(&pool, &room, 0x2000))?.size(), 0x2000);
//! # other.join().map_err(|_| "it panicked")?;
//! # Ok(()) }
//! # #[cfg(not(feature = "observe"))] fn main() {}
//! ```
//!
//! This wakes all tasks at each free, in no order. A future that is dropped, as by the runtime's timeout, leaves only a
//! waker that the next free takes out. The observer takes a lock, so the calls of this pool are no longer signal-safe.
//!
//! # More memory, and less
//!
//! Adding a chunk is fast and blocks no thread; from then on the new chunk is tried first. To take a chunk out,
//! [`remove`](crate::Pool::remove) it: it hands out nothing more, and [`on_drained`](crate::Drain::on_drained)
//! registers a callback for when the last allocation in it is back. An allocation that is never given back keeps the
//! chunk for ever. [`held`](crate::Drain::held) returns how much is still held, and with boundary tracking
//! [`live`](crate::PoolView::live) lists it. A cache gives its runs in such a chunk back in its next call for the same
//! length, so a cache whose thread sleeps delays the removal: flush it before.
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
//! `Watermarks` (feature `observe`) shows when to add memory. It runs a callback when less is available than a mark, in
//! the thread that crossed the mark, and the callback may add a chunk at once. Set the mark above what all threads can
//! allocate while the new chunk is being added. Runs kept by caches count as taken, because other threads cannot have
//! them. With `on_refusal` the callback also runs for each request that found no room, which happens above the mark if
//! the pool is fragmented.
//!
//! If a chunk takes long to obtain, let the callback wake a thread that adds it, so that no request waits:
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
//!     wake.try_send(()).ok(); // full: the thread is awake already
//! });
//! let pool = Pool::builder().order(12).observer(marks).build()?;
//! pool.add(0x1000, 0x6000)?;
//!
//! let (first, grown) = std::thread::scope(|threads| {
//!     let pool = &pool;
//!     let grower = threads.spawn(move || {
//!         woken.recv_timeout(Duration::from_secs(10)).is_ok_and(|()| {
//!             // Add until there is enough: if a new chunk is taken at once, no mark is crossed.
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
//! This works for memory pools and device pools too. The example `grow_in_time` of `genpool-observe` adds the chunk in
//! the callback.
//!
//! # What to watch
//!
//! [`stats`](crate::PoolView::stats) and [`fragmentation`](crate::PoolView::fragmentation) read the bitmap, 64 granules
//! at a time, while others allocate. That is cheap enough for once a second, but not for every request.
//!
//! | | meaning |
//! |---|---|
//! | `free`, `size` | how full the pool is |
//! | `largest_run` against `free` | how fragmented it is |
//! | `exhausted` | refused tries: the pool is too small or fragmented. A call that waits, as `patiently` above, counts once for each of its tries, also if it is served in the end |
//! | `contended`, `lost_claims` | threads contend: try [`ThreadStart`](crate::ThreadStart) and caches |
//! | `cached` | what caches keep from other threads |
//! | `draining`, `draining_used` | chunks being removed, and what is still held in them |
//! | `refused_frees`, `bad_proposals`, `unsuitable`, `observer_panics` | bugs in the program; each should stay 0 |
//!
//! To export these figures:
//!
//! - **`serde`.** With that feature, both structs and the lists of chunks and live allocations can be serialized in any
//!   format. The example `prometheus` of `genpool-observe` serves them as text with the standard library alone.
//! - **`metrics`.** With that feature, `genpool::observe::report` sets gauges and counters of that crate; call it every
//!   few seconds or before they are fetched. A `Meter` in the pool counts calls, for rates.
//! - **`tracing`.** With that feature, a `Traced` in the pool logs requests that found no room and refused frees as
//!   warnings, added and removed chunks at the level `info`, and everything else below that.
//! - **Snapshots.** `genpool::observe::Snapshot::of(&pool)`, taken while others allocate, has each chunk and the runs
//!   that are taken in it, and with boundary tracking the live allocations and their tags. Have a maintenance endpoint
//!   write one with `serde_json::to_writer`; `genpool show FILE` draws it.
//!
//! `report` and snapshots add nothing to an allocation. Observers do: a pair of alloc and free takes two to three times
//! as long with watermarks, up to four times with a recorder, and five times while the recorder is full.
//!
//! # Frees by address
//!
//! Where addresses pass through tables and devices, a double free is only a matter of time. A free by address is
//! checked as a whole, and a refused free changes nothing. But without boundary tracking a pool knows which granules
//! are taken, not by which allocation, so a wrong size that lies inside other allocations is accepted. Turn on
//! [`boundary_tracking`](crate::Builder::boundary_tracking) where two words a granule are affordable, and always in
//! tests.
//!
//! # Panics
//!
//! No call on a pool panics by itself, whatever its arguments. An allocation is given back as a panic unwinds through
//! its holder, and a cache empties itself. User code that the pool calls may panic:
//!
//! - A panic of an algorithm passes through `alloc` and loses nothing.
//! - A panic of an observer is caught where the observer was called, and counted.
//! - A callback of a drain panics in the thread that gave the last allocation back, so it should not panic.
//! - A panic of a destructor, of an owner or an algorithm, leaves the call that dropped it when that call has finished:
//!   see [`Pool`](crate::Pool#panics-of-users-code).
//!
//! # Signals
//!
//! `alloc`, the drop of an allocation, and frees by address are [signal-safe](crate#signal-safety): a handler may call
//! them on a pool that it interrupted in the middle of any call. Each call's documentation says whether it is
//! signal-safe, and [a table](super::reference#types) says it for each type. Not signal-safe are: adding and removing
//! chunks, calls that return lists, the drop of an owned allocation that outlives its pool, and a drain's callback
//! unless you write it so. A handler must use the pool, not a cache of the code that it interrupted.
//!
//! **In a handler `Contended` is a refusal.** The interrupted thread may be in the middle of a call, and it cannot
//! continue before the handler returns, so a handler that retries until it gets another answer hangs. Try once, go
//! without, and leave the rest to a thread. The same holds for real-time priorities (`SCHED_FIFO`, `SCHED_RR`): a
//! thread that spins, or only yields, keeps a thread of lower priority on the same processor from finishing its call.
//! Sleep up to a deadline, or treat `Contended` as a refusal.
//!
//! ```
//! use genpool::Pool;
//!
//! /// Returns a buffer for the event, if there is one now. Called in a signal handler.
//! fn note(pool: &Pool, size: usize) -> Option<usize> {
//!     let buffer = pool.alloc(size).ok()?; // one try: `Contended` is a refusal here
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
//! A child process has a copy of the bookkeeping as it was at the fork and may go on using it. Operations that other
//! threads were in the middle of never complete in the child:
//!
//! - A few granules may stay taken for ever.
//! - If one of these operations changed several words of the bitmap, the child always gets `Contended` instead of
//!   `Exhausted`, each time after up to 48 scans of the whole bitmap.
//!
//! The child does not share the memory that the pool stands for, unless that memory is shared: a child that hands out a
//! device's memory does so without the parent's knowledge. Private memory of `genpool::dma` does not exist in the child
//! (`MADV_DONTFORK`). So after a fork use the pool in one of the two processes.
//!
//! # Threads that are stopped
//!
//! A thread that is stopped at any instruction, or killed, blocks no other. What it held stays taken. While it is in
//! the middle of a change that spans words of the bitmap, others get `Contended` instead of `Exhausted`. Chunk lists
//! that were current when it stopped may stay in memory until it continues.
//!
//! # Memory of the pool's own
//!
//! Allocating and freeing by address need no heap memory. A pool allocates some when it is built, a chunk is added, the
//! default algorithm is replaced, a cache is made or a callback is registered with a [`Drain`](crate::Drain). If there
//! is none for a chunk's bookkeeping, [`add`](crate::Pool::add) returns [`NoMemory`](crate::AddRefused::NoMemory) and
//! changes nothing. If one of the small allocations of these calls fails, the process aborts, as it does for those of
//! the standard library: make such calls where that is acceptable. No call that gives something back needs memory, not
//! even a removal. [`Pool`](crate::Pool#memory) lists which calls need some.
//!
//! # Finding a leak
//!
//! A leak is an allocation that is never given back: a range of [`into_raw`](crate::Allocation::into_raw) that no table
//! lists any more, or a value that was forgotten. From cheap to thorough:
//!
//! | | shows | needs |
//! |---|---|---|
//! | [`stats`](crate::PoolView::stats): `used` less `cached` | that something leaks: it grows while the load does not | nothing |
//! | [`destroy`](crate::Pool::destroy), [`on_leak`](crate::Builder::on_leak) | what is held when the pool ends. Log the report: a service that ends cleanly with something held has a leak | nothing; single allocations and tags with boundary tracking, otherwise runs |
//! | [`live`](crate::PoolView::live) | each allocation, its tag, and the owner of its chunk, at any time | boundary tracking |
//! | a `Snapshot`, drawn by `genpool show FILE` | the same as a picture: where it lies, and what it keeps apart | `observe`, `serde` |
//! | a `Recorder` | which allocs have no free, and what was called before and after them | `observe`; costs time |
//! | `outstanding` of a released `Device` | what outlives a device | `devm` |
//!
//! Tag each allocation with what identifies its holder: the number of a connection, of a queue, of a place in the code.
//! A tag that holds more in each report leaks.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use genpool::{NotTracked, Pool, PoolView};
//!
//! /// Returns the bytes that each tag holds.
//! fn by_tag(pool: &PoolView) -> Result<BTreeMap<usize, usize>, NotTracked> {
//!     let mut held = BTreeMap::new();
//!     for range in pool.live()? {
//!         *held.entry(range.tag.unwrap_or(0)).or_default() += range.size; // 0: none was set
//!     }
//!     Ok(held)
//! }
//!
//! let pool = Pool::builder().order(12).name("buffers").boundary_tracking();
//! let pool = pool.on_leak(|report| eprintln!("{report}")).build()?;
//! pool.add(0, 0x10_000)?;
//! for request in 0..3 {
//!     let answer = pool.alloc(100)?;
//!     answer.set_tag(1);
//!     let session = pool.alloc(5000)?;
//!     session.set_tag(2);
//!     let _ = session.into_raw(); // nobody frees it
//!     assert_eq!(by_tag(&pool)?[&2], (request + 1) * 0x2000);
//! }
//! assert_eq!(by_tag(&pool)?, [(2, 3 * 0x2000)].into());
//! drop(pool); // prints the three ranges and their tag
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Allocations in a recorded trace are numbered: `alloc 7` without a `free 7` is held. A trace that lost operations
//! says so in a comment.
