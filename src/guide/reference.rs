//! Reference: where each type may be used, and on which platforms.
//!
//! # Types
//!
//! Every type in these tables is `Send` and `Sync`, with type parameters that are. `Allocation`, `Cache` and the
//! buffers borrow their pool, so for threads and tasks that may outlive it there are owned forms.
//!
//! - *In a signal handler*: what is [signal-safe](crate#signal-safety).
//! - *In a child after `fork`*: a child of a process with several threads may make signal-safe calls only, until it
//!   calls `exec` (POSIX). Each such call works on the child's own copy of the pool. [Fork](super::service#fork) says
//!   what that copy lacks. The column says what is different.
//!
//! | | in a signal handler | in a child after `fork` |
//! |---|---|---|
//! | [`Pool`](crate::Pool), [`PoolView`](crate::PoolView) | `alloc`, `alloc_with`, `alloc_owned`, `free`, `free_addr`, `free_owner`, `adopt`, and queries other than `chunks` and `live`, if algorithm and observer are signal-safe | |
//! | [`Builder`](crate::Builder), [`ChunkSpec`](crate::ChunkSpec) | nothing | |
//! | [`Allocation`](crate::Allocation) | all calls and the drop. Not the drop of an owner's value | a drop frees the range in the child's copy, not in the parent |
//! | [`OwnedAllocation`](crate::OwnedAllocation) | the same, while the pool lives | the same |
//! | [`StaticPool`](crate::StaticPool), [`StaticAllocation`](crate::StaticAllocation) | all calls and the drop, if the algorithm is signal-safe | as `Pool` and `Allocation` |
//! | [`StaticBooks`](crate::StaticBooks), [`HeapMemory`](crate::HeapMemory) | there are no calls but `new` | |
//! | [`StaticHeap`](crate::StaticHeap) | everything | the child has a copy |
//! | [`RawRange`](crate::RawRange) | it is two numbers | |
//! | [`Cache`](crate::Cache) | nothing: the interrupted code may be inside of its cache. Use the pool | the forking thread's works. What those of other threads kept stays taken |
//! | [`Drain`](crate::Drain) | `start`, `held`; `is_drained` if the callback is signal-safe. Not the drop | never drained if other threads held something; the callback runs in each process |
//! | [`ChunkInfo`](crate::ChunkInfo) | all calls. Not the drop | |
//! | [`Chunks`](crate::Chunks) | nothing | |
//! | [`FirstFit`](crate::FirstFit), [`FirstFitAlign`](crate::FirstFitAlign), [`OrderAlign`](crate::OrderAlign), [`BestFit`](crate::BestFit), [`NextFit`](crate::NextFit), [`FixedAddress`](crate::FixedAddress), [`FixedOffset`](crate::FixedOffset), [`Constraints`](crate::Constraints) | everything | |
//! | [`SpreadFit`](crate::SpreadFit), [`ThreadStart`](crate::ThreadStart) | everything, unless it is in a library that was loaded at run time | |
//! | [`Constrained`](crate::Constrained) | as its algorithm | |
//! | [`Algorithm`](crate::Algorithm) (of your own) | if you write it so | |
//! | [`ChunkView`](crate::ChunkView), [`Claim`](crate::Claim), [`Claimed`](crate::Claimed), [`Request`](crate::Request), [`Granule`](crate::Granule), [`Run`](crate::Run), [`AlgorithmName`](crate::AlgorithmName) | everything | |
//! | [`Stats`](crate::Stats), [`Fragmentation`](crate::Fragmentation) | everything | |
//! | [`Held`](crate::Held), [`Destroyed`](crate::Destroyed), [`Owner`](crate::Owner) | reading. Not the drop | |
//! | [`AllocError`](crate::AllocError), [`Impossible`](crate::Impossible), [`Unsuitable`](crate::Unsuitable), [`FreeError`](crate::FreeError), [`ResizeError`](crate::ResizeError), [`RemoveError`](crate::RemoveError), [`AddRefused`](crate::AddRefused), [`BuildError`](crate::BuildError), [`ConstraintError`](crate::ConstraintError), [`NotTracked`](crate::NotTracked) | everything | |
//! | [`AddError`](crate::AddError), [`AddManyError`](crate::AddManyError) | reading. Not the drop, which drops the chunk's owner | |
//!
//! Of `genpool::dma`:
//!
//! | | in a signal handler | in a child after `fork` |
//! |---|---|---|
//! | `MemoryPool`, `SharedPool` | as `Pool`. Not `add` and `remove` | over private memory, neither use nor drop: the memory is not there |
//! | `CpuBuffer`, `DeviceBuffer`, `IoBuffer`, `DmaAllocation` | all calls and the drop. An owned one: while the pool lives | the same |
//! | `Region` | reading. Not the drop, which unmaps | the same |
//! | `RegionDrain` | as `Drain` | as `Drain` |
//!
//! Of `genpool::devm`:
//!
//! | | in a signal handler | in a child after `fork` |
//! |---|---|---|
//! | `ManagedPool` | as `Pool`, until its device ends: from then on a free may run the device's actions. Not `add_chunk` and `is_sealed` | actions run in each process |
//! | `Device`, `Registry` | nothing: they take locks | nothing: a lock that another thread held at the fork stays locked |
//! | `Released` | nothing | |
//! | `Tree`, `Node` | nothing | |
//!
//! Of `genpool::observe`:
//!
//! | | in a signal handler | in a child after `fork` |
//! |---|---|---|
//! | `Observer` (of your own) | if you write it so | |
//! | `Event` | everything | |
//! | `Recorder` | `lost`, `capacity` | each process records into its own copy |
//! | `Tap` | everything | the same |
//! | `Watermarks`, `Observers` | if callbacks and observers are signal-safe | each process counts for itself |
//! | `Snapshot` | nothing | |
//!
//! `tests/types.rs` has the compiler check `Send` and `Sync`. `tests/signals.rs` makes the calls of a pool in a
//! handler, and `tests/fork.rs` in a child.
//!
//! # Platforms
//!
//! | | works | checked |
//! |---|---|---|
//! | Linux, x86-64 | everything | all of CI: tests, examples, Miri, sanitizers, valgrind, and devices in an emulated machine |
//! | Linux, 32-bit x86 | the pool and its algorithms | CI runs their tests (`ci/narrow.sh`). Not `dma`, `devm`, `observe` |
//! | Linux, arm64 | compiles with all features | compiled by hand; not run. `ci/boards.sh` reads the device trees of its boards on x86-64 |
//! | macOS (arm64), Windows (x86-64) | compiles with all features, without what only Linux has (below) | compiled by hand; not run |
//! | other systems with the standard library | nothing is known to be missing but what only Linux has | not checked |
//! | big-endian processors | nothing is known to be missing | not checked |
//! | bare x86-64 (`x86_64-unknown-none`) | the pool, its algorithms, static pools | CI runs four cores and their interrupt handlers in qemu (`ci/machines.sh`). Every answer of a script is the oracle's, for a static pool and for a [`Pool`](crate::Pool) |
//! | Cortex-M4 (`thumbv7em-none-eabihf`) | the same | the same, one core and an interrupt handler |
//! | Cortex-M0 (`thumbv6m-none-eabi`), `riscv32imc-unknown-none-elf` | the same, with the feature `critical-section` or `portable-atomic` | CI compiles it |
//! | `wasm32-unknown-unknown` | the same | CI compiles it |
//!
//! "By hand" is `cargo check --target aarch64-unknown-linux-gnu --all-features`, and the same for
//! `aarch64-apple-darwin` and `x86_64-pc-windows-msvc` (2026-11).
//!
//! arm64 reorders memory accesses that x86-64 does not. The models of the lock-free protocols (`loom-tests`) explore
//! what the memory model of Rust allows, not what the machine that runs them does.
//!
//! Only on Linux:
//!
//! - `genpool::dma::source`: huge pages, NUMA nodes, page maps, PCI BARs, UIO, VFIO. Elsewhere a `MemoryPool` takes
//!   regions of `Region::from_raw`.
//! - `genpool::devm::uio_memory`.
//! - [`Builder::node`](crate::Builder::node): elsewhere `build` returns
//!   [`NodeUnsupported`](crate::BuildError::NodeUnsupported).
//!
//! On every platform, the processor needs a compare-and-swap on words of pointer size, or something that makes one: see
//! [bare](super::bare#processors-without-compare-and-swap). On 32-bit machines the order is
//! at most 31, and some counts inside the pool are smaller; the items that depend on it say so.
