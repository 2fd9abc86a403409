//! The waiting loops of the guide and the examples: they wait when there is no room, and no longer than they say.

use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use buffer_service::patiently;
use genpool::{Algorithm, AllocError, ChunkView, FirstFit, Granule, Pool, Request};

#[path = "../examples/buffer_service.rs"]
#[expect(dead_code, reason = "the service itself runs as an example")]
mod buffer_service;

const PATIENCE: Duration = Duration::from_millis(50);
/// How long the other thread is stopped. A wait that ends only when that thread continues is far too long.
const STOPPED: Duration = Duration::from_secs(2);
/// Between the two other durations, with margin for a busy machine.
const TOO_LONG: Duration = Duration::from_secs(1);

/// First fit, but the first request of two granules stops its thread until it is released.
struct Stops {
    begun: mpsc::Sender<()>,
    go: Mutex<Option<mpsc::Receiver<()>>>,
}

impl Algorithm for Stops {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        if request.granules() == 2
            && let Some(go) = self.go.lock().unwrap().take()
        {
            self.begun.send(()).ok();
            go.recv_timeout(STOPPED).ok();
        }
        FirstFit.propose(chunk, request)
    }
}

/// Runs `call` on a full pool, while another thread is stopped in the middle of an `alloc_many`.
fn while_another_is_stopped<R>(call: impl FnOnce(&Pool) -> R) -> R {
    let ((begun, has_begun), (go, wait)) = (mpsc::channel(), mpsc::channel());
    let stops = Stops {
        begun,
        go: Mutex::new(Some(wait)),
    };
    let pool = Pool::builder().algorithm(stops).build().unwrap();
    pool.add(0, 4).unwrap();
    let _all = pool.alloc(4).unwrap();
    thread::scope(|threads| {
        threads.spawn(|| pool.alloc_many(&[2, 2]).map(drop));
        has_begun.recv_timeout(STOPPED).unwrap();
        let answer = call(&pool);
        drop(go); // releases it
        answer
    })
}

fn timed<R>(call: impl FnOnce() -> R) -> (R, Duration) {
    let began = Instant::now();
    (call(), began.elapsed())
}

#[test]
fn a_wait_ends_in_time_while_a_thread_is_stopped() {
    let (refused, took) = while_another_is_stopped(|pool| {
        timed(|| patiently(PATIENCE, || pool.alloc(1)).map(|found| found.addr()))
    });
    assert_eq!(refused, Err(AllocError::Contended { size: 1 }));
    assert!(took >= PATIENCE && took < TOO_LONG, "{took:?}");
}

#[test]
fn a_wait_ends_in_time_while_the_pool_is_full() {
    let pool = Pool::new(0).unwrap();
    pool.add(0, 4).unwrap();
    let all = pool.alloc(4).unwrap();
    let (refused, took) = timed(|| patiently(PATIENCE, || pool.alloc(1)));
    assert_eq!(refused.err(), Some(AllocError::Exhausted { size: 1 }));
    assert!(took >= PATIENCE && took < TOO_LONG, "{took:?}");

    // An error that no wait can fix is returned at once, and so is success, whatever the patience.
    let (refused, took) = timed(|| patiently(STOPPED, || pool.alloc(0)));
    assert_eq!(refused.err(), Some(AllocError::ZeroSize));
    assert!(took < TOO_LONG, "{took:?}");
    drop(all);
    assert!(patiently(Duration::ZERO, || pool.alloc(1)).is_ok());
    assert!(patiently(Duration::MAX, || pool.alloc(1)).is_ok());
}

#[test]
fn a_wait_ends_when_there_is_room() {
    let pool = Pool::new(0).unwrap();
    pool.add(0, 4).unwrap();
    let all = pool.alloc(4).unwrap();
    let (found, took) = thread::scope(|threads| {
        threads.spawn(move || {
            thread::sleep(PATIENCE);
            drop(all);
        });
        timed(|| patiently(STOPPED, || pool.alloc(1)).is_ok())
    });
    assert!(found && took < STOPPED, "{took:?}");
}

/// Returns the text of the function in a file, without the prefix of each line.
fn function(text: &str, prefix: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.strip_prefix(prefix).unwrap_or(line));
    let from = lines.skip_while(|line| !line.contains("fn patiently"));
    let mut lines: Vec<&str> = from.take_while(|&line| line != "}").collect();
    lines[0] = lines[0].trim_start_matches("pub(crate) ");
    lines.join("\n")
}

#[test]
fn guide_and_examples_wait_alike() {
    let tested = function(include_str!("../examples/buffer_service.rs"), "");
    assert!(tested.lines().count() > 10);
    let guide = function(include_str!("../src/guide/service.rs"), "//! ");
    assert_eq!(guide, tested);
    let grow_in_time = include_str!("../genpool-observe/examples/grow_in_time.rs");
    assert_eq!(function(grow_in_time, ""), tested);
}
