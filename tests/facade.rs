//! A smoke test for each name that the facade re-exports, and a check that none is missing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use genpool::*;

const PAGE: usize = 4096;
const BASE: usize = 0x10_0000;

/// Makes a pool of sixteen pages from `BASE` on.
fn sixteen_pages() -> Pool {
    let pool = Pool::new(12).unwrap();
    pool.add(BASE, 16 * PAGE).unwrap();
    pool
}

/// Returns the address that `algorithm` gives to a page if pages 0, 2, 3 and 8 to 15 are free.
fn placed(algorithm: &dyn Algorithm) -> usize {
    let pool = sixteen_pages();
    for page in [1, 4, 5, 6, 7] {
        let at = FixedOffset::new(page * PAGE);
        let _ = pool.alloc_with(PAGE, &at).unwrap().into_raw();
    }
    (pool.alloc_with(PAGE, algorithm).unwrap().addr() - BASE) / PAGE
}

// ---- algorithms ----

#[test]
fn algorithm() {
    struct Second;
    impl Algorithm for Second {
        fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
            Some(Granule(2))
        }
    }
    assert_eq!(placed(&Second), 2);
}

#[test]
fn first_fit() {
    assert_eq!(placed(&FirstFit), 0);
}

#[test]
fn first_fit_align() {
    let pool = sixteen_pages();
    let _first = pool.alloc(1).unwrap();
    let aligned = FirstFitAlign::new(4 * PAGE).unwrap();
    let second = pool.alloc_with(1, &aligned).unwrap();
    assert_eq!(second.addr(), BASE + 4 * PAGE);
}

#[test]
fn order_align() {
    let pool = sixteen_pages();
    let _first = pool.alloc(1).unwrap();
    let second = pool.alloc_with(3 * PAGE, &OrderAlign).unwrap();
    assert_eq!(second.addr(), BASE + 4 * PAGE);
}

#[test]
fn best_fit() {
    assert_eq!(placed(&BestFit), 0);
}

#[test]
fn fixed_offset() {
    assert_eq!(placed(&FixedOffset::new(3 * PAGE)), 3);
}

#[test]
fn fixed_address() {
    assert_eq!(placed(&FixedAddress::new(BASE + 9 * PAGE)), 9);
}

#[test]
fn next_fit() {
    let (pool, next) = (sixteen_pages(), NextFit::new());
    let addresses = [(); 2].map(|()| pool.alloc_with(1, &next).unwrap().addr());
    assert_eq!(addresses, [BASE, BASE + PAGE]);
}

#[cfg_attr(
    miri,
    ignore = "a weak exchange may fail, and then another place serves"
)]
#[test]
fn spread_fit() {
    let pool = Pool::builder().algorithm(SpreadFit).build().unwrap();
    pool.add(0, 1 << 16).unwrap();
    let alloc = || pool.alloc(16).unwrap().into_raw().addr;
    assert_eq!([(); 3].map(|()| alloc()), [0, 16, 32]);
    let elsewhere = std::thread::scope(|threads| threads.spawn(alloc).join().unwrap());
    assert!(elsewhere >= 48);
    pool.free(16, 16).unwrap();
    assert_eq!(alloc(), 16);
}

#[test]
fn thread_start() {
    let pool = sixteen_pages();
    let all: Vec<Allocation<'_>> = (0..16)
        .map(|_| pool.alloc_with(1, &ThreadStart).unwrap())
        .collect();
    assert_eq!((all.len(), pool.avail()), (16, 0));

    // It continues in the word where it last found something, unless that has no room.
    let pool = Pool::new(0).unwrap();
    pool.add(0, 1 << 16).unwrap();
    let alloc = || pool.alloc_with(1, &ThreadStart).unwrap();
    let start = alloc().into_raw().addr;
    let bits = usize::BITS as usize;
    let all: Vec<_> = (0..2 * bits).map(|_| alloc().into_raw().addr).collect();
    assert!(all.into_iter().eq(start + 1..=start + 2 * bits));
    pool.free(start, 1).unwrap();
    assert_eq!(alloc().addr(), start + 2 * bits + 1);
    pool.free(start + 2 * bits, 1).unwrap();
    assert_eq!(alloc().addr(), start + 2 * bits);
}

#[test]
fn constraints() {
    let above = Constraints::new().lowest(BASE + 8 * PAGE);
    assert_eq!(placed(&Constrained::new(FirstFit, above)), 8);
}

#[test]
fn constrained() {
    let aligned = Constraints::new().align_phase(4 * PAGE, 2 * PAGE).unwrap();
    assert_eq!(placed(&Constrained::new(BestFit, aligned)), 2);
}

#[test]
fn constraint_error() {
    let refused = Constraints::new().align(3).unwrap_err();
    assert_eq!(refused, ConstraintError::Align { bytes: 3 });
    assert_eq!(
        refused.to_string(),
        "an alignment of 3 is not a power of two"
    );
}

// ---- what an algorithm sees ----

/// Runs `inspect` on the chunk of `sixteen_pages` in place of an algorithm.
fn inspect(inspect: impl Fn(&ChunkView<'_>, &Request) + Send + Sync) {
    struct Inspect<F>(F);
    impl<F: Fn(&ChunkView<'_>, &Request) + Send + Sync> Algorithm for Inspect<F> {
        fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
            self.0(chunk, request);
            Some(Granule(0))
        }
    }
    let pool = sixteen_pages();
    let _found = pool.alloc_with(PAGE + 1, &Inspect(inspect)).unwrap();
}

#[test]
fn chunk_view() {
    inspect(|chunk, _| assert_eq!((chunk.start(), chunk.granules()), (BASE, 16)));
}

#[test]
fn claim() {
    struct ClaimsThird;
    impl Algorithm for ClaimsThird {
        fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
            None
        }

        fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
            chunk.claim(Granule(3), request)
        }
    }
    assert_eq!(placed(&ClaimsThird), 3);
}

#[test]
fn claimed() {
    inspect(|chunk, request| {
        let Claim::Found(claimed) = chunk.claim(Granule(4), request) else {
            panic!("it is free");
        };
        let claimed: Claimed<'_> = claimed;
        assert_eq!((claimed.start(), claimed.granules()), (Granule(4), 2));
        assert!(!chunk.is_free(Granule(4), 1));
        drop(claimed);
        assert!(chunk.is_free(Granule(4), 2));
    });
}

#[test]
fn request() {
    inspect(|_, request| assert_eq!((request.size(), request.granules()), (PAGE + 1, 2)));
}

#[test]
fn granule() {
    inspect(|chunk, _| assert_eq!(chunk.addr_of(Granule(3)), BASE + 3 * PAGE));
}

#[test]
fn run() {
    inspect(|chunk, _| {
        let all = Run {
            start: Granule(0),
            len: 16,
        };
        assert_eq!(chunk.runs(Granule(0), 1).collect::<Vec<_>>(), [all]);
    });
}

// ---- the pool ----

#[test]
fn pool() {
    let pool = sixteen_pages();
    assert_eq!((pool.size(), pool.avail()), (16 * PAGE, 16 * PAGE));
}

#[test]
fn pool_view() {
    let pool = sixteen_pages();
    let view: &PoolView = &pool;
    let held = view.alloc(1).unwrap();
    assert_eq!((held.addr(), view.avail()), (BASE, 15 * PAGE));
}

#[test]
fn builder() {
    let builder: Builder = Pool::builder().order(5).name("sram");
    assert_eq!(builder.get_order(), 5);
    assert_eq!(builder.build().unwrap().name(), Some("sram"));
}

#[test]
fn build_error() {
    let refused = Pool::new(usize::BITS).unwrap_err();
    assert_eq!(refused, BuildError::Order { order: usize::BITS });
}

#[test]
fn chunk_spec() {
    let pool = Pool::new(12).unwrap();
    pool.add_chunk(ChunkSpec::new(BASE, PAGE).phys(PAGE as u64))
        .unwrap();
    assert_eq!(pool.phys_of(BASE + 1), Some(PAGE as u64 + 1));
}

#[test]
fn owner() {
    let owner: Owner = Arc::new("bank 0");
    let pool = Pool::new(12).unwrap();
    pool.add_chunk(ChunkSpec::new(BASE, PAGE).shared_owner(owner))
        .unwrap();
    assert_eq!(pool.alloc(1).unwrap().owner_as::<&str>(), Some("bank 0"));
}

#[test]
fn add_error() {
    let refused: AddError = Pool::new(12).unwrap().add(BASE, 0).unwrap_err();
    assert_eq!(refused.chunk.start(), BASE);
    assert_eq!(
        refused.to_string(),
        "chunk of 0x0 bytes at 0x100000: a chunk has at least one granule"
    );
}

#[test]
fn add_many_error() {
    let chunks = vec![ChunkSpec::new(BASE, PAGE), ChunkSpec::new(0, 0)];
    let refused: AddManyError = Pool::new(12).unwrap().add_many(chunks).unwrap_err();
    assert_eq!((refused.at, refused.chunks.len()), (1, 2));
}

#[test]
fn add_refused() {
    let refused = Pool::new(12).unwrap().add(BASE, 0).unwrap_err();
    assert_eq!(refused.reason, AddRefused::ZeroSize);
}

#[test]
fn chunks() {
    let pool = sixteen_pages();
    pool.add(0, PAGE).unwrap();
    let chunks: Chunks = pool.chunks();
    let starts: Vec<usize> = chunks.map(|chunk| chunk.start()).collect();
    assert_eq!(starts, [0, BASE]);
}

#[test]
fn chunk_info() {
    let chunk: ChunkInfo = sixteen_pages().chunks().next().unwrap();
    assert_eq!(chunk.avail(), 16 * PAGE);
}

#[test]
fn drain() {
    let pool = sixteen_pages();
    let drain: Drain = pool.remove(BASE).unwrap();
    assert!(drain.is_drained());
}

#[test]
fn remove_error() {
    let refused = sixteen_pages().remove(0).unwrap_err();
    assert_eq!(refused, RemoveError::NoChunk { start: 0 });
}

// ---- allocations ----

#[test]
fn allocation() {
    let pool = sixteen_pages();
    let allocation: Allocation<'_> = pool.alloc(1).unwrap();
    assert_eq!((allocation.addr(), allocation.size()), (BASE, PAGE));
    assert!(allocation.owner().is_none());
    let pool = Pool::new(0).unwrap();
    pool.add_chunk(ChunkSpec::new(0, 1).owner(7_u8)).unwrap();
    let owner = pool.alloc(1).unwrap().owner().unwrap();
    assert_eq!(owner.downcast_ref(), Some(&7_u8));
}

#[test]
fn owned_allocation() {
    let pool = sixteen_pages();
    let owned: OwnedAllocation = pool.alloc_owned(1).unwrap();
    drop(pool);
    assert_eq!(owned.addr(), BASE);
}

#[test]
fn raw_range() {
    let pool = sixteen_pages();
    let range: RawRange = pool.alloc(1).unwrap().into_raw();
    assert_eq!(pool.free(range.addr, range.size), Ok(()));
}

#[test]
fn alloc_error() {
    let refused = sixteen_pages().alloc(17 * PAGE).unwrap_err();
    let too_long = Impossible::TooLong {
        size: 17 * PAGE,
        longest: 16 * PAGE,
    };
    assert_eq!(refused, AllocError::Impossible(too_long));
}

#[test]
fn impossible() {
    let refused = sixteen_pages()
        .alloc_with(1, &FixedAddress::new(0))
        .unwrap_err();
    let outside = Impossible::Outside { addr: 0 };
    assert_eq!(refused, AllocError::Impossible(outside));
}

#[test]
fn unsuitable() {
    let refused = sixteen_pages()
        .alloc_with(1, &FixedOffset::new(1))
        .unwrap_err();
    let reason = Unsuitable::MisalignedPlace {
        place: 1,
        granule: PAGE,
    };
    assert_eq!(refused, AllocError::Unsuitable(reason));
}

#[test]
fn free_error() {
    let refused = sixteen_pages().free(BASE, PAGE).unwrap_err();
    assert_eq!(refused, FreeError::NotAllocated { addr: BASE });
    let nothing = sixteen_pages().free(1, 0);
    assert_eq!(nothing, Err(FreeError::ZeroSize { addr: 1 }));
}

#[test]
fn not_tracked() {
    let refused = sixteen_pages().live().unwrap_err();
    assert_eq!(refused, NotTracked);
    assert_eq!(
        refused.to_string(),
        "the pool was built without boundary tracking"
    );
}

#[test]
fn resize_error() {
    let pool = sixteen_pages();
    let mut all = pool.alloc(16 * PAGE).unwrap();
    assert_eq!(all.resize(17 * PAGE), Err(ResizeError::PastChunk));
}

// ---- reports ----

#[test]
fn stats() {
    let pool = sixteen_pages();
    let _held = pool.alloc(1).unwrap();
    let stats: Stats = pool.stats();
    assert_eq!((stats.used, stats.free), (PAGE, 15 * PAGE));
    assert!(pool.alloc(0).is_err() && pool.alloc(16 * PAGE).is_err());
    assert!(pool.free(0, 1).is_err() && pool.free(BASE, 0).is_err());
    let stats = pool.stats();
    assert_eq!(
        (stats.unsuitable, stats.exhausted, stats.refused_frees),
        (1, 1, 2)
    );
}

#[test]
fn fragmentation() {
    let all: Fragmentation = sixteen_pages().fragmentation();
    assert_eq!((all.free_runs, all.largest_run), (1, 16 * PAGE));
}

#[test]
fn held() {
    let pool = Pool::builder().boundary_tracking().build().unwrap();
    pool.add(0, 16).unwrap();
    let held = pool.alloc(3).unwrap();
    held.set_tag(7);
    let live: Vec<Held> = pool.live().unwrap();
    assert_eq!((live[0].size, live[0].tag), (3, Some(7)));
}

#[test]
fn destroyed() {
    static REPORTED: AtomicUsize = AtomicUsize::new(0);
    let record = |report: Destroyed| REPORTED.store(report.held.len(), Ordering::Relaxed);
    let pool = Pool::builder().on_leak(record).build().unwrap();
    pool.add(0, 16).unwrap();
    let _ = pool.alloc(3).unwrap().into_raw();
    drop(pool);
    assert_eq!(REPORTED.load(Ordering::Relaxed), 1);
}

#[test]
fn cache() {
    let pool = sixteen_pages();
    let mut cache: Cache<'_> = pool.cache();
    let page = cache.alloc(1).unwrap();
    let addr = page.addr();
    cache.free(page);
    assert_eq!(cache.alloc(PAGE).unwrap().addr(), addr);
}

#[test]
fn static_pool() {
    static POOL: StaticPool = genpool::static_pool!(order: 12, start: BASE, size: 16 * PAGE);
    assert_eq!((POOL.size(), POOL.granule()), (16 * PAGE, PAGE));
}

#[test]
fn static_allocation() {
    static POOL: StaticPool = genpool::static_pool!(order: 12, start: BASE, size: 16 * PAGE);
    let held: StaticAllocation<'static> = POOL.alloc(PAGE + 1).unwrap();
    assert_eq!((held.addr(), held.size()), (BASE, 2 * PAGE));
}

#[test]
fn static_books() {
    const SIZES: [usize; 4] = StaticPool::sizes(12, 16 * PAGE, false);
    static BOOKS: StaticBooks<{ SIZES[1] }, { SIZES[2] }, { SIZES[3] }> = StaticBooks::new(16);
    assert!(StaticPool::new(&BOOKS, 12, BASE, None).is_ok());
}

#[test]
fn static_heap() {
    use std::alloc::{GlobalAlloc, Layout};
    static HEAP: StaticHeap = genpool::static_heap!(order: 4, size: 4096);
    let layout = Layout::new::<u64>();
    // SAFETY: the layout has a size.
    let block = unsafe { HEAP.alloc(layout) };
    assert_eq!(HEAP.avail(), 4096 - 16);
    // SAFETY: the block is of this heap and layout.
    unsafe { HEAP.dealloc(block, layout) };
    assert_eq!(HEAP.avail(), 4096);
}

#[test]
fn heap_memory() {
    static MEMORY: HeapMemory<4096> = HeapMemory::new();
    let pool = genpool::static_pool!(order: 4, start: 0, size: 4096);
    // SAFETY: nothing else uses the memory, and the pool is as long.
    let heap = unsafe { StaticHeap::new(&MEMORY, pool) };
    assert_eq!(heap.size(), 4096);
}

#[test]
fn algorithm_name() {
    let aligned = FirstFitAlign::new(64).unwrap().name();
    assert_eq!(aligned, Some(AlgorithmName::with("first-fit-align", 64)));
}

// ---- observers ----

#[cfg(feature = "observe")]
static CHANGE: AtomicUsize = AtomicUsize::new(0);

#[cfg(feature = "observe")]
#[test]
fn observer() {
    struct Free;
    impl Observer for Free {
        fn event(&self, _: usize, event: &Event<'_>) {
            CHANGE.fetch_add(event.change() as usize, Ordering::Relaxed);
        }
    }
    let pool = Pool::builder().order(12).observer(Free).build().unwrap();
    pool.add(BASE, PAGE).unwrap();
    assert_eq!(CHANGE.load(Ordering::Relaxed), PAGE);
}

#[cfg(feature = "observe")]
#[test]
fn event() {
    struct OnlyBuilt;
    impl Observer for OnlyBuilt {
        fn event(&self, number: usize, event: &Event<'_>) {
            assert!(matches!(event, Event::Built { order: 12, .. }) && number == 0);
        }
    }
    let builder = Pool::builder().order(12).observer(OnlyBuilt);
    let pool = builder.build().unwrap();
    assert_eq!(pool.stats().observer_panics, 0);
}

#[cfg(feature = "observe")]
#[test]
fn observe() {
    let snapshot = genpool::observe::Snapshot::of(&sixteen_pages());
    assert_eq!(snapshot.chunks.len(), 1);
}

// ---- devices ----

#[cfg(feature = "devm")]
#[test]
fn devm() {
    let device = genpool::devm::Device::new("sram");
    device.create_pool(Pool::builder().name("rx")).unwrap();
    assert_eq!(device.pool(Some("rx")).unwrap().name(), Some("rx"));
}

// ---- nothing is left out ----

/// Returns the types and traits that a crate root re-exports and its documentation shows.
fn exported(root: &str) -> impl Iterator<Item = &str> {
    root.split(';')
        .filter_map(|item| item.split_once("pub use "))
        .filter(|(before, _)| !before.contains("#[doc(hidden)]"))
        .flat_map(|(_, list)| list.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[test]
#[cfg_attr(miri, ignore = "it reads texts and no memory")]
fn every_name_is_re_exported_and_has_a_test() {
    let facade: BTreeSet<&str> = exported(include_str!("../src/lib.rs")).collect();
    let below: BTreeSet<&str> = exported(include_str!("../genpool-core/src/lib.rs"))
        .chain(exported(include_str!("../genpool-algos/src/lib.rs")))
        .collect();
    assert_eq!(facade, below);
    let tests = include_str!("facade.rs");
    let types = include_str!("../src/guide/reference.rs");
    for name in facade {
        let test = format!("#[test]\nfn {}() {{", snake_case(name));
        assert!(tests.contains(&test), "{name} has no test");
        let row = format!("`{name}`");
        assert!(types.contains(&row), "{name} is not in the table of types");
    }
}
