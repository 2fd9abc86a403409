use super::*;
use proptest::prelude::*;

/// Numbers of words. The last makes three levels, which takes long under Miri.
const SIZES: &[usize] = if cfg!(miri) {
    &[1, 9, LINE_HINTS, LINE_HINTS + 1]
} else {
    &[
        1,
        7,
        8,
        9,
        LINE_HINTS - 1,
        LINE_HINTS,
        LINE_HINTS + 1,
        1000,
        20_000,
    ]
};

#[test]
fn the_highest_of_a_line_is_its_own() {
    let hints = Hints::new(3 * LINE_HINTS + 2, 0, None).unwrap();
    for word in 0..3 * LINE_HINTS + 2 {
        hints.lower(WordIndex(word), 1, || 1);
    }
    for (word, run) in [
        (0, 3),
        (2 * LINE_HINTS - 1, 5),
        (2 * LINE_HINTS, 9),
        (3 * LINE_HINTS + 1, 4),
    ] {
        hints.raise(WordIndex(word), run);
    }
    let highest = [0, 1, 2, 3].map(|line| hints.line(hints.lowest(), line).highest());
    assert_eq!(highest, [3, 5, 9, 4]);
}

#[test]
fn the_byte_above_is_lowered_with_the_highest_of_its_line() {
    let words = 2 * LINE_HINTS + 3;
    let hints = Hints::new(words, 0, None).unwrap();
    let above = hints.lowest().above().unwrap();
    let said = || [0, 1, 2].map(|line| hints.hint(above, line));
    for word in 0..words {
        hints.lower(WordIndex(word), 3, || 3);
    }
    assert_eq!(said(), [3; 3]);
    for line in 0..3 {
        let (one, other) = (line * LINE_HINTS, line * LINE_HINTS + 2);
        hints.raise(WordIndex(one), 7);
        hints.raise(WordIndex(other), 7);
        hints.lower(WordIndex(one), 2, || 2);
        assert_eq!(said()[line], 7, "another is as high");
        hints.lower(WordIndex(other), 5, || 5);
        assert_eq!(said()[line], 5);
        hints.lower(WordIndex(other), 0, || 0);
        assert_eq!(said()[line], 3);
        hints.raise(WordIndex(one), 6);
        assert_eq!(said()[line], 6);
        hints.lower(WordIndex(one), 0, || 4);
        assert_eq!(
            (hints.get(WordIndex(one)), said()[line]),
            (4, 6),
            "raised again"
        );
        assert!(hints.is_sound());
    }
    assert_eq!(hints.first(Need::of(5)), None);
    assert_eq!(said(), [4; 3], "the look in vain lowers it");
}

#[test]
fn a_sighted_hint_is_lowered_with_the_byte_above() {
    let words = LINE_HINTS + 3;
    let hints = Hints::new(words, 0, None).unwrap();
    let above = hints.lowest().above().unwrap();
    for word in 0..words {
        hints.lower(WordIndex(word), 3, || 3);
    }
    hints.raise(WordIndex(5), 7);
    hints.raise(WordIndex(6), 5);
    let sighting = hints.sight(Need::of(6)).unwrap();
    assert_eq!((sighting.word, sighting.hint()), (WordIndex(5), 7));
    hints.lower_sighted(&sighting, 2, || 2);
    assert_eq!((hints.get(WordIndex(5)), hints.hint(above, 0)), (2, 5));
    let sighting = hints.sight(Need::of(5)).unwrap();
    hints.lower_sighted(&sighting, 1, || 4);
    let raised = (hints.get(WordIndex(6)), hints.hint(above, 0));
    assert_eq!(raised, (4, 4), "the second look found more");
    // What others changed since stays as it is.
    let sighting = hints.sight(Need::of(4)).unwrap();
    hints.raise(WordIndex(7), 9);
    hints.lower_sighted(&sighting, 0, || 0);
    assert_eq!((hints.get(WordIndex(6)), hints.hint(above, 0)), (4, 9));
    assert!(hints.is_sound());
}

#[test]
fn the_slot_above_says_the_highest() {
    for words in [3, LINE_HINTS + 3, 3 * LINE_HINTS] {
        let above = Arc::new(Hints::closed(9).unwrap());
        let mut hints = Hints::new(words, 0, None).unwrap();
        assert!(hints.is_covered(), "there is nothing above");
        let slot = WordIndex(5);
        hints.set_parent(ParentSlot {
            hints: Arc::clone(&above),
            slot,
        });
        assert!(!hints.is_covered());
        hints.raise_parent();
        assert_eq!(above.get(slot), LONG);
        for word in 0..words {
            hints.lower(WordIndex(word), 4, || 4);
        }
        // The levels above learn of it from a search in vain.
        assert_eq!(hints.first(Need::of(5)), None);
        hints.lower_parent();
        assert_eq!(above.get(slot), 4);
        hints.raise(WordIndex(words - 1), 9);
        assert_eq!(above.get(slot), 9);
        assert!(hints.is_covered());
        assert!(
            (0..9)
                .map(WordIndex)
                .all(|other| other == slot || above.get(other) == 0)
        );
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Raise(usize, usize),
    Lower(usize, usize),
    Next(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let run = prop_oneof![0..=LONG, Just(0), Just(1000)];
    prop_oneof![
        (any::<usize>(), run.clone()).prop_map(|(word, to)| Op::Raise(word, to)),
        (any::<usize>(), run).prop_map(|(word, to)| Op::Lower(word, to)),
        (any::<usize>(), 1..=2 * LONG).prop_map(|(word, n)| Op::Next(word, n)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 256 }))]

    /// On one level, on two and on three. In a single thread no hint is too high.
    #[test]
    fn searches_find_the_first_that_may_serve(
        words in prop::sample::select(SIZES),
        low in 0..3_usize,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let hints = Hints::new(words, 0, None).unwrap();
        let mut known = vec![LONG; words];
        if low < 2 {
            for (word, known) in known.iter_mut().enumerate() {
                hints.lower(WordIndex(word), low, || low);
                *known = low;
            }
        }
        for op in ops {
            match op {
                Op::Raise(word, to) => {
                    let word = word % words;
                    hints.raise(WordIndex(word), to);
                    known[word] = known[word].max(to.min(LONG));
                }
                Op::Lower(word, to) => {
                    let word = word % words;
                    let to = to.min(LONG);
                    hints.lower(WordIndex(word), to, || to);
                    known[word] = known[word].min(to);
                }
                Op::Next(from, n) => {
                    let from = from % (words + 1);
                    let expected = (from..words).find(|&word| known[word] >= n.min(LONG));
                    prop_assert_eq!(hints.next(WordIndex(from), Need::of(n)), expected.map(WordIndex));
                }
            }
            prop_assert!(hints.is_sound());
        }
        for (word, &hint) in known.iter().enumerate() {
            prop_assert_eq!(hints.get(WordIndex(word)), hint);
        }
    }
}
