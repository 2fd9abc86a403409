//! Caches: what they cost, and how to size a pool for them.
//!
//! A [`Cache`](crate::Cache) belongs to one thread and borrows the pool. Let each worker make one when it starts; it is
//! dropped with the worker. [`choosing`](super::choosing#what-an-algorithm-costs) has the times.
//!
//! ```
//! use genpool::{Cache, Pool};
//!
//! const WORKERS: usize = 4;
//! /// How many granules a worker holds at a time.
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
//! `examples/buffer_service.rs` is a TCP service that is built like this.
//!
//! # What a cache keeps
//!
//! A cache has a list, a *magazine*, for each length from one to sixteen granules. The magazine for `n` granules holds at
//! most `32 / n` runs, but four of the longer ones. An empty one is filled by half from the pool, a full one is emptied by half.
//!
//! | granules in a run | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 to 16 | all |
//! |---|---|---|---|---|---|---|---|---|---|---|
//! | most runs | 32 | 16 | 10 | 8 | 6 | 5 | 4 | 4 | 4 of each | |
//! | most granules | 32 | 32 | 30 | 32 | 30 | 30 | 28 | 32 | 36 to 64 | 646 |
//!
//! Only lengths that the thread uses fill their magazine. So a worker with one length keeps at most 64 granules, and
//! one that uses all sixteen keeps [`MOST_GRANULES`](crate::Cache::MOST_GRANULES). The limits cannot be set: choose the
//! order with them in mind. 646 granules are 20 KiB at order 5, 1.3 MiB at order 11, and 2.5 MiB at order 12.
//!
//! Longer runs go to the pool. So do all runs if the default algorithm is [`OrderAlign`](crate::OrderAlign),
//! [`Constrained`](crate::Constrained) or another with rules for places, and all runs of chunks that were added after
//! the first [`remove`](crate::Pool::remove). The calls of the cache still work.
//!
//! # What it costs others
//!
//! - **Runs kept by a cache are unavailable to other threads.** A pool for `n` workers needs `n` times what a cache
//!   keeps, and room for what all of them hold. With less, a worker may get [`Exhausted`](crate::AllocError::Exhausted)
//!   while caches of others hold what it needs. Its own cache never causes that: it is emptied before the refusal.
//! - **Runs of a thread that waits stay kept.** Call [`flush`](crate::Cache::flush) before a long wait.
//! - **A removal waits for them**: see [More memory, and less](super::service#more-memory-and-less).
//! - **Free space is cut up.** What a cache keeps lies where the thread took it, between free runs.
//!
//! # Reading `Stats::cached`
//!
//! [`Stats::cached`](crate::Stats::cached) is the bytes in all caches of the pool. They are a part of `used`; the other
//! part is what allocations hold.
//!
//! | you see | it means |
//! |---|---|
//! | `exhausted` grows, `cached` is larger than the request | caches keep what the request needs: enlarge the pool, flush sooner, or have fewer caches |
//! | `cached` is near the limit times the number of caches | workers use all lengths: plan with the limit |
//! | `cached` stays when there is no load | idle workers do not flush |
//! | `cached` is 0 although there are caches | caching is off (see above), or all requests are longer than sixteen granules |
//!
//! ```
//! use genpool::Pool;
//!
//! let pool = Pool::new(12)?;
//! pool.add(0, 64 << 12)?;
//! let mut cache = pool.cache();
//! let page = cache.alloc(4096)?; // fills the magazine by half, and takes one of these runs
//! let stats = pool.stats();
//! assert_eq!((stats.used, stats.cached), (16 << 12, 15 << 12));
//!
//! cache.flush();
//! assert_eq!((pool.stats().used, cache.held()), (1 << 12, 0)); // the page itself
//! # drop(page);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When to have none
//!
//! - The pool has little more room than its users hold, and a refusal costs more than time.
//! - A thread allocates rarely, or mostly runs of more than sixteen granules.
//! - There are many more holders than processors, such as the tasks of an [async
//!   runtime](super::service#in-async-code): each would keep its share. [`ThreadStart`](crate::ThreadStart) costs more
//!   for each call, and keeps nothing from others.
//! - Addresses must be those of first fit or best fit: a cache hands out any run of the length.
