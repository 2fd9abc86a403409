use super::*;

/// Caches a refusal, as a prober does that has just proved it.
fn prove(activity: &Activity, n: usize) {
    let prober = activity.probe().unwrap();
    let before = prober.read();
    prober.cache_refusal(n, before, || true);
}

#[test]
fn no_more_probers_than_are_counted() {
    let activity = Activity::new();
    let last_but_one = Listeners::PROBERS - 1;
    activity.listeners.store(last_but_one, Ordering::SeqCst);
    let last = activity.probe().unwrap();
    assert!(activity.probe().is_none() && activity.probe().is_none());
    assert!(activity.listeners().must_notify() && !activity.listeners().has_refusal());
    let before = last.read();
    activity.notify();
    assert_ne!(last.read(), before);
    drop(last);
    assert_eq!(activity.listeners.load(Ordering::SeqCst), last_but_one);
}

#[test]
fn probers_are_notified_of_changes() {
    let activity = Activity::new();
    assert!(activity.has_no_listeners());
    let probers = [(); 2].map(|()| activity.probe().unwrap());
    assert!(!activity.has_no_listeners());
    let before = probers[0].read();
    assert_eq!(probers[1].read(), before);
    assert!(before.is_quiet(0));
    activity.notify();
    let changed = probers[0].read();
    assert_ne!(changed, before);
    assert!(changed.is_quiet(0));
    let guards = [activity.enter(), activity.enter()];
    let crossed = probers[0].read();
    assert!(crossed.is_quiet(2) && !crossed.is_quiet(0));
    drop(guards);
    let done = probers[0].read();
    assert!(done.is_quiet(0) && done != changed);
    // As long as one of the probers is there.
    let [first, second] = probers;
    drop(first);
    activity.notify();
    assert_ne!(second.read(), done);
    drop(second);
    assert!(activity.has_no_listeners());
}

#[test]
fn every_stripe_is_read() {
    let activity = Activity::new();
    let prober = activity.probe().unwrap();
    for stripe in &activity.stripes {
        let before = prober.read();
        // Begun and ended by a thread on that stripe.
        stripe.fetch_add(1, Ordering::SeqCst);
        let in_flight = InFlight(stripe);
        let during = prober.read();
        assert!(during.is_quiet(1) && !during.is_quiet(0));
        drop(in_flight);
        let after = prober.read();
        assert!(after.is_quiet(0) && after != before);
    }
}

#[test]
fn changes_on_two_stripes_do_not_cancel_out() {
    for (at, one) in (0..).zip([0, 1, 2, STRIPES - 2]) {
        for other in one + 1..STRIPES {
            let activity = Activity::new();
            let prober = activity.probe().unwrap();
            // The epochs of the stripes are equal to begin with, or not.
            activity.stripes[one].fetch_add(at * EPOCH, Ordering::SeqCst);
            let before = prober.read();
            for stripe in [one, other] {
                activity.stripes[stripe].fetch_add(EPOCH, Ordering::SeqCst);
            }
            assert_ne!(prober.read(), before, "{one} and {other}");
        }
    }
}

#[test]
fn threads_are_on_different_stripes_and_all_are_read() {
    let activity = Activity::new();
    let prober = activity.probe().unwrap();
    let begun = std::sync::Barrier::new(STRIPES + 1);
    let read = std::sync::Barrier::new(STRIPES + 1);
    std::thread::scope(|scope| {
        for _ in 0..STRIPES {
            scope.spawn(|| {
                let in_flight = activity.enter();
                begun.wait();
                read.wait();
                drop(in_flight);
            });
        }
        begun.wait();
        assert!(prober.read().is_quiet(STRIPES));
        let used = |stripe: &&CachePadded<AtomicUsize>| stripe.load(Ordering::SeqCst) != 0;
        // Other tests may have numbered threads in between.
        assert!(activity.stripes.iter().filter(used).count() > 1);
        read.wait();
    });
    assert!(prober.read().is_quiet(0));
}

#[test]
fn a_refusal_is_remembered_until_something_moves() {
    let activity = Activity::new();
    let moves: [fn(&Activity); 2] = [Activity::notify, |activity| drop(activity.enter())];
    assert!(!activity.is_refused(usize::MAX));
    for moves in moves {
        prove(&activity, 5);
        let refused = [1, 4, 5, 6, usize::MAX].map(|n| activity.is_refused(n));
        assert_eq!(refused, [false, false, true, true, true]);
        assert!(!activity.has_no_listeners());
        moves(&activity);
        assert!(!activity.is_refused(usize::MAX) && activity.has_no_listeners());
    }
}

#[test]
fn the_strongest_refusal_stands() {
    let activity = Activity::new();
    let most = Listeners::MAX_SIZE;
    for (n, stands) in [
        (most + 1, None),
        (most, Some(most)),
        (9, Some(9)),
        (12, Some(9)),
        (1, Some(1)),
    ] {
        prove(&activity, n);
        assert_eq!(activity.listeners().refused_size(), stands, "{n}");
        assert_eq!(activity.listeners().0 & Listeners::PROBERS, 0);
    }
}

#[test]
fn what_is_no_longer_proved_is_not_remembered() {
    let activity = Activity::new();
    let prober = activity.probe().unwrap();
    let before = prober.read();
    prober.cache_refusal(5, before, || false);
    assert!(!activity.is_refused(5));
    activity.notify();
    prober.cache_refusal(5, before, || true);
    assert!(!activity.is_refused(5));
    // A change comes, or another prober, between the reservation and the cached refusal.
    prober.cache_refusal(5, prober.read(), || {
        activity.notify();
        true
    });
    assert!(!activity.is_refused(5));
    prober.cache_refusal(5, prober.read(), || {
        drop(activity.probe());
        assert!(!activity.is_refused(5), "a reservation refuses nothing");
        prove(&activity, 3);
        true
    });
    assert!(activity.is_refused(5) && !activity.is_refused(4));
}
#[test]
fn a_reservation_that_was_withdrawn_is_not_taken_for_an_equal_one() {
    let activity = Activity::new();
    let prober = activity.probe().unwrap();
    prober.cache_refusal(5, prober.read(), || {
        activity.notify();
        // Another caller reserves the same size, and has not read the epochs again yet.
        let seen = activity.listeners();
        activity
            .exchange(seen, seen.next(Listeners::RESERVED, 5))
            .unwrap();
        true
    });
    assert!(
        !activity.is_refused(5),
        "nobody has proved that since the change"
    );
    assert!(
        activity.listeners().has_refusal(),
        "the other reservation still stands"
    );
}

#[test]
fn no_two_states_in_a_row_are_equal() {
    // The version wraps, and leaves everything else alone.
    let last = !(Listeners::VERSION - 1);
    for before in [0, Listeners::VERSION, last, last | Listeners::RUN_INDEX | 3] {
        let mut state = Listeners(before);
        for (next, size) in [(Listeners::RESERVED, 5), (0, 0), (Listeners::RESERVED, 5)] {
            let after = state.next(next, size);
            assert!(!after.is_same(state));
            assert_eq!(after.size(), size);
            assert_eq!(after.0 & Listeners::STATE, next);
            let kept = Listeners::RUN_INDEX | Listeners::PROBERS;
            assert_eq!(after.0 & kept, before & kept);
            state = after;
        }
        assert!(
            !state.is_same(Listeners(before).next(Listeners::RESERVED, 5)),
            "two claims"
        );
    }
}
