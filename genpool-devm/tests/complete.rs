//! `Released::wait` and `Released::on_complete`: the end of a release that outstanding allocations hold up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use genpool_core::{ChunkSpec, OwnedAllocation, Pool};
use genpool_devm::Device;

/// A device with a pool, and an allocation in it.
fn held() -> (Device, OwnedAllocation) {
    let device = Device::new("dsp");
    let pool = device.create_pool(Pool::builder()).unwrap();
    pool.add_chunk(ChunkSpec::new(0, 64)).unwrap();
    let held = pool.alloc_owned(1).unwrap();
    (device, held)
}

#[test]
fn wait_ends_with_the_last_allocation_or_with_its_timeout() {
    let (device, held) = held();
    let released = device.release().unwrap();
    let begin = Instant::now();
    let timeout = Duration::from_millis(5);
    assert!(!released.wait(Some(timeout)) && begin.elapsed() >= timeout);
    assert!(!released.wait(Some(Duration::ZERO)));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| released.wait(None));
        drop(held);
        assert!(waiting.join().unwrap());
    });
    assert!(released.wait(Some(Duration::ZERO)));
}

#[test]
fn the_callback_is_called_once_after_all_is_released() {
    let (device, held) = held();
    let (sender, called) = mpsc::channel();
    let say = |what| {
        let sender = sender.clone();
        move || sender.send(what).unwrap()
    };
    device.on_release(say("action")).unwrap();
    let released = device.release().unwrap();
    released.on_complete(say("replaced"));
    released.clone().on_complete(say("callback"));
    let seen = released.clone();
    drop(released);
    assert_eq!(called.try_recv(), Ok("action"));
    assert!(called.try_recv().is_err() && !seen.is_complete());
    drop(held);
    assert_eq!(called.try_recv(), Ok("callback"));
    // Too late to wait for anything.
    seen.on_complete(say("now"));
    drop(seen);
    assert_eq!(called.try_recv(), Ok("now"));
    drop(sender);
    assert_eq!(called.recv().ok(), None);
}

#[test]
fn a_callback_that_panics_is_in_the_report() {
    let (device, held) = held();
    let released = device.release().unwrap();
    let seen = released.clone();
    released.on_complete(move || {
        assert!(seen.is_complete());
        panic!("on purpose");
    });
    drop(held);
    assert_eq!(released.panics(), ["on purpose"]);
    let now = catch_unwind(AssertUnwindSafe(|| {
        released.on_complete(|| panic!("called now"));
    }));
    assert!(now.is_err());
    assert_eq!(released.panics(), ["on purpose"]);
}

#[test]
fn a_callback_that_is_set_while_the_last_allocation_returns_is_called() {
    let rounds = if cfg!(miri) { 5 } else { 500 };
    let (sender, called) = mpsc::channel();
    for _ in 0..rounds {
        let (device, held) = held();
        let released = device.release().unwrap();
        let gate = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                gate.wait();
                drop(held);
            });
            gate.wait();
            let sender = sender.clone();
            released.on_complete(move || sender.send(()).unwrap());
        });
        assert!(released.is_complete());
        assert_eq!((called.try_recv(), called.try_recv().ok()), (Ok(()), None));
    }
}
