//! Static pools: the operations are those of other pools, on one chunk that nobody pins. At small sizes, where the chunk's
//! first granules lie in two words.

use genpool_core::sync::Fault;
use genpool_core::{FirstFit, StaticAllocation, StaticPool};
use loom_tests::Answer::{Contended, Exhausted, Found};
use loom_tests::{Answer, At, Race, START, STUBBORN, TWO, explore, must_fail};

fn take(pool: &StaticPool) -> Answer {
    Answer::of(
        pool.alloc_with(1, &FirstFit)
            .map(StaticAllocation::into_raw),
    )
}

/// Two threads want the last granule.
fn two_claims() -> (Answer, Answer) {
    let pool = StaticPool::for_model(0, START, 2);
    let _ = pool.alloc_with(1, &At(0)).expect("free").into_raw();
    let race = Race::apart(pool);
    let (one, other) = (race.start(take), race.start(take));
    let answers = (one.join().unwrap(), other.join().unwrap());
    assert_ne!(answers, (Found, Found), "one granule for two");
    assert!(
        answers.0 == Found || answers.1 == Found,
        "refused, and nobody has it"
    );
    assert_eq!(race.shared().avail(), 0);
    answers
}

#[test]
fn one_of_two_claims_succeeds() {
    let outcomes = [(Found, Exhausted), (Exhausted, Found)];
    explore("static pool: two claims", TWO, &outcomes, two_claims);
}

#[test]
fn control_torn_claim() {
    let faults = [Fault::TornClaim];
    must_fail("static pool: two claims", &faults, TWO, two_claims);
}

/// A free of granules 1 and 2 takes two steps. A thread that got one of the granules will find the other.
fn free_across_vs_two_allocs() -> (Answer, Option<Answer>) {
    let pool = StaticPool::for_model(0, START, 4);
    let _ = pool.alloc_with(1, &At(0)).expect("free").into_raw();
    let held = pool.alloc_with(2, &At(1)).expect("free").into_raw();
    let _ = pool.alloc_with(1, &At(3)).expect("free").into_raw();
    let race = Race::apart(pool);
    let free = race.start(move |pool| drop(pool.adopt(held).expect("it is held")));
    let allocs = race.start(|pool| {
        let first = take(pool);
        (first, (first == Found).then(|| take(pool)))
    });
    free.join().unwrap();
    let allocs = allocs.join().unwrap();
    assert_ne!(allocs.1, Some(Exhausted), "the other half was refused");
    allocs
}

#[test]
fn both_halves_of_a_free_are_found() {
    let outcomes = [
        (Exhausted, None),
        (Contended, None),
        (Found, Some(Found)),
        (Found, Some(Contended)),
    ];
    explore(
        "static pool: free across vs two allocs",
        STUBBORN,
        &outcomes,
        free_across_vs_two_allocs,
    );
}

#[test]
fn control_unannounced_free() {
    let faults = [Fault::Unannounced];
    must_fail(
        "static pool: free across vs two allocs",
        &faults,
        TWO,
        free_across_vs_two_allocs,
    );
}
