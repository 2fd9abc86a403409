//! One test for each call of genalloc, named after it. Those for dma and devm are in their crates.

use std::sync::Arc;

use genpool::{
    AllocError, BestFit, ChunkSpec, ChunkView, FirstFit, FirstFitAlign, FixedAddress, FixedOffset,
    FreeError, Granule, Impossible, OrderAlign, Pool, Request,
};

const PAGE: usize = 4096;

fn pool(chunks: &[(usize, usize)]) -> Pool {
    let pool = Pool::new(12).unwrap();
    for &(start, size) in chunks {
        pool.add(start, size).unwrap();
    }
    pool
}

#[test]
fn gen_pool_create() {
    let pool = Pool::builder()
        .order(5)
        .name("sram")
        .algorithm(BestFit)
        .boundary_tracking()
        .build()
        .unwrap();
    assert_eq!(
        (pool.order(), pool.granule(), pool.name()),
        (5, 32, Some("sram"))
    );
    assert!(pool.is_tracked());
    assert_eq!(pool.node(), None);
    // In an empty pool there is nothing to allocate.
    assert_eq!(
        pool.alloc(1).unwrap_err(),
        AllocError::Impossible(Impossible::NoChunk)
    );
    assert_eq!((pool.size(), pool.avail()), (0, 0));
}

#[test]
fn gen_pool_create_checks_the_order() {
    for order in 0..usize::BITS {
        assert_eq!(Pool::new(order).unwrap().order(), order);
    }
    for order in [usize::BITS, u32::MAX] {
        let refused = Pool::new(order).unwrap_err();
        assert!(refused.to_string().contains(&order.to_string()));
    }
}

#[test]
fn gen_pool_add() {
    let pool = pool(&[(0x1_0000, 4 * PAGE)]);
    assert_eq!(pool.size(), 4 * PAGE);
    assert_eq!(pool.phys_of(0x1_0000), None);
    assert_eq!(pool.alloc(1).unwrap().phys(), None);
}

#[test]
fn gen_pool_add_virt() {
    let pool = Pool::new(12).unwrap();
    pool.add_virt(0x1_0000, 0x8_0000_0000, 4 * PAGE).unwrap();
    let a = pool.alloc_with(1, &FixedOffset::new(PAGE)).unwrap();
    assert_eq!((a.addr(), a.phys()), (0x1_1000, Some(0x8_0000_1000)));
}

#[test]
fn gen_pool_add_owner() {
    let owner = Arc::new(String::from("bank 0"));
    let pool = Pool::new(12).unwrap();
    let chunk = ChunkSpec::new(0x1_0000, PAGE)
        .phys(7)
        .shared_owner(owner.clone());
    pool.add_chunk(chunk).unwrap();
    pool.add(0x2_0000, PAGE).unwrap();
    let newest = pool.alloc(1).unwrap();
    assert!(newest.owner().is_none());
    let owned = pool.alloc(1).unwrap();
    assert_eq!(owned.owner_as::<String>(), Some("bank 0".into()));
    assert_eq!(owned.owner_as::<u8>(), None);
    assert_eq!(owned.phys(), Some(7));
    drop((newest, owned));
    drop(pool);
    assert_eq!(Arc::strong_count(&owner), 1, "the owner's value is kept");
}

#[test]
fn gen_pool_alloc() {
    let pool = pool(&[(0x1_0000, 4 * PAGE)]);
    let a = pool.alloc(1).unwrap();
    let b = pool.alloc(PAGE + 1).unwrap();
    assert_eq!((a.addr(), a.size()), (0x1_0000, PAGE));
    assert_eq!((b.addr(), b.size()), (0x1_1000, 2 * PAGE));
    assert_eq!(pool.avail(), PAGE);
    // Goes by the default algorithm.
    pool.set_algorithm(FixedOffset::new(3 * PAGE));
    assert_eq!(pool.alloc(1).unwrap().addr(), 0x1_3000);
}

#[test]
fn gen_pool_alloc_algo() {
    let pool = pool(&[(0x1_0000, 4 * PAGE)]);
    let a = pool.alloc_with(1, &FixedOffset::new(2 * PAGE)).unwrap();
    assert_eq!(a.addr(), 0x1_2000);
    let dynamic: &dyn genpool::Algorithm = &FirstFit;
    assert_eq!(pool.alloc_with(1, dynamic).unwrap().addr(), 0x1_0000);
}

#[test]
fn gen_pool_alloc_owner_and_alloc_algo_owner() {
    let pool = Pool::new(12).unwrap();
    pool.add_chunk(ChunkSpec::new(0, PAGE).owner(17_u32))
        .unwrap();
    assert_eq!(pool.alloc(1).unwrap().owner_as::<u32>(), Some(17));
    let by_algorithm = pool.alloc_with(1, &BestFit).unwrap();
    assert_eq!(by_algorithm.owner_as::<u32>(), Some(17));
}

#[test]
fn gen_pool_free() {
    let pool = pool(&[(0x1_0000, 4 * PAGE)]);
    drop(pool.alloc(PAGE).unwrap());
    assert_eq!(pool.avail(), pool.size());
    let range = pool.alloc(PAGE + 1).unwrap().into_raw();
    // The requested size and the size of the whole granules name the same run.
    pool.free(range.addr, PAGE + 1).unwrap();
    assert_eq!(pool.avail(), pool.size());
    assert!(pool.is_sound());
}

#[test]
fn gen_pool_free_owner() {
    let pool = Pool::new(12).unwrap();
    pool.add_chunk(ChunkSpec::new(0, PAGE).owner("bank 1"))
        .unwrap();
    let range = pool.alloc(1).unwrap().into_raw();
    let owner = pool.free_owner(range.addr, range.size).unwrap().unwrap();
    assert_eq!(owner.downcast_ref(), Some(&"bank 1"));
    assert!(matches!(
        pool.free_owner(range.addr, range.size),
        Err(FreeError::NotAllocated { addr: 0 })
    ));
}

#[test]
fn gen_pool_virt_to_phys() {
    let pool = Pool::new(12).unwrap();
    pool.add_virt(0x1_0000, 0x100, 2 * PAGE).unwrap();
    pool.add(0x2_0000, PAGE).unwrap();
    assert_eq!(pool.phys_of(0x1_0000), Some(0x100));
    assert_eq!(pool.phys_of(0x1_1fff), Some(0x100 + 0x1fff));
    for outside in [0, 0xffff, 0x1_2000, usize::MAX] {
        assert_eq!(pool.phys_of(outside), None);
    }
    // A chunk without a physical address returns `None`, never a made-up number.
    assert_eq!(pool.phys_of(0x2_0000), None);
}

#[test]
fn gen_pool_for_each_chunk() {
    let pool = pool(&[(0x1_0000, PAGE), (0x2_0000, 2 * PAGE)]);
    let seen = pool.chunks();
    pool.add(0x3_0000, PAGE).unwrap();
    // The iterator shows the list as it was, newest first.
    let starts: Vec<_> = seen.map(|chunk| (chunk.start(), chunk.size())).collect();
    assert_eq!(starts, [(0x2_0000, 2 * PAGE), (0x1_0000, PAGE)]);
    assert_eq!(pool.chunks().len(), 3);
    let _held = pool.alloc(PAGE).unwrap();
    let newest = pool.chunks().next().unwrap();
    assert_eq!((newest.avail(), newest.last()), (0, 0x3_0fff));
}

#[test]
fn gen_pool_has_addr() {
    let pool = pool(&[(0x1_0000, 2 * PAGE), (0x1_2000, PAGE)]);
    assert!(pool.contains(0x1_0000, 2 * PAGE));
    assert!(pool.contains(0x1_1fff, 1));
    assert!(pool.contains(0x1_2fff, 1));
    // Across two chunks, though they touch.
    assert!(!pool.contains(0x1_1fff, 2));
    assert!(!pool.contains(0xffff, 2));
    assert!(!pool.contains(0x1_3000, 1));
    // Empty and wrapping ranges are never inside.
    assert!(!pool.contains(0x1_0000, 0));
    assert!(!pool.contains(0x1_0000, usize::MAX));
    assert!(!pool.contains(usize::MAX, 2));
}

#[test]
fn gen_pool_avail_and_size() {
    let pool = pool(&[(0, 64 * PAGE), (0x100_0000, 65 * PAGE)]);
    assert_eq!((pool.size(), pool.avail()), (129 * PAGE, 129 * PAGE));
    let held = pool.alloc_many(&[PAGE, 64 * PAGE, 3 * PAGE]).unwrap();
    assert_eq!(pool.avail(), (129 - 68) * PAGE);
    let stats = pool.stats();
    assert_eq!((stats.used, stats.free), (68 * PAGE, 61 * PAGE));
    drop(held);
    assert_eq!(pool.avail(), pool.size());
}

#[test]
fn gen_pool_set_algo() {
    let pool = pool(&[(0, 16 * PAGE)]);
    let _low = pool.alloc(PAGE).unwrap();
    pool.set_algorithm(FirstFitAlign::new(4 * PAGE).unwrap());
    let aligned = pool.alloc(PAGE).unwrap();
    assert_eq!(aligned.addr(), 4 * PAGE);
    pool.set_algorithm(FirstFit);
    assert_eq!(pool.alloc(PAGE).unwrap().addr(), PAGE);
}

#[test]
fn gen_pool_first_fit() {
    // The lowest address that fits in the newest chunk that has room.
    let pool = pool(&[(0x10_0000, 8 * PAGE), (0x20_0000, 4 * PAGE)]);
    let a = pool.alloc(3 * PAGE).unwrap();
    assert_eq!(a.addr(), 0x20_0000);
    let b = pool.alloc(2 * PAGE).unwrap();
    assert_eq!(b.addr(), 0x10_0000);
    let c = pool.alloc(PAGE).unwrap();
    assert_eq!(c.addr(), 0x20_3000);
    drop(a);
    assert_eq!(pool.alloc(PAGE).unwrap().addr(), 0x20_0000);
}

#[test]
fn gen_pool_first_fit_align() {
    let pool = pool(&[(0x10_1000, 32 * PAGE)]);
    let align = FirstFitAlign::new(0x4000).unwrap();
    let a = pool.alloc_with(PAGE, &align).unwrap();
    let b = pool.alloc_with(PAGE, &align).unwrap();
    assert_eq!((a.addr(), b.addr()), (0x10_4000, 0x10_8000));
    // An alignment below the granule has no effect.
    let fine = FirstFitAlign::new(8).unwrap();
    assert_eq!(pool.alloc_with(PAGE, &fine).unwrap().addr(), 0x10_1000);
}

#[test]
fn gen_pool_first_fit_order_align() {
    let pool = Pool::new(0).unwrap();
    pool.add(0x1001, 1000).unwrap();
    // 60 bytes are aligned to 64.
    let a = pool.alloc_with(60, &OrderAlign).unwrap();
    assert_eq!(a.addr(), 0x1040);
    let b = pool.alloc_with(1, &OrderAlign).unwrap();
    assert_eq!(b.addr(), 0x1001);
}

#[test]
fn gen_pool_best_fit() {
    let pool = pool(&[(0, 32 * PAGE)]);
    // Free runs of 4, 2, 2 and 20 granules.
    let fixed = |granule: usize| {
        pool.alloc_with(PAGE, &FixedOffset::new(granule * PAGE))
            .unwrap()
    };
    let _held = [fixed(4), fixed(7), fixed(10), fixed(11)];
    let find = |granules: usize| {
        let best = pool.alloc_with(granules * PAGE, &BestFit).unwrap();
        best.addr() / PAGE
    };
    assert_eq!(find(2), 5, "the lowest of equals");
    assert_eq!(find(3), 0);
    assert_eq!(find(4), 0);
    assert_eq!(find(5), 12);
}

#[test]
fn gen_pool_fixed_alloc() {
    let pool = pool(&[(0x10_0000, 8 * PAGE), (0x20_0000, 4 * PAGE)]);
    let at = FixedOffset::new(2 * PAGE);
    let a = pool.alloc_with(2 * PAGE, &at).unwrap();
    assert_eq!(a.addr(), 0x20_2000);
    let b = pool.alloc_with(2 * PAGE, &at).unwrap();
    assert_eq!(b.addr(), 0x10_2000);
    assert!(matches!(
        pool.alloc_with(2 * PAGE, &at),
        Err(AllocError::Exhausted { .. })
    ));
    drop(a);
    // Not past the end of the chunk.
    assert!(pool.alloc_with(3 * PAGE, &at).is_err());
    // At an address, in whichever chunk it lies.
    let there = FixedAddress::new(0x10_7000);
    assert_eq!(pool.alloc_with(PAGE, &there).unwrap().addr(), 0x10_7000);
}

#[test]
fn custom_genpool_algo_t() {
    /// Takes every other granule.
    struct Odd;
    impl genpool::Algorithm for Odd {
        fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
            (1..chunk.granules())
                .step_by(2)
                .map(Granule)
                .find(|&start| chunk.is_free(start, request.granules()))
        }
    }
    let pool = pool(&[(0, 4 * PAGE)]);
    let a = pool.alloc_with(PAGE, &Odd).unwrap();
    let b = pool.alloc_with(PAGE, &Odd).unwrap();
    assert_eq!((a.addr(), b.addr()), (PAGE, 3 * PAGE));
    assert!(pool.alloc_with(PAGE, &Odd).is_err());
    pool.set_algorithm(Odd);
    drop(a);
    assert_eq!(pool.alloc(PAGE).unwrap().addr(), PAGE);
}

#[test]
fn gen_pool_destroy() {
    let pool = pool(&[(0, 4 * PAGE)]);
    drop(pool.alloc(PAGE).unwrap());
    assert!(pool.destroy().held.is_empty());

    let pool = Pool::builder().order(12).name("leaky").build().unwrap();
    pool.add(0, 4 * PAGE).unwrap();
    let _ = pool.alloc(2 * PAGE).unwrap().into_raw();
    let report = pool.destroy();
    assert_eq!((report.held[0].addr, report.held[0].size), (0, 2 * PAGE));
    assert_eq!(
        report.to_string(),
        "pool leaky: 8192 bytes still held in 1 range\n  0x2000 bytes at 0x0"
    );
}
