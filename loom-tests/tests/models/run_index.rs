//! The run-length index: complete at rest, once a caller has asked for the tightest run.

use genpool_core::Pool;
use genpool_core::sync::Fault;
use loom_tests::{
    At, BASE, ONCE, PeekTightest, Race, TWO, explore, hold, must_fail, pool, race_to_rest,
};

fn look(pool: &Pool, n: usize) {
    drop(pool.alloc_with(1, &PeekTightest(n)));
}

/// Frees this granule and takes it again, which leaves a stale entry for it in the index.
fn notify_in_vain(pool: &Pool, granule: usize) {
    pool.free(BASE + granule, 1).expect("taken");
    hold(pool, granule, 1);
}

/// Takes this granule and keeps it, if it is free.
fn hold_if_free(pool: &Pool, granule: usize) {
    if let Ok(taken) = pool.alloc_with(1, &At(granule)) {
        let _ = taken.into_raw();
    }
}

/// A free concurrently with a search that may fail and clear the entry of the run.
fn free_beside_tightest() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 13);
    look(&prepared, 1);
    notify_in_vain(&prepared, 0);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE, 1).unwrap(),
        |pool| look(pool, 1),
    );
}

#[test]
fn lengths_hold_beside_a_free() {
    explore("free vs tightest", TWO, &[()], free_beside_tightest);
}

#[test]
fn control_unrecorded_run() {
    must_fail(
        "free vs tightest",
        &[Fault::UnrecordedRun],
        TWO,
        free_beside_tightest,
    );
}

#[test]
fn control_no_second_look() {
    must_fail(
        "free vs tightest",
        &[Fault::NoSecondLook],
        TWO,
        free_beside_tightest,
    );
}

/// A claim that leaves a run of one granule, concurrently with a search for such a run.
fn alloc_beside_tightest() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 1);
    hold(&prepared, 2, 12);
    look(&prepared, 1);
    notify_in_vain(&prepared, 1);
    prepared.free(BASE, 1).unwrap();
    prepared.free(BASE + 1, 1).unwrap();
    race_to_rest(prepared, |pool| hold(pool, 0, 1), |pool| look(pool, 1));
}

#[test]
fn lengths_hold_beside_a_claim() {
    explore("alloc vs tightest", TWO, &[()], alloc_beside_tightest);
}

#[test]
fn control_unrecorded_during_a_claim() {
    must_fail(
        "alloc vs tightest",
        &[Fault::UnrecordedRun],
        TWO,
        alloc_beside_tightest,
    );
}

#[test]
fn control_no_second_look_beside_a_claim() {
    must_fail(
        "alloc vs tightest",
        &[Fault::NoSecondLook],
        TWO,
        alloc_beside_tightest,
    );
}

/// A free concurrently with the first search, after which all changes are recorded.
fn free_beside_first_tightest() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 13);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE, 1).unwrap(),
        |pool| look(pool, 1),
    );
}

#[test]
fn lengths_hold_from_the_first_look_on() {
    explore(
        "free vs first tightest",
        TWO,
        &[()],
        free_beside_first_tightest,
    );
}

#[test]
fn control_no_fence_at_the_first_look() {
    must_fail(
        "free vs first tightest",
        &[Fault::NoFence],
        TWO,
        free_beside_first_tightest,
    );
}

/// Two frees of neighbours, each of which must see the other or be seen by it, concurrently with a search that clears
/// the entries of both.
fn two_frees_beside_tightest() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 1);
    hold(&prepared, 2, 12);
    look(&prepared, 1);
    notify_in_vain(&prepared, 0);
    let race = Race::on(prepared);
    let low = race.start(|pool| pool.free(BASE, 1).unwrap());
    let high = race.start(|pool| pool.free(BASE + 1, 1).unwrap());
    let scan = race.start(|pool| look(pool, 1));
    low.join().unwrap();
    high.join().unwrap();
    scan.join().unwrap();
    assert!(race.pool().is_sound(), "a run is not told of");
}

#[test]
fn lengths_hold_beside_two_frees() {
    explore(
        "two frees vs tightest",
        ONCE,
        &[()],
        two_frees_beside_tightest,
    );
}

#[test]
fn control_two_frees_unrecorded() {
    must_fail(
        "two frees vs tightest",
        &[Fault::UnrecordedRun],
        ONCE,
        two_frees_beside_tightest,
    );
}

/// A free in the last of four lines, concurrently with a search that clears its entry and then, since nothing else is
/// there, the entries above and in the root.
fn free_beside_tightest_on_two_levels() {
    let prepared = pool(16);
    hold(&prepared, 0, 15);
    hold(&prepared, 15, 1);
    look(&prepared, 1);
    notify_in_vain(&prepared, 15);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE + 15, 1).unwrap(),
        |pool| look(pool, 1),
    );
}

#[test]
fn lengths_hold_on_two_levels() {
    explore(
        "free vs tightest on two levels",
        TWO,
        &[()],
        free_beside_tightest_on_two_levels,
    );
}

#[test]
fn control_no_second_look_on_two_levels() {
    must_fail(
        "free vs tightest on two levels",
        &[Fault::NoSecondLook],
        TWO,
        free_beside_tightest_on_two_levels,
    );
}

/// An allocation fails to grow, because the last of the words that it would grow into is taken. A concurrent search
/// sees the others taken for a moment.
fn refused_growth_beside_tightest() {
    let prepared = pool(14);
    hold(&prepared, 0, 3);
    hold(&prepared, 6, 8);
    let mut growing = prepared.alloc_owned(1).expect("free");
    assert_eq!(growing.addr(), BASE + 3);
    look(&prepared, 1);
    race_to_rest(
        prepared,
        move |_| {
            assert!(growing.resize(4).is_err());
            growing
        },
        |pool| look(pool, 2),
    );
}

#[test]
fn lengths_hold_beside_a_refused_growth() {
    explore(
        "refused growth vs tightest",
        TWO,
        &[()],
        refused_growth_beside_tightest,
    );
}

#[test]
fn control_refused_growth_unrecorded() {
    must_fail(
        "refused growth vs tightest",
        &[Fault::UnrecordedRun],
        TWO,
        refused_growth_beside_tightest,
    );
}

/// A free of two words concurrently with a claim of what its first step gave back. The second step then gives back a
/// different run, which no other call can record.
fn free_across_beside_a_claim() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 2);
    hold(&prepared, 3, 11);
    look(&prepared, 1);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE + 1, 2).unwrap(),
        |pool| hold_if_free(pool, 1),
    );
}

#[test]
fn lengths_hold_beside_a_claim_in_the_middle_of_a_free() {
    explore(
        "free across vs a claim",
        TWO,
        &[()],
        free_across_beside_a_claim,
    );
}

#[test]
fn control_free_across_unrecorded() {
    must_fail(
        "free across vs a claim",
        &[Fault::UnrecordedRest],
        TWO,
        free_across_beside_a_claim,
    );
}

/// Like `free_across_beside_a_claim`, with a growth that is refused and gives back what it claimed.
fn refused_growth_beside_a_claim() {
    let prepared = pool(14);
    hold(&prepared, 0, 2);
    hold(&prepared, 6, 8);
    let mut growing = prepared.alloc_owned(1).expect("free");
    assert_eq!(growing.addr(), BASE + 2);
    look(&prepared, 1);
    race_to_rest(
        prepared,
        move |_| {
            assert!(growing.resize(5).is_err());
            growing
        },
        |pool| hold_if_free(pool, 3),
    );
}

#[test]
fn lengths_hold_beside_a_claim_in_the_middle_of_a_refused_growth() {
    explore(
        "refused growth vs a claim",
        TWO,
        &[()],
        refused_growth_beside_a_claim,
    );
}

#[test]
fn control_refused_growth_unrecorded_during_a_claim() {
    must_fail(
        "refused growth vs a claim",
        &[Fault::UnrecordedRest],
        TWO,
        refused_growth_beside_a_claim,
    );
}

/// A claim after the line in which a run begins, which shortens the run to the length that a search looks for in that
/// line.
fn alloc_behind_a_line_beside_tightest() {
    let prepared = pool(14);
    hold(&prepared, 0, 3);
    hold(&prepared, 3, 1);
    hold(&prepared, 4, 1);
    hold(&prepared, 5, 9);
    look(&prepared, 1);
    notify_in_vain(&prepared, 3);
    prepared.free(BASE + 3, 1).unwrap();
    prepared.free(BASE + 4, 1).unwrap();
    race_to_rest(prepared, |pool| hold(pool, 4, 1), |pool| look(pool, 1));
}

#[test]
fn lengths_hold_beside_a_claim_behind_the_line() {
    explore(
        "alloc past a line vs tightest",
        TWO,
        &[()],
        alloc_behind_a_line_beside_tightest,
    );
}

#[test]
fn control_no_second_look_behind_the_line() {
    must_fail(
        "alloc past a line vs tightest",
        &[Fault::NoSecondLook],
        TWO,
        alloc_behind_a_line_beside_tightest,
    );
}

/// Two frees that join across a word's border, each of which must see the other or be seen by it.
fn two_recorded_frees_join() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 1);
    hold(&prepared, 2, 1);
    hold(&prepared, 3, 11);
    look(&prepared, 1);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE + 1, 1).unwrap(),
        |pool| pool.free(BASE + 2, 1).unwrap(),
    );
}

#[test]
fn lengths_hold_where_frees_join() {
    explore(
        "two recorded frees join",
        TWO,
        &[()],
        two_recorded_frees_join,
    );
}

#[test]
fn control_recorded_frees_join_unseen() {
    must_fail(
        "two recorded frees join",
        &[Fault::RelaxedRelease, Fault::NoFence],
        TWO,
        two_recorded_frees_join,
    );
}

/// A free at the end of a word concurrently with a claim in the next word that leaves the rest of the same run. Each
/// must see the other or be seen by it.
fn free_beside_a_claim_further_up() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 1);
    hold(&prepared, 2, 2);
    hold(&prepared, 4, 10);
    look(&prepared, 1);
    prepared.free(BASE + 2, 2).unwrap();
    race_to_rest(
        prepared,
        |pool| pool.free(BASE + 1, 1).unwrap(),
        |pool| hold(pool, 3, 1),
    );
}

#[test]
fn lengths_hold_where_a_claim_leaves_a_part() {
    explore(
        "free vs a claim further up",
        None,
        &[()],
        free_beside_a_claim_further_up,
    );
}

#[test]
fn control_an_unrecorded_part() {
    must_fail(
        "free vs a claim further up",
        &[Fault::UnrecordedRun],
        TWO,
        free_beside_a_claim_further_up,
    );
}

/// A claim of two words concurrently with a mistaken free of the part that it took first.
fn claim_across_beside_a_strangers_free() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 3, 11);
    look(&prepared, 1);
    race_to_rest(
        prepared,
        |pool| hold(pool, 1, 2),
        |pool| pool.free(BASE + 1, 1).ok(),
    );
}

#[test]
fn lengths_hold_beside_a_strangers_free() {
    explore(
        "claim across vs a stranger's free",
        TWO,
        &[()],
        claim_across_beside_a_strangers_free,
    );
}

#[test]
fn control_unrecorded_words_of_a_claim() {
    must_fail(
        "claim across vs a stranger's free",
        &[Fault::UnrecordedRest],
        TWO,
        claim_across_beside_a_strangers_free,
    );
}
