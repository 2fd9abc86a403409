//! Hints: never too low at rest.

use std::sync::atomic::{AtomicUsize, Ordering};

use genpool_core::sync::Fault;
use genpool_core::{Algorithm, ChunkView, Granule, Pool, Request};
use loom_tests::{
    At, BASE, ONCE, Race, THREE, TWO, WORD, explore, hold, must_fail, pool, race_to_rest, search,
};

/// A free concurrently with a search that may fail and lower the hint.
fn free_vs_search() {
    let prepared = pool(4);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 3);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE, 1).unwrap(),
        |pool| search(pool, 1),
    );
}

#[test]
fn hints_hold_if_a_free_races_a_search() {
    explore("free vs search", TWO, &[()], free_vs_search);
}

#[test]
fn control_unraised_hint() {
    must_fail(
        "free vs search",
        &[Fault::UnraisedHint],
        TWO,
        free_vs_search,
    );
}

#[test]
fn control_no_second_look() {
    must_fail(
        "free vs search",
        &[Fault::NoSecondLook],
        TWO,
        free_vs_search,
    );
}

#[test]
fn control_no_fence() {
    must_fail("free vs search", &[Fault::NoFence], TWO, free_vs_search);
}

/// A drop that clears a whole word by a store, concurrently with a search that may fail and lower its hint.
fn whole_word_vs_search() {
    let prepared = pool(2 + WORD);
    hold(&prepared, 0, 1);
    let whole = prepared.alloc_owned_with(1 + WORD, &At(1)).expect("free");
    race_to_rest(prepared, |_| drop(whole), |pool| search(pool, 1));
}

#[test]
fn hints_hold_if_a_whole_word_is_freed_during_a_search() {
    explore("whole word vs search", TWO, &[()], whole_word_vs_search);
}

#[test]
fn control_no_fence_after_a_whole_word() {
    must_fail(
        "whole word vs search",
        &[Fault::NoFence],
        TWO,
        whole_word_vs_search,
    );
}

/// A free in the word after the one whose hint a search lowers. The run of that word extends into the freed one.
fn free_after_search() {
    let prepared = pool(4);
    hold(&prepared, 0, 1);
    hold(&prepared, 2, 2);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE + 2, 1).unwrap(),
        |pool| search(pool, 3),
    );
}

#[test]
fn hints_hold_if_a_free_in_the_next_word_races_a_search() {
    explore("free after search", TWO, &[()], free_after_search);
}

#[test]
fn control_no_second_look_at_the_next_word() {
    must_fail(
        "free after search",
        &[Fault::NoSecondLook],
        TWO,
        free_after_search,
    );
}

/// An allocation fails to grow, because the last of the words that it would grow into is taken. A concurrent search
/// sees the others taken for a moment.
fn refused_growth_vs_search() {
    let prepared = pool(10);
    hold(&prepared, 0, 3);
    hold(&prepared, 8, 2);
    race_to_rest(
        prepared,
        |pool| {
            let mut growing = pool.alloc_with(1, &At(3)).expect("free");
            assert!(growing.resize(6).is_err());
            let _ = growing.into_raw();
        },
        |pool| search(pool, 2),
    );
}

#[test]
fn hints_hold_if_a_refused_growth_races_a_search() {
    explore(
        "refused growth vs search",
        THREE,
        &[()],
        refused_growth_vs_search,
    );
}

#[test]
fn control_unraised_after_a_refused_growth() {
    must_fail(
        "refused growth vs search",
        &[Fault::UnraisedHint],
        THREE,
        refused_growth_vs_search,
    );
}

/// Searches for two sizes concurrently with a free.
fn free_vs_two_searches() {
    let prepared = pool(4);
    hold(&prepared, 0, 2);
    hold(&prepared, 2, 2);
    let race = Race::on(prepared);
    let one = race.start(|pool| search(pool, 1));
    let two = race.start(|pool| search(pool, 2));
    let free = race.start(|pool| pool.free(BASE, 2).unwrap());
    one.join().unwrap();
    two.join().unwrap();
    free.join().unwrap();
    assert!(race.pool().is_sound(), "a hint is too low");
}

#[test]
fn hints_hold_if_a_free_races_two_searches() {
    explore("free vs two searches", ONCE, &[()], free_vs_two_searches);
}

#[test]
fn control_no_second_look_of_two() {
    must_fail(
        "free vs two searches",
        &[Fault::NoSecondLook],
        ONCE,
        free_vs_two_searches,
    );
}

/// The last of three words, alone in its line, is freed concurrently with searches that lower its hint and then, since
/// nothing else is in the line, the hint above.
fn free_vs_two_levels() {
    let prepared = pool(6);
    hold(&prepared, 0, 5);
    hold(&prepared, 5, 1);
    search(&prepared, 1);
    prepared.free(BASE + 5, 1).unwrap();
    hold(&prepared, 5, 1);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE + 5, 1).unwrap(),
        |pool| search(pool, 1),
    );
}

#[test]
fn hints_hold_on_two_levels() {
    explore("free vs two levels", TWO, &[()], free_vs_two_levels);
}

#[test]
fn control_no_second_look_above() {
    must_fail(
        "free vs two levels",
        &[Fault::NoSecondLook],
        TWO,
        free_vs_two_levels,
    );
}

/// The older of two full chunks gets a free concurrently with a search that lowers its hints, and then its hint in the
/// free summary.
fn free_vs_summary() {
    let prepared = pool(1);
    prepared.add(BASE + 8, 1).unwrap();
    hold(&prepared, 0, 1);
    hold(&prepared, 0, 1);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE, 1).unwrap(),
        |pool| drop(pool.alloc_with(1, &PeekTwice::default())),
    );
}

/// Finds nothing in the first two chunks, and then ends the call like `Peek`.
#[derive(Default)]
struct PeekTwice(AtomicUsize);

impl Algorithm for PeekTwice {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        if self.0.fetch_add(1, Ordering::Relaxed) < 2 {
            let _ = chunk.find_run(Granule(0), Granule(usize::MAX), request.granules());
            return None;
        }
        Some(Granule(usize::MAX))
    }
}

#[test]
fn hints_hold_in_the_free_summary() {
    explore("free vs summary", TWO, &[()], free_vs_summary);
}

#[test]
fn control_no_second_look_at_a_chunk() {
    must_fail(
        "free vs summary",
        &[Fault::NoSecondLook],
        TWO,
        free_vs_summary,
    );
}

/// Two frees that join across a word's border. Each must see the other, or be seen by it.
fn two_frees_join() {
    let prepared = pool(4);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 1);
    hold(&prepared, 2, 1);
    hold(&prepared, 3, 1);
    search(&prepared, 1);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE + 1, 1).unwrap(),
        |pool| pool.free(BASE + 2, 1).unwrap(),
    );
}

#[test]
fn hints_hold_where_frees_join() {
    explore("two frees join", TWO, &[()], two_frees_join);
}

/// Without either ordering each may read an older value of the other's word.
#[test]
fn control_frees_join_unseen() {
    must_fail(
        "two frees join",
        &[Fault::RelaxedRelease, Fault::NoFence],
        TWO,
        two_frees_join,
    );
}

/// Like `two_frees_join`, but a drop gives back the upper run, and checks whether there is a hint to raise.
fn drop_joins_free() {
    let prepared = pool(4);
    for granule in 0..4 {
        hold(&prepared, granule, 1);
    }
    search(&prepared, 1);
    // The hint of its own word is then high enough.
    prepared.free(BASE + 2, 1).unwrap();
    let upper = prepared.alloc_owned(1).unwrap();
    assert_eq!(upper.addr(), BASE + 2);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE + 1, 1).unwrap(),
        move |_| drop(upper),
    );
}

#[test]
fn hints_hold_where_a_drop_joins() {
    explore("drop joins free", TWO, &[()], drop_joins_free);
}

#[test]
fn control_drop_joins_unseen() {
    must_fail(
        "drop joins free",
        &[Fault::RelaxedRelease, Fault::NoFence],
        TWO,
        drop_joins_free,
    );
}

/// Like `two_frees_join`, but one of the frees crosses a border itself: its run starts at the beginning of a word, and
/// joins the run freed at the end of the word before.
fn two_frees_join_across() {
    let prepared = pool(6);
    hold(&prepared, 0, 1);
    hold(&prepared, 1, 1);
    hold(&prepared, 2, 3);
    hold(&prepared, 5, 1);
    search(&prepared, 1);
    race_to_rest(
        prepared,
        |pool| pool.free(BASE + 1, 1).unwrap(),
        |pool| pool.free(BASE + 2, 3).unwrap(),
    );
}

#[test]
fn hints_hold_where_a_free_across_joins() {
    explore("two frees join across", TWO, &[()], two_frees_join_across);
}

#[test]
fn control_free_across_joins_unseen() {
    must_fail(
        "two frees join across",
        &[Fault::RelaxedRelease, Fault::NoFence],
        TWO,
        two_frees_join_across,
    );
}

/// Two frees in one line, the shorter run first, concurrently with a search that lowers the hint above. That hint must
/// cover the longer run too.
fn two_frees_vs_two_levels() {
    let prepared = pool(8);
    hold(&prepared, 0, 4);
    hold(&prepared, 4, 1);
    hold(&prepared, 5, 1);
    hold(&prepared, 6, 2);
    search(&prepared, 1);
    prepared.free(BASE + 4, 1).unwrap();
    prepared.free(BASE + 6, 2).unwrap();
    hold(&prepared, 4, 1);
    hold(&prepared, 6, 2);
    race_to_rest(
        prepared,
        |pool| {
            pool.free(BASE + 4, 1).unwrap();
            pool.free(BASE + 6, 2).unwrap();
        },
        |pool| search(pool, 1),
    );
}

#[test]
fn the_longest_of_a_line_is_seen() {
    explore(
        "two frees vs two levels",
        TWO,
        &[()],
        two_frees_vs_two_levels,
    );
}

#[test]
fn control_no_second_look_at_a_line() {
    must_fail(
        "two frees vs two levels",
        &[Fault::NoSecondLook],
        TWO,
        two_frees_vs_two_levels,
    );
}

/// Makes a full pool of eight granules whose hints are all low, except that the first word of the second line is free.
fn first_of_second_line_free() -> Pool {
    let prepared = pool(8);
    hold(&prepared, 0, 4);
    hold(&prepared, 4, 2);
    hold(&prepared, 6, 1);
    hold(&prepared, 7, 1);
    search(&prepared, 1);
    prepared.free(BASE + 4, 2).unwrap();
    prepared
}

/// Takes `n` granules by first fit, and keeps them taken.
fn claim(pool: &Pool, n: usize) {
    let _ = pool.alloc(n).expect("there is room").into_raw();
}

/// A free concurrently with a claim of the word before, which lowers the hints of its word and of its line by what it saw
/// of them before. The freed run begins in another word of the line.
fn free_vs_claim_in_its_line() {
    race_to_rest(
        first_of_second_line_free(),
        |pool| pool.free(BASE + 7, 1).unwrap(),
        |pool| claim(pool, 2),
    );
}

#[test]
fn hints_hold_if_a_free_races_a_claim_in_its_line() {
    explore(
        "free vs claim in its line",
        TWO,
        &[()],
        free_vs_claim_in_its_line,
    );
}

#[test]
fn control_no_second_look_after_a_claim() {
    must_fail(
        "free vs claim in its line",
        &[Fault::NoSecondLook],
        TWO,
        free_vs_claim_in_its_line,
    );
}

/// A free concurrently with two claims, the second of which may take what the free gives back.
fn free_vs_two_claims() {
    race_to_rest(
        first_of_second_line_free(),
        |pool| pool.free(BASE + 6, 1).unwrap(),
        |pool| {
            claim(pool, 1);
            claim(pool, 1);
        },
    );
}

#[test]
fn hints_hold_if_a_free_races_two_claims() {
    explore("free vs two claims", TWO, &[()], free_vs_two_claims);
}

#[test]
fn control_no_second_look_after_two_claims() {
    must_fail(
        "free vs two claims",
        &[Fault::NoSecondLook],
        TWO,
        free_vs_two_claims,
    );
}
