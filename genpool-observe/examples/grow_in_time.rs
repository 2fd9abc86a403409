//! A service whose pool grows before it is full: `cargo run -p genpool-observe --example grow_in_time`.
//!
//! Connections take buffers from threads of their own. A mark is crossed when fewer than a quarter of a chunk's bytes
//! are left, in whichever thread crosses it, and that thread adds a chunk. Addresses are numbers here; a real service
//! would map memory.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Weak};
use std::thread;
use std::time::{Duration, Instant};

use genpool_core::{AllocError, Allocation, Pool};
use genpool_observe::{Crossing, Mark, Watermarks};

const CHUNK: usize = 1 << 20;
/// More than all threads together take while one of them adds a chunk.
const LOW: usize = CHUNK / 4;
const MOST_CHUNKS: usize = 8;
const CONNECTIONS: usize = 4;
const BUFFERS: usize = 300;
const BUFFER: usize = 4096;

/// The longest wait for a buffer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Calls `alloc` until it succeeds, for no longer than `patience`. Not for signal handlers.
fn patiently<T>(
    patience: Duration,
    mut alloc: impl FnMut() -> Result<T, AllocError>,
) -> Result<T, AllocError> {
    let began = Instant::now();
    loop {
        let outcome = alloc();
        let left = patience.saturating_sub(began.elapsed());
        match outcome {
            Err(
                AllocError::Exhausted { .. }
                | AllocError::Taken { .. }
                | AllocError::Contended { .. },
            ) if !left.is_zero() => {
                thread::sleep(left.min(Duration::from_millis(1)));
            }
            outcome => return outcome,
        }
    }
}

/// Takes a buffer. If the thread that adds a chunk is delayed for long, the mark was too low, and the others wait for
/// that thread.
fn buffer<'p>(pool: &'p Pool, waits: &AtomicUsize) -> Result<Allocation<'p>, AllocError> {
    patiently(PATIENCE, || {
        pool.alloc(BUFFER).inspect_err(|_| {
            waits.fetch_add(1, Ordering::Relaxed);
        })
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = Arc::new_cyclic(|pool: &Weak<Pool>| {
        let (pool, chunks) = (pool.clone(), AtomicUsize::new(1));
        let grow = move |crossing: Crossing| {
            // The pool owns this closure, so the closure must not own the pool.
            let (Mark::Low, Some(pool)) = (crossing.mark, pool.upgrade()) else {
                return;
            };
            let at = chunks.fetch_add(1, Ordering::Relaxed);
            if at >= MOST_CHUNKS {
                println!("{} KiB are left, and there is no more", crossing.free >> 10);
                return;
            }
            match pool.add(at * CHUNK, CHUNK) {
                Ok(()) => println!("{} KiB were left: chunk {at} added", crossing.free >> 10),
                Err(error) => println!("{} KiB are left: {error}", crossing.free >> 10),
            }
        };
        let marks = Watermarks::new(LOW, usize::MAX, grow);
        let builder = Pool::builder().order(12).name("buffers").observer(marks);
        builder.build().expect("an order below 64")
    });
    pool.add(0, CHUNK)?;

    let waits = AtomicUsize::new(0);
    let all_connected = Barrier::new(CONNECTIONS);
    thread::scope(|scope| {
        let connect = || {
            let buffers: Result<Vec<_>, _> = (0..BUFFERS).map(|_| buffer(&pool, &waits)).collect();
            all_connected.wait(); // also after a refusal, so that no other thread waits for ever
            buffers.map(drop)
        };
        let connections: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(connect)).collect();
        connections.into_iter().try_for_each(|connection| {
            connection
                .join()
                .map_err(|_| "a connection panicked")?
                .map_err(Box::<dyn Error>::from)
        })
    })?;
    println!(
        "{} buffers at a time in {} chunks; {} times one had to wait for a chunk",
        CONNECTIONS * BUFFERS,
        pool.stats().chunks,
        waits.into_inner()
    );
    assert_eq!(pool.avail(), pool.size());
    Ok(())
}
