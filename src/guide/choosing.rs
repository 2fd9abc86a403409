//! Which algorithm, which order.
//!
//! In short: a pool of one thread, or of few calls: [`FirstFit`](crate::FirstFit), the default. Many threads
//! that allocate and free all the time: [`ThreadStart`](crate::ThreadStart), and a
//! [`Cache`](crate::Cache) in each thread for short runs. A pool that is nearly full, with requests of many
//! sizes, where a refusal costs more than time: [`BestFit`](crate::BestFit). Choose the order (a block, the
//! *granule*, has 2^order bytes) so that your usual request needs 1 to 8 granules.
//!
//! # What an algorithm costs
//!
//! Times as multiples of the *floor*, the cost of two atomic instructions: one to take and one to give back. A pair is an allocation and a free of one granule. Churn frees a random
//! allocation and takes one of 1 to 16 granules, in a pool of 65,536 granules that is 70 % full.
//!
//! | | pair | pair, 2 threads | churn | churn, 2 threads | churn, 64 threads on 2 processors | 99.9 % full, a random granule | the same, 2 threads |
//! |---|---|---|---|---|---|---|---|
//! | [`FirstFit`](crate::FirstFit) | 1.4 | 5.7 | 8.3 | 19 | 19 | 8.7 | 24 |
//! | [`ThreadStart`](crate::ThreadStart) | 1.8 | 1.9 | 2.3 | 2.6 | 2.8 | 4.3 | 4.8 |
//! | [`Cache`](crate::Cache), first fit behind it | 0.25 | 0.29 | | | | | |
//! | [`BestFit`](crate::BestFit) | 7.2 | 20 | 12 | | | | |
//! | a mutex around a plain bitmap, first fit | 3.3 | 8.5 | 53 | 151 | 136 | 16 | 48 |
//! | a mutex around `offset-allocator` | 3.6 | 8.9 | 3.5 | 12 | 11 | | |
//!
//! The floor was 10.9 ns. Some rows move by a quarter and more from run to run on that machine, a virtual one
//! with two processors; the folder has the spread. What the table shows all the same:
//!
//! - First fit in several threads wants the same word of the bitmap, so every thread waits for the others'
//!   cache line. Threads with a start of their own cost the same whether there are 2 of them or 64.
//! - The first `BestFit` call makes every later call on this pool maintain a length index: a pair costs 2.6 instead
//!   of 1.4 floors. Where only runs of 64 granules and more fit, it has to
//!   measure each of them.
//! - The size of the pool matters little: churn in 4,194,304 granules, 64 times as many, is 13 instead of 8.3
//!   for first fit and 3.0 instead of 2.3 for thread start. A run of 512 granules, the only hole that fits in a
//!   pool of which 30 % are free granule by granule, costs 17 to 24 in 65,536 granules and 20 to 25 in 4,194,304,
//!   by each of the three.
//! - A pool that is full says so at once: a refusal costs 0.6 to 2.2, however large it is
//!   (measured since, where the floor is 5.4 ns: `benches/results/2026-11-22-epyc-zen4-2cpu`).
//! - Many chunks cost little: a pair in 1,024 chunks 1.4, where only the oldest has room 5.5.
//!
//! From `benches/results/2026-11-22-epyc-zen5-2cpu/targets.md`; on a machine of your own:
//!
//! ```sh
//! cargo run --release -p benches --bin targets
//! ```
//!
//! # What an algorithm leaves over
//!
//! Free space is worth what its runs are. The same 60,000 random steps in 16,384 granules, requests of 1 to
//! 16 granules, the pool kept so full; then the free runs, the longest of them, and how many requests were
//! refused:
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
//! So what keeps to the bottom of a chunk (first fit, best fit) leaves long runs at its top, and what walks on
//! (next fit, a start for each thread) leaves none. Who asks for long runs now and then wants the former; who
//! asks for short ones only, or keeps the pool less than two thirds full, can have the latter's speed. It is
//! one command, and prints the same on every machine:
//!
//! ```sh
//! cargo run --release --example fragmentation
//! ```
//!
//! # Which one
//!
//! | you have | take | because |
//! |---|---|---|
//! | one thread, or calls that are rare | [`FirstFit`](crate::FirstFit) | fast, leaves long runs, addresses as the kernel's |
//! | threads that allocate all the time | [`ThreadStart`](crate::ThreadStart) | threads do not meet |
//! | the same, and requests of one to eight granules | a [`Cache`](crate::Cache) in each thread | most calls touch no shared memory at all |
//! | a pool that is mostly full, sizes of all kinds | [`BestFit`](crate::BestFit) | refuses last |
//! | hardware that wants blocks aligned to their size: MSI, page tables | [`OrderAlign`](crate::OrderAlign) | it cuts up the space most: not for everything else |
//! | hardware that wants one alignment | [`FirstFitAlign`](crate::FirstFitAlign) | as first fit |
//! | address masks, boundaries, addresses at an offset from an alignment | [`Constrained`](crate::Constrained) around a fit | for those requests only: name it in the call |
//! | what the firmware has put somewhere | [`FixedAddress`](crate::FixedAddress), [`FixedOffset`](crate::FixedOffset) | before anybody else allocates |
//! | numbers that should not come again soon: ports, ids | [`NextFit`](crate::NextFit), one value for all calls | what was freed is used as late as possible |
//!
//! The algorithm is the call's affair as much as the pool's: a service may have `ThreadStart` as a default and
//! name `OrderAlign` for the few blocks that have to be aligned. A cache keeps runs only while the pool's default is one to which every
//! place is as good: first fit, best fit, next fit, thread start.
//!
//! # Which order
//!
//! A granule is `1 << order` bytes. Small granules waste less by rounding up; large ones have less bookkeeping
//! and shorter runs, and a run that lies in one word of the bitmap (64 granules) is taken by one atomic
//! instruction.
//!
//! ```
//! /// How many percent more is taken than was asked for.
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
//! | 6 | 64 bytes | 3.4 KiB (0.3 %) | 259 KiB (25 %) | 24 granules |
//! | 9 | 512 bytes | 0.4 KiB | 32 KiB (3 %) | 3 granules |
//! | 11 | 2 KiB | 0.1 KiB | 8 KiB (0.8 %) | 1 granule |
//! | 12 | 4 KiB | 0.05 KiB | 4 KiB (0.4 %) | 1 granule, of which 63 % are wasted |
//!
//! The bookkeeping is that of a large pool, 1.69 bits a granule in 65,536 granules and 1.26 in 4,194,304, and
//! 129.7 and 129.3 with boundary tracking (from the same file). A pool has some kilobytes of its own besides, and a
//! chunk up to 256 bytes.
//!
//! Three rules follow:
//!
//! 1. Choose the order so that your usual request needs 1 to 8 granules: rounding wastes little, a cache keeps such
//!    runs, and one word holds eight of them or more.
//! 2. At least what the hardware aligns everything to: then no request needs an algorithm for it. A chunk's
//!    start and size have to be multiples of it.
//! 3. Requests of sizes that are far apart, such as descriptors and frames, are better served by two pools, each
//!    with its order. No algorithm makes up for a granule that is wrong for half of the requests.
//!
//! # Try it on your own load
//!
//! A trace, a text of allocations and frees, answers both questions. `genpool compare` plays it on every
//! algorithm and several orders, and recommends what fails least, of these what wastes least, of these what is
//! fastest, with its reason; `--html` also writes a page with pictures of each. `genpool replay` times one
//! algorithm, and shows the pool's occupancy over time.
//!
//! ```sh
//! genpool compare load.trace --html compared.html
//! genpool replay --algorithm best-fit load.trace --html replayed.html
//! ```
//!
//! Of a program that has a pool, a `Recorder` writes the trace (feature `observe`,
//! [`tour`](super::tour#watching-a-pool-observe)). Of any other program on Linux strace sees what it maps, and
//! `genpool convert` makes a trace of pages of it:
//!
//! ```sh
//! strace -f -o load.strace -e trace=mmap,munmap,mremap,clone,clone3,fork,vfork,execve PROGRAM
//! genpool convert load.strace >load.trace
//! ```
//!
//! What malloc cuts from arenas of its own does not show, unless it is told to map each block from some size on:
//! with glibc by `MALLOC_MMAP_THRESHOLD_=8192 MALLOC_MMAP_MAX_=100000000` in the program's environment.
//!
//! Such a trace is of large requests, one after the other, so it tells more of fragmentation than of speed. For
//! speed with all cores there is `genpool run`, which makes a load of its own.
