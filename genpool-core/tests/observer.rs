//! What a pool reports to its observer: each operation once, in a possible order, with exact sums.

#![cfg(feature = "observe")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use genpool_core::{
    Algorithm, AlgorithmName, AllocError, ChunkSpec, ChunkView, Event, FreeError, Granule,
    Impossible, Observer, Pool, RawRange, RemoveError, Request, ResizeError,
};

const PAGE: usize = 4096;

/// Records every event.
#[derive(Default)]
struct Log(Mutex<Vec<(usize, String)>>);

impl Observer for Log {
    fn numbered(&self) -> bool {
        true
    }

    fn event(&self, number: usize, event: &Event<'_>) {
        self.0.lock().unwrap().push((number, format!("{event:?}")));
    }
}

impl Log {
    /// The events since the last call, by number.
    fn said(&self) -> Vec<String> {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap());
        all.sort();
        all.into_iter().map(|(_, event)| event).collect()
    }
}

fn logged(tracked: bool) -> (Arc<Log>, Pool) {
    let log = Arc::new(Log::default());
    let builder = Pool::builder()
        .order(12)
        .name("p")
        .observer(Arc::clone(&log));
    let builder = if tracked {
        builder.boundary_tracking()
    } else {
        builder
    };
    (log, builder.build().unwrap())
}

fn allocated(addr: usize, asked: usize, algorithm: Option<AlgorithmName>) -> String {
    let size = asked.next_multiple_of(PAGE);
    format!(
        "Allocated {{ addr: {addr}, asked: {asked}, size: {size}, algorithm: {algorithm:?}, cached: false, serves: true }}"
    )
}

fn freed(addr: usize, size: usize) -> String {
    format!("Freed {{ addr: {addr}, size: {size}, cached: false, serves: true }}")
}

/// The same event for a run that a cache kept or keeps.
fn cached(event: String) -> String {
    event.replace("cached: false", "cached: true")
}

fn filled(addrs: &[usize], size: usize) -> String {
    format!("CacheFilled {{ addrs: {addrs:?}, size: {size}, serves: true }}")
}

fn emptied(addrs: &[usize], size: usize) -> String {
    filled(addrs, size).replace("Filled", "Emptied")
}

fn refused(asked: usize, algorithm: Option<AlgorithmName>, error: AllocError) -> String {
    format!("AllocRefused {{ asked: {asked}, algorithm: {algorithm:?}, error: {error:?} }}")
}

fn too_long(size: usize, longest: usize) -> AllocError {
    AllocError::Impossible(Impossible::TooLong { size, longest })
}

const FIRST: Option<AlgorithmName> = Some(AlgorithmName::new("first-fit"));

#[test]
fn chunks() {
    let (log, pool) = logged(false);
    assert_eq!(
        log.said(),
        ["Built { name: Some(\"p\"), order: 12, tracked: false }"]
    );
    pool.add_virt(0, 7, 4 * PAGE).unwrap();
    assert!(pool.add(PAGE, PAGE).is_err());
    assert!(pool.remove(1).is_err());
    let held = pool.alloc(1).unwrap();
    let drain = pool.remove(0).unwrap();
    assert!(matches!(
        pool.remove(0),
        Err(RemoveError::Draining { start: 0 })
    ));
    drop(held);
    drop(drain);
    assert_eq!(
        log.said(),
        [
            "ChunkAdded { start: 0, size: 16384, phys: Some(7) }".to_owned(),
            "AddRefused { start: 4096, size: 4096, reason: Overlaps { start: 0, size: 16384 } }"
                .to_owned(),
            "RemoveRefused { start: 1, error: NoChunk { start: 1 } }".to_owned(),
            allocated(0, 1, FIRST),
            "Draining { start: 0, size: 16384, free: 12288, cached: 0 }".to_owned(),
            "RemoveRefused { start: 0, error: Draining { start: 0 } }".to_owned(),
            "Freed { addr: 0, size: 4096, cached: false, serves: false }".to_owned(),
            "Drained { start: 0, size: 16384 }".to_owned(),
        ]
    );
}

struct Unnamed;

impl Algorithm for Unnamed {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        chunk.find_run(Granule(0), Granule(usize::MAX), request.granules())
    }
}

#[test]
fn every_way_to_allocate_and_free() {
    for tracked in [false, true] {
        let (log, pool) = logged(tracked);
        pool.add(0, 4 * PAGE).unwrap();
        log.said();

        drop(pool.alloc(1).unwrap());
        drop(pool.alloc_owned(PAGE + 1).unwrap());
        drop(pool.alloc_with(1, &Unnamed).unwrap());
        let owned = pool.alloc_owned_with(1, &Unnamed).unwrap().into_raw();
        pool.free(owned.addr, owned.size).unwrap();
        let raw = pool.alloc(1).unwrap().into_raw();
        assert_eq!(pool.free_owner(raw.addr, 1).unwrap().map(|_| ()), None);
        assert_eq!(
            log.said(),
            [
                allocated(0, 1, FIRST),
                freed(0, PAGE),
                allocated(0, PAGE + 1, FIRST),
                freed(0, 2 * PAGE),
                allocated(0, 1, None),
                freed(0, PAGE),
                allocated(0, 1, None),
                freed(0, PAGE),
                allocated(0, 1, FIRST),
                freed(0, PAGE),
            ]
        );

        // By address alone, and then refused.
        let raw = pool.alloc(2 * PAGE).unwrap().into_raw();
        let by_address = pool.free_addr(raw.addr);
        if tracked {
            assert_eq!(by_address, Ok(2 * PAGE));
            assert_eq!(log.said()[1], freed(0, 2 * PAGE));
        } else {
            assert_eq!(by_address, Err(FreeError::NotTracked));
            assert_eq!(
                log.said()[1],
                "FreeRefused { addr: 0, size: None, error: Some(NotTracked) }"
            );
            pool.free(raw.addr, raw.size).unwrap();
            log.said();
        }
        assert!(pool.free(PAGE, 1).is_err());
        let held = pool.alloc(1).unwrap();
        pool.free(held.addr(), 1).unwrap();
        drop(held);
        assert_eq!(
            log.said(),
            [
                "FreeRefused { addr: 4096, size: Some(1), error: Some(NotAllocated { addr: 4096 }) }"
                    .to_owned(),
                allocated(0, 1, FIRST),
                freed(0, PAGE),
                "FreeRefused { addr: 0, size: Some(4096), error: None }".to_owned(),
            ]
        );
    }
}

#[test]
fn refusals_and_many() {
    let (log, pool) = logged(false);
    pool.add(0, 4 * PAGE).unwrap();
    log.said();
    let size = 5 * PAGE;
    assert!(pool.alloc(0).is_err() && pool.alloc_with(size, &Unnamed).is_err());
    assert_eq!(
        log.said(),
        [
            refused(0, FIRST, AllocError::ZeroSize),
            refused(size, None, too_long(size, 4 * PAGE)),
        ]
    );
    let size = 2 * PAGE;
    drop(pool.alloc_many(&[PAGE, size]).unwrap());
    // As if the ranges had been requested one by one.
    assert!(pool.alloc_many(&[PAGE, size, size]).is_err());
    let both = [
        allocated(0, PAGE, FIRST),
        allocated(PAGE, size, FIRST),
        freed(0, PAGE),
        freed(PAGE, size),
    ];
    let said = log.said();
    assert_eq!(said[..4], both);
    assert_eq!(said[4..6], both[..2]);
    assert_eq!(
        said[6],
        refused(size, FIRST, AllocError::Exhausted { size })
    );
    assert_eq!(said[7..], both[2..]);
}

/// Frees the range that it then proposes, as another thread might.
struct Swap<'p>(&'p Pool, Mutex<Option<RawRange>>);

impl Algorithm for Swap<'_> {
    fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        let range = self.1.lock().unwrap().take()?;
        self.0.free(range.addr, range.size).unwrap();
        Some(Granule(range.addr >> 12))
    }
}

#[test]
fn an_alloc_has_a_higher_number_than_the_free_that_made_room() {
    let (log, pool) = logged(false);
    pool.add(0, PAGE).unwrap();
    let range = pool.alloc(1).unwrap().into_raw();
    log.said();
    let swap = Swap(&pool, Mutex::new(Some(range)));
    let again = pool.alloc_with(1, &swap).unwrap();
    assert_eq!(log.said(), [freed(0, PAGE), allocated(0, 1, None)]);
    drop(again);
}

#[test]
fn resizes() {
    for tracked in [false, true] {
        let (log, pool) = logged(tracked);
        pool.add(0, 4 * PAGE).unwrap();
        let mut held = pool.alloc_owned(2 * PAGE).unwrap();
        log.said();
        held.resize(3 * PAGE).unwrap();
        held.resize(1).unwrap();
        assert_eq!(held.resize(0), Err(ResizeError::ZeroSize));
        assert_eq!(held.resize(5 * PAGE), Err(ResizeError::PastChunk));
        drop(held);
        assert_eq!(
            log.said(),
            [
                "Resized { addr: 0, from: 8192, asked: 12288, to: 12288, serves: true }".to_owned(),
                "Resized { addr: 0, from: 12288, asked: 1, to: 4096, serves: true }".to_owned(),
                "ResizeRefused { addr: 0, asked: 0, error: ZeroSize }".to_owned(),
                "ResizeRefused { addr: 0, asked: 20480, error: PastChunk }".to_owned(),
                freed(0, PAGE),
            ]
        );
    }
}

#[test]
fn a_cache_reports_what_it_hands_out_and_takes_back() {
    for tracked in [false, true] {
        let (log, pool) = logged(tracked);
        pool.add(0, 64 * PAGE).unwrap();
        let (_, other) = logged(tracked);
        other.add(0, PAGE).unwrap();
        log.said();
        let mut cache = pool.cache();
        let first = cache.alloc(PAGE).unwrap();
        let addr = first.addr();
        let batch: Vec<_> = (0..16).rev().map(|at| addr + at * PAGE).collect();
        assert_eq!(
            log.said(),
            [filled(&batch, PAGE), cached(allocated(addr, PAGE, None))]
        );
        cache.free(first);
        let again = cache.alloc(1).unwrap();
        assert_eq!(again.addr(), addr);
        drop(again);
        assert_eq!(
            log.said(),
            [
                cached(freed(addr, PAGE)),
                cached(allocated(addr, 1, None)),
                freed(addr, PAGE),
            ]
        );
        // A range that it does not keep returns to the pool.
        let long = cache.alloc(9 * PAGE).unwrap();
        let at = long.addr();
        cache.free(long);
        cache.free(other.alloc(1).unwrap());
        assert_eq!(
            log.said(),
            [allocated(at, 9 * PAGE, None), freed(at, 9 * PAGE)]
        );
        // A request that finds no room makes the cache give back what it keeps.
        let held = pool.alloc(20 * PAGE).unwrap();
        log.said();
        let size = 64 * PAGE;
        assert!(cache.alloc(size).is_err());
        let kept: Vec<_> = (1..16).map(|at| addr + at * PAGE).collect();
        assert_eq!(
            log.said(),
            [
                emptied(&kept, PAGE),
                refused(size, None, AllocError::Exhausted { size }),
            ]
        );
        drop(held);
        // A request that no chunk could serve leaves what the cache keeps alone.
        let one = cache.alloc(PAGE).unwrap();
        cache.free(one);
        log.said();
        let size = 65 * PAGE;
        assert!(cache.alloc(size).is_err());
        assert_eq!(log.said(), [refused(size, None, too_long(size, 64 * PAGE))]);
        cache.flush();
        let one = cache.alloc(PAGE).unwrap();
        log.said();
        cache.free(one);
        cache.flush();
        assert_eq!(
            log.said(),
            [
                cached(freed(addr, PAGE)),
                emptied(&batch.iter().rev().copied().collect::<Vec<_>>(), PAGE),
            ]
        );
        cache.flush();
        drop(cache);
        assert_eq!((log.said().len(), pool.avail()), (0, pool.size()));
    }
}

/// A magazine that is full gives half of its runs back to the pool.
#[test]
fn a_cache_that_keeps_too_much_reports_what_it_returns() {
    let (log, pool) = logged(false);
    pool.add(0, 64 * PAGE).unwrap();
    let mut cache = pool.cache();
    let list: Vec<_> = (0..33).map(|_| cache.alloc(PAGE).unwrap()).collect();
    cache.flush();
    log.said();
    for one in list {
        cache.free(one);
    }
    let said = log.said();
    assert_eq!(said.len(), 34);
    let addrs: Vec<_> = (0..16).map(|at| at * PAGE).collect();
    assert_eq!(said[32], emptied(&addrs, PAGE));
    assert_eq!(cache.held(), 17 * PAGE);
}

#[test]
fn what_caches_keep_of_a_chunk_that_is_removed_is_reported() {
    let (log, pool) = logged(false);
    pool.add(0, 64 * PAGE).unwrap();
    let mut cache = pool.cache();
    let held = cache.alloc(PAGE).unwrap();
    log.said();
    let drain = pool.remove(0).unwrap();
    let (free, kept) = (63 * PAGE, 15 * PAGE);
    assert_eq!(
        log.said(),
        [format!(
            "Draining {{ start: 0, size: {}, free: {free}, cached: {kept} }}",
            64 * PAGE
        )]
    );
    cache.flush();
    let said = log.said();
    assert!(
        said.len() == 1 && said[0].ends_with("serves: false }"),
        "{said:?}"
    );
    drop(held);
    assert!(drain.is_drained());
}

/// Whatever a cache is doing when the removal of its chunk begins, the sums come out even.
#[test]
fn sums_are_exact_though_a_chunk_goes_under_caches() {
    for tracked in [false, true] {
        for _ in 0..if cfg!(miri) { 2 } else { 50 } {
            let moody = Arc::new(Moody::default());
            let builder = Pool::builder().order(12).observer(Arc::clone(&moody));
            let builder = if tracked {
                builder.boundary_tracking()
            } else {
                builder
            };
            let pool = builder.build().unwrap();
            pool.add(0, 64 * PAGE).unwrap();
            let start = Barrier::new(3);
            thread::scope(|scope| {
                for pages in [1, 2] {
                    let (pool, start) = (&pool, &start);
                    scope.spawn(move || {
                        let mut cache = pool.cache();
                        start.wait();
                        while let Ok(one) = cache.alloc(pages * PAGE) {
                            cache.free(one);
                        }
                    });
                }
                start.wait();
                thread::yield_now();
                drop(pool.remove(0).unwrap());
            });
            let sums = [&moody.free, &moody.available];
            assert_eq!(sums.map(|sum| sum.load(Ordering::Relaxed)), [0, 0]);
        }
    }
}

/// Panics when asked to.
#[derive(Default)]
struct Moody {
    angry: AtomicBool,
    observed: AtomicUsize,
    free: AtomicIsize,
    available: AtomicIsize,
}

impl Observer for Moody {
    fn event(&self, _: usize, event: &Event<'_>) {
        self.free.fetch_add(event.change(), Ordering::Relaxed);
        self.available
            .fetch_add(event.available(), Ordering::Relaxed);
        self.observed.fetch_add(1, Ordering::Relaxed);
        assert!(!self.angry.load(Ordering::Relaxed), "observed");
    }
}

#[test]
fn an_observer_that_panics_changes_nothing() {
    for tracked in [false, true] {
        let moody = Arc::new(Moody::default());
        let builder = Pool::builder().order(12).observer(Arc::clone(&moody));
        let builder = if tracked {
            builder.boundary_tracking()
        } else {
            builder
        };
        moody.angry.store(true, Ordering::Relaxed);
        let pool = builder.build().unwrap();
        let observed = || moody.observed.swap(0, Ordering::Relaxed);
        assert_eq!((pool.stats().observer_panics, observed()), (1, 1));
        pool.add(0, 64 * PAGE).unwrap();
        let owner = Arc::new(());
        let taken = ChunkSpec::new(PAGE, PAGE).shared_owner(owner.clone());
        let refused = pool.add_chunk(taken).unwrap_err();
        assert!(refused.chunk.into_owner().is_some());
        assert_eq!(observed(), 2);

        let held = pool.alloc(1).unwrap();
        assert!(pool.alloc(0).is_err());
        let mut resized = pool.alloc_with(1, &Unnamed).unwrap();
        resized.resize(2 * PAGE).unwrap();
        resized.resize(1).unwrap();
        assert!(resized.resize(0).is_err());
        let owned = pool.alloc_owned(1).unwrap();
        let many = pool.alloc_many(&[1, 1]).unwrap();
        assert!(pool.alloc_many(&[1, 65 * PAGE]).is_err());
        let raw = pool.alloc(1).unwrap().into_raw();
        pool.free(raw.addr, raw.size).unwrap();
        assert!(pool.free(raw.addr, raw.size).is_err());
        let mut cache = pool.cache();
        let cached = cache.alloc(1).unwrap();
        cache.free(cached);
        drop(cache);
        assert_eq!(observed(), 19);

        pool.add(0x100_0000, PAGE).unwrap();
        let last = pool.alloc(1).unwrap();
        let drain = pool.remove(0x100_0000).unwrap();
        assert!(pool.remove(0x100_0000).is_err() && !drain.is_drained());
        drop(last);
        assert_eq!(drain.finish().unwrap().start(), 0x100_0000);
        drop((held, resized, owned, many));
        assert_eq!(observed(), 6 + 5);
        assert_eq!(pool.stats().observer_panics, 1 + 2 + 19 + 11);
        assert!(pool.is_sound());
        assert_eq!(pool.avail(), 64 * PAGE);
        assert_eq!(moody.free.load(Ordering::Relaxed), 64 * PAGE as isize);
        assert_eq!(moody.available.load(Ordering::Relaxed), 64 * PAGE as isize);
    }
}

/// An observer whose destructor panics, with a payload whose destructor panics.
struct Bitter(Arc<AtomicUsize>);

struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        panic!("once more");
    }
}

impl Drop for Bitter {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::panic::panic_any(Payload);
    }
}

impl Observer for Bitter {
    fn event(&self, _: usize, _: &Event<'_>) {
        std::panic::panic_any(Payload);
    }
}

#[test]
fn an_observer_whose_destructor_panics_hides_no_answer() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let builder = || {
        let builder = Pool::builder().order(12);
        builder.observer(Bitter(Arc::clone(&dropped)))
    };
    let count = || dropped.swap(0, Ordering::Relaxed);
    // A later observer replaces it; a pool that cannot be built drops it.
    drop(builder().observer(Bitter(Arc::clone(&dropped))).build());
    assert_eq!(count(), 2);
    assert!(builder().order(usize::BITS).build().is_err());
    assert_eq!(count(), 1);

    let pool = builder().build().unwrap();
    let owner = Arc::new(());
    let spec = ChunkSpec::new(0, 4 * PAGE).shared_owner(owner.clone());
    pool.add_chunk(spec).unwrap();
    let _held = pool.alloc_owned(1).unwrap().into_raw();
    let report = pool.destroy();
    assert_eq!(report.held.len(), 1);
    drop(report);
    assert_eq!((count(), Arc::strong_count(&owner)), (1, 1));

    // While the thread is already panicking.
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _pool = builder().build().unwrap();
        panic!("of its own");
    }));
    assert_eq!(
        *unwound.unwrap_err().downcast::<&str>().unwrap(),
        "of its own"
    );
    assert_eq!(count(), 1);
}

#[test]
fn a_panic_whose_payload_panics_ends_as_well() {
    struct Worse;
    impl Observer for Worse {
        fn event(&self, _: usize, _: &Event<'_>) {
            std::panic::panic_any(Payload);
        }
    }
    let pool = Pool::builder().order(12).observer(Worse).build().unwrap();
    pool.add(0, PAGE).unwrap();
    // While the thread is already panicking.
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _held = pool.alloc(1).unwrap();
        panic!("of its own");
    }));
    assert!(unwound.is_err());
    assert_eq!((pool.avail(), pool.stats().observer_panics), (PAGE, 4));
}

/// What [`Event::change`] documents about frees by address of what is still held.
#[test]
fn a_part_that_was_freed_behind_an_allocation_is_missing_in_the_sum() {
    let moody = Arc::new(Moody::default());
    let builder = Pool::builder().order(12).observer(Arc::clone(&moody));
    let pool = builder.build().unwrap();
    let surplus = || moody.free.load(Ordering::Relaxed) - pool.avail() as isize;
    let page = PAGE as isize;
    pool.add(0, 16 * PAGE).unwrap();

    // All of it: nothing is missing.
    let whole = pool.alloc(4 * PAGE).unwrap();
    pool.free(whole.addr(), 4 * PAGE).unwrap();
    drop(whole);
    assert_eq!(surplus(), 0);
    // A part: the remaining three pages come back unreported.
    let dropped = pool.alloc(4 * PAGE).unwrap();
    pool.free(dropped.addr(), PAGE).unwrap();
    assert_eq!(surplus(), 0);
    drop(dropped);
    assert_eq!(surplus(), -3 * page);
    // A part that is reported twice.
    let mut shrunk = pool.alloc(4 * PAGE).unwrap();
    pool.free(shrunk.addr() + 3 * PAGE, PAGE).unwrap();
    shrunk.resize(3 * PAGE).unwrap();
    assert_eq!(surplus(), -2 * page);
    drop(shrunk);
    // What a cache keeps, which is not reported.
    let mut cache = pool.cache();
    let kept = cache.alloc(PAGE).unwrap();
    let addr = kept.addr();
    cache.free(kept);
    assert_eq!(surplus(), -2 * page + cache.held() as isize);
    pool.free(addr, PAGE).unwrap();
    drop(cache);
    assert_eq!(surplus(), -page);

    let drain = pool.remove(0).unwrap();
    assert_eq!((surplus(), drain.is_drained()), (0, true));
}

/// Panics at the second request.
struct Startled;

impl Algorithm for Startled {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        assert!(request.size() < PAGE, "startled");
        Unnamed.propose(chunk, request)
    }
}

#[test]
fn what_an_algorithm_that_panics_had_taken_is_reported() {
    let moody = Arc::new(Moody::default());
    let builder = Pool::builder().order(12).algorithm(Startled);
    let pool = builder.observer(Arc::clone(&moody)).build().unwrap();
    pool.add(0, 4 * PAGE).unwrap();
    let many = AssertUnwindSafe(|| drop(pool.alloc_many(&[1, PAGE])));
    assert!(catch_unwind(many).is_err());
    assert_eq!(pool.avail(), pool.size());
    assert_eq!(moody.free.load(Ordering::Relaxed), pool.size() as isize);
}

#[test]
fn a_callback_that_panics_is_reported_all_the_same() {
    let (log, pool) = logged(true);
    for (by, size) in [("drop", PAGE), ("address", 0), ("size", PAGE)] {
        pool.add(0, PAGE).unwrap();
        let held = pool.alloc(1).unwrap();
        let drain = pool.remove(0).unwrap();
        drain.on_drained(|| panic!("drained"));
        log.said();
        let free = || match by {
            "drop" => drop(held),
            "address" => drop(pool.free_addr(held.into_raw().addr)),
            _ => drop(pool.free(held.into_raw().addr, 1)),
        };
        assert!(catch_unwind(AssertUnwindSafe(free)).is_err());
        assert_eq!(
            log.said(),
            [
                format!("Freed {{ addr: 0, size: {size}, cached: false, serves: false }}"),
                "Drained { start: 0, size: 4096 }".to_owned(),
            ]
        );
        drain.finish().unwrap();
    }
}

/// Sorts the events of several threads by number, and replays them.
#[derive(Default)]
struct History {
    list: Mutex<BTreeMap<usize, Told>>,
    free: AtomicUsize,
    available: AtomicUsize,
}

enum Told {
    Taken(usize, usize),
    Back(usize, usize),
    Other,
}

impl Observer for History {
    fn numbered(&self) -> bool {
        true
    }

    fn event(&self, number: usize, event: &Event<'_>) {
        self.free
            .fetch_add(event.change() as usize, Ordering::Relaxed);
        self.available
            .fetch_add(event.available() as usize, Ordering::Relaxed);
        let observed = match *event {
            Event::Allocated { addr, size, .. } => Told::Taken(addr, size),
            Event::Freed { addr, size, .. } => Told::Back(addr, size),
            Event::Resized { addr, from, to, .. } if to > from => {
                Told::Taken(addr + from, to - from)
            }
            Event::Resized { addr, from, to, .. } => Told::Back(addr + to, from - to),
            _ => Told::Other,
        };
        assert!(self.list.lock().unwrap().insert(number, observed).is_none());
    }
}

#[test]
fn numbers_are_an_order_that_could_have_been() {
    const ROUNDS: usize = if cfg!(miri) { 20 } else { 3000 };
    for tracked in [false, true] {
        let history = Arc::new(History::default());
        let builder = Pool::builder().order(12).observer(Arc::clone(&history));
        let builder = if tracked {
            builder.boundary_tracking()
        } else {
            builder
        };
        let pool = builder.build().unwrap();
        pool.add(0, 24 * PAGE).unwrap();
        thread::scope(|scope| {
            for seed in 0..3_usize {
                let pool = &pool;
                scope.spawn(move || {
                    let mut cache = pool.cache();
                    let mut step = seed.wrapping_mul(0x9e37_79b9) | 1;
                    for _ in 0..ROUNDS {
                        step = step.wrapping_mul(0x5851_f42d).wrapping_add(0x1405_7b7e);
                        let size = (step >> 9) % 3 * PAGE + 1;
                        match (step >> 16) % 6 {
                            0 => {
                                if let Ok(range) = cache.alloc(size) {
                                    cache.free(range);
                                }
                            }
                            1 => {
                                if let Ok(mut range) = pool.alloc(size) {
                                    range.resize(size + PAGE).ok();
                                    range.resize(1).unwrap();
                                }
                            }
                            2 => drop(pool.alloc_many(&[size, PAGE, size])),
                            3 => {
                                if let Ok(range) = pool.alloc(size) {
                                    let range = range.into_raw();
                                    pool.free(range.addr, range.size).unwrap();
                                }
                            }
                            4 => drop(pool.alloc_with(size, &Unnamed)),
                            _ => cache.flush(),
                        }
                    }
                });
            }
            // Chunks come and go meanwhile.
            scope.spawn(|| {
                for _ in 0..ROUNDS / 20 {
                    pool.add(0x100_0000, 8 * PAGE).unwrap();
                    thread::yield_now();
                    let drain = pool.remove(0x100_0000).unwrap();
                    // Caches keep nothing in chunks added after a removal, only in the first one.
                    while !drain.wait(Some(std::time::Duration::from_millis(1))) {
                        thread::yield_now();
                    }
                }
            });
        });
        assert_eq!(pool.stats().observer_panics, 0, "a number came twice");
        assert_eq!(pool.avail(), pool.size());
        assert_eq!(history.free.load(Ordering::Relaxed), pool.size());
        assert_eq!(history.available.load(Ordering::Relaxed), pool.size());
        let list = history.list.lock().unwrap();
        assert!(
            list.keys().copied().eq(0..list.len()),
            "a number is missing"
        );
        let mut held = [false; 0x1010];
        for (number, observed) in list.iter() {
            let (addr, size, taken) = match *observed {
                Told::Taken(addr, size) => (addr, size, true),
                Told::Back(addr, size) => (addr, size, false),
                Told::Other => continue,
            };
            for granule in &mut held[addr / PAGE..(addr + size) / PAGE] {
                assert_ne!(
                    *granule, taken,
                    "number {number} tells of what was so before"
                );
                *granule = taken;
            }
        }
        assert!(held.iter().all(|&granule| !granule));
    }
}
