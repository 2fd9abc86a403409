//! The drop of the last allocation of a chunk that is being removed: the owner is notified, exactly once.

#![allow(
    clippy::arc_with_non_send_sync,
    reason = "loom's threads share its cells, which check the sharing themselves"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use genpool_core::sync::Fault;
use genpool_core::{Algorithm, ChunkView, Granule, Pool, Request};
use loom_tests::{
    BASE, Race, THREE, TWO, explore, must_fail, own, pinned_pool, pool, race_to_drain,
};

/// The last allocation of a chunk is dropped while the chunk is removed: the owner is notified once.
fn drop_vs_removal(prepared: Pool, n: usize) -> bool {
    let held = own(&prepared, 1 - n / 2, n);
    race_to_drain(prepared, move |_| drop(held))
}

/// In one word; across the border of two; and in a chunk that is not permanent.
const REMOVALS: [(fn() -> Pool, usize); 3] =
    [(|| pool(4), 1), (|| pool(4), 2), (|| pinned_pool(4), 1)];

#[test]
fn the_last_drop_notifies_the_owner() {
    for (prepared, n) in REMOVALS {
        explore("drop vs removal", TWO, &[false, true], move || {
            drop_vs_removal(prepared(), n)
        });
    }
}

#[test]
fn control_unnoticed_removal() {
    for (prepared, n) in REMOVALS {
        for fault in [Fault::UncheckedDrain, Fault::NoFence] {
            must_fail("drop vs removal", &[fault], TWO, move || {
                drop_vs_removal(prepared(), n)
            });
        }
    }
}

/// Removes the chunk after looking at it, and then proposes granules 1 and 2.
struct Removing<'p> {
    pool: &'p Pool,
    notified: Arc<AtomicUsize>,
    removed: AtomicUsize,
}

impl Algorithm for Removing<'_> {
    fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        if self.removed.fetch_add(1, Ordering::Relaxed) == 0 {
            let notified = Arc::clone(&self.notified);
            let drain = self.pool.remove(BASE).unwrap();
            drain.on_drained(move || {
                notified.fetch_add(1, Ordering::Relaxed);
            });
        }
        Some(Granule(1))
    }
}

/// The last allocation of a chunk that is being removed is dropped while an earlier claim is refused and rolled back.
/// The drop may see the claim's granules taken.
fn drop_vs_rollback() {
    let prepared = pool(4);
    let held = own(&prepared, 2, 1);
    let race = Race::on(prepared);
    let notified = Arc::new(AtomicUsize::new(0));
    let claim = {
        let notified = Arc::clone(&notified);
        race.start(move |pool| {
            let removed = AtomicUsize::new(0);
            let removing = Removing {
                pool,
                notified,
                removed,
            };
            assert!(pool.alloc_with(2, &removing).is_err());
        })
    };
    let dropping = race.start(move |_| drop(held));
    claim.join().unwrap();
    dropping.join().unwrap();
    let notified = notified.load(Ordering::Relaxed);
    assert_eq!(notified, 1, "the owner was not notified");
}

#[test]
fn a_refused_claim_notifies_the_owner() {
    explore("drop vs rollback", THREE, &[()], drop_vs_rollback);
}

#[test]
fn control_unnoticed_rollback() {
    must_fail(
        "drop vs rollback",
        &[Fault::UncheckedRollback],
        THREE,
        drop_vs_rollback,
    );
}

/// The `Drain` of a chunk is dropped while something is held in the chunk, during a change of the chunk list that finds
/// another such chunk. Both leave the list with a change after the last free.
fn leaving_vs_change() {
    let prepared = pinned_pool(1);
    let mut drains = Vec::new();
    for start in [BASE + 4, BASE + 8] {
        prepared.add(start, 1).unwrap();
        // In the newest chunk.
        let _ = prepared.alloc(1).unwrap().into_raw();
        drains.push(prepared.remove(start).unwrap());
    }
    let (last, first) = (drains.pop(), drains.pop());
    drop(first);
    let race = Race::on(prepared);
    let leave = race.start(move |_| drop(last));
    let change = race.start(|pool| pool.add(BASE + 12, 1).unwrap());
    leave.join().unwrap();
    change.join().unwrap();
    for start in [BASE + 4, BASE + 8] {
        race.pool().free(start, 1).unwrap();
    }
    // A pool with the chunks that are left.
    let rest = pinned_pool(1);
    rest.add(BASE + 12, 1).unwrap();
    for pool in [race.pool(), &rest] {
        pool.add(BASE + 16, 1).unwrap();
        // The lists of both have no room to spare.
        pool.add(BASE + 20, 1).unwrap();
    }
    let [ours, least] = [race.pool(), &rest].map(|pool| pool.stats().bookkeeping);
    assert_eq!(ours, least, "a chunk has not left the list");
}

#[test]
fn chunks_that_are_held_leave_later() {
    explore("leaving vs change", TWO, &[()], leaving_vs_change);
}

#[test]
fn control_forgotten_leaving() {
    must_fail(
        "leaving vs change",
        &[Fault::ForgottenLeaving],
        TWO,
        leaving_vs_change,
    );
}
