//! The run-length index: complete at rest, once a caller has asked for the tightest run.

use genpool_core::Pool;
use genpool_core::sync::Fault;
use loom_tests::{
    At, BASE, ONCE, PeekTightest, Race, TWO, explore, hold, must_fail, pool, race_to_rest,
};

fn search(pool: &Pool, n: usize) {
    drop(pool.alloc_with(1, &PeekTightest(n)));
}

/// Frees this granule and takes it again, which leaves a stale entry for it in the index.
fn leave_a_stale_entry(pool: &Pool, granule: usize) {
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
fn free_vs_tightest() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 13);
    search(&prepared, 1);
    leave_a_stale_entry(&prepared, 0);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE, 1).unwrap(),
        |pool| search(pool, 1),
    );
}

#[test]
fn the_run_index_holds_if_a_free_races_a_search() {
    explore("free vs tightest", TWO, &[()], free_vs_tightest);
}

#[test]
fn control_unrecorded_run() {
    must_fail(
        "free vs tightest",
        &[Fault::UnrecordedRun],
        TWO,
        free_vs_tightest,
    );
}

#[test]
fn control_no_second_look() {
    must_fail(
        "free vs tightest",
        &[Fault::NoSecondLook],
        TWO,
        free_vs_tightest,
    );
}

/// A claim that leaves a run of one granule, concurrently with a search for such a run.
fn alloc_vs_tightest() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 1);
    hold(&prepared, 2, 12);
    search(&prepared, 1);
    leave_a_stale_entry(&prepared, 1);
    prepared.free(BASE, 1).unwrap();
    prepared.free(BASE + 1, 1).unwrap();
    race_to_rest(prepared, |pool| hold(pool, 0, 1), |pool| search(pool, 1));
}

#[test]
fn the_run_index_holds_if_a_claim_races_a_search() {
    explore("alloc vs tightest", TWO, &[()], alloc_vs_tightest);
}

#[test]
fn control_unrecorded_during_a_claim() {
    must_fail(
        "alloc vs tightest",
        &[Fault::UnrecordedRun],
        TWO,
        alloc_vs_tightest,
    );
}

#[test]
fn control_no_second_look_during_a_claim() {
    must_fail(
        "alloc vs tightest",
        &[Fault::NoSecondLook],
        TWO,
        alloc_vs_tightest,
    );
}

/// A free concurrently with the first search, after which all changes are recorded.
fn free_vs_first_tightest() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 13);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE, 1).unwrap(),
        |pool| search(pool, 1),
    );
}

#[test]
fn the_run_index_holds_from_the_first_search_on() {
    explore("free vs first tightest", TWO, &[()], free_vs_first_tightest);
}

#[test]
fn control_no_fence_at_the_first_search() {
    must_fail(
        "free vs first tightest",
        &[Fault::NoFence],
        TWO,
        free_vs_first_tightest,
    );
}

/// Two frees of neighbours, each of which must see the other or be seen by it, concurrently with a search that clears
/// the entries of both.
fn two_frees_vs_tightest() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 1);
    hold(&prepared, 2, 12);
    search(&prepared, 1);
    leave_a_stale_entry(&prepared, 0);
    let race = Race::on(prepared);
    let low = race.start(|pool| pool.free(BASE, 1).unwrap());
    let high = race.start(|pool| pool.free(BASE + 1, 1).unwrap());
    let scan = race.start(|pool| search(pool, 1));
    low.join().unwrap();
    high.join().unwrap();
    scan.join().unwrap();
    assert!(
        race.pool().is_sound(),
        "a run is missing from the run-length index"
    );
}

#[test]
fn the_run_index_holds_if_two_frees_race_a_search() {
    explore("two frees vs tightest", ONCE, &[()], two_frees_vs_tightest);
}

#[test]
fn control_two_frees_unrecorded() {
    must_fail(
        "two frees vs tightest",
        &[Fault::UnrecordedRun],
        ONCE,
        two_frees_vs_tightest,
    );
}

/// A free in the last of four lines, concurrently with a search that clears its entry and then, since nothing else is
/// there, the entries above and in the root.
fn free_vs_tightest_on_two_levels() {
    let prepared = pool(16);
    hold(&prepared, 0, 15);
    hold(&prepared, 15, 1);
    search(&prepared, 1);
    leave_a_stale_entry(&prepared, 15);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE + 15, 1).unwrap(),
        |pool| search(pool, 1),
    );
}

#[test]
fn the_run_index_holds_on_two_levels() {
    explore(
        "free vs tightest on two levels",
        TWO,
        &[()],
        free_vs_tightest_on_two_levels,
    );
}

#[test]
fn control_no_second_look_on_two_levels() {
    must_fail(
        "free vs tightest on two levels",
        &[Fault::NoSecondLook],
        TWO,
        free_vs_tightest_on_two_levels,
    );
}

/// An allocation fails to grow, because the last of the words that it would grow into is taken. A concurrent search
/// sees the others taken for a moment.
fn refused_growth_vs_tightest() {
    let prepared = pool(14);
    hold(&prepared, 0, 3);
    hold(&prepared, 6, 8);
    let mut growing = prepared.alloc_owned(1).expect("free");
    assert_eq!(growing.addr(), BASE + 3);
    search(&prepared, 1);
    race_to_rest(
        prepared,
        move |_| {
            assert!(growing.resize(4).is_err());
            growing
        },
        |pool| search(pool, 2),
    );
}

#[test]
fn the_run_index_holds_if_a_refused_growth_races_a_search() {
    explore(
        "refused growth vs tightest",
        TWO,
        &[()],
        refused_growth_vs_tightest,
    );
}

#[test]
fn control_refused_growth_unrecorded() {
    must_fail(
        "refused growth vs tightest",
        &[Fault::UnrecordedRun],
        TWO,
        refused_growth_vs_tightest,
    );
}

/// A free of two words concurrently with a claim of what its first step gave back. The second step then gives back a
/// different run, which no other call can record.
fn free_across_vs_a_claim() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 2);
    hold(&prepared, 3, 11);
    search(&prepared, 1);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE + 1, 2).unwrap(),
        |pool| hold_if_free(pool, 1),
    );
}

#[test]
fn the_run_index_holds_if_a_claim_interrupts_a_free() {
    explore("free across vs a claim", TWO, &[()], free_across_vs_a_claim);
}

#[test]
fn control_free_across_unrecorded() {
    must_fail(
        "free across vs a claim",
        &[Fault::UnrecordedRest],
        TWO,
        free_across_vs_a_claim,
    );
}

/// Like `free_across_vs_a_claim`, with a growth that is refused and gives back what it claimed.
fn refused_growth_vs_a_claim() {
    let prepared = pool(14);
    hold(&prepared, 0, 2);
    hold(&prepared, 6, 8);
    let mut growing = prepared.alloc_owned(1).expect("free");
    assert_eq!(growing.addr(), BASE + 2);
    search(&prepared, 1);
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
fn the_run_index_holds_if_a_claim_interrupts_a_refused_growth() {
    explore(
        "refused growth vs a claim",
        TWO,
        &[()],
        refused_growth_vs_a_claim,
    );
}

#[test]
fn control_refused_growth_unrecorded_during_a_claim() {
    must_fail(
        "refused growth vs a claim",
        &[Fault::UnrecordedRest],
        TWO,
        refused_growth_vs_a_claim,
    );
}

/// A claim after the line in which a run begins, which shortens the run to the length that a search looks for in that
/// line.
fn alloc_past_a_line_vs_tightest() {
    let prepared = pool(14);
    hold(&prepared, 0, 3);
    hold(&prepared, 3, 1);
    hold(&prepared, 4, 1);
    hold(&prepared, 5, 9);
    search(&prepared, 1);
    leave_a_stale_entry(&prepared, 3);
    prepared.free(BASE + 3, 1).unwrap();
    prepared.free(BASE + 4, 1).unwrap();
    race_to_rest(prepared, |pool| hold(pool, 4, 1), |pool| search(pool, 1));
}

#[test]
fn the_run_index_holds_if_a_claim_past_the_line_races_a_search() {
    explore(
        "alloc past a line vs tightest",
        TWO,
        &[()],
        alloc_past_a_line_vs_tightest,
    );
}

#[test]
fn control_no_second_look_past_the_line() {
    must_fail(
        "alloc past a line vs tightest",
        &[Fault::NoSecondLook],
        TWO,
        alloc_past_a_line_vs_tightest,
    );
}

/// Two frees that join across a word's border, each of which must see the other or be seen by it.
fn two_recorded_frees_join() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 1);
    hold(&prepared, 2, 1);
    hold(&prepared, 3, 11);
    search(&prepared, 1);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE + 1, 1).unwrap(),
        |pool| pool.free(BASE + 2, 1).unwrap(),
    );
}

#[test]
fn the_run_index_holds_where_frees_join() {
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
fn free_vs_a_claim_further_up() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 1);
    hold(&prepared, 2, 2);
    hold(&prepared, 4, 10);
    search(&prepared, 1);
    prepared.free(BASE + 2, 2).unwrap();
    race_to_rest(
        prepared,
        |pool| pool.free(BASE + 1, 1).unwrap(),
        |pool| hold(pool, 3, 1),
    );
}

#[test]
fn the_run_index_holds_where_a_claim_leaves_a_part() {
    explore(
        "free vs a claim further up",
        None,
        &[()],
        free_vs_a_claim_further_up,
    );
}

#[test]
fn control_an_unrecorded_part() {
    must_fail(
        "free vs a claim further up",
        &[Fault::UnrecordedRun],
        TWO,
        free_vs_a_claim_further_up,
    );
}

/// A claim of two words concurrently with a mistaken free of the part that it took first.
fn claim_across_vs_a_foreign_free() {
    let prepared = pool(14);
    hold(&prepared, 0, 1);
    hold(&prepared, 3, 11);
    search(&prepared, 1);
    race_to_rest(
        prepared,
        |pool| hold(pool, 1, 2),
        |pool| pool.free(BASE + 1, 1).ok(),
    );
}

#[test]
fn the_run_index_holds_if_a_foreign_free_races_a_claim() {
    explore(
        "claim across vs a foreign free",
        TWO,
        &[()],
        claim_across_vs_a_foreign_free,
    );
}

#[test]
fn control_unrecorded_words_of_a_claim() {
    must_fail(
        "claim across vs a foreign free",
        &[Fault::UnrecordedRest],
        TWO,
        claim_across_vs_a_foreign_free,
    );
}
