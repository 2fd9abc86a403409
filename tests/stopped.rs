//! Promise 3: a thread that is stopped for good in the middle of a call blocks no other, and nothing is handed out
//! twice because of it.
//!
//! A signal handler parks threads wherever the signal meets them inside a call. While they are parked, all other
//! threads continue. Later they are released, which shows whether what they were about to get was given to others.

#![cfg(all(target_os = "linux", not(miri)))]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use common::Done;
use genpool::{
    AllocError, Allocation, BestFit, FirstFit, FixedOffset, Impossible, NextFit, OrderAlign, Pool,
    SpreadFit, ThreadStart,
};

/// Granules of one byte; word borders at 64 and 128.
const CHUNK: usize = 150;
/// The place of a chunk that only the stopped thread adds and removes, and of one that only the others do.
const THEIRS: usize = 1000;
const OURS: usize = 2000;
/// The length of these chunks, so that what the stopped threads hold is not everything.
const CHANGING: usize = 70;

thread_local! {
    /// Whether the thread is in a call that is to be stopped.
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
    /// Whether the thread is in the system's allocator, whose locks are not the pool's fault.
    static IN_HEAP: Cell<bool> = const { Cell::new(false) };
    static IS_PARKED: Cell<bool> = const { Cell::new(false) };
}

static STOP: AtomicBool = AtomicBool::new(false);
static PARKED: AtomicUsize = AtomicUsize::new(0);

struct Heap;

fn in_heap<R>(call: impl FnOnce() -> R) -> R {
    let before = IN_HEAP.replace(true);
    let answer = call();
    IN_HEAP.set(before);
    answer
}

// SAFETY: every call is passed to the system's allocator.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the system's.
        in_heap(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        in_heap(|| unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        in_heap(|| unsafe { System.dealloc(at, layout) });
    }
}

#[global_allocator]
static HEAP: Heap = Heap;

/// Parks its thread as long as required, if the signal met it in a call.
extern "C" fn park(_: libc::c_int) {
    if !IN_CALL.get() || IN_HEAP.get() || IS_PARKED.get() || !STOP.load(Ordering::SeqCst) {
        return;
    }
    IS_PARKED.set(true);
    PARKED.fetch_add(1, Ordering::SeqCst);
    while STOP.load(Ordering::SeqCst) {
        // SAFETY: no memory of ours is involved.
        unsafe { libc::usleep(200) };
    }
    IS_PARKED.set(false);
}

/// A pool, the signatures for each granule of its first chunk, and for the control a lock around its calls.
struct Scene {
    pool: Pool,
    owners: Vec<AtomicUsize>,
    lock: Option<Mutex<()>>,
}

/// A range that a thread holds and has signed for.
struct Held<'s> {
    scene: &'s Scene,
    value: Option<Allocation<'s>>,
    by: usize,
}

impl Scene {
    fn new(tracked: bool, lock: Option<Mutex<()>>) -> Self {
        let pool = common::builder(tracked).build().unwrap();
        pool.add(0, CHUNK).unwrap();
        let owners = (0..CHUNK).map(|_| AtomicUsize::new(0)).collect();
        Self { pool, owners, lock }
    }

    fn enter(&self) -> Option<MutexGuard<'_, ()>> {
        self.lock.as_ref().map(|lock| lock.lock().unwrap())
    }

    fn sign<'s>(&'s self, by: usize, value: Allocation<'s>) -> Held<'s> {
        for owner in self.granules(&value) {
            let before = owner.swap(by, Ordering::SeqCst);
            assert_eq!(before, 0, "{:#x} was given to {by} too", value.addr());
        }
        let value = Some(value);
        Held {
            scene: self,
            value,
            by,
        }
    }

    /// Returns the signatures of the range's granules in the first chunk. Other chunks belong to one thread.
    fn granules(&self, value: &Allocation<'_>) -> &[AtomicUsize] {
        let from = value.addr().min(CHUNK);
        &self.owners[from..(value.addr() + value.size()).min(CHUNK)]
    }
}

impl<'s> Held<'s> {
    /// Withdraws the signature; the range is still held.
    fn unsigned(mut self) -> Option<Allocation<'s>> {
        let value = self.value.take()?;
        for owner in self.scene.granules(&value) {
            assert_eq!(owner.swap(0, Ordering::SeqCst), self.by);
        }
        Some(value)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(value) = &self.value {
            for owner in self.scene.granules(value) {
                owner.store(0, Ordering::SeqCst);
            }
        }
    }
}

/// The calls in which a thread is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// Claims and frees inside a word.
    Short,
    /// Claims over two words, most of which are rolled back, and frees.
    Across,
    /// Several ranges at once, most of them refused.
    Many,
    /// A cache's refills and flushes.
    Refill,
    Resize,
    /// Requests that are refused, so that the thread is stopped in a proof.
    Refused,
    AddAndRemove,
    Swap,
}

const CALLS: [Call; 8] = [
    Call::Short,
    Call::Across,
    Call::Many,
    Call::Refill,
    Call::Resize,
    Call::Refused,
    Call::AddAndRemove,
    Call::Swap,
];

/// Makes a call that may be stopped.
fn call<'s, R>(scene: &'s Scene, call: impl FnOnce(&'s Pool) -> R) -> R {
    IN_CALL.set(true);
    let guard = scene.enter();
    let answer = call(&scene.pool);
    drop(guard);
    IN_CALL.set(false);
    answer
}

fn is_no_room<T>(outcome: &Result<T, AllocError>) -> bool {
    matches!(
        outcome,
        Err(AllocError::Exhausted { .. } | AllocError::Contended { .. })
    )
}

/// Makes calls until `done`.
fn work(scene: &Scene, kind: Call, by: usize, done: &AtomicBool) {
    let mut cache = scene.pool.cache();
    let mut step = by;
    while !done.load(Ordering::SeqCst) {
        step += 1;
        match kind {
            Call::Short => take(scene, by, |pool| pool.alloc(step % 9 + 1)),
            Call::Across => take(scene, by, |pool| {
                pool.alloc_with(20, &FixedOffset::new(50 + step % 12))
            }),
            Call::Many => {
                let list = call(scene, |pool| pool.alloc_many(&[30, 40, 20 + step % 70]));
                let held: Vec<_> = list
                    .into_iter()
                    .flatten()
                    .map(|value| scene.sign(by, value))
                    .collect();
                let values: Vec<_> = held.into_iter().map(Held::unsigned).collect();
                call(scene, |_| drop(values));
            }
            Call::Refill => {
                let held = call(scene, |_| cache.alloc(step % 3 + 1));
                if let Some(value) = held.ok().and_then(|held| scene.sign(by, held).unsigned()) {
                    call(scene, |_| cache.free(value));
                }
                if step.is_multiple_of(5) {
                    call(scene, |_| cache.flush());
                }
            }
            Call::Resize => {
                let at = FixedOffset::new(60);
                let found = call(scene, |pool| pool.alloc_with(5, &at));
                if let Some(mut value) = found
                    .ok()
                    .and_then(|found| scene.sign(by, found).unsigned())
                {
                    call(scene, |_| value.resize(70).ok());
                    call(scene, |_| value.resize(2).ok());
                    drop(scene.sign(by, value).unsigned());
                }
            }
            Call::Refused => {
                let refused = call(scene, |pool| {
                    pool.alloc(CHUNK + 1 - step % 2 * 10).map(drop)
                });
                let too_long = matches!(
                    refused,
                    Err(AllocError::Impossible(Impossible::TooLong { .. }))
                );
                assert!(refused.is_ok() || is_no_room(&refused) || too_long);
            }
            Call::AddAndRemove => {
                // Whichever of the stopped threads adds the chunk first, or none.
                if call(scene, |pool| pool.add(THEIRS, CHANGING)).is_ok() {
                    call(scene, |pool| drop(pool.remove(THEIRS).unwrap()));
                }
            }
            Call::Swap => call(scene, |pool| match step % 3 {
                0 => pool.set_algorithm(BestFit),
                1 => pool.set_algorithm(ThreadStart),
                _ => pool.set_algorithm(FirstFit),
            }),
        }
    }
}

fn take<'s>(
    scene: &'s Scene,
    by: usize,
    alloc: impl FnOnce(&'s Pool) -> Result<Allocation<'s>, AllocError>,
) {
    let found = call(scene, alloc);
    match found {
        Ok(value) => {
            let value = scene.sign(by, value).unsigned();
            call(scene, |_| drop(value));
        }
        refused => assert!(is_no_room(&refused)),
    }
}

/// What the other threads got while some were stopped.
#[derive(Debug, Default)]
struct Seen {
    calls: usize,
    contended: usize,
}

/// Makes every kind of call in a thread that must not be blocked.
fn go_on<'s>(scene: &'s Scene, seen: &mut Seen) -> Vec<Held<'s>> {
    let pool = &scene.pool;
    let by = usize::MAX;
    let mut held = Vec::new();
    let next = NextFit::new();
    for step in 0..400 {
        let n = 1 + step % 40;
        let found = match step % 7 {
            0 => pool.alloc(n),
            1 => pool.alloc_with(n, &BestFit),
            2 => pool.alloc_with(n, &next),
            3 => pool.alloc_with(n, &ThreadStart),
            4 => pool.alloc_with(n, &OrderAlign),
            5 => pool.alloc_with(n, &SpreadFit),
            _ => pool.alloc_many(&[n]).map(|mut list| list.remove(0)),
        };
        seen.calls += 1;
        match found {
            Ok(value) => held.push(scene.sign(by, value)),
            Err(AllocError::Contended { .. }) => seen.contended += 1,
            Err(AllocError::Exhausted { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        if step % 3 == 0 && !held.is_empty() {
            let value = held.swap_remove(step % held.len()).unsigned().unwrap();
            if step % 2 == 0 {
                let range = value.into_raw();
                pool.free(range.addr, range.size).unwrap();
            }
        }
        assert!(pool.avail() <= pool.size());
        assert!(pool.contains(0, CHUNK));
    }
    let mut cache = pool.cache();
    for n in 1..=8 {
        let found = cache.alloc(n).ok();
        if let Some(value) = found.and_then(|value| scene.sign(by, value).unsigned()) {
            cache.free(value);
        }
    }
    cache.flush();
    // A chunk that one thread adds and removes does not affect that of another.
    pool.add(OURS, CHANGING).unwrap();
    let there = genpool::FixedAddress::new(OURS);
    let value = pool.alloc_with(CHANGING, &there).unwrap();
    let drain = pool.remove(OURS).unwrap();
    assert!(!drain.is_drained());
    drop(value);
    assert!(drain.is_drained());
    drop(drain);
    pool.set_algorithm(NextFit::new());
    pool.set_algorithm(FirstFit);
    held
}

/// Stops threads in their calls, lets the others continue, and then releases the stopped ones. Returns how many were
/// stopped.
fn round(scene: &Scene, calls: &[Call], delay: usize, others: impl FnOnce() + Send) -> usize {
    let done = AtomicBool::new(false);
    let parked = thread::scope(|scope| {
        let _done = Done(&done);
        let workers: Vec<_> = (1..)
            .zip(calls)
            .map(|(by, &kind)| {
                let (done, (sender, receiver)) = (&done, std::sync::mpsc::channel());
                scope.spawn(move || {
                    // SAFETY: no arguments.
                    sender.send(unsafe { libc::pthread_self() }).unwrap();
                    work(scene, kind, by, done);
                    // Signals may arrive until the sender has seen the end.
                    while STOP.load(Ordering::SeqCst) || !done.load(Ordering::SeqCst) {
                        thread::yield_now();
                    }
                });
                receiver.recv().unwrap()
            })
            .collect();
        let delay = first_delay().wrapping_add(delay).wrapping_mul(1013) % 100_000;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_nanos(delay as u64) {
            std::hint::spin_loop();
        }
        PARKED.store(0, Ordering::SeqCst);
        STOP.store(true, Ordering::SeqCst);
        let _go = Go;
        while PARKED.load(Ordering::SeqCst) < calls.len() {
            for &worker in &workers {
                // SAFETY: the thread runs until `done`, which is set after this loop.
                unsafe { libc::pthread_kill(worker, libc::SIGUSR2) };
            }
            thread::sleep(Duration::from_micros(50));
        }
        others();
        PARKED.load(Ordering::SeqCst)
    });
    assert_eq!(PARKED.swap(0, Ordering::SeqCst), parked);
    parked
}

/// Releases the stopped threads, even when the test fails.
struct Go;

impl Drop for Go {
    fn drop(&mut self) {
        STOP.store(false, Ordering::SeqCst);
    }
}

/// Returns the first of the delays that decide where threads are stopped: `GENPOOL_SEED`, as in `ci/soak.sh`.
fn first_delay() -> usize {
    let asked = std::env::var("GENPOOL_SEED").ok();
    asked.and_then(|seed| seed.parse().ok()).unwrap_or(0)
}

/// Ends the process if a test hangs.
fn limit() {
    // SAFETY: no memory of ours is involved.
    unsafe { libc::alarm(240) };
}

/// Signals and the flags are global to the process, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    limit();
    common::handle(libc::SIGUSR2, park);
    TURN.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn a_stopped_thread_blocks_no_other() {
    let _turn = turn();
    for (kind, tracked) in CALLS
        .into_iter()
        .flat_map(|kind| [(kind, false), (kind, true)])
    {
        let scene = Scene::new(tracked, None);
        let mut seen = Seen::default();
        for delay in 0..15 {
            let scene = &scene;
            let mut held = Vec::new();
            round(scene, &[kind], delay, || held = go_on(scene, &mut seen));
            // The stopped thread has ended by now, and signed for what it got while these were held.
            drop(held);
            assert_eq!(scene.pool.avail(), scene.pool.size(), "{kind:?}");
            assert!(scene.pool.is_sound());
        }
        println!("{kind:?}, tracked {tracked}: {seen:?}");
        // This shows that threads were stopped in the middle of an operation.
        if matches!(kind, Call::Across | Call::Many | Call::Resize) {
            assert!(seen.contended > 0, "{kind:?}");
        }
    }
}

/// More threads than there are pins and stripes.
#[test]
fn nor_do_many() {
    let _turn = turn();
    let scene = Scene::new(true, None);
    let mut seen = Seen::default();
    for delay in 0..12 {
        let scene = &scene;
        let calls: Vec<_> = (0..18)
            .map(|at| CALLS[(at + delay) % CALLS.len()])
            .collect();
        let mut held = Vec::new();
        round(scene, &calls, delay, || held = go_on(scene, &mut seen));
        drop(held);
        assert_eq!(scene.pool.avail(), scene.pool.size());
        assert!(scene.pool.is_sound());
    }
    println!("{seen:?}");
}

/// The control: with a lock around each call, the others are blocked.
#[test]
fn control_a_lock_holds_up_everybody() {
    let _turn = turn();
    let scene = Scene::new(false, Some(Mutex::new(())));
    let mut held_up = 0;
    for delay in 0..40 {
        round(&scene, &[Call::Across], delay, || {
            let begun = Instant::now();
            let lock = scene.lock.as_ref().unwrap();
            let mut free = false;
            while !free && begun.elapsed() < Duration::from_millis(20) {
                free = lock.try_lock().is_ok();
                thread::yield_now();
            }
            held_up += usize::from(!free);
        });
    }
    println!("{held_up} of 40 times");
    assert!(held_up > 10);
}
