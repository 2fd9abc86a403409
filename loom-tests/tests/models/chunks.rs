//! Adding and removing chunks concurrently with allocations, and the address index.

#![allow(
    clippy::arc_with_non_send_sync,
    reason = "loom's threads share its cells, which check the sharing themselves"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as Plain, Ordering as PlainOrdering};

use genpool_core::sync::Fault;
use genpool_core::{AllocError, ChunkSpec, Pool};
use loom_tests::checker::{AtomicBool, Ordering, UnsafeCell};
use loom_tests::{
    At, BASE, ONCE, Peek, Race, THREE, TWO, explore, hold, must_fail, pinned_pool, pool,
    race_to_drain,
};

/// An alloc sees a free that completed before.
fn free_then_alloc() -> Option<bool> {
    let prepared = pool(2);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 1);
    let race = Race::on(prepared);
    let done = Arc::new(AtomicBool::new(false));
    let free = {
        let done = Arc::clone(&done);
        race.start(move |pool| {
            pool.free(BASE, 1).unwrap();
            done.store(true, Ordering::Release);
        })
    };
    let scan = race.start(|pool| drop(pool.alloc_with(1, &Peek(1))));
    let alloc = race.start(move |pool| done.load(Ordering::Acquire).then(|| pool.alloc(1).is_ok()));
    free.join().unwrap();
    scan.join().unwrap();
    let alloc = alloc.join().unwrap();
    assert_ne!(alloc, Some(false), "a completed free was not seen");
    alloc
}

#[test]
fn a_completed_free_is_seen() {
    explore(
        "free then alloc",
        THREE,
        &[None, Some(true)],
        free_then_alloc,
    );
}

#[test]
fn control_neither_raised_nor_proved() {
    let faults = [Fault::UnraisedHint, Fault::Unproved];
    must_fail("free then alloc", &faults, THREE, free_then_alloc);
}

/// A chunk is added while another thread allocates. Once `add` has returned, the new chunk serves.
fn add_vs_alloc() -> Option<bool> {
    let prepared = pool(1);
    hold(&prepared, 0, 1);
    let race = Race::on(prepared);
    let added = Arc::new(AtomicBool::new(false));
    let add = {
        let added = Arc::clone(&added);
        race.start(move |pool| {
            pool.add(BASE + 8, 1).unwrap();
            added.store(true, Ordering::Release);
        })
    };
    let alloc = race.start(move |pool| {
        let late = added.load(Ordering::Acquire);
        match pool.alloc(1) {
            Ok(found) => {
                assert_eq!(found.into_raw().addr, BASE + 8);
                Some(late)
            }
            Err(AllocError::Exhausted { .. } | AllocError::Impossible(_)) => {
                assert!(!late, "the chunk had been added");
                None
            }
            Err(other) => panic!("{other}"),
        }
    });
    add.join().unwrap();
    let alloc = alloc.join().unwrap();
    assert_eq!(race.pool().size(), 2);
    alloc
}

#[test]
fn an_add_is_seen_whole_or_not_at_all() {
    explore(
        "add vs alloc",
        THREE,
        &[None, Some(false), Some(true)],
        add_vs_alloc,
    );
}

// Without arc-swap there is no such step. Readers and changes have the same list.
#[cfg(not(genpool_own_list))]
#[test]
fn control_unpublished_chunk() {
    must_fail("add vs alloc", &[Fault::Unpublished], THREE, add_vs_alloc);
}

/// Two chunks are added by one call, while another thread looks at what the pool contains.
fn add_many_vs_size() -> usize {
    let prepared = pool(1);
    let before = prepared.size();
    let race = Race::on(prepared);
    let added = Arc::new(AtomicBool::new(false));
    let add = {
        let added = Arc::clone(&added);
        race.start(move |pool| {
            let chunks = [BASE + 8, BASE + 12].map(|start| ChunkSpec::new(start, 1));
            pool.add_many(chunks.to_vec()).unwrap();
            added.store(true, Ordering::Release);
        })
    };
    let size = race.start(move |pool| {
        let late = added.load(Ordering::Acquire);
        let more = pool.size() - before;
        assert!(!late || more == 2, "the chunks had been added");
        more
    });
    add.join().unwrap();
    let more = size.join().unwrap();
    assert!(race.pool().is_sound(), "a chunk is not found");
    more
}

#[test]
fn many_chunks_are_seen_all_or_none() {
    explore("add many vs size", TWO, &[0, 2], add_many_vs_size);
}

#[test]
fn control_unpublished_chunks() {
    must_fail(
        "add many vs size",
        &[Fault::Unpublished],
        TWO,
        add_many_vs_size,
    );
}

/// Two chunks are added at once. Both are there afterwards, unless they overlap.
fn add_vs_add() -> (bool, bool) {
    let race = Race::on(pool(1));
    let add = |start| race.start(move |pool| pool.add(start, 2).is_ok());
    let (one, two) = (add(BASE + 8), add(BASE + 9));
    let outcome = (one.join().unwrap(), two.join().unwrap());
    assert_eq!(race.pool().size(), 3);
    assert_eq!(race.pool().chunks().count(), 2);
    let found = race.pool().alloc(2).unwrap();
    assert_eq!(found.addr(), if outcome.0 { BASE + 8 } else { BASE + 9 });
    drop(found);
    assert!(
        race.pool().is_sound(),
        "a chunk is not in the address index"
    );
    outcome
}

#[test]
fn overlapping_adds_exclude_each_other() {
    explore(
        "add vs add",
        ONCE,
        &[(true, false), (false, true)],
        add_vs_add,
    );
}

#[test]
fn control_lost_update() {
    must_fail("add vs add", &[Fault::LostUpdate], ONCE, add_vs_add);
}

/// Two chunks are added at once, and the address index finds each.
fn two_adds() {
    let race = Race::on(pool(1));
    let add = |start| race.start(move |pool| pool.add(start, 1).unwrap());
    let (one, two) = (add(BASE + 8), add(BASE + 12));
    one.join().unwrap();
    two.join().unwrap();
    assert!(
        race.pool().is_sound(),
        "a chunk is not in the address index"
    );
}

#[test]
fn the_address_index_has_chunks_that_came_at_once() {
    explore("two adds", ONCE, &[()], two_adds);
}

#[test]
fn control_lost_request() {
    must_fail("two adds", &[Fault::LostRequest], ONCE, two_adds);
}

/// A look-up concurrently with an add that cuts the span into other buckets.
fn lookup_vs_add() {
    let prepared = Pool::new(0).unwrap();
    prepared.add_virt(BASE, 100, 1).unwrap();
    prepared.add_virt(BASE + 4, 200, 1).unwrap();
    let race = Race::on(prepared);
    let add = race.start(|pool| pool.add_virt(BASE + 16, 300, 1).unwrap());
    let lookup = race.start(|pool| {
        assert_eq!(pool.phys_of(BASE), Some(100));
        assert_eq!(pool.phys_of(BASE + 1), None);
    });
    add.join().unwrap();
    lookup.join().unwrap();
    assert!(race.pool().is_sound());
}

#[test]
fn a_lookup_is_right_during_an_add() {
    explore("lookup vs add", THREE, &[()], lookup_vs_add);
}

#[test]
fn control_unchecked_bucket() {
    must_fail(
        "lookup vs add",
        &[Fault::UncheckedBucket],
        THREE,
        lookup_vs_add,
    );
}

/// A look-up of a chunk that is being added to a pool of `chunks` chunks. A third chunk needs no other bucket table
/// than a second.
fn lookup_of_what_is_added(chunks: usize) -> Option<u64> {
    let prepared = Pool::new(0).unwrap();
    for chunk in 0..chunks {
        prepared.add_virt(BASE + 4 * chunk, 100, 1).unwrap();
    }
    let race = Race::on(prepared);
    let add = race.start(|pool| pool.add_virt(BASE + 16, 300, 1).unwrap());
    let lookup = race.start(|pool| pool.phys_of(BASE + 16));
    add.join().unwrap();
    lookup.join().unwrap()
}

#[test]
fn what_is_looked_up_is_whole() {
    explore("lookup of the third", ONCE, &[None, Some(300)], || {
        lookup_of_what_is_added(2)
    });
}

#[test]
fn what_is_looked_up_in_another_table_is_whole() {
    explore("lookup of the second", ONCE, &[None, Some(300)], || {
        lookup_of_what_is_added(1)
    });
}

/// A chunk is removed while another thread allocates from it. The chunk counts as drained only when nothing is held,
/// and its owner is notified once.
fn removal_vs_alloc(prepared: Pool) -> bool {
    let race = Race::on(prepared);
    let notified = Arc::new(Plain::new(0));
    let remove = {
        let notified = Arc::clone(&notified);
        race.start(move |pool| {
            let drain = pool.remove(BASE).unwrap();
            drain.on_drained(move || {
                notified.fetch_add(1, PlainOrdering::Relaxed);
            });
            assert!(pool.alloc(1).is_err(), "handed out after the removal");
            drain
        })
    };
    let alloc = race.start(|pool| pool.alloc(1).map(|found| found.into_raw()).ok());
    let drain = remove.join().unwrap();
    let held = alloc.join().unwrap();
    if let Some(range) = held {
        assert!(!drain.is_drained(), "drained while something is held");
        assert_eq!(notified.load(PlainOrdering::Relaxed), 0);
        race.pool().free(range.addr, range.size).unwrap();
    }
    // Read before the drain is asked, because asking it checks the chunk again.
    assert_eq!(
        notified.load(PlainOrdering::Relaxed),
        1,
        "the owner was not notified"
    );
    assert!(drain.is_drained(), "empty and not drained");
    drain.finish().unwrap();
    assert!(!race.pool().contains(BASE, 1));
    held.is_some()
}

#[test]
fn removal_waits_for_what_is_held() {
    explore("removal vs alloc", THREE, &[false, true], || {
        removal_vs_alloc(pool(2))
    });
}

#[test]
fn control_unchecked_state() {
    must_fail("removal vs alloc", &[Fault::UncheckedState], TWO, || {
        removal_vs_alloc(pool(2))
    });
}

#[test]
fn removal_waits_for_what_is_held_in_pinned_chunks() {
    explore("removal vs pinned alloc", THREE, &[false, true], || {
        removal_vs_alloc(pinned_pool(2))
    });
}

#[test]
fn control_unchecked_state_in_pinned_chunks() {
    must_fail(
        "removal vs pinned alloc",
        &[Fault::UncheckedState],
        THREE,
        || removal_vs_alloc(pinned_pool(2)),
    );
}

/// The older of two chunks is removed while a third is added, which is then tried first.
fn removal_vs_add() {
    let prepared = pool(1);
    hold(&prepared, 0, 1);
    prepared.add(BASE + 4, 1).unwrap();
    let race = Race::on(prepared);
    let remove = race.start(|pool| drop(pool.remove(BASE).unwrap()));
    let add = race.start(|pool| pool.add(BASE + 8, 1).unwrap());
    remove.join().unwrap();
    add.join().unwrap();
    assert_eq!(race.pool().alloc(1).unwrap().addr(), BASE + 8);
}

#[test]
fn the_newest_is_tried_first() {
    explore("removal vs add", ONCE, &[()], removal_vs_add);
}

/// The newer of two chunks is removed while the list is replaced, so the chunk to try first is selected twice.
/// Something is held in the removed chunk, so that it stays on the list.
fn removal_vs_swap() {
    let prepared = pool(1);
    prepared.add(BASE + 4, 1).unwrap();
    hold(&prepared, 0, 1);
    let race = Race::on(prepared);
    let remove = race.start(|pool| drop(pool.remove(BASE + 4).unwrap()));
    let swap = race.start(|pool| pool.set_algorithm(At(0)));
    remove.join().unwrap();
    swap.join().unwrap();
    assert!(
        race.pool().is_sound(),
        "what is being removed is tried first"
    );
}

#[test]
fn what_is_being_removed_is_not_tried_first() {
    explore("removal vs swap", ONCE, &[()], removal_vs_swap);
}

/// The last allocation is given back while its chunk is being removed: one of the two threads notifies the owner.
fn removal_vs_free() -> bool {
    let prepared = pool(2);
    hold(&prepared, 0, 1);
    race_to_drain(prepared, |pool| pool.free(BASE, 1).unwrap())
}

#[test]
fn the_last_free_notifies() {
    explore("removal vs free", TWO, &[false, true], removal_vs_free);
}

#[test]
fn control_no_fence_before_the_state() {
    must_fail("removal vs free", &[Fault::NoFence], TWO, removal_vs_free);
}

/// Accesses to a chunk's memory after the drain are ordered after those of its last owner.
fn memory_after_removal() -> bool {
    let prepared = pool(2);
    hold(&prepared, 0, 1);
    let race = Race::on(prepared);
    let memory = Arc::new(UnsafeCell::new(0));
    let remove = {
        let memory = Arc::clone(&memory);
        race.start(move |pool| {
            let drained = pool.remove(BASE).unwrap().is_drained();
            if drained {
                // SAFETY: the chunk is drained, so no other thread uses its memory; loom reports it otherwise.
                memory.with_mut(|byte| assert_eq!(unsafe { byte.replace(2) }, 1));
            }
            drained
        })
    };
    let free = race.start(move |pool| {
        // SAFETY: this thread owns the granule; loom reports it otherwise.
        memory.with_mut(|byte| unsafe { *byte = 1 });
        pool.free(BASE, 1).unwrap();
    });
    free.join().unwrap();
    remove.join().unwrap()
}

#[test]
fn memory_of_a_drained_chunk_has_no_other_user() {
    explore(
        "memory after removal",
        TWO,
        &[false, true],
        memory_after_removal,
    );
}

#[test]
fn control_removal_without_handover() {
    must_fail(
        "memory after removal",
        &[Fault::RelaxedRelease, Fault::NoFence],
        TWO,
        memory_after_removal,
    );
}
