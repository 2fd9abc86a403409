//! Which algorithm and which order to choose.
//!
//! In short:
//!
//! - [`FirstFit`](crate::FirstFit), the default, for a pool that is used by one thread, or rarely.
//! - [`SpreadFit`](crate::SpreadFit) for many threads that allocate and free all the time, and a
//!   [`Cache`](crate::Cache) in each thread for short runs. [`ThreadStart`](crate::ThreadStart) is faster, but leaves no
//!   long runs: in a pool of 65,536 granules that is 70 % full, its longest free run is some 70 granules, that of
//!   `SpreadFit` 13,600, and that of first fit 15,900 (two threads; with 16, `SpreadFit` leaves 6,900).
//! - [`BestFit`](crate::BestFit) for a pool that is nearly full, with requests of many sizes, where a refusal is worse
//!   than a slow call.
//!
//! Choose the order (a block, the *granule*, has 2^order bytes) so that your usual request needs 1 to 8 granules.
//!
//! # What an algorithm costs
//!
//! Nanoseconds per operation and thread. A pair is an allocation and a free of one granule. Churn frees a random
//! allocation and takes one of 1 to 16 granules, in a pool of 65,536 granules that is 70 % full. The longest free run, in
//! granules, is what two threads leave in that pool.
//!
//! | | pair | pair, 2 threads | churn | churn, 2 threads | churn, 16 threads on 2 processors | 99.9 % full, a random granule | the same, 2 threads | longest free run |
//! |---|---|---|---|---|---|---|---|---|
//! | [`FirstFit`](crate::FirstFit) | 25 | 143 | 121 | 486 | 431 | 26 | 267 | 15,900 |
//! | [`SpreadFit`](crate::SpreadFit) | 31 | 32 | 63 | 75 | 72 | 258 | 538 | 13,600 |
//! | [`ThreadStart`](crate::ThreadStart) | 27 | 28 | 35 | 39 | 35 | 28 | 30 | 65 |
//! | [`Cache`](crate::Cache) over first fit | 3.8 | 3.9 | 41 | 67 | 67 | | | |
//! | [`BestFit`](crate::BestFit) | 72 | 289 | 150 | 514 | 446 | 72 | 397 | 17,300 |
//! | a mutex around a plain bitmap, first fit | 47 | 256 | 975 | 3,111 | 2,506 | 51 | 260 | |
//! | a mutex around `offset-allocator` | 53 | 268 | 59 | 528 | 363 | 46 | 252 | 16,400 |
//!
//! Two atomic instructions, one to take and one to give back, take 24 ns on this machine, and 5 to 11 on others. It is
//! virtual, with two processors, and some rows vary by a quarter or more from run to run; the folder named below has
//! the spread. The table shows:
//!
//! - With first fit, threads contend for the same word of the bitmap, so every thread waits for a cache line that the
//!   others write. With units or a start position for each thread, two threads cost about the same as one.
//! - `SpreadFit` costs half of first fit in churn on one thread, and a sixth on two, and the long runs survive. In a pool
//!   that is all but full, its threads find nothing in their units, and it costs ten times first fit on one thread and twice
//!   on two. For a pool that is kept that full, take first fit.
//! - A cache makes pairs cheap. In churn it costs more than thread start, because its magazines run empty and full.
//! - The first `BestFit` call makes every later call on this pool maintain a run-length index. Where only runs of 64
//!   granules or more fit, `BestFit` has to measure each of them.
//! - The size of the pool matters little. Churn in 4,194,304 granules, 64 times as many, costs 154 instead of 121 for
//!   first fit, 85 instead of 63 for `SpreadFit`, and 40 instead of 35 for thread start. Take a pool of which 30 % is free
//!   in single granules, with one hole of 512 granules: to take that hole and give it back costs 160 to 230 in 65,536
//!   granules and 180 to 250 in 4,194,304. An `offset-allocator` needs 46 for it, because it does not mark the granules.
//! - A full pool refuses at once: a refusal costs 8 to 15, however large the pool is.
//! - In 1,024 chunks a pair costs 25, or 84 if only the oldest has room, and churn by first fit 217.
//!
//! The figures are from `benches/results/2026-11-30-xeon-2cpu/targets.md`. To measure your own machine:
//!
//! ```sh
//! cargo run --release -p benches --bin targets
//! ```
//!
//! # What an algorithm leaves over
//!
//! Free space is only as useful as its runs are long. Each column runs the same 60,000 random steps in 16,384 granules,
//! with requests of 1 to 16 granules, and keeps the pool at the given occupancy. The rows are the free runs left over,
//! the longest of them, and the number of refused requests:
//!
//! | kept full | | first fit | best fit | next fit | thread start | order align |
//! |---|---|---|---|---|---|---|
//! | 50 % | free runs | 255 | 125 | 475 | 534 | 686 |
//! | | the longest, in granules | 7,344 | 7,696 | 114 | 145 | 5,699 |
//! | 70 % | free runs | 359 | 201 | 592 | 662 | 907 |
//! | | the longest | 3,768 | 4,235 | 72 | 42 | 1,748 |
//! | 90 % | free runs | 430 | 254 | 584 | 661 | 1,449 |
//! | | the longest | 308 | 887 | 21 | 16 | 8 |
//! | | refused | 15 | 0 | 3,205 | 3,909 | 28,582 |
//!
//! Algorithms that keep to the bottom of a chunk (first fit, best fit) leave long runs at its top. Those that move
//! through it (next fit, thread start) leave none. If long runs are asked for now and then, choose among the former. If
//! all requests are short, or the pool is less than two thirds full, the latter are faster at no cost. One command
//! prints these figures, the same on every machine:
//!
//! ```sh
//! cargo run --release --example fragmentation
//! ```
//!
//! # Which one
//!
//! | you have | take | because |
//! |---|---|---|
//! | rare calls, or the kernel's addresses wanted | [`FirstFit`](crate::FirstFit) | simple, leaves long runs, and is fast unless the load is churn |
//! | threads that allocate all the time, or one with much churn | [`SpreadFit`](crate::SpreadFit) | threads seldom contend, and long runs remain |
//! | the same, no request is long, and the pool is not nearly full | [`ThreadStart`](crate::ThreadStart) | threads do not contend |
//! | the same, and requests of one to sixteen granules | a [`Cache`](crate::Cache) in each thread | most calls touch no shared memory at all |
//! | a pool that is mostly full, sizes of all kinds | [`BestFit`](crate::BestFit) | the last to refuse a request |
//! | hardware that wants blocks aligned to their size: MSI, page tables | [`OrderAlign`](crate::OrderAlign) | does just that, but fragments the most: name it for these requests only |
//! | hardware that wants one alignment | [`FirstFitAlign`](crate::FirstFitAlign) | like first fit |
//! | address masks, boundaries, addresses at an offset from an alignment | [`Constrained`](crate::Constrained) around any algorithm; a mask is an `AddressMask` of the feature `dma` | for those requests only: name it in the call |
//! | a range that the firmware has placed | [`FixedAddress`](crate::FixedAddress), [`FixedOffset`](crate::FixedOffset) | reserves it before anything else allocates |
//! | numbers that should not be reused soon: ports, ids | [`NextFit`](crate::NextFit), one value for all calls | reuses a freed number as late as possible |
//!
//! The algorithm can be chosen for the pool or in each call: a service may have `SpreadFit` as the default and name
//! `OrderAlign` for the few blocks that have to be aligned. A cache keeps runs only while the pool's default is an
//! algorithm whose callers may be given any free run: first fit, best fit, next fit, thread start, spread fit
//! ([`caches`](super::caches)).
//!
//! # Which order
//!
//! A granule is `1 << order` bytes. Small granules waste less by rounding up. Large granules need less bookkeeping and
//! make runs shorter, and a run that lies in one word of the bitmap (64 granules) is taken by one atomic instruction.
//!
//! ```
//! /// Returns how many percent more is taken than was asked for.
//! fn waste(sizes: &[usize], order: u32) -> usize {
//!     let asked: usize = sizes.iter().sum();
//!     let granules = sizes.iter().map(|size| size.div_ceil(1 << order));
//!     let taken = granules.sum::<usize>() << order;
//!     (taken - asked) * 100 / asked
//! }
//!
//! // Descriptors, network frames, pages, jumbo frames.
//! let sizes = [64, 1514, 4096, 9018];
//! assert_eq!([6, 9, 11, 12].map(|order| waste(&sizes, order)), [0, 4, 25, 67]);
//! ```
//!
//! | order | granule | bookkeeping for 1 MiB | with boundary tracking | a network frame of 1514 bytes |
//! |---|---|---|---|---|
//! | 6 | 64 bytes | 3.5 KiB (0.3 %) | 259 KiB (25 %) | 24 granules |
//! | 9 | 512 bytes | 0.4 KiB | 32 KiB (3 %) | 3 granules |
//! | 11 | 2 KiB | 0.1 KiB | 8 KiB (0.8 %) | 1 granule |
//! | 12 | 4 KiB | 0.05 KiB | 4 KiB (0.4 %) | 1 granule, of which 63 % are wasted |
//!
//! The bookkeeping is that of a large pool: 1.73 bits a granule in 65,536 granules and 1.26 in 4,194,304, or 129.7 and
//! 129.3 with boundary tracking (from the same file). In addition, a pool has a few kilobytes of its own and a chunk up
//! to 256 bytes.
//!
//! Three rules follow:
//!
//! 1. Choose the order so that your usual request needs 1 to 8 granules. Rounding then wastes little, a cache keeps
//!    such runs, and one word holds at least eight of them.
//! 2. Make a granule at least as large as the alignment that the hardware always needs. Then no request needs an
//!    algorithm for it. A chunk's start and size have to be multiples of the granule.
//! 3. Use two pools, each with its own order, for requests of very different sizes, such as descriptors and frames. No
//!    algorithm makes up for a granule that is wrong for half of the requests.
//!
//! # Try it on your own load
//!
//! A trace, which is a text file of allocations and frees, answers both questions. `genpool compare` plays it with
//! the five algorithms that need no argument and several orders. It recommends the one that fails least, then wastes least, then is fastest, and
//! gives its reason; `--html` also writes a page with charts. `genpool replay` times one algorithm and shows the pool's
//! occupancy over time.
//!
//! ```sh
//! genpool compare load.trace --html compared.html
//! genpool replay --algorithm best-fit load.trace --html replayed.html
//! ```
//!
//! In a program that has a pool, a `Recorder` writes the trace (feature `observe`,
//! [`tour`](super::tour#watching-a-pool-observe)). For any other program on Linux, strace records what it maps, and
//! `genpool convert` turns that into a trace of pages:
//!
//! ```sh
//! strace -f -o load.strace -e trace=mmap,munmap,mremap,clone,clone3,fork,vfork,execve PROGRAM
//! genpool convert load.strace >load.trace
//! ```
//!
//! Blocks that malloc cuts from its own arenas do not appear, unless malloc is set to map each block above some size.
//! For glibc, set `MALLOC_MMAP_THRESHOLD_=8192 MALLOC_MMAP_MAX_=100000000` in the program's environment.
//!
//! Such a trace has large requests, one after the other, so it shows fragmentation better than speed. To measure speed
//! on all cores, use `genpool run`, which generates its own load.
