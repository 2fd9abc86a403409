//! Histories: which thread made which call when, and with what answer; and a check whether one sequential pool could
//! have given the same answers.
//!
//! # The sequential pool
//!
//! Its state is three sets of granules: those that it serves, those that are taken, and those where an allocation
//! starts. The rules for answers are:
//!
//! - An allocation may come from any place that its request allows, because a pool under concurrent changes promises no
//!   particular one.
//! - `Exhausted` is right only if none of those places is free. It is judged as it is promised, at an instant, so
//!   what the real pool finds when it searches cannot decide it alone.
//! - `Contended` is always right, and changes nothing.
//! - A free is right only if an allocation of that start and length is live, and its refusal only if none is.
//! - Several allocations in one call are separate steps, all of them or none.
//!
//! It is not the oracle of `genpool-plain`, which knows one place for each request: this pool has to allow every place
//! that a concurrent pool may take. The checker compares and stores its state for each order that it tries, so the
//! state is three words.
//!
//! # The checker
//!
//! [`todc_utils`] searches for an order of the calls in which each answer is right, and in which a call that returned
//! before another began comes before it. It implements Wing and Gong's algorithm with a memory of the states already
//! visited, without which incorrect histories take too long, and it has no dependencies. stateright's tester searches
//! without such a memory, and brings a web server.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History as Actions};
use todc_utils::specifications::Specification;

/// The number of granules that a history can describe.
pub const GRANULES: usize = 128;

/// A run of granules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// The first granule.
    pub start: usize,
    /// The length.
    pub n: usize,
}

impl Run {
    /// Makes the run of `n` granules from `start` on.
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
    /// Returns the set of the granules for which `belongs` holds.
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

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The first granule of the allocation.
    At(usize),
    /// Nothing fitted.
    Exhausted,
    /// Neither a fit nor its absence could be established.
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
        /// Where the run may start.
        places: Set,
        /// The answer.
        answer: Answer,
    },
    /// A run was allocated, wherever it is.
    Take(Run),
    /// A free by address.
    Free {
        /// The run to give back.
        run: Run,
        /// Whether the free succeeded.
        freed: bool,
    },
    /// An allocation was resized.
    Resize {
        /// The run before.
        run: Run,
        /// The length after.
        n: usize,
    },
    /// A refused call whose refusal carries no information.
    Nothing,
}

impl Operation {
    /// Returns whether the operation allocated a run that starts at `granule`.
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
    /// Returns the pool after `operation`, or `None` if the answer was not possible.
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

    /// Takes the run again with `n` granules. Shrinking does not depend on whether the chunk still serves.
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

/// Stamps calls and returns, with one counter for all threads.
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

/// The calls of one thread.
#[derive(Debug)]
pub struct Log<'c> {
    clock: &'c Clock,
    thread: usize,
    entries: Vec<Entry>,
}

impl<'c> Log<'c> {
    /// Makes an empty log for the thread with this number.
    #[must_use]
    pub fn new(clock: &'c Clock, thread: usize) -> Self {
        Self {
            clock,
            thread,
            entries: Vec::new(),
        }
    }

    /// Makes a call and records the steps that `steps_of` derives from its answer, if they are known. Each step has an
    /// instant of its own between call and return.
    pub fn call<R, T: IntoIterator<Item = Operation>>(
        &mut self,
        call: impl FnOnce() -> R,
        steps_of: impl FnOnce(&R) -> T,
    ) -> R {
        let called = self.clock.stamp();
        let answer = call();
        let returned = self.clock.stamp();
        let steps = steps_of(&answer).into_iter();
        self.entries.extend(steps.map(|operation| Entry {
            thread: self.thread,
            called,
            returned,
            operation,
        }));
        answer
    }
}

/// The calls of all threads.
#[derive(Debug)]
pub struct History(Vec<Entry>);

impl History {
    /// Joins `logs` into one history.
    ///
    /// Two kinds of answer are relaxed:
    ///
    /// - A refusal counts as `Contended` if it overlaps a call that overlaps the removal of a chunk. A claim that
    ///   meets the removal takes itself back, and a caller that was refused because of that claim does not try again
    ///   (PROMISES.md, "A claim that is taken back").
    /// - A refused free is dropped if it overlaps the allocation of the run that it was to free, because no caller has
    ///   received that run yet.
    #[must_use]
    pub fn of<'c>(logs: impl IntoIterator<Item = Log<'c>>) -> Self {
        let mut entries: Vec<_> = logs.into_iter().flat_map(|log| log.entries).collect();
        entries.sort_by_key(|entry| entry.called);
        let overlaps_any = |entry: &Entry, is: &dyn Fn(&Entry) -> bool| {
            let mut others = entries.iter();
            others.any(|other| other.overlaps(entry) && is(other))
        };
        let removes = |entry: &Entry| matches!(entry.operation, Operation::Remove(_));
        let judged = |entry: &Entry| match entry.operation {
            Operation::Free { run, freed: false }
                if overlaps_any(entry, &|other| other.operation.places(run.start)) =>
            {
                None
            }
            Operation::Alloc {
                n,
                places,
                answer: Answer::Exhausted,
            } if overlaps_any(entry, &|other| overlaps_any(other, &removes)) => Some(Entry {
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

    /// Returns whether the sequential pool could have given the same answers.
    #[must_use]
    pub fn is_linearizable(&self) -> bool {
        // Each step is a process of its own, because the stamps are all that is known about their order.
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

    /// Returns how often a request got the answer `wanted`.
    #[must_use]
    pub fn answers(&self, wanted: Answer) -> usize {
        let is_answered = |entry: &&Entry| matches!(entry.operation, Operation::Alloc { answer, .. } if answer == wanted);
        self.0.iter().filter(is_answered).count()
    }

    /// Returns the number of pairs of calls that overlap: neither returned before the other began.
    #[must_use]
    pub fn overlaps(&self) -> usize {
        let later = |(at, entry): (usize, &Entry)| {
            let others = self.0[at + 1..].iter();
            others.filter(|other| entry.overlaps(other)).count()
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

    /// Each call is (thread, called, returned, operation).
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
        // The chunk is full; a free of granule 0 and a request overlap in time.
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

    /// In a free of two granules, one goes to a thread whose next request is refused.
    #[test]
    fn both_halves_of_a_free_are_found() {
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
