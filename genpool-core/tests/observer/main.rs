//! What a pool reports to its observer: each operation once, in a possible order, with exact sums.

#![cfg(feature = "observe")]

mod cache;
mod history;
mod panics;
mod sums;

use std::sync::{Arc, Mutex};

use genpool_core::{
    Algorithm, AlgorithmName, AllocError, Builder, ChunkSpec, ChunkView, Event, FreeError, Granule,
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

/// Returns a builder of a pool of pages that this observer observes.
fn observed_by<O: Observer + 'static>(observer: &Arc<O>, tracked: bool) -> Builder {
    let builder = Pool::builder().order(12).observer(Arc::clone(observer));
    if tracked {
        builder.boundary_tracking()
    } else {
        builder
    }
}

fn logged(tracked: bool) -> (Arc<Log>, Pool) {
    let log = Arc::new(Log::default());
    let pool = observed_by(&log, tracked).name("p").build().unwrap();
    (log, pool)
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

#[test]
fn each_of_many_chunks_is_reported() {
    let (log, pool) = logged(false);
    pool.add_many(Vec::new()).unwrap();
    let chunks = [0, 2].map(|at| ChunkSpec::new(at * PAGE, PAGE).phys(at as u64));
    pool.add_many(chunks.to_vec()).unwrap();
    let chunks = [4, 2].map(|at| ChunkSpec::new(at * PAGE, PAGE));
    assert!(pool.add_many(chunks.to_vec()).is_err());
    drop(pool.alloc(1).unwrap());
    let overlaps = "reason: Overlaps { start: 8192, size: 4096 }";
    assert_eq!(
        log.said()[1..],
        [
            "ChunkAdded { start: 0, size: 4096, phys: Some(0) }".to_owned(),
            "ChunkAdded { start: 8192, size: 4096, phys: Some(2) }".to_owned(),
            format!("AddRefused {{ start: 16384, size: 4096, {overlaps} }}"),
            format!("AddRefused {{ start: 8192, size: 4096, {overlaps} }}"),
            allocated(2 * PAGE, 1, FIRST),
            freed(2 * PAGE, PAGE),
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
