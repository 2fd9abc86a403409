//! Promise 7: `alloc` and free in a signal handler that interrupted a call on the same pool.
//!
//! Threads work on a pool while another thread keeps sending them a signal, whose handler works on the same pool. A
//! lock would deadlock. This program's allocator counts heap calls in the handler.

#![cfg(all(target_os = "linux", not(miri)))]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::Done;
use genpool::{AllocError, BestFit, Builder, ChunkSpec, NextFit, Pool, SpreadFit, ThreadStart};

thread_local! {
    static IN_HANDLER: Cell<bool> = const { Cell::new(false) };
    static STEP: Cell<usize> = const { Cell::new(0) };
}

static HEAP_CALLS: AtomicUsize = AtomicUsize::new(0);
static INTERRUPTS: AtomicUsize = AtomicUsize::new(0);
static SERVED: AtomicUsize = AtomicUsize::new(0);
static POOLS: OnceLock<Vec<Pool>> = OnceLock::new();

struct Watched;

fn watch() {
    if IN_HANDLER.get() {
        HEAP_CALLS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        watch();
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        watch();
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static HEAP: Watched = Watched;

/// Makes one of each call that a handler may make.
fn work(pool: &Pool, step: usize) -> bool {
    let size = step % 150 + 1;
    let outcome = match step % 6 {
        0 => pool.alloc(size),
        1 => pool.alloc_with(size, &ThreadStart),
        2 => pool.alloc_with(size, &BestFit),
        3 => pool.alloc_with(size, &NextFit::new()),
        4 => pool.alloc_with(size, &SpreadFit),
        _ => pool.alloc(1),
    };
    match outcome {
        Ok(allocation) if step.is_multiple_of(2) => {
            let range = allocation.into_raw();
            pool.free(range.addr, range.size).is_ok()
        }
        Ok(mut allocation) => {
            assert!(pool.contains(allocation.addr(), allocation.size()));
            assert_eq!(pool.phys_of(allocation.addr()), allocation.phys());
            // Refused about half of the time.
            let _ = allocation.resize(size + 1);
            true
        }
        Err(AllocError::Exhausted { .. } | AllocError::Contended { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

extern "C" fn interrupt(_: libc::c_int) {
    IN_HANDLER.set(true);
    INTERRUPTS.fetch_add(1, Ordering::Relaxed);
    if let Some(pools) = POOLS.get() {
        let step = STEP.get().wrapping_add(7);
        STEP.set(step);
        for pool in pools {
            if work(pool, step) {
                SERVED.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    IN_HANDLER.set(false);
}

/// Returns one pool whose chunk is permanent, and one that needs a pin in every call, because its chunks were added
/// after a removal.
fn two_pools(chosen: impl Fn(Builder) -> Builder) -> Vec<Pool> {
    let permanent = chosen(Pool::builder().unit_index()).build().unwrap();
    permanent.add_virt(0, 0x1_0000, 4096).unwrap();
    let pinned = chosen(Pool::builder().unit_index().boundary_tracking());
    let pinned = pinned.build().unwrap();
    pinned.add(0, 1).unwrap();
    drop(pinned.remove(0).unwrap());
    pinned.add_virt(0x1000, 0x2_0000, 4096).unwrap();
    vec![permanent, pinned]
}

/// The control: a heap call in the handler would be noticed.
fn heap_calls_are_counted() {
    IN_HANDLER.set(true);
    drop(std::hint::black_box(Box::new(1)));
    IN_HANDLER.set(false);
    assert_eq!(HEAP_CALLS.swap(0, Ordering::SeqCst), 2);
}

#[test]
fn alloc_and_free_in_a_handler_that_interrupted_them() {
    let pools = POOLS.get_or_init(|| {
        let pools = two_pools(|builder| builder).into_iter();
        #[cfg(feature = "observe")]
        let pools = pools.chain(two_pools(|builder| {
            use genpool::observe::{Observers, Recorder, Watermarks};
            // Soon full, so that operations are lost too.
            let (_, tap) = Recorder::new(1 << 16).unwrap();
            let marks = Watermarks::new(2048, 2048, |_| ());
            builder.observer(Observers::new().and(tap).and(marks))
        }));
        pools.collect()
    });
    heap_calls_are_counted();
    common::handle(libc::SIGUSR1, interrupt);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _done = Done(&done);
        let workers: Vec<_> = (0..2)
            .map(|worker| {
                let done = &done;
                let (sender, receiver) = std::sync::mpsc::channel();
                scope.spawn(move || {
                    // SAFETY: no arguments.
                    sender.send(unsafe { libc::pthread_self() }).unwrap();
                    let mut step = worker;
                    while !done.load(Ordering::SeqCst) {
                        for pool in pools {
                            work(pool, step);
                        }
                        step = step.wrapping_add(3);
                    }
                    // Signals may arrive until the sender has seen the end.
                    thread::sleep(Duration::from_millis(50));
                });
                receiver.recv().unwrap()
            })
            .collect();
        let end = Instant::now() + Duration::from_secs(2);
        let mut round = 0;
        while Instant::now() < end {
            for &worker in &workers {
                // SAFETY: the thread runs until `done`, which is set after this loop.
                unsafe { libc::pthread_kill(worker, libc::SIGUSR1) };
            }
            // Chunks are added and removed meanwhile.
            if round % 64 == 0 {
                for pinned in pools.iter().skip(1).step_by(2) {
                    pinned.add_chunk(ChunkSpec::new(0x10_0000, 64)).unwrap();
                    let drain = pinned.remove(0x10_0000).unwrap();
                    assert!(drain.wait(Some(Duration::from_secs(30))));
                    let _ = drain.finish().unwrap();
                }
            }
            round += 1;
            thread::sleep(Duration::from_micros(100));
        }
    });
    let (interrupts, served) = (
        INTERRUPTS.load(Ordering::SeqCst),
        SERVED.load(Ordering::SeqCst),
    );
    println!("{interrupts} interrupts, {served} allocations in them");
    assert!(interrupts > 1000, "{interrupts} interrupts");
    assert!(
        served > interrupts,
        "{served} of {interrupts} interrupts were served"
    );
    assert_eq!(
        HEAP_CALLS.load(Ordering::SeqCst),
        0,
        "the heap was used in a handler"
    );
    for pool in pools {
        assert_eq!(pool.avail(), pool.size());
        assert!(pool.is_sound());
    }
}
