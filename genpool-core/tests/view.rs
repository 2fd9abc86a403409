//! What a view reports of a chunk is what a scan of every granule shows, in both of a pool's searches: the one that
//! skips words and the one that proves a failure.

#![forbid(unsafe_code)]

use std::sync::Mutex;

use genpool_core::{Algorithm, AllocError, ChunkView, FirstFit, Granule, Pool, Request, Run};
use proptest::prelude::*;

/// Finds no place. The pool asks it once as it searches, and once as it proves that there is none.
struct Look<F>(Mutex<(F, usize)>);

impl<F: FnMut(&ChunkView<'_>, bool) + Send> Algorithm for Look<F> {
    fn propose(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        let (look, count) = &mut *self.0.lock().unwrap();
        *count += 1;
        look(chunk, *count == 3);
        None
    }
}

/// Calls `look` with a view of a chunk for both searches. Its flag is true for the proof.
fn look(pool: &Pool, look: impl FnMut(&ChunkView<'_>, bool) + Send) {
    let look = Look(Mutex::new((look, 0)));
    let refused = pool.alloc_with(1, &look).unwrap_err();
    assert_eq!(refused, AllocError::Exhausted { size: 1 });
    // A full pool has a cached refusal.
    let asked = look.0.into_inner().unwrap().1;
    assert!(asked == 3 || asked == 0 && pool.avail() == 0);
}

/// At this granule, or nowhere.
struct At(usize);

impl Algorithm for At {
    fn propose(&self, _: &ChunkView<'_>, _: &Request) -> Option<Granule> {
        Some(Granule(self.0))
    }
}

/// What to ask. Alignments are shifts.
#[derive(Clone, Copy, Debug)]
struct Question {
    from: usize,
    limit: usize,
    n: usize,
    align: u32,
    phase: usize,
}

fn question(granules: usize) -> impl Strategy<Value = Question> {
    let anywhere = prop_oneof![4 => 0..granules + 2, 1 => Just(usize::MAX)];
    let n =
        prop_oneof![2 => 1..6_usize, 2 => 1..80_usize, 1 => 1..granules + 2, 1 => Just(usize::MAX)];
    let align = prop_oneof![3 => 0..12_u32, 1 => Just(usize::BITS - 1)];
    (anywhere.clone(), anywhere, n, align, any::<usize>()).prop_map(
        |(from, limit, n, align, phase)| Question {
            from,
            limit,
            n,
            align,
            phase,
        },
    )
}

#[derive(Clone, Debug)]
struct Case {
    /// The chunk's start and its number of granules.
    start: usize,
    granules: usize,
    /// Runs that are taken, and whether each is given back.
    taken: Vec<(usize, usize, bool)>,
    questions: Vec<Question>,
}

fn cases() -> impl Strategy<Value = Case> {
    let granules = prop_oneof![Just(64), Just(512), 1..200_usize, 1..1500_usize];
    (granules, 0..5000_usize).prop_flat_map(|(granules, start)| {
        let long = prop_oneof![3 => 1..5_usize, 2 => 1..90_usize];
        let taken = (0..granules, long, prop::bool::weighted(0.4));
        let taken = prop::collection::vec(taken, 0..40);
        let questions = prop::collection::vec(question(granules), 1..12);
        (taken, questions).prop_map(move |(taken, questions)| Case {
            start,
            granules,
            taken,
            questions,
        })
    })
}

/// What is free, granule by granule.
struct Free(Vec<bool>);

impl Free {
    fn is_free(&self, start: usize, n: usize) -> bool {
        let end = start.checked_add(n);
        end.and_then(|end| self.0.get(start..end))
            .is_some_and(|granules| granules.iter().all(|&free| free))
    }

    /// The starts of `n` free granules, upwards.
    fn starts(&self, n: usize) -> impl Iterator<Item = usize> {
        (0..self.0.len()).filter(move |&start| self.is_free(start, n))
    }

    /// The maximal runs from `from` on.
    fn runs(&self, from: usize) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for granule in (from..self.0.len()).filter(|&granule| self.0[granule]) {
            match runs.last_mut() {
                Some(last) if last.start.0 + last.len == granule => last.len += 1,
                _ => runs.push(Run {
                    start: Granule(granule),
                    len: 1,
                }),
            }
        }
        runs
    }

    fn check(&self, view: &ChunkView<'_>, proves: bool, start: usize, question: Question) {
        let Question {
            from,
            limit,
            n,
            align,
            phase,
        } = question;
        let all = from..limit;
        let (from, limit) = (Granule(from), Granule(limit));
        let first = self.starts(n).find(|start| all.contains(start));
        assert_eq!(view.find_run(from, limit, n), first.map(Granule));

        let align = 1_usize << align;
        let fits = |granule: &usize| (start + granule).wrapping_sub(phase) & (align - 1) == 0;
        let aligned = self
            .starts(n)
            .filter(fits)
            .find(|start| all.contains(start));
        let found = view.find_aligned(from, limit, n, align, phase);
        assert_eq!(found, aligned.map(Granule));

        let long = |from: usize, min: usize| {
            let runs = self.runs(from).into_iter();
            runs.filter(move |run| run.len >= min)
        };
        let tightest = long(0, n).min_by_key(|run| run.len);
        assert_eq!(view.find_tightest(n), tightest.map(|run| run.start));
        assert!(view.runs(from, n).eq(long(from.0, n)));

        assert_eq!(view.is_free(from, n), self.is_free(from.0, n));
        // Within one word, from the word of `from` on.
        let bits = usize::BITS as usize;
        let in_word = |start: &usize| start % bits + n <= bits;
        let near = |start: &usize| *start >= from.0 / bits * bits;
        let nearby = self
            .starts(n)
            .filter(in_word)
            .find(near)
            .filter(|_| !proves);
        assert_eq!(view.find_nearby(from, n), nearby.map(Granule));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_view_shows_every_granule(case in cases()) {
        let pool = Pool::new(0).unwrap();
        pool.add(case.start, case.granules).unwrap();
        let mut free = Free(vec![true; case.granules]);
        let mut held = Vec::new();
        for (at, n, goes) in case.taken {
            let n = n.min(case.granules - at);
            if free.is_free(at, n) {
                let taken = pool.alloc_with(n, &At(at)).unwrap();
                free.0[at..at + n].fill(false);
                held.push((at, taken, goes));
            }
            // Lowers hints, which the frees must raise again.
            drop(pool.alloc_with(n + 1, &FirstFit));
        }
        for (at, taken, _) in held.extract_if(.., |(_, _, goes)| *goes) {
            free.0[at..at + taken.size()].fill(true);
            drop(taken);
        }
        for question in case.questions {
            look(&pool, |view, proves| free.check(view, proves, case.start, question));
        }
        prop_assert!(pool.is_sound());
    }
}

#[test]
fn a_view_knows_its_addresses() {
    let pool = Pool::new(4).unwrap();
    pool.add_virt(0x1000, 0x9000, 0x100).unwrap();
    look(&pool, |view, _| {
        assert_eq!(
            (view.start(), view.last(), view.phys()),
            (0x1000, 0x10ff, Some(0x9000))
        );
        assert_eq!((view.order(), view.granules()), (4, 16));
        assert_eq!(view.addr_of(Granule(3)), 0x1030);
        assert_eq!(view.granule_at(0x103f), Some(Granule(3)));
        assert_eq!(view.granule_at(0x0fff), None);
        assert_eq!(view.granule_at(0x1100), None);
    });
    pool.add(0x2000, 0x100).unwrap();
    let mut ids = Vec::new();
    let note = Look(Mutex::new((
        |view: &ChunkView<'_>, _| ids.push((view.start(), view.id())),
        0,
    )));
    assert!(pool.alloc_with(1, &note).is_err());
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() == 2 && ids[0].1 != ids[1].1, "{ids:?}");
}

#[test]
fn best_fit_sees_a_run_that_begins_with_a_word() {
    let pool = Pool::new(0).unwrap();
    pool.add(0, 256).unwrap();
    let held = pool.alloc_with(1, &At(63)).unwrap();
    look(&pool, |view, _| {
        assert_eq!(view.find_tightest(100), Some(Granule(64)));
        assert_eq!(view.find_tightest(5), Some(Granule(0)));
    });
    drop(held);
}

#[test]
fn those_that_keep_apart_begin_all_over_the_chunk() {
    let pool = Pool::new(0).unwrap();
    pool.add(0x1_0000, 0x8000).unwrap();
    look(&pool, |view, _| {
        let starts = [0, 1, 2, 3, 4].map(|number| view.start_apart(number).0);
        assert_eq!(starts, [0, 0x4000, 0x2000, 0x6000, 0x1000]);
        // Every number has a place.
        let most = [usize::MAX, 1 << 20, 12345].map(|number| view.start_apart(number).0);
        assert!(most.into_iter().all(|start| start < view.granules()));
    });
}

#[test]
fn nothing_is_found_for_no_granules_or_by_an_impossible_alignment() {
    let pool = Pool::new(0).unwrap();
    pool.add(0, 64).unwrap();
    let (all, end) = (Granule(0), Granule(64));
    look(&pool, |view, _| {
        assert_eq!(view.find_run(all, end, 0), None);
        assert_eq!(view.find_nearby(all, 0), None);
        assert_eq!(view.find_tightest(0), None);
        assert_eq!(view.find_aligned(all, end, 0, 2, 0), None);
        assert_eq!(view.find_aligned(all, end, 1, 3, 0), None);
    });
}
