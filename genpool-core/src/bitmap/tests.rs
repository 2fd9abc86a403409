//! Compares every scan with a granule-by-granule look, in bitmaps with many full and empty words. A scan carries a
//! run over the borders of words, lines and levels, and must end it at a full word.

use std::vec::Vec;

use proptest::prelude::*;

use super::word::FULL;
use super::*;
use crate::units::Run;

/// Whether each granule is free.
struct Free(Vec<bool>);

impl Free {
    /// Reads a bitmap bit by bit.
    fn of(bitmap: &Bitmap) -> Self {
        let bit =
            |at| bitmap.word(Granule(at).word()).load(Ordering::Relaxed) >> Granule(at).bit() & 1;
        Self((0..bitmap.len()).map(|at| bit(at) == 0).collect())
    }

    /// The length of the free run from each granule on.
    fn lengths(&self) -> Vec<usize> {
        let mut lengths = vec![0; self.0.len() + 1];
        for at in (0..self.0.len()).rev() {
            lengths[at] = if self.0[at] { lengths[at + 1] + 1 } else { 0 };
        }
        lengths
    }

    /// The maximal free runs from `from` on.
    fn runs(&self, from: usize) -> Vec<Run> {
        let lengths = self.lengths();
        let begins = |&at: &usize| self.0[at] && (at == from || !self.0[at - 1]);
        let starts = (from..self.0.len()).filter(begins);
        let run = |at| Run {
            start: Granule(at),
            len: lengths[at],
        };
        starts.map(run).collect()
    }

    /// The lowest start of `n` free granules that `allows` accepts.
    fn first(&self, n: usize, allows: impl Fn(usize) -> bool) -> Option<Granule> {
        let lengths = self.lengths();
        let first = (0..self.0.len()).find(|&at| lengths[at] >= n && allows(at));
        first.map(Granule)
    }
}

/// Mostly full or empty words.
fn word() -> impl Strategy<Value = usize> {
    let part = (0..WORD_BITS, any::<bool>()).prop_map(|(at, low)| {
        let upper = FULL << at;
        if low { !upper } else { upper }
    });
    prop_oneof![4 => Just(FULL), 3 => Just(0), 3 => part, 1 => any::<usize>()]
}

/// Up to 40 words, and how many bits of the last one are padding.
fn bitmaps() -> impl Strategy<Value = (Vec<usize>, usize)> {
    let most = if cfg!(miri) { 10 } else { 40 };
    let cut = prop_oneof![Just(0), 0..WORD_BITS];
    (prop::collection::vec(word(), 1..=most), cut)
}

/// A bitmap of these words. All of its hints are still at their highest.
fn bitmap_of(words: &[usize], cut: usize) -> Bitmap {
    let bitmap = Bitmap::new(words.len() * WORD_BITS - cut, None).unwrap();
    for (at, &word) in words.iter().enumerate() {
        let at = WordIndex(at);
        let word = word | bitmap.bits.padding(at);
        bitmap.word(at).store(word, Ordering::Relaxed);
    }
    bitmap
}

#[derive(Clone, Copy, Debug)]
struct Question {
    n: usize,
    from: usize,
    limit: usize,
    every: AlignedStarts,
}

fn questions() -> impl Strategy<Value = Vec<Question>> {
    let n = prop_oneof![
        2 => 1..WORD_BITS + 2,
        2 => (1..6_usize, 0..5_usize).prop_map(|(words, more)| words * WORD_BITS + more - 2),
        1 => 1..3000_usize,
    ];
    let from = prop_oneof![Just(0), 0..3000_usize];
    let limit = prop_oneof![2 => Just(usize::MAX), 1 => 0..3000_usize];
    let every = (0..9_u32, any::<usize>()).prop_map(|(align, shift)| AlignedStarts {
        mask: (1_usize << align) - 1,
        shift,
    });
    let question = (n, from, limit, every).prop_map(|(n, from, limit, every)| Question {
        n,
        from,
        limit,
        every,
    });
    prop::collection::vec(question, 1..8)
}

/// Checks every search and every iterator, exact and by hints.
fn check(bitmap: &Bitmap, question: Question) {
    let Question {
        n,
        from,
        limit,
        every,
    } = question;
    let free = Free::of(bitmap);
    let inside = |at| (from..limit).contains(&at);
    let lies = |at: usize| at.wrapping_add(every.shift) & every.mask == 0;
    let first = free.first(n, inside);
    let placed = free.first(n, |at| inside(at) && lies(at));
    let long = |from: usize| {
        let runs = free.runs(from.min(bitmap.len()));
        runs.into_iter().filter(|run| run.len >= n)
    };
    let tightest = long(0).min_by_key(|run| run.len).map(|run| run.start);
    let (low, high) = (Granule(from), Granule(limit));
    // Twice by hints: the second look goes by hints that the first one lowered.
    for look in [Look::Exact, Look::Hinted, Look::Hinted, Look::Exact] {
        let found = bitmap.find_run(low, high, n, AnyStart, look);
        assert_eq!(found, first, "{look:?} {question:?}");
        let found = bitmap.find_run(low, high, n, every, look);
        assert_eq!(found, placed, "{look:?} {question:?}");
        assert!(
            bitmap.free_runs(low, n, look).eq(long(from)),
            "{look:?} {question:?}"
        );
        let found = bitmap.find_tightest(n, look, &Activity::new());
        assert_eq!(found, tightest, "{look:?} {question:?}");
    }
    assert_eq!(bitmap.scan_tightest(n), tightest, "{question:?}");
    assert_eq!(
        bitmap.is_free(low, n),
        free.first(n, |at| at == from).is_some()
    );
    let in_word = |at: usize| at % WORD_BITS + n <= WORD_BITS && at / WORD_BITS >= from / WORD_BITS;
    assert_eq!(
        bitmap.find_nearby(low, n, AnyStart),
        free.first(n, in_word),
        "{question:?}"
    );
}

/// Checks the counts and the walk over the taken runs.
fn check_taken(bitmap: &Bitmap) {
    let free = Free::of(bitmap);
    let taken = Free(free.0.iter().map(|free| !free).collect());
    assert_eq!(
        bitmap.taken(),
        taken.0.iter().filter(|&&taken| taken).count()
    );
    assert!(bitmap.taken_runs().eq(taken.runs(0)));
    let busy = Atomic::new(0);
    assert_eq!(bitmap.is_empty(&busy), taken.runs(0).is_empty());
}

/// Takes runs of `n` granules until none is left. Each must be the lowest.
fn take_all(bitmap: &Bitmap, n: usize) {
    let activity = Activity::new();
    loop {
        let lowest = Free::of(bitmap).first(n, |_| true);
        // A weak compare-exchange may fail spuriously, on some machines and in Miri.
        let mut searches = (0..100).map(|_| bitmap.take_lowest(n, &activity));
        let found = searches.find(|&search| search != Attempt::Missed).unwrap();
        assert_eq!(found, lowest.map_or(Attempt::Nowhere, Attempt::Found));
        assert!(bitmap.is_sound());
        if lowest.is_none() {
            return;
        }
    }
}

#[test]
fn a_small_bitmap_is_without_what_its_hints_do_not_promise() {
    let activity = Activity::new();
    for (words, is_small) in [(1, true), (FIRST_HINTS, true), (FIRST_HINTS + 1, false)] {
        let bitmap = Bitmap::new(words * WORD_BITS, None).unwrap();
        bitmap
            .claim(Granule(0), words * WORD_BITS, &activity)
            .unwrap();
        // The hints are not lowered yet.
        assert!(!bitmap.is_small_without_fit(1), "{words}");
        assert_eq!(bitmap.take_lowest(1, &activity), Attempt::Nowhere);
        assert_eq!(bitmap.is_small_without_fit(1), is_small, "{words}");
        let last = Granule(words * WORD_BITS - 2);
        bitmap.release(last, 2, &activity).unwrap();
        assert!(!bitmap.is_small_without_fit(2), "{words}");
        assert_eq!(bitmap.is_small_without_fit(3), is_small, "{words}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 256 }))]

    #[test]
    fn every_scan_agrees_with_a_look_at_every_granule(
        (words, cut) in bitmaps(),
        questions in questions(),
    ) {
        let bitmap = bitmap_of(&words, cut);
        for question in questions {
            check(&bitmap, question);
        }
        check_taken(&bitmap);
        prop_assert!(bitmap.is_sound());
    }

    #[test]
    fn first_fit_takes_the_lowest_whatever_words_are_full(
        (words, cut) in bitmaps(),
        n in 1..=WORD_BITS,
    ) {
        take_all(&bitmap_of(&words, cut), n);
    }
}

/// Granules are free on both sides of one full word, which is each of the first forty in turn; under Miri, those
/// around the end of the first line.
#[test]
fn no_scan_carries_a_run_over_a_full_word() {
    const WORDS: usize = if cfg!(miri) { 10 } else { 41 };
    let first = if cfg!(miri) { WORDS - 3 } else { 1 };
    for full in first..WORDS - 1 {
        let mut words = [FULL; WORDS];
        words[full - 1] = FULL >> 3;
        words[full + 1] = !(FULL >> (WORD_BITS - 4));
        let bitmap = bitmap_of(&words, 0);
        for (n, from) in [(4, 0), (5, 0), (7, 0), (8, 0), (WORD_BITS + 7, 0), (4, 9)] {
            check(
                &bitmap,
                Question {
                    n,
                    from,
                    limit: usize::MAX,
                    every: AlignedStarts { mask: 1, shift: 0 },
                },
            );
        }
        check_taken(&bitmap);
    }
}

/// One free run over the border of a word, of a line and of each level above, in an otherwise full chunk.
#[test]
#[cfg_attr(miri, ignore = "long")]
fn a_run_is_found_over_every_border() {
    let words = 2 * hints::LINE_HINTS * hints::LINE_HINTS + 3;
    for border in [
        1,
        7,
        8,
        16,
        hints::LINE_HINTS,
        8 * hints::LINE_HINTS,
        hints::LINE_HINTS * hints::LINE_HINTS,
    ] {
        for (below, above) in [
            (0, 5),
            (5, 0),
            (3, 4),
            (1, WORD_BITS),
            (WORD_BITS, 1),
            (70, 200),
        ] {
            let (bitmap, activity) = (
                Bitmap::new(words * WORD_BITS, None).unwrap(),
                Activity::new(),
            );
            bitmap
                .claim(Granule(0), words * WORD_BITS, &activity)
                .unwrap();
            // Lowers all hints, and makes the bitmap keep a run index.
            assert_eq!(bitmap.find_tightest(1, Look::Hinted, &activity), None);
            assert_eq!(bitmap.take_lowest(1, &activity), Attempt::Nowhere);
            let start = Granule((border * WORD_BITS).saturating_sub(below));
            let n = below + above;
            bitmap.release(start, n, &activity).unwrap();
            assert!(bitmap.is_sound());
            for look in [Look::Hinted, Look::Exact] {
                let find = |n| bitmap.find_run(Granule(0), Granule(usize::MAX), n, AnyStart, look);
                assert_eq!(
                    (find(n), find(n + 1)),
                    (Some(start), None),
                    "{border} {below}"
                );
                assert_eq!(bitmap.find_tightest(n, look, &activity), Some(start));
                assert!(
                    bitmap
                        .free_runs(Granule(0), n, look)
                        .eq([Run { start, len: n }])
                );
            }
            assert_eq!(bitmap.taken(), bitmap.len() - n);
        }
    }
}

#[test]
fn a_release_across_words_notices_a_free_granule_in_any_of_them() {
    let (start, n) = (Granule(WORD_BITS - 3), 2 * WORD_BITS);
    for granule in [start, Granule(WORD_BITS + 7), start.plus(n - 1)] {
        let activity = Activity::new();
        let bitmap = Bitmap::new(3 * WORD_BITS, None).unwrap();
        bitmap.claim(start, n, &activity).unwrap();
        bitmap.release(granule, 1, &activity).unwrap();
        assert_eq!(
            bitmap.release_checked(start, n, &activity),
            Err(NotTaken { granule })
        );
        assert_eq!(bitmap.taken(), n - 1, "a refused free changed something");
        assert_eq!(
            bitmap.release(start, n, &activity),
            Err(NotTaken { granule })
        );
        assert_eq!(bitmap.taken(), 0);
        assert!(bitmap.is_sound());
    }
}
