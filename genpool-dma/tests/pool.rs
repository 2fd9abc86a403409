//! Pools over memory: regions are added and removed, and buffers pass between processor and device.

mod common;

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use common::{dma, peek, seen, seen_in, unseen};
use genpool_core::{
    AddRefused, BuildError, Event, FirstFit, FreeError, Observer, Pool, RemoveError,
};
use genpool_dma::{
    AddressMask, AddressSpace, Bus, Device, DevicePoolError, MemoryPool, PhysAddr, Ram, Region,
    RegionRefused, Translation, VirtAddr, Width, Window,
};

const PAGE: usize = 4096;

#[test]
fn a_region_is_unmapped_when_pool_and_allocations_are_gone() {
    let pool = MemoryPool::new(12).unwrap();
    let (region, watch) = seen(4 * PAGE, 0x1000);
    pool.add(region).unwrap();
    let mut held = pool.dma_alloc_owned_with(1, &FirstFit).unwrap().zeroed();
    drop(pool);
    assert!(!watch.is_freed());
    held[0] = 1;
    drop(held);
    assert!(watch.is_freed());
}

#[test]
fn a_region_comes_back_when_it_is_drained() {
    let pool = MemoryPool::new(12).unwrap();
    let (region, watch) = seen(4 * PAGE, 0x10_0000);
    let start = region.start();
    pool.add(region).unwrap();
    let held = pool.dma_zalloc(1).unwrap();
    let drain = pool.remove(start).unwrap();
    assert!(matches!(
        pool.remove(start),
        Err(RemoveError::NoChunk { .. })
    ));
    assert!(pool.dma_alloc(1).is_err(), "it hands out nothing more");
    let drain = drain.finish().unwrap_err();
    assert_eq!(drain.held(), PAGE);
    drop(held);
    let region = drain.finish().unwrap();
    assert!(!watch.is_freed());
    // Adding it again succeeds.
    pool.add(region).unwrap();
    assert_eq!(pool.avail(), 4 * PAGE);
    drop(pool);
    assert!(watch.is_freed());
}

/// Two pieces for the device, one for the processor.
fn in_two_pieces() -> Region {
    let (region, _) = unseen(4 * PAGE);
    let windows = [(0, 0x9000, PAGE), (1, 0xa000, 2 * PAGE), (3, 0x1000, PAGE)];
    seen_in(region, &windows)
}

#[test]
fn no_region_is_removed_before_all_of_it_is_there() {
    static POOL: OnceLock<MemoryPool> = OnceLock::new();
    /// Tries to remove the region of each chunk as soon as the chunk is added.
    struct Remover;
    impl Observer for Remover {
        fn event(&self, _: usize, event: &Event<'_>) {
            if let (&Event::ChunkAdded { start, .. }, Some(pool)) = (event, POOL.get()) {
                let early = pool.remove(VirtAddr::new(start));
                assert!(matches!(early, Err(RemoveError::NoChunk { .. })));
            }
        }
    }
    let build = || MemoryPool::build(Pool::builder().order(12).observer(Remover)).unwrap();
    let pool = POOL.get_or_init(build);
    let region = in_two_pieces();
    let start = region.start();
    pool.add(region).unwrap();
    assert_eq!(pool.stats().observer_panics, 0);
    assert_eq!((pool.chunks().len(), pool.avail()), (2, 4 * PAGE));
    assert!(pool.remove(start).unwrap().is_drained());
}

#[test]
fn no_allocation_is_seen_in_two_pieces() {
    let pool = MemoryPool::new(12).unwrap();
    let region = in_two_pieces();
    let start = region.start();
    assert_eq!(region.windows().len(), 2);
    assert_eq!(region.dma(start, 3 * PAGE), Ok(dma(0x9000)));
    let broken = region.dma(start, 4 * PAGE).unwrap_err();
    assert_eq!(broken.at.get(), start.get() + 3 * PAGE);
    pool.add(region).unwrap();
    assert!(pool.dma_alloc(4 * PAGE).is_err());
    let long = pool.dma_alloc(3 * PAGE).unwrap();
    let short = pool.dma_alloc(PAGE).unwrap();
    assert_eq!((long.dma(), short.dma()), (dma(0x9000), dma(0x1000)));
    assert_eq!(pool.chunks().len(), 2);
    let drain = pool.remove(start).unwrap();
    drop((long, short));
    assert_eq!(drain.finish().unwrap().windows().len(), 2);
}

#[test]
fn a_region_that_is_refused_comes_back() {
    let pool = MemoryPool::new(13).unwrap();
    let refused = pool.add(in_two_pieces()).unwrap_err();
    assert!(
        matches!(refused.reason, RegionRefused::Granule { size, granule: 0x2000, .. } if size == 3 * PAGE),
        "{refused}"
    );
    assert_eq!(refused.region.unwrap().size().get(), 4 * PAGE);
    let (unseen, _) = unseen::<Ram>(4 * PAGE);
    let nothing = Translation::new([]).unwrap();
    // SAFETY: no device is given an address.
    let unseen = unsafe { unseen.seen_at(Bus::Physical, nothing) };
    let refused = pool.add(unseen).unwrap_err();
    assert_eq!(refused.reason, RegionRefused::Unseen);
    assert_eq!((pool.size(), pool.chunks().len()), (0, 0));
}

/// The third of its four chunks overlaps another one, so the chunks that were added before are all removed again.
#[test]
fn a_region_that_is_refused_midway_leaves_no_chunk_in_the_pool() {
    let pool = MemoryPool::new(12).unwrap();
    let (region, watch) = unseen::<Ram>(4 * PAGE);
    let start = region.start();
    let third = region.as_ptr();
    // SAFETY: inside the region.
    let third = unsafe { third.byte_add(2 * PAGE) };
    // SAFETY: these bytes have another owner, but nobody accesses them.
    let other = unsafe { Region::from_raw(third, NonZeroUsize::new(PAGE).unwrap(), ()) };
    pool.add(seen_in(other, &[(0, 0x7000, PAGE)])).unwrap();

    let windows = [0, 1, 2, 3].map(|page| (page, 0x10_0000 * (page + 1) as u64, PAGE));
    let refused = pool.add(seen_in(region, &windows)).unwrap_err();
    assert!(
        matches!(refused.reason, RegionRefused::Chunk(_)),
        "{refused}"
    );
    let back = refused.region.expect("nobody holds a part of it");
    assert_eq!((back.start(), back.windows().len()), (start, 4));
    // The pool has the same chunk as before and allocates nothing else.
    let chunks: Vec<_> = pool.chunks().map(|chunk| chunk.start()).collect();
    assert_eq!(chunks, [start.get() + 2 * PAGE]);
    assert_eq!((pool.size(), pool.avail()), (PAGE, PAGE));
    let held = pool.dma_alloc(1).unwrap();
    assert_eq!(held.dma(), dma(0x7000));
    assert!(pool.dma_alloc(1).is_err());
    assert!(matches!(
        pool.remove(start),
        Err(RemoveError::NoChunk { .. })
    ));
    // The region can be added once there is room for it.
    drop(held);
    let other = pool.remove(start.checked_add(2 * PAGE).unwrap()).unwrap();
    drop(other.finish().unwrap());
    pool.add(back).unwrap();
    assert_eq!((pool.size(), pool.chunks().len()), (4 * PAGE, 4));
    assert!(!watch.is_freed());
    drop(pool);
    assert!(watch.is_freed());
}

/// A start and a size that are off by the same bytes are off all the same.
#[test]
fn half_granules_are_refused() {
    let pool = MemoryPool::new(13).unwrap();
    let (whole, _watch) = unseen::<Ram>(4 * PAGE);
    // SAFETY: inside the region.
    let second = unsafe { whole.as_ptr().byte_add(PAGE) };
    // SAFETY: a part of a region that is kept with it and accessed by nobody.
    let half: Region = unsafe { Region::from_raw(second, NonZeroUsize::new(PAGE).unwrap(), whole) };
    let start = half.start();
    let refused = pool.add(half).unwrap_err();
    let expected = RegionRefused::Granule {
        start,
        size: PAGE,
        granule: 2 * PAGE,
    };
    assert_eq!(refused.reason, expected);
}

/// A region can be removed when all its chunks are there, and then with all of them.
#[test]
fn a_removal_concurrent_with_the_add_takes_all_or_nothing() {
    let pool = MemoryPool::new(12).unwrap();
    let windows: Vec<_> = (0..16)
        .map(|page| (page, 0x10_0000 * page as u64, PAGE))
        .collect();
    for _ in 0..if cfg!(miri) { 2 } else { 300 } {
        let region = seen_in(unseen(16 * PAGE).0, &windows);
        let start = region.start();
        let drain = std::thread::scope(|scope| {
            let remover = scope.spawn(|| {
                loop {
                    match pool.remove(start) {
                        Ok(drain) => return drain,
                        Err(_) => std::thread::yield_now(),
                    }
                }
            });
            pool.add(region).unwrap();
            remover.join().unwrap()
        });
        assert_eq!((pool.size(), pool.chunks().len()), (0, 0));
        assert_eq!(drain.finish().unwrap().windows().len(), 16);
    }
}

#[test]
fn the_algorithm_of_a_pool_can_be_replaced() {
    let pool = MemoryPool::new(12).unwrap();
    pool.add(seen(4 * PAGE, 0x4000).0).unwrap();
    let upper = genpool_core::Constraints::new().dma_lowest(0x6000);
    pool.set_algorithm(genpool_core::Constrained::new(FirstFit, upper));
    assert_eq!(pool.dma_alloc(1).unwrap().dma(), dma(0x6000));
}

#[test]
#[should_panic(expected = "a window outside of its region")]
fn a_window_lies_in_its_region() {
    // One page more than there is.
    seen_in(unseen::<Ram>(PAGE).0, &[(0, 0x4000, PAGE + 1)]);
}

#[test]
fn two_regions_with_one_start_are_refused() {
    let pool = MemoryPool::new(12).unwrap();
    let (region, _watch) = unseen::<Ram>(4 * PAGE);
    let start = region.start();
    let page = NonZeroUsize::new(PAGE).unwrap();
    // SAFETY: these bytes have another owner, but nobody accesses them.
    let other = unsafe { Region::from_raw(region.as_ptr(), page, ()) };
    // The chunks of the two regions do not overlap.
    pool.add(seen_in(region, &[(1, 0x7000, PAGE)])).unwrap();
    let refused = pool.add(seen_in(other, &[(0, 0x9000, PAGE)])).unwrap_err();
    let overlaps = AddRefused::Overlaps {
        start: start.get(),
        size: 4 * PAGE,
    };
    assert_eq!(refused.reason, RegionRefused::Chunk(overlaps));
    assert_eq!(refused.region.unwrap().size().get(), PAGE);
    assert_eq!((pool.size(), pool.chunks().len()), (PAGE, 1));
    assert!(pool.remove(start).unwrap().finish().is_ok());
}

#[test]
fn a_pool_of_a_device_says_what_is_wrong_with_its_granule() {
    let of = |order, width| MemoryPool::<Device>::of_device(Pool::builder().order(order), width);
    for (order, width) in [(0, Width::Two), (1, Width::Four), (2, Width::Eight)] {
        let refused = of(order, width).unwrap_err();
        assert_eq!(refused, DevicePoolError::Width { order, width });
        let (granule, access) = (1 << order, width.bytes());
        let text = refused.to_string();
        assert!(
            text.contains(&format!("granule of {granule} byte")),
            "{text}"
        );
        assert!(
            text.contains(&format!("access of {access} bytes")),
            "{text}"
        );
        assert!(of(order + 1, width).is_ok());
    }
    let order = usize::BITS;
    let refused = of(order, Width::Eight).unwrap_err();
    assert_eq!(refused, DevicePoolError::Build(BuildError::Order { order }));
    assert_eq!(refused.to_string(), BuildError::Order { order }.to_string());
}

#[test]
fn addresses_of_two_buses_do_not_mix() {
    let pool = MemoryPool::new(12).unwrap();
    let iommu = |space: &AddressSpace| {
        let (region, _) = unseen::<Ram>(PAGE);
        let window = Window::new(region.start(), dma(0x10_0000), PAGE).unwrap();
        // SAFETY: no device is given an address.
        unsafe {
            region.seen_at(
                Bus::Iommu(space.clone()),
                Translation::new([window]).unwrap(),
            )
        }
    };
    let (one, other) = (AddressSpace::new(), AddressSpace::new());
    pool.add(iommu(&one)).unwrap();
    pool.add(iommu(&one)).unwrap();
    pool.add(unseen(PAGE).0).unwrap();
    let refused = pool.add(iommu(&other)).unwrap_err();
    assert_eq!(refused.reason, RegionRefused::AnotherBus);
    let refused = pool.add(seen(PAGE, 0).0).unwrap_err();
    assert_eq!(refused.reason, RegionRefused::AnotherBus);

    // An IOVA is not a physical address.
    let seen = genpool_core::Constraints::new().dma_lowest(0);
    let seen = genpool_core::Constrained::new(FirstFit, seen);
    let buffer = pool.dma_alloc_with(1, &seen).unwrap();
    assert_eq!(buffer.dma(), dma(0x10_0000));
    assert_eq!(pool.virt_to_dma(buffer.virt()), Some(dma(0x10_0000)));
    assert_eq!(pool.virt_to_phys(buffer.virt()), None);
}

#[test]
fn buffers_change_hands() {
    let pool = MemoryPool::new(12).unwrap();
    pool.add(seen(4 * PAGE, 0x4000).0).unwrap();
    let buffer = pool.dma_alloc(16).unwrap().filled(b"request").unwrap();
    assert_eq!(
        (&buffer[..7], &buffer[7..]),
        (&b"request"[..], &[0; PAGE - 7][..])
    );
    let mut shared = buffer.share();
    assert_eq!((shared.dma(), shared.size()), (dma(0x4000), PAGE));
    // A device would write this.
    shared.write(8, 0xdead_beef_u32).unwrap();
    assert_eq!(shared.read::<u32>(8), Ok(0xdead_beef));
    assert!(shared.read::<u64>(PAGE).is_err());
    assert!(shared.read::<u64>(4).is_err());
    // SAFETY: there is no device.
    let buffer = unsafe { shared.reclaim() };
    assert_eq!(buffer[8..12], 0xdead_beef_u32.to_ne_bytes());
    assert!(pool.dma_alloc(1).unwrap().filled(&[0; PAGE + 1]).is_err());
    drop(buffer);
    assert_eq!(pool.avail(), pool.size());
}

#[test]
fn what_went_as_numbers_comes_back_as_numbers() {
    let pool = MemoryPool::new(12).unwrap();
    pool.add(seen(4 * PAGE, 0x4000).0).unwrap();
    let range = pool.dma_zalloc(PAGE + 1).unwrap().share().into_raw();
    assert_eq!((range.size, pool.avail()), (2 * PAGE, 2 * PAGE));
    // SAFETY: the range was returned by `into_raw` just now.
    assert_eq!(unsafe { pool.free(range) }, Ok(()));
    // SAFETY: a refusal changes nothing.
    let twice = unsafe { pool.free(range) };
    assert!(matches!(twice, Err(FreeError::NotAllocated { .. })));
}

#[test]
fn a_device_s_memory_is_accessed_by_words() {
    let pool = MemoryPool::<Device>::of_device(Pool::builder().order(6), Width::Four).unwrap();
    pool.add(seen(PAGE, 0xfe00_0000).0).unwrap();
    let mut queue = pool.dma_zalloc(64).unwrap();
    assert_eq!(queue.dma(), dma(0xfe00_0000));
    queue.write(4, 7_u32).unwrap();
    queue.copy_from_slice(8, b"doorbell").unwrap();
    assert!(
        queue.copy_from_slice(8, b"bell!").is_err(),
        "no whole words"
    );
    let mut back = [0; 12];
    queue.copy_to_slice(4, &mut back).unwrap();
    assert_eq!(back[..4], 7_u32.to_ne_bytes());
    assert_eq!(&back[4..], b"doorbell");
    queue.zero();
    assert_eq!(peek(queue.virt(), 64), [0; 64]);
}

#[test]
fn eight_threads_share_a_pool() {
    let pool = Arc::new(MemoryPool::new(6).unwrap());
    pool.add(seen(16 * PAGE, 0).0).unwrap();
    let rounds = if cfg!(miri) { 5 } else { 2000 };
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..rounds {
                    let size = 1 + round * 37 % 300;
                    let mut buffer = pool.dma_zalloc(size).unwrap();
                    assert!(buffer.iter().all(|&byte| byte == 0));
                    buffer.fill(thread);
                    assert!(buffer.iter().all(|&byte| byte == thread));
                }
            });
        }
    });
    assert_eq!(pool.avail(), pool.size());
}

#[test]
fn windows_and_masks_at_the_edges() {
    let at = |virt, phys, len| Window::new(VirtAddr::new(virt), dma(phys), len);
    assert!(at(0, 0, 0).is_none());
    assert!(at(usize::MAX, 0, 2).is_none());
    assert!(at(0, u64::MAX, 2).is_none());
    let top = Translation::new([at(usize::MAX, u64::MAX, 1).unwrap()]).unwrap();
    assert_eq!(top.dma(VirtAddr::new(usize::MAX), 1), Ok(dma(u64::MAX)));
    assert!(top.dma(VirtAddr::new(usize::MAX), 2).is_err());
    assert!(top.dma(VirtAddr::new(0), 1).is_err());
    assert!(top.dma(VirtAddr::new(usize::MAX), 0).is_err());
    let twice = Translation::new([at(0, 0, 16).unwrap(), at(15, 100, 1).unwrap()]);
    assert_eq!(twice.unwrap_err().at, VirtAddr::new(15));
    let none = Translation::new([]).unwrap();
    assert!(none.dma(VirtAddr::new(0), 1).is_err());
}

#[test]
fn a_mask_covers_what_lies_below_its_end() {
    let mask = AddressMask::bits(16).unwrap();
    for (addr, len, covered) in [
        (0, 0x1_0000, true),
        (0, 0x1_0001, false),
        (0xffff, 1, true),
        (0xffff, 2, false),
        (0x1_0000, 1, false),
        (0x1_0000, 0, true),
        (u64::MAX, 2, false),
    ] {
        assert_eq!(mask.covers(dma(addr), len), covered, "{addr:#x}, {len:#x}");
    }
    assert!(AddressMask::ALL.covers(dma(u64::MAX), 1));
    assert!(!AddressMask::ALL.covers(dma(u64::MAX), 2));
}

/// A pool of plain addresses gives the same answers as one of memory.
#[test]
fn the_same_places_as_a_plain_pool() {
    use genpool_dma::DmaAlloc;

    let (region, _) = seen(16 * PAGE, 0x10_0000);
    let plain = Pool::new(12).unwrap();
    plain
        .add_virt(region.start().get(), 0x10_0000, 16 * PAGE)
        .unwrap();
    let pool = MemoryPool::new(12).unwrap();
    pool.add(region).unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for size in [1, PAGE + 1, 5 * PAGE, 20 * PAGE, 2 * PAGE] {
        let (a, b) = (pool.dma_alloc(size), plain.dma_alloc(size));
        assert_eq!(
            a.as_ref().map(|a| (a.virt(), a.dma())).map_err(|e| *e),
            b.as_ref().map(|b| (b.virt(), b.dma())).map_err(|e| *e)
        );
        ours.extend(a);
        theirs.extend(b);
    }
    assert_eq!(pool.avail(), plain.avail());
    assert_eq!(pool.granule(), plain.granule());
    let mut stats = pool.stats();
    // Miri lets a weak compare-exchange fail now and then.
    stats.lost_claims = plain.stats().lost_claims;
    assert_eq!(stats, plain.stats());
    assert_eq!(pool.fragmentation(), plain.fragmentation());
    let start = ours[0].virt();
    assert!(pool.contains(start.get(), 16 * PAGE));
    assert!(!pool.contains(start.get(), 16 * PAGE + 1));
    let phys = PhysAddr::new(0x10_0000);
    assert_eq!(pool.virt_to_phys(ours[0].virt()), Some(phys));
    assert_eq!(plain.virt_to_phys(theirs[0].virt()), Some(phys));
}
