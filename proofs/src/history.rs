//! Histories: who called what when, and what the answer was; and whether one pool without
//! concurrency could have given the same answers.
//!
//! # The sequential pool
//!
//! It is a set of granules that are served, a set of those that are taken, and a set of those where
//! an allocation starts. An allocation may come from any place that its request allows: a pool in
//! which others move promises no particular one. `Exhausted` is right only where none of those places
//! is free. `Contended` is always right, and changes nothing. A free is right only if an allocation of
//! that start and length is live, and its refusal only if none is. Several allocations in one call are
//! steps of their own, all of them or none.
//!
//! [`todc_utils`] searches for an order of the calls that respects which of them returned before
//! which others began, and in which each answer is right (Wing and Gong's algorithm, with states that
//! were seen before left out).

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History as Actions};
use todc_utils::specifications::Specification;

/// Granules that a history can speak of.
pub const GRANULES: usize = 128;

/// A run of granules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Its first.
    pub start: usize,
    /// How many.
    pub n: usize,
}

impl Run {
    /// `n` granules from `start` on.
    #[must_use]
    pub const fn new(start: usize, n: usize) -> Self {
        Self { start, n }
    }

    fn end(self) -> usize {
        self.start + self.n
    }
}

/// A set of granules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Set(u128);

impl Set {
    /// Those for which `belongs` holds.
    #[must_use]
    pub fn of(belongs: impl Fn(usize) -> bool) -> Self {
        let bits = (0..GRANULES).filter(|&granule| belongs(granule));
        Self(bits.fold(0, |set, granule| set | 1 << granule))
    }

    fn run(run: Run) -> Self {
        Self::of(|granule| (run.start..run.end()).contains(&granule))
    }

    fn contains(self, granule: usize) -> bool {
        granule < GRANULES && self.0 >> granule & 1 == 1
    }

    fn includes(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// What a request for room was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The first granule of the allocation.
    At(usize),
    /// There was no fit.
    Exhausted,
    /// It could not be established.
    Contended,
}

/// A call and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A chunk was added.
    Add(Run),
    /// A chunk began to be removed.
    Remove(Run),
    /// A request for `n` granules that may start at `places`.
    Alloc {
        /// Granules asked for.
        n: usize,
        /// Where they may start.
        places: Set,
        /// The answer.
        answer: Answer,
    },
    /// A run was allocated, wherever it is.
    Take(Run),
    /// A free by address.
    Free {
        /// What was given back.
        run: Run,
        /// Whether it was.
        freed: bool,
    },
    /// An allocation has another length now.
    Resize {
        /// What it was.
        run: Run,
        /// What its length is.
        n: usize,
    },
    /// A call that was refused and whose refusal says nothing.
    Nothing,
}

impl Operation {
    /// Whether it allocated what starts at a granule.
    fn places(self, granule: usize) -> bool {
        matches!(self, Self::Alloc { answer: Answer::At(start), .. } if start == granule)
    }
}

/// The sequential pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sequential {
    served: Set,
    taken: Set,
    starts: Set,
}

impl Sequential {
    /// The pool after `operation`; none if that could not have been the answer.
    #[must_use]
    pub fn after(&self, operation: &Operation) -> Option<Self> {
        match *operation {
            Operation::Add(run) => Some(Self {
                served: self.served.with(Set::run(run)),
                ..*self
            }),
            Operation::Remove(run) => Some(Self {
                served: self.served.without(Set::run(run)),
                ..*self
            }),
            Operation::Alloc { n, places, answer } => match answer {
                Answer::At(start) if places.contains(start) => self.take(Run::new(start, n)),
                Answer::At(_) => None,
                Answer::Exhausted => (0..GRANULES)
                    .all(|start| !places.contains(start) || !self.is_free(Run::new(start, n)))
                    .then_some(*self),
                Answer::Contended => Some(*self),
            },
            Operation::Take(run) => self.take(run),
            Operation::Nothing => Some(*self),
            Operation::Free { run, freed } if freed == self.is_live(run) => {
                Some(if freed { self.give_back(run) } else { *self })
            }
            Operation::Free { .. } => None,
            Operation::Resize { run, n } => self
                .is_live(run)
                .then(|| self.give_back(run))?
                .take_again(run, n),
        }
    }

    fn is_free(&self, run: Run) -> bool {
        run.end() <= GRANULES && self.served.without(self.taken).includes(Set::run(run))
    }

    fn take(&self, run: Run) -> Option<Self> {
        self.is_free(run).then(|| self.holding(run))
    }

    /// Shrinking does not ask whether the chunk still serves.
    fn take_again(&self, run: Run, n: usize) -> Option<Self> {
        let more = Run::new(run.end(), n.saturating_sub(run.n));
        self.is_free(more)
            .then(|| self.holding(Run::new(run.start, n)))
    }

    fn holding(&self, run: Run) -> Self {
        Self {
            taken: self.taken.with(Set::run(run)),
            starts: self.starts.with(Set::run(Run::new(run.start, 1))),
            ..*self
        }
    }

    fn is_live(&self, run: Run) -> bool {
        let ends = !self.taken.contains(run.end()) || self.starts.contains(run.end());
        let inner = Set::run(Run::new(run.start + 1, run.n - 1));
        self.starts.contains(run.start)
            && self.taken.includes(Set::run(run))
            && self.starts.without(inner) == self.starts
            && ends
    }

    fn give_back(&self, run: Run) -> Self {
        Self {
            taken: self.taken.without(Set::run(run)),
            starts: self.starts.without(Set::run(Run::new(run.start, 1))),
            ..*self
        }
    }
}

impl Specification for Sequential {
    type State = Self;
    type Operation = Operation;

    fn init() -> Self {
        Self::default()
    }

    fn apply(operation: &Operation, state: &Self) -> (bool, Self) {
        state
            .after(operation)
            .map_or((false, *state), |next| (true, next))
    }
}

/// Stamps calls and returns, one number for all threads.
#[derive(Debug, Default)]
pub struct Clock(AtomicUsize);

impl Clock {
    fn stamp(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// One call of a history, or a part of it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    thread: usize,
    called: usize,
    returned: usize,
    operation: Operation,
}

impl Entry {
    fn overlaps(&self, other: &Self) -> bool {
        self.called < other.returned && other.called < self.returned
    }
}

/// What one thread called.
#[derive(Debug)]
pub struct Log<'c> {
    clock: &'c Clock,
    thread: usize,
    entries: Vec<Entry>,
}

impl<'c> Log<'c> {
    /// An empty one, of the thread with this number.
    #[must_use]
    pub fn new(clock: &'c Clock, thread: usize) -> Self {
        Self {
            clock,
            thread,
            entries: Vec::new(),
        }
    }

    /// Makes a call and writes down what `told` makes of its answer: the steps that it was, if they are
    /// known, each at an instant of its own between call and return.
    pub fn call<R, T: IntoIterator<Item = Operation>>(
        &mut self,
        call: impl FnOnce() -> R,
        told: impl FnOnce(&R) -> T,
    ) -> R {
        let called = self.clock.stamp();
        let answer = call();
        let returned = self.clock.stamp();
        let steps = told(&answer).into_iter();
        self.entries.extend(steps.map(|operation| Entry {
            thread: self.thread,
            called,
            returned,
            operation,
        }));
        answer
    }
}

/// What all threads called.
#[derive(Debug)]
pub struct History(Vec<Entry>);

impl History {
    /// All of `logs` together.
    ///
    /// A refusal counts as `Contended` beside a call that was beside the removal of a chunk: a claim that
    /// comes upon the removal takes itself back, and who was refused because of it is not asked again
    /// (PROMISES.md, "A moment's claim by who gets nothing"). And a refused free counts for nothing
    /// beside the allocation of what it was to free, for nobody has been given that yet.
    #[must_use]
    pub fn of<'c>(logs: impl IntoIterator<Item = Log<'c>>) -> Self {
        let mut entries: Vec<_> = logs.into_iter().flat_map(|log| log.entries).collect();
        entries.sort_by_key(|entry| entry.called);
        let beside = |entry: &Entry, is: &dyn Fn(&Entry) -> bool| {
            let mut others = entries.iter();
            others.any(|other| other.overlaps(entry) && is(other))
        };
        let removes = |entry: &Entry| matches!(entry.operation, Operation::Remove(_));
        let judged = |entry: &Entry| match entry.operation {
            Operation::Free { run, freed: false }
                if beside(entry, &|other| other.operation.places(run.start)) =>
            {
                None
            }
            Operation::Alloc {
                n,
                places,
                answer: Answer::Exhausted,
            } if beside(entry, &|other| beside(other, &removes)) => Some(Entry {
                operation: Operation::Alloc {
                    n,
                    places,
                    answer: Answer::Contended,
                },
                ..*entry
            }),
            _ => Some(*entry),
        };
        Self(entries.iter().filter_map(judged).collect())
    }

    /// Whether the sequential pool could have answered the same.
    #[must_use]
    pub fn is_linearizable(&self) -> bool {
        // Each step is a process of its own: the stamps say all that is known of their order.
        let mut stamped: Vec<_> = (0..)
            .zip(&self.0)
            .flat_map(|(process, entry)| {
                [
                    (entry.called, (process, Action::Call(entry.operation))),
                    (entry.returned, (process, Action::Response(entry.operation))),
                ]
            })
            .collect();
        stamped.sort_by_key(|&(stamp, _)| stamp);
        let actions = stamped.into_iter().map(|(_, action)| action).collect();
        WGLChecker::<Sequential>::is_linearizable(Actions::from_actions(actions))
    }

    /// How often a request was answered so.
    #[must_use]
    pub fn answers(&self, wanted: Answer) -> usize {
        let told = |entry: &&Entry| matches!(entry.operation, Operation::Alloc { answer, .. } if answer == wanted);
        self.0.iter().filter(told).count()
    }

    /// Pairs of calls of which neither returned before the other began.
    #[must_use]
    pub fn overlaps(&self) -> usize {
        let later = |(at, entry): (usize, &Entry)| {
            let beside = self.0[at + 1..].iter();
            beside.filter(|other| entry.overlaps(other)).count()
        };
        self.0.iter().enumerate().map(later).sum()
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.0 {
            let Entry {
                thread,
                called,
                returned,
                operation,
            } = entry;
            let operation = match operation {
                Operation::Alloc { n, places, answer } => {
                    format!("Alloc of {n} among {:x}: {answer:?}", places.0)
                }
                other => format!("{other:?}"),
            };
            writeln!(
                f,
                "{called:4} to {returned:4}, thread {thread}: {operation}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYWHERE: Set = Set(u128::MAX);

    fn alloc(n: usize, answer: Answer) -> Operation {
        Operation::Alloc {
            n,
            places: EVERYWHERE,
            answer,
        }
    }

    fn free(start: usize, n: usize) -> Operation {
        Operation::Free {
            run: Run::new(start, n),
            freed: true,
        }
    }

    /// (thread, called, returned, operation)
    fn history(calls: &[(usize, usize, usize, Operation)]) -> History {
        let entry = |&(thread, called, returned, operation): &(_, _, _, _)| Entry {
            thread,
            called,
            returned,
            operation,
        };
        History(calls.iter().map(entry).collect())
    }

    const CHUNK: Operation = Operation::Add(Run::new(0, 4));

    #[test]
    fn refusals_are_judged_by_instants() {
        // Full; a free of granule 0 and a request that overlap in time.
        let full = [(0, 0, 1, CHUNK), (0, 2, 3, alloc(4, Answer::At(0)))];
        let refused = |called, returned| {
            let calls = [
                (1, 10, 20, free(0, 4)),
                (2, called, returned, alloc(1, Answer::Exhausted)),
            ];
            history(&[full.as_slice(), &calls].concat()).is_linearizable()
        };
        assert!(refused(5, 6));
        assert!(refused(5, 15));
        assert!(refused(15, 25));
        assert!(!refused(21, 25));
    }

    /// A free of two granules; one is given to a thread, whose next request is refused.
    #[test]
    fn half_a_free_is_no_free() {
        let calls = |second| {
            history(&[
                (0, 0, 1, CHUNK),
                (0, 2, 3, alloc(4, Answer::At(0))),
                (1, 10, 20, free(0, 4)),
                (2, 11, 12, alloc(1, Answer::At(0))),
                (2, 13, 14, alloc(1, second)),
            ])
        };
        assert!(calls(Answer::At(1)).is_linearizable());
        assert!(calls(Answer::Contended).is_linearizable());
        assert!(!calls(Answer::Exhausted).is_linearizable());
    }

    #[test]
    fn one_of_two_frees_succeeds() {
        let frees = |first, second| {
            let freed = |freed| Operation::Free {
                run: Run::new(1, 2),
                freed,
            };
            history(&[
                (0, 0, 1, CHUNK),
                (0, 2, 3, alloc(2, Answer::At(1))),
                (1, 10, 20, freed(first)),
                (2, 11, 21, freed(second)),
            ])
            .is_linearizable()
        };
        assert!(frees(true, false) && frees(false, true));
        assert!(!frees(true, true) && !frees(false, false));
    }

    #[test]
    fn lengths_and_places_are_judged() {
        let pool = Sequential::default().after(&CHUNK).unwrap();
        let held = pool.after(&alloc(2, Answer::At(0))).unwrap();
        let more = held.after(&alloc(1, Answer::At(2))).unwrap();
        for wrong in [
            free(0, 1),
            free(0, 3),
            free(1, 1),
            free(2, 2),
            alloc(1, Answer::At(1)),
            alloc(2, Answer::At(3)),
            alloc(1, Answer::Exhausted),
            Operation::Resize {
                run: Run::new(0, 2),
                n: 3,
            },
        ] {
            assert_eq!(more.after(&wrong), None, "{wrong:?}");
        }
        assert!(more.after(&alloc(2, Answer::Exhausted)).is_some());
        let shrunk = more.after(&Operation::Resize {
            run: Run::new(0, 2),
            n: 1,
        });
        assert!(shrunk.unwrap().after(&alloc(1, Answer::At(1))).is_some());
        let odd = Operation::Alloc {
            n: 1,
            places: Set::of(|granule| granule == 3),
            answer: Answer::At(1),
        };
        assert_eq!(pool.after(&odd), None);
        let removed = more.after(&Operation::Remove(Run::new(0, 4))).unwrap();
        assert!(removed.after(&alloc(1, Answer::Exhausted)).is_some());
        assert_eq!(removed.after(&alloc(1, Answer::At(3))), None);
        assert!(removed.after(&free(2, 1)).is_some());
    }
}
