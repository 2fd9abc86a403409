//! Coming from genalloc: each call of the Linux kernel's `gen_pool_*`, its counterpart here, and what is stricter.
//!
//! A pool behaves as the kernel's does, call by call and address by address. The tests replay recorded runs of Linux
//! 6.12, and every answer is the same. Where the kernel crashes, returns 0 or continues with nonsense, genpool returns
//! an error that names the value and the rule.
//!
//! # Pools and chunks
//!
//! | genalloc | genpool | stricter |
//! |---|---|---|
//! | `gen_pool_create(order, nid)` | [`Pool::new(order)`](crate::Pool::new); [`Pool::builder()`](crate::Pool::builder) with `.order`, `.node`, `.name`, `.algorithm`, `.boundary_tracking`, `.on_leak` | an order that no address can hold, or a node that the machine does not have, is a [`BuildError`](crate::BuildError) |
//! | `gen_pool_add(pool, addr, size, nid)` | [`pool.add(addr, size)`](crate::Pool::add); the node is the pool's | a chunk that is empty, wraps, overlaps another, or does not consist of whole granules is an [`AddError`](crate::AddError). No lock: other threads keep allocating |
//! | `gen_pool_add_virt(pool, virt, phys, size, nid)` | [`pool.add_virt(virt, phys, size)`](crate::Pool::add_virt) | a physical range that wraps is an error too |
//! | `gen_pool_add_owner(pool, virt, phys, size, nid, owner)` | [`pool.add_chunk(ChunkSpec::new(virt, size).phys(phys).owner(value))`](crate::Pool::add_chunk) | any `Send + Sync` value instead of a `void *`; it lives as long as the chunk |
//! | `gen_pool_for_each_chunk(pool, func, data)` | [`pool.chunks()`](crate::PoolView::chunks), an iterator over the chunks at this instant | |
//! | `gen_pool_has_addr(pool, start, size)` | [`pool.contains(start, size)`](crate::PoolView::contains) | false for an empty range and for one that wraps |
//! | `gen_pool_avail(pool)`, `gen_pool_size(pool)` | [`pool.avail()`](crate::PoolView::avail), [`pool.size()`](crate::PoolView::size); more in [`pool.stats()`](crate::PoolView::stats), [`pool.fragmentation()`](crate::PoolView::fragmentation) | `avail` counts bits: it is never above `size` and never wraps |
//! | `gen_pool_destroy(pool)` | [`pool.destroy()`](crate::Pool::destroy) lists what is still held; dropping the pool calls [`.on_leak`](crate::Builder::on_leak) | never a crash; what is held in an [`OwnedAllocation`](crate::OwnedAllocation) stays valid |
//!
//! # Allocating and freeing
//!
//! | genalloc | genpool | stricter |
//! |---|---|---|
//! | `gen_pool_alloc(pool, size)` | [`pool.alloc(size)`](crate::PoolView::alloc); [`alloc_owned(size)`](crate::PoolView::alloc_owned) does not borrow the pool; [`alloc_many(&sizes)`](crate::PoolView::alloc_many) takes all or nothing | failure is an error, not address 0, so a chunk may start at 0; a size of zero is an error; "exhausted" is a proof, not the result of a lost race |
//! | `gen_pool_alloc_algo(pool, size, algo, data)` | [`pool.alloc_with(size, &algorithm)`](crate::PoolView::alloc_with), [`alloc_owned_with`](crate::PoolView::alloc_owned_with) | the algorithm and its data are one value |
//! | `gen_pool_alloc_owner(pool, size, owner)`, `gen_pool_alloc_algo_owner(pool, size, algo, data, owner)` | [`allocation.owner()`](crate::Allocation::owner), [`allocation.owner_as::<T>()`](crate::Allocation::owner_as) of any allocation | the owner is typed |
//! | `gen_pool_free(pool, addr, size)` | drop the [`Allocation`](crate::Allocation); by address [`pool.free(addr, size)`](crate::Pool::free), and with boundary tracking [`pool.free_addr(addr)`](crate::Pool::free_addr) | a bad free is an error and changes nothing, not even a part of the range; of two racing frees one succeeds; with boundary tracking, wrong sizes are detected too |
//! | `gen_pool_free_owner(pool, addr, size, owner)` | [`pool.free_owner(addr, size)`](crate::Pool::free_owner) | as above |
//! | `gen_pool_virt_to_phys(pool, addr)` | [`pool.phys_of(addr)`](crate::PoolView::phys_of), [`allocation.phys()`](crate::Allocation::phys); with address types, `pool.virt_to_phys(addr)` of `genpool::dma` | `None` outside the chunks and where a chunk has no physical address, never a made-up number |
//!
//! # Algorithms
//!
//! | genalloc | genpool | stricter |
//! |---|---|---|
//! | `gen_pool_set_algo(pool, algo, data)` | [`pool.set_algorithm(algorithm)`](crate::PoolView::set_algorithm) | one value, replaced atomically while others allocate |
//! | `gen_pool_first_fit` | [`FirstFit`](crate::FirstFit), the default | |
//! | `gen_pool_first_fit_align` | [`FirstFitAlign::new(bytes)`](crate::FirstFitAlign) | an alignment that is not a power of two is an error |
//! | `gen_pool_first_fit_order_align` | [`OrderAlign`](crate::OrderAlign) | the address is aligned, not the offset in the chunk |
//! | `gen_pool_best_fit` | [`BestFit`](crate::BestFit) | after a lost race the search starts again from the beginning |
//! | `gen_pool_fixed_alloc` | [`FixedOffset::new(offset)`](crate::FixedOffset), and [`FixedAddress`](crate::FixedAddress) | an offset inside a granule is an error; after a lost race the same place is tried again |
//! | custom `genpool_algo_t` | `impl` [`Algorithm`](crate::Algorithm) | sees a read-only view and proposes a place; a bad proposal is an error and claims nothing |
//!
//! # DMA (feature `dma`)
//!
//! | genalloc | genpool | stricter |
//! |---|---|---|
//! | `gen_pool_dma_alloc(pool, size, dma)` | `pool.dma_alloc(size)` | the allocation carries its address, as a type of its own; there is none without a physical address |
//! | `gen_pool_dma_alloc_algo(pool, size, dma, algo, data)` | `pool.dma_alloc_with(size, &algorithm)` | also with constraints on the address that the device sees |
//! | `gen_pool_dma_alloc_align(pool, size, dma, align)` | `pool.dma_alloc_align(size, bytes)` | an alignment that is not a power of two is an error |
//! | `gen_pool_dma_zalloc(pool, size, dma)` | `pool.dma_zalloc(size)` of a `MemoryPool`, which knows that its addresses are memory | zeroes whole granules, by stores that no compiler removes |
//! | `gen_pool_dma_zalloc_algo(pool, size, dma, algo, data)` | `pool.dma_zalloc_with(size, &algorithm)` | the same |
//! | `gen_pool_dma_zalloc_align(pool, size, dma, align)` | `pool.dma_zalloc_align(size, bytes)` | the same |
//!
//! # Devices (feature `devm`)
//!
//! | genalloc | genpool | stricter |
//! |---|---|---|
//! | `devm_gen_pool_create(dev, order, nid, name)` | `device.create_pool(Pool::builder().order(order).node(nid).name(name))` | a device may be released while something is held: the result lists it, it stays valid, and nothing crashes |
//! | `gen_pool_get(dev, name)` | `device.pool(Some(name))`, `device.pool(None)` | "not yet", "gone" and "no such pool" are different errors |
//! | `of_gen_pool_get(np, prop, index)` | `registry.of_gen_pool_get(node, prop, index)` | errors name the node and the property |
//!
//! # A driver, before and after
//!
//! ```c
//! pool = gen_pool_create(5, -1);
//! if (!pool) return -ENOMEM;
//! err = gen_pool_add_virt(pool, (unsigned long)base, res->start, resource_size(res), -1);
//! gen_pool_set_algo(pool, gen_pool_best_fit, NULL);
//! ring = gen_pool_alloc(pool, 1024);
//! if (!ring) return -ENOMEM;
//! dma = gen_pool_virt_to_phys(pool, ring);
//! /* … */
//! gen_pool_free(pool, ring, 1024);
//! gen_pool_destroy(pool);
//! ```
//!
//! ```
//! use genpool::{BestFit, Pool};
//!
//! let (base, phys, size) = (0x7000_0000, 0x5c00_0000, 0x4_0000); // of the mapping
//! let pool = Pool::builder().order(5).algorithm(BestFit).build()?;
//! pool.add_virt(base, phys, size)?;
//! let ring = pool.alloc(1024)?;
//! assert_eq!(ring.phys(), Some(phys));
//! drop(ring); // or at the end of its scope, even when an error returns early
//! assert!(pool.destroy().held.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What genalloc has no call for
//!
//! [`pool.cache()`](crate::PoolView::cache), a handle for one thread that keeps a few runs at hand;
//! [`pool.remove(start)`](crate::Pool::remove), which removes a chunk while others allocate;
//! [`allocation.resize(size)`](crate::Allocation::resize), which resizes in place; [`pool.live()`](crate::PoolView::live),
//! a list of the live allocations; [`NextFit`](crate::NextFit) and [`ThreadStart`](crate::ThreadStart);
//! [`Constraints`](crate::Constraints) on any algorithm.
//!
//! # What else differs
//!
//! - Sizes are `usize` throughout: a run of 2^32 granules or more is not truncated.
//! - Best fit is the best fit within one chunk. Chunks are asked newest first, and the first that can serve a request
//!   serves it. The kernel does the same, and the recorded runs depend on it.
//! - Alignment in both worlds means the address that the pool hands out. To align the address that a device sees, use
//!   the constraints whose names begin with `dma`.
