//! The chunk list: what a reader has pinned stays until it lets go of it, and the default algorithm changes with the list.

#![allow(
    clippy::arc_with_non_send_sync,
    reason = "loom's threads share its cells, which check the sharing themselves"
)]

use std::sync::Arc;

use genpool_core::sync::{Fault, recycle, stopped_before};
use genpool_core::{Algorithm, ChunkView, Granule, Pool, Request};
use loom_tests::checker::{AtomicBool, Ordering};
use loom_tests::{At, BASE, Insist, ONCE, Race, THREE, TWO, explore, must_fail, pinned_pool, pool};

/// A reader uses the chunk list while it is replaced and the old list reclaimed.
fn pin_vs_replace() -> bool {
    let race = Race::on(pinned_pool(2));
    let reader = race.start(|pool| pool.alloc(1).is_ok());
    let writer = race.start(|pool| pool.add(BASE + 8, 1).unwrap());
    writer.join().unwrap();
    reader.join().unwrap()
}

#[test]
fn a_pinned_list_stays() {
    explore("pin vs replace", THREE, &[true], pin_vs_replace);
}

#[test]
fn control_unchecked_pin() {
    must_fail(
        "pin vs replace",
        &[Fault::UncheckedPin],
        THREE,
        pin_vs_replace,
    );
}

/// A list is replaced twice while a reader takes a count on it. Both threads find a list that a third thread has not
/// yet published to readers, and publish it. Memory of dropped lists is reused. Readers never get the first list after
/// a later one.
fn count_vs_two_replacements() {
    recycle();
    let prepared = Pool::new(0).unwrap();
    stopped_before(Fault::Unpublished, || prepared.set_algorithm(At(0)));
    let race = Race::on(prepared);
    let count = race.start(|pool| assert_eq!(pool.chunks().count(), 0));
    let replace = race.start(|pool| {
        pool.set_algorithm(At(1));
        pool.set_algorithm(At(2));
    });
    count.join().unwrap();
    replace.join().unwrap();
    assert!(race.pool().is_sound(), "readers have an earlier list");
}

#[test]
fn an_earlier_list_does_not_come_back() {
    explore(
        "count vs two replacements",
        ONCE,
        &[()],
        count_vs_two_replacements,
    );
}

// Without arc-swap there is no such step. What a change replaces is kept by the count of its caller.
#[cfg(not(genpool_own_list))]
#[test]
fn control_unpinned_advance() {
    must_fail(
        "count vs two replacements",
        &[Fault::UnpinnedAdvance],
        ONCE,
        count_vs_two_replacements,
    );
}

/// Like `pin_vs_replace`, but the reader may find a second list on its way, which is replaced as well.
fn pin_vs_two_replacements() {
    let race = Race::on(Pool::new(0).unwrap());
    let reader = race.start(|pool| assert_eq!(pool.size(), 0));
    let writer = race.start(|pool| {
        pool.set_algorithm(At(0));
        pool.set_algorithm(At(1));
    });
    writer.join().unwrap();
    reader.join().unwrap();
}

#[test]
fn a_list_that_is_pinned_late_stays() {
    explore(
        "pin vs two replacements",
        TWO,
        &[()],
        pin_vs_two_replacements,
    );
}

#[test]
fn control_unchecked_pin_of_two() {
    must_fail(
        "pin vs two replacements",
        &[Fault::UncheckedPin],
        THREE,
        pin_vs_two_replacements,
    );
}

/// First fit whose caller, and `more` callers besides, are in the middle of an allocation while `then` runs.
struct Meanwhile<'p> {
    pool: &'p Pool,
    more: usize,
    then: &'p (dyn Fn() + Sync),
}

impl Algorithm for Meanwhile<'_> {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        match self.more.checked_sub(1) {
            Some(more) => drop(self.pool.alloc_with(1, &Meanwhile { more, ..*self })),
            None => (self.then)(),
        }
        chunk.find_run(Granule(0), Granule(usize::MAX), request.granules())
    }
}

/// Like `pin_vs_replace`, while one hazard slot names an earlier list, and `more` slots do besides.
fn unslotted_vs_replace(more: usize) {
    let race = Race::on(pinned_pool(2));
    let then = || {
        race.pool().add(BASE + 4, 1).unwrap();
        // Only reads the list.
        let reader = race.start(|pool| pool.alloc_with(1, &Insist::at(usize::MAX)).is_err());
        let writer = race.start(|pool| pool.add(BASE + 8, 1).unwrap());
        writer.join().unwrap();
        assert!(reader.join().unwrap());
    };
    let (pool, then) = (race.pool(), &then);
    let outer = Meanwhile { pool, more, then };
    assert!(pool.alloc_with(1, &outer).is_ok());
}

#[test]
fn a_list_stays_while_there_are_unslotted_readers() {
    explore("unslotted reader vs replace", THREE, &[()], || {
        unslotted_vs_replace(1)
    });
}

#[test]
fn control_uncounted_reader() {
    must_fail(
        "unslotted reader vs replace",
        &[Fault::UncountedReader],
        THREE,
        || unslotted_vs_replace(1),
    );
}

/// The thread that replaces the list has the last hazard slot, so it is not counted as an unslotted reader.
#[test]
fn a_list_stays_while_others_are_unslotted() {
    explore("unslotted reader vs slot", ONCE, &[()], || {
        unslotted_vs_replace(0)
    });
}

#[test]
fn control_uncounted_other_reader() {
    must_fail(
        "unslotted reader vs slot",
        &[Fault::UncountedReader],
        ONCE,
        || unslotted_vs_replace(0),
    );
}

/// The default algorithm is replaced while another thread allocates. That call uses the old or the new one as a whole,
/// and the new one if the replacement returned before.
fn swap_vs_alloc() -> usize {
    let race = Race::on(pool(4));
    let changed = Arc::new(AtomicBool::new(false));
    let swap = {
        let changed = Arc::clone(&changed);
        race.start(move |pool| {
            pool.set_algorithm(At(3));
            changed.store(true, Ordering::Release);
        })
    };
    let alloc = race.start(move |pool| {
        let late = changed.load(Ordering::Acquire);
        let granule = pool.alloc(1).unwrap().into_raw().addr - BASE;
        assert!(!late || granule == 3, "the old default after the change");
        granule
    });
    swap.join().unwrap();
    alloc.join().unwrap()
}

#[test]
fn the_default_changes_as_one_value() {
    explore("swap vs alloc", TWO, &[0, 3], swap_vs_alloc);
}

#[test]
fn control_unpublished_default() {
    must_fail("swap vs alloc", &[Fault::Unpublished], TWO, swap_vs_alloc);
}

/// A list is replaced while another thread sweeps old lists. The sweeper drops the list after the replacing thread has
/// let go of it.
fn replacement_vs_sweep() {
    let prepared = pinned_pool(2);
    let drain = prepared.remove(BASE).unwrap();
    // This takes the chunk off the list, so that the sweep has only old lists to drop.
    prepared.add(BASE, 1).unwrap();
    let race = Race::on(prepared);
    let replace = race.start(|pool| pool.set_algorithm(At(0)));
    let sweep = race.start(move |_| drop(drain));
    replace.join().unwrap();
    sweep.join().unwrap();
}

#[test]
fn a_replaced_list_is_handed_over() {
    explore("replacement vs sweep", ONCE, &[()], replacement_vs_sweep);
}
