//! A driver: how to test it without its device, and which barriers it needs.
//!
//! # Tests without hardware
//!
//! A pool never touches what it hands out, so a test needs no hardware for it: any numbers do. A driver that takes its
//! pool as an argument, rather than making it, can be given one of these:
//!
//! | the driver uses | the test gives it |
//! |---|---|
//! | addresses, from a [`&PoolView`](crate::PoolView) or a [`Pool`](crate::Pool) | a pool over made-up numbers, with the device's addresses (`add_virt`), of the size that the test needs |
//! | the bytes of a `MemoryPool` | a region over memory of the test (`Region::from_raw`) at a made-up physical address (`physically_at`). It needs no privileges, and works on every platform |
//! | a BAR, through `MemoryPool::of_device` | the same region as a `Region<Device>`, as in the example of `genpool::dma::IoBuffer` |
//! | an SRAM of the device tree | a tree that the test writes, and `address_only` in place of a mapping |
//! | a device's pool | `Device::new("test")` and `create_pool` |
//!
//! The device itself is a type of the test that knows where the memory is. It turns the addresses that the driver gives
//! it into places in this memory, as the bus would, and checks them:
//!
//! ```
//! # #[cfg(feature = "dma")] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // features = ["dma"]
//! use std::num::NonZeroUsize;
//! use std::ptr::NonNull;
//!
//! use genpool::dma::{DmaAddr, MemoryPool, PhysAddr, Region};
//!
//! const SIZE: usize = 0x1_0000;
//! /// Where the device sees the memory: made up.
//! const BUS: u64 = 0x8000_0000;
//!
//! #[repr(align(4096))]
//! struct Memory([u8; SIZE]);
//!
//! /// A network card, as far as the driver can tell.
//! struct Card {
//!     memory: NonNull<u8>,
//! }
//!
//! impl Card {
//!     /// Writes a frame that "arrives" where the driver wants it.
//!     fn receive(&self, at: DmaAddr, frame: &[u8]) {
//!         let offset = at.get().checked_sub(BUS).expect("an address of the bus") as usize;
//!         assert!(offset + frame.len() <= SIZE, "the driver gave the wrong address {at}");
//!         for (byte, at) in frame.iter().zip(offset..) {
//!             // SAFETY: inside the memory, which stays. A buffer that was shared makes no references to it.
//!             unsafe { self.memory.add(at).write_volatile(*byte) };
//!         }
//!     }
//! }
//!
//! let memory: NonNull<u8> = NonNull::from(Box::leak(Box::new(Memory([0; SIZE])))).cast();
//! let size = NonZeroUsize::new(SIZE).ok_or("no bytes")?;
//! // SAFETY: the memory was leaked, and only the card has its address too, as a device would.
//! let region = unsafe { Region::from_raw(memory, size, ()) };
//! // SAFETY: no real device is given the address.
//! let region = unsafe { region.physically_at(PhysAddr::new(BUS)) };
//! let (pool, card) = (MemoryPool::new(11)?, Card { memory });
//! pool.add(region)?;
//!
//! // What the driver does:
//! let frame = pool.dma_zalloc(1514)?.share();
//! card.receive(frame.dma(), b"ping");
//! // SAFETY: the card has written the frame and is at rest.
//! let frame = unsafe { frame.reclaim() };
//! assert_eq!(&frame[..5], b"ping\0");
//! # Ok(()) }
//! # #[cfg(not(feature = "dma"))] fn main() {}
//! ```
//!
//! A device tree can be compiled by `dtc` from text and included (`include_bytes!`), or written in the test:
//!
//! ```
//! # #[cfg(feature = "devm")] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // features = ["devm"]
//! // dependencies = { vm-fdt = "0.3" }
//! use genpool::devm::{address_only, Registry, Tree};
//! use vm_fdt::FdtWriter;
//!
//! let mut blob = FdtWriter::new()?;
//! let root = blob.begin_node("")?;
//! blob.property_u32("#address-cells", 1)?;
//! blob.property_u32("#size-cells", 1)?;
//! let sram = blob.begin_node("sram@5c000000")?;
//! blob.property_string("compatible", "mmio-sram")?;
//! blob.property_array_u32("reg", &[0x5c00_0000, 0x1000])?;
//! blob.end_node(sram)?;
//! blob.end_node(root)?;
//!
//! let tree = Tree::parse(&blob.finish()?)?;
//! let registry = Registry::new();
//! for (_, probed) in registry.probe_srams(&tree, address_only) {
//!     probed?;
//! }
//! let pool = registry.pool("/sram@5c000000", None)?;
//! assert_eq!(pool.alloc(32)?.addr(), 0x5c00_0000);
//! # Ok(()) }
//! # #[cfg(not(feature = "devm"))] fn main() {}
//! ```
//!
//! # Refusals on purpose
//!
//! Every path on which the driver handles a refusal should run in a test. A pool with room for `n` allocations refuses
//! the next. To refuse at any moment, whatever is free, replace the default algorithm meanwhile:
//!
//! ```
//! use genpool::{Algorithm, AllocError, ChunkView, FirstFit, Granule, Pool, Request};
//!
//! /// Finds nothing.
//! struct Refuse;
//!
//! impl Algorithm for Refuse {
//!     fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
//!         None
//!     }
//! }
//!
//! let pool = Pool::new(12)?;
//! pool.add(0, 0x4000)?;
//! pool.set_algorithm(Refuse);
//! assert_eq!(pool.alloc(1).err(), Some(AllocError::Exhausted { size: 1 }));
//! pool.set_algorithm(FirstFit);
//! assert!(pool.alloc(1).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Calls that name an algorithm (`alloc_with`, `dma_alloc_with`) do not ask the default one: give the driver its
//! algorithm as an argument too.
//!
//! A request longer than every chunk gets `Impossible`. `Contended` comes from other threads only: a driver that
//! handles it as it does `Exhausted` ([When it is full](super::service#when-it-is-full)) needs no test of its own for
//! it.
//!
//! # Barriers and doorbells
//!
//! A *doorbell* is a register of the device. A write to it says that there is work in memory. The device must not read
//! the memory before the processor's writes are there, and the processor must not read what the device wrote before it
//! has seen that the device is done. Neither the compiler nor the processor keeps that order by itself:
//!
//! - The compiler keeps volatile accesses in order among themselves, and nothing else: it may move a write to a slice
//!   past a volatile write (`core::ptr::write_volatile`).
//! - The processor may reorder even volatile accesses, and holds stores to write-combining memory back.
//!
//! A `fence` (`core::sync::atomic::fence`) is a barrier for both. Its contract in Rust is about threads and atomics;
//! that its instruction also orders accesses that a coherent device sees is a matter of the machine (below).
//!
//! | step | is in order by itself | the driver adds |
//! |---|---|---|
//! | fill a `CpuBuffer`, `share` it, ring the doorbell | `share` is a fence after all earlier writes | nothing |
//! | write the fields of a descriptor (`DeviceBuffer::write`), then the word that gives it to the device | only for the compiler | a fence between them |
//! | write the last word of a ring, ring the doorbell | only for the compiler | a fence between them |
//! | see in a `DeviceBuffer` or a register that the device is done, then read other words | only for the compiler | a fence between them |
//! | the same, then `reclaim` a buffer and read it | `reclaim` is a fence before all later reads | nothing |
//! | zero an `IoBuffer` or a `CpuBuffer` (`zero`, `dma_zalloc`) | ends with a fence | nothing |
//! | write an `IoBuffer` (`write`, `copy_from_slice`), ring the doorbell | only for the compiler | a fence between them, always in write-combining memory (`map_write_combining`) |
//! | know that a write to a register has arrived at the device | no: PCI posts writes | a read of one of its registers |
//!
//! Use `fence(Ordering::SeqCst)` in each place:
//!
//! ```
//! # #[cfg(feature = "dma")] fn main() {
//! // features = ["dma"]
//! use std::sync::atomic::{Ordering, fence};
//!
//! use genpool::dma::{AccessError, DeviceBuffer};
//!
//! /// Bytes of a descriptor: address, length, status.
//! const DESCRIPTOR: usize = 16;
//! /// The status while the device owns the descriptor.
//! const DEVICE: u32 = 1;
//!
//! /// Gives a frame to the device. `doorbell` writes the number to the device's register, by `write_volatile`.
//! fn submit(
//!     ring: &mut DeviceBuffer<'_>,
//!     number: u32,
//!     frame: &DeviceBuffer<'_>,
//!     doorbell: impl FnOnce(u32),
//! ) -> Result<(), AccessError> {
//!     let at = number as usize * DESCRIPTOR;
//!     ring.write(at, frame.dma().get().to_le())?;
//!     ring.write(at + 8, (frame.size() as u32).to_le())?;
//!     fence(Ordering::SeqCst); // a device that sees the status sees the fields
//!     ring.write(at + 12, DEVICE.to_le())?;
//!     fence(Ordering::SeqCst); // a device that hears the doorbell sees the status
//!     doorbell(number);
//!     Ok(())
//! }
//!
//! /// Returns the length that the device wrote, if it is done with the descriptor.
//! fn completed(ring: &DeviceBuffer<'_>, number: u32) -> Result<Option<u32>, AccessError> {
//!     let at = number as usize * DESCRIPTOR;
//!     if u32::from_le(ring.read(at + 12)?) == DEVICE {
//!         return Ok(None);
//!     }
//!     fence(Ordering::SeqCst); // the length is read after the status
//!     Ok(Some(u32::from_le(ring.read(at + 8)?)))
//! }
//! # }
//! # #[cfg(not(feature = "dma"))] fn main() {}
//! ```
//!
//! What the fence is on each machine (rustc 1.95):
//!
//! - **x86-64**: `SeqCst` is a locked instruction, which also empties the write-combining buffers (Intel SDM volume 3,
//!   "Methods of Caching Available"). `Release` and `Acquire` are no instruction: they keep only the compiler from
//!   reordering. Stores to ordinary memory need no more, write-combining ones do.
//! - **arm64**: `dmb ish`, a barrier for the inner shareable domain. Linux orders accesses for devices by `dmb oshst`
//!   and `dmb oshld`, for the outer one (`dma_wmb` and `dma_rmb` in its `arch/arm64/include/asm/barrier.h`). If the
//!   device is outside of the inner domain, the driver needs that instruction, `core::arch::asm!("dmb osh")`, in place
//!   of each fence, and also after `share` and after `reclaim`.
//!
//! None of this flushes caches: a device that is not coherent with them needs more than barriers, and the buffers of
//! `genpool::dma` are not for it.
//!
//! Linux explains the same rules in `Documentation/memory-barriers.txt`: the example of `dma_wmb` and `dma_rmb` under
//! "CPU memory barriers" is the descriptor above, and "Kernel I/O barrier effects" says what `writel` and `readl` add.
//! In Linux `writel` waits for earlier writes to memory. A volatile write does not, hence the fence before it.
//!
//! Between threads no fence is needed: what a thread wrote before it dropped an allocation is visible to the next owner
//! of the range ([`Allocation`](crate::Allocation)).
