//! Run bounds: never too low once the frees have returned.

#![cfg(genpool_loom)]

use genpool_core::sync::Fault;
use loom_tests::{BASE, Peek, Race, TWO, explore, hold, must_fail, pool};

/// One free beside one scan that may find nothing and lower the bound.
fn free_beside_scan() {
    let prepared = pool(4);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 3);
    let race = Race::on(prepared);
    let free = race.start(|pool| pool.free(BASE, 1).unwrap());
    let scan = race.start(|pool| drop(pool.alloc_with(1, &Peek(1))));
    free.join().unwrap();
    scan.join().unwrap();
    assert!(race.pool().is_sound(), "a bound is too low");
}

#[test]
fn bounds_hold_beside_a_free() {
    explore("free beside scan", TWO, &[()], free_beside_scan);
}

#[test]
fn control_unraised_bound() {
    must_fail(
        "free beside scan",
        &[Fault::UnraisedBound],
        TWO,
        free_beside_scan,
    );
}

#[test]
fn control_no_ticket() {
    must_fail(
        "free beside scan",
        &[Fault::NoTicket],
        TWO,
        free_beside_scan,
    );
}

#[test]
fn control_no_fence() {
    must_fail("free beside scan", &[Fault::NoFence], TWO, free_beside_scan);
}

/// Scans of two sizes beside a free: the second takes a ticket of its own.
fn free_beside_two_scans() {
    let prepared = pool(4);
    hold(&prepared, 0, 2);
    hold(&prepared, 2, 2);
    let race = Race::on(prepared);
    let one = race.start(|pool| drop(pool.alloc_with(1, &Peek(1))));
    let two = race.start(|pool| drop(pool.alloc_with(1, &Peek(2))));
    let free = race.start(|pool| pool.free(BASE, 2).unwrap());
    one.join().unwrap();
    two.join().unwrap();
    free.join().unwrap();
    assert!(race.pool().is_sound(), "a bound is too low");
}

#[test]
fn bounds_hold_beside_two_scans() {
    explore("free beside two scans", TWO, &[()], free_beside_two_scans);
}

#[test]
fn control_no_version() {
    must_fail(
        "free beside two scans",
        &[Fault::NoVersion],
        TWO,
        free_beside_two_scans,
    );
}
