//! In a signal handler `Contended` is a refusal: if the interrupted thread is the cause, it remains the answer until
//! the handler returns. Each call returns nevertheless, so a handler that gives up after a few tries returns too.

#![cfg(all(target_os = "linux", not(miri)))]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::Done;
use genpool::{Algorithm, AllocError, ChunkView, FirstFit, FixedOffset, Granule, Pool, Request};

/// How often a handler tries before it gives up.
const TRIES: usize = 4;
/// There is no run of this length: granule 75 of 150 is taken.
const TOO_LONG: usize = 100;

static POOL: OnceLock<Pool> = OnceLock::new();
/// Counts the handlers that got `Contended` at every try, and those that got another answer.
static GAVE_UP: AtomicUsize = AtomicUsize::new(0);
static SETTLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn ask(_: libc::c_int) {
    let Some(pool) = POOL.get() else { return };
    let is_contended = |_: &usize| {
        let refused = pool.alloc_with(TOO_LONG, &FirstFit);
        matches!(refused, Err(AllocError::Contended { .. }))
    };
    let outcome = match (0..TRIES).take_while(is_contended).count() {
        TRIES => &GAVE_UP,
        _ => &SETTLED,
    };
    outcome.fetch_add(1, Ordering::SeqCst);
}

/// First fit that is interrupted by a signal at each proposal.
struct Interrupted;

impl Algorithm for Interrupted {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        // SAFETY: no memory is involved.
        assert_eq!(unsafe { libc::raise(libc::SIGUSR2) }, 0);
        FirstFit.propose(chunk, request)
    }
}

/// Returns the counts since the last call.
fn counts() -> (usize, usize) {
    (
        GAVE_UP.swap(0, Ordering::SeqCst),
        SETTLED.swap(0, Ordering::SeqCst),
    )
}

/// Returns the pool to one test at a time, because the pool and the counts are global to the process.
fn pool() -> (&'static Pool, MutexGuard<'static, ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: no memory is involved. The alarm ends the process if a handler hangs.
    unsafe { libc::alarm(10) };
    common::handle(libc::SIGUSR2, ask);
    let pool = POOL.get_or_init(|| {
        let pool = Pool::new(0).unwrap();
        pool.add(0, 150).unwrap();
        let middle = pool.alloc_with(1, &FixedOffset::new(75)).unwrap();
        let _ = middle.into_raw();
        pool
    });
    counts();
    (pool, turn)
}

#[test]
fn contended_in_a_handler_lasts_until_it_returns() {
    let (pool, _turn) = pool();
    pool.set_algorithm(Interrupted);
    let rings = pool.alloc_many(&[10, 20]).unwrap();
    pool.set_algorithm(FirstFit);
    // Both requests were interrupted, and every try of their handlers got `Contended`.
    assert_eq!(counts(), (2, 0));

    // Once the interrupted call has ended, the proof succeeds.
    drop(rings);
    let refused = pool.alloc(TOO_LONG).err();
    assert_eq!(refused, Some(AllocError::Exhausted { size: TOO_LONG }));
}

#[test]
fn a_handler_gives_up_in_the_middle_of_claims() {
    let (pool, _turn) = pool();
    let done = AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(1);
    thread::scope(|scope| {
        let _done = Done(&done);
        let (done, (sender, receiver)) = (&done, mpsc::channel());
        scope.spawn(move || {
            // SAFETY: no arguments.
            sender.send(unsafe { libc::pthread_self() }).unwrap();
            // Across the border of two words, and so in several steps.
            let across = FixedOffset::new(50);
            while !done.load(Ordering::Relaxed) {
                drop(pool.alloc_with(20, &across).unwrap());
            }
            // A signal may arrive until the sender has seen the end.
            thread::sleep(Duration::from_millis(50));
        });
        let worker = receiver.recv().unwrap();
        while Instant::now() < end {
            // SAFETY: the thread runs until `done`, which is set after this loop.
            unsafe { libc::pthread_kill(worker, libc::SIGUSR2) };
            thread::sleep(Duration::from_micros(50));
        }
    });
    let (gave_up, settled) = counts();
    println!("{gave_up} handlers gave up, {settled} did not");
    assert!(gave_up > 0 && gave_up + settled > 100);
    assert_eq!(pool.avail(), pool.size() - 1);
    assert!(pool.is_sound());
}
