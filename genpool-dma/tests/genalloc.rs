//! One test for each call of genalloc's dma layer, named after the call. Each runs on a pool of addresses, and on one
//! of memory if the call accesses memory.

mod common;

use common::{dma, peek, seen, unseen};
use genpool_algos::{BestFit, FixedOffset};
use genpool_core::{AllocError, FirstFit, Pool};
use genpool_core::{Constrained, ConstraintError, Constraints};
use genpool_dma::{
    AddressMask, CpuBuffer, Device, DmaAlloc, DmaError, IoBuffer, MemoryPool, PhysAddr, VirtAddr,
    Width,
};

const PAGE: usize = 4096;
const PHYS: u64 = 0x8_0000_0000;

/// Sixteen pages full of 0xa5.
fn memory() -> MemoryPool {
    let pool = MemoryPool::new(12).unwrap();
    pool.add(seen(16 * PAGE, PHYS).0).unwrap();
    pool
}

fn addresses() -> Pool {
    let pool = Pool::new(12).unwrap();
    pool.add_virt(0x1_0000, PHYS, 16 * PAGE).unwrap();
    pool
}

fn virt(addr: usize) -> VirtAddr {
    VirtAddr::new(addr)
}

#[test]
fn gen_pool_dma_alloc() {
    let pool = addresses();
    let first = pool.dma_alloc(1).unwrap();
    let second = pool.dma_alloc(PAGE + 1).unwrap();
    assert_eq!((first.virt(), first.dma()), (virt(0x1_0000), dma(PHYS)));
    assert_eq!(
        (second.virt(), second.dma(), second.size()),
        (virt(0x1_1000), dma(PHYS + 0x1000), 2 * PAGE)
    );
    assert_eq!(
        pool.dma_alloc(0).unwrap_err(),
        DmaError::Alloc(AllocError::ZeroSize)
    );
    let size = 14 * PAGE;
    assert_eq!(
        pool.dma_alloc(size).unwrap_err(),
        DmaError::Alloc(AllocError::Exhausted { size })
    );
    drop((first, second));
    assert_eq!(pool.avail(), pool.size());

    let memory = memory();
    let buffer = memory.dma_alloc(1).unwrap();
    assert_eq!((buffer.len(), buffer.dma()), (PAGE, dma(PHYS)));
    assert_eq!(
        peek(buffer.virt(), PAGE),
        [0xa5; PAGE],
        "nothing is touched"
    );
}

#[test]
fn gen_pool_dma_alloc_refuses_to_make_up_an_address() {
    let pool = Pool::new(12).unwrap();
    pool.add(0x1_0000, 4 * PAGE).unwrap();
    let at = virt(0x1_0000);
    assert_eq!(
        pool.dma_alloc(1).unwrap_err(),
        DmaError::NoAddress { virt: at }
    );
    assert_eq!(pool.avail(), pool.size());

    let memory = MemoryPool::new(12).unwrap();
    memory.add(unseen(4 * PAGE).0).unwrap();
    assert!(matches!(
        memory.dma_zalloc(1),
        Err(DmaError::NoAddress { .. })
    ));
    assert_eq!(memory.avail(), memory.size());
}

#[test]
fn gen_pool_dma_alloc_algo() {
    let pool = addresses();
    let at = pool.dma_alloc_with(1, &FixedOffset::new(5 * PAGE)).unwrap();
    assert_eq!(at.dma(), dma(PHYS + 0x5000));
    let best = pool.dma_alloc_with(5 * PAGE, &BestFit).unwrap();
    assert_eq!(best.dma(), dma(PHYS), "an exact fit");

    let memory = memory();
    let at = memory.dma_alloc_with(1, &FixedOffset::new(PAGE)).unwrap();
    assert_eq!(at.dma(), dma(PHYS + 0x1000));
}

#[test]
fn gen_pool_dma_alloc_algo_with_constraints_on_the_device_s_address() {
    let pool = Pool::new(12).unwrap();
    // Each chunk extends past a boundary: the first past 28 bits, the second past 4 GiB.
    pool.add_virt(0x10_0000, (1 << 28) - 0x3000, 8 * PAGE)
        .unwrap();
    pool.add_virt(0x20_1000, (1 << 32) - 0x3000, 8 * PAGE)
        .unwrap();
    let with = |asked| Constrained::new(FirstFit, asked);

    let mask = AddressMask::bits(28).unwrap();
    let low = with(mask.constrain(Constraints::new()));
    // Three pages lie below the boundary. A fourth would begin below it and end above it.
    for pages in [4, 5, 8] {
        assert!(
            pool.dma_alloc_with(pages * PAGE, &low).is_err(),
            "{pages} pages"
        );
    }
    let all = pool.dma_alloc_with(3 * PAGE, &low).unwrap();
    assert!(mask.covers(all.dma(), all.size()));
    assert!(pool.dma_alloc_with(1, &low).is_err());
    drop(all);

    let not_over_4_gib = Constraints::new().dma_boundary(1 << 32).unwrap();
    let after = pool
        .dma_alloc_with(4 * PAGE, &with(not_over_4_gib))
        .unwrap();
    assert_eq!(after.dma(), dma(1 << 32));

    // 16 KiB by the device's address, which in this chunk is 12 KiB off the virtual one.
    let aligned = Constraints::new().dma_align(4 * PAGE as u64).unwrap();
    let aligned = pool.dma_alloc_with(PAGE, &with(aligned)).unwrap();
    assert_eq!(aligned.dma(), dma((1 << 32) + 0x4000));
}

#[test]
fn gen_pool_dma_alloc_align() {
    let pool = addresses();
    let _first = pool.dma_alloc(1).unwrap();
    let aligned = pool.dma_alloc_align(1, 4 * PAGE).unwrap();
    assert_eq!(
        (aligned.virt(), aligned.dma()),
        (virt(0x1_4000), dma(PHYS + 0x4000))
    );
    assert_eq!(
        pool.dma_alloc_align(1, 3).unwrap_err(),
        DmaError::Constraint(ConstraintError::Align { bytes: 3 })
    );
    let memory = memory();
    let _first = memory.dma_alloc(1).unwrap();
    let aligned = memory.dma_alloc_align(1, 8 * PAGE).unwrap();
    assert!(aligned.virt().is_aligned(8 * PAGE));
}

/// Checks that all granules are zero and their neighbours unchanged.
fn assert_zeroed(buffer: &CpuBuffer<'_>, size: usize) {
    assert_eq!(buffer.len(), size);
    assert!(buffer.iter().all(|&byte| byte == 0));
    assert_eq!(peek(virt(buffer.virt().get() - 1), 1), [0xa5]);
    assert_eq!(peek(virt(buffer.virt().get() + size), 1), [0xa5]);
}

#[test]
fn gen_pool_dma_zalloc() {
    let pool = memory();
    let _first = pool.dma_alloc(1).unwrap();
    let zeroed = pool.dma_zalloc(PAGE + 1).unwrap();
    assert_zeroed(&zeroed, 2 * PAGE);
    assert_eq!(zeroed.dma(), dma(PHYS + 0x1000));
}

#[test]
fn gen_pool_dma_zalloc_on_a_device_s_memory() {
    for width in [Width::One, Width::Two, Width::Four, Width::Eight] {
        let pool =
            MemoryPool::<Device>::of_device(Pool::builder().order(width.bytes().ilog2()), width)
                .unwrap();
        pool.add(seen(PAGE, PHYS).0).unwrap();
        let _first: IoBuffer<'_> = pool.dma_alloc(1).unwrap();
        let zeroed = pool.dma_zalloc(33).unwrap();
        assert_eq!(zeroed.size(), 33_usize.next_multiple_of(width.bytes()));
        assert_eq!(peek(zeroed.virt(), zeroed.size()), vec![0; zeroed.size()]);
        assert_eq!(peek(virt(zeroed.virt().get() - 1), 1), [0xa5]);
        assert_eq!(peek(virt(zeroed.virt().get() + zeroed.size()), 1), [0xa5]);
    }
    assert!(MemoryPool::<Device>::of_device(Pool::builder().order(1), Width::Four).is_err());
}

#[test]
fn gen_pool_dma_zalloc_algo() {
    let pool = memory();
    let at = FixedOffset::new(3 * PAGE);
    let zeroed = pool.dma_zalloc_with(1, &at).unwrap();
    assert_zeroed(&zeroed, PAGE);
    assert_eq!(zeroed.dma(), dma(PHYS + 0x3000));
}

#[test]
fn gen_pool_dma_zalloc_align() {
    let pool = memory();
    let _first = pool.dma_alloc(1).unwrap();
    let zeroed = pool.dma_zalloc_align(1, 4 * PAGE).unwrap();
    assert_zeroed(&zeroed, PAGE);
    assert_eq!(zeroed.dma(), dma(PHYS + 0x4000));
    assert!(pool.dma_zalloc_align(1, 0).is_err());
}

#[test]
fn gen_pool_virt_to_phys() {
    let pool = addresses();
    pool.add(0x10_0000, PAGE).unwrap();
    let phys = |addr| pool.virt_to_phys(virt(addr));
    assert_eq!(phys(0x1_0000), Some(PhysAddr::new(PHYS)));
    assert_eq!(phys(0x1_ffff), Some(PhysAddr::new(PHYS + 0xffff)));
    assert_eq!(phys(0x2_0000), None);
    assert_eq!(phys(0x10_0000), None, "none was given");

    let memory = memory();
    let buffer = memory.dma_alloc(1).unwrap();
    let last = virt(buffer.virt().get() + PAGE - 1);
    assert_eq!(memory.virt_to_phys(last), Some(PhysAddr::new(PHYS + 0xfff)));
    assert_eq!(memory.virt_to_dma(last), Some(dma(PHYS + 0xfff)));
}
