//! Random work on a pool, and the record of it.

use std::sync::Mutex;

use fastrand::Rng;
use genpool_algos::{
    BestFit, Constrained, Constraints, FirstFitAlign, FixedAddress, NextFit, ThreadStart,
};
use genpool_core::{
    Algorithm, AllocError, Allocation, ChunkView, FirstFit, FreeError, Granule, Pool, Request,
};

use crate::history::{Answer, Log, Operation, Run, Set};

/// The address of granule 0; granules are single bytes.
const BASE: usize = 1 << 20;

/// Which algorithm a request goes by.
#[derive(Clone, Copy, Debug)]
pub enum By {
    /// The pool's own, first fit.
    Default,
    /// First fit at multiples of a number of granules.
    Aligned(usize),
    /// Best fit.
    Best,
    /// One next fit of all threads.
    Next,
    /// Threads with a start of their own.
    Own,
    /// At one granule.
    At(usize),
    /// First fit from a granule on.
    From(usize),
}

impl By {
    /// Where a run may start.
    fn places(self) -> Set {
        Set::of(|granule| match self {
            Self::Default | Self::Best | Self::Next | Self::Own => true,
            Self::Aligned(to) => granule.is_multiple_of(to),
            Self::At(place) => granule == place,
            Self::From(lowest) => granule >= lowest,
        })
    }
}

/// What a thread does next. Numbers that choose among what it holds are taken modulo how much that is.
#[derive(Clone, Debug)]
enum Step {
    Alloc {
        n: usize,
        by: By,
        slowly: bool,
    },
    Many(Vec<usize>),
    /// Dropped or, where it is `raw`, freed by address.
    Free {
        which: usize,
        raw: bool,
    },
    Resize {
        which: usize,
        n: usize,
    },
    /// Tells everybody the address of what it holds.
    Tell {
        which: usize,
    },
    /// Frees what was told of, whoever holds it.
    FreeTold,
    Add(Run),
    Remove(Run),
}

/// The work of one thread.
#[derive(Clone, Debug)]
pub struct Work(Vec<Step>);

/// What there is to work on.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Chunks that are there from the start.
    pub chunks: Vec<Run>,
    /// What is held from the start until the end.
    pub held: Vec<Run>,
    /// A chunk that is added on the way.
    pub comes: Option<Run>,
    /// One of `chunks` that is removed on the way.
    pub goes: Option<Run>,
    /// The longest run that is asked for.
    pub longest: usize,
    /// With boundary tracking.
    pub tracked: bool,
    /// Ranges are also freed by who does not hold them.
    pub strangers: bool,
}

impl Scene {
    /// These chunks and what is held in them, for runs of up to so many granules. The chunk list stays,
    /// nothing is tracked, and who holds a range frees it.
    #[must_use]
    pub fn new(chunks: &[Run], held: &[Run], longest: usize) -> Self {
        Self {
            chunks: chunks.to_vec(),
            held: held.to_vec(),
            comes: None,
            goes: None,
            longest,
            tracked: false,
            strangers: false,
        }
    }

    /// In this scene: as it is; with boundary tracking and strangers; of single granules with strangers,
    /// since without boundary tracking frees that race across words may both take a part (PROMISES.md).
    /// In `wide`: a chunk `comes`; and its last chunk goes besides.
    #[must_use]
    pub fn in_five_ways(self, wide: Self, comes: Run) -> [Self; 5] {
        let comes = Some(comes);
        let goes = wide.chunks.last().copied();
        [
            self.clone(),
            Self {
                tracked: true,
                strangers: true,
                ..self.clone()
            },
            Self {
                longest: 1,
                strangers: true,
                ..self
            },
            Self {
                comes,
                ..wide.clone()
            },
            Self {
                goes,
                comes,
                ..wide
            },
        ]
    }

    /// The work of one of several threads; the `first` of them changes the chunk list.
    #[must_use]
    pub fn work(&self, rng: &mut Rng, steps: usize, first: bool) -> Work {
        let mut steps: Vec<_> = (0..steps).map(|_| self.step(rng)).collect();
        if first {
            let changes = [self.comes.map(Step::Add), self.goes.map(Step::Remove)];
            for change in changes.into_iter().flatten() {
                steps.insert(rng.usize(..=steps.len()), change);
            }
        }
        Work(steps)
    }

    fn step(&self, rng: &mut Rng) -> Step {
        let which = rng.usize(..);
        match rng.u8(..16) {
            0..8 => {
                let n = rng.usize(1..=self.longest);
                let end = self
                    .chunks
                    .iter()
                    .chain(&self.comes)
                    .map(|run| run.start + run.n);
                let place = rng.usize(..end.max().unwrap_or(1));
                let by = match rng.u8(..12) {
                    0..5 => By::Default,
                    5 => By::Aligned(2),
                    6 => By::Aligned(4),
                    7 => By::Best,
                    8 => By::Next,
                    9 => By::Own,
                    10 => By::At(place),
                    _ => By::From(place),
                };
                let slowly = rng.u8(..4) == 0;
                Step::Alloc { n, by, slowly }
            }
            // A stranger may free a part of what a refused call is about to give back.
            8 if !self.strangers => {
                Step::Many((0..2).map(|_| rng.usize(1..=self.longest)).collect())
            }
            9 if self.strangers => Step::Tell { which },
            10 if self.strangers => Step::FreeTold,
            9..12 if !self.strangers => Step::Resize {
                which,
                n: rng.usize(1..=self.longest),
            },
            _ => Step::Free {
                which,
                raw: rng.bool(),
            },
        }
    }

    /// A pool as it is at the start; how it became that is recorded.
    ///
    /// # Panics
    ///
    /// When the scene cannot be.
    #[must_use]
    pub fn open(&self, log: &mut Log<'_>) -> Stage {
        let builder = Pool::builder();
        let builder = if self.tracked {
            builder.boundary_tracking()
        } else {
            builder
        };
        let stage = Stage {
            pool: builder.build().expect("order 0 is good"),
            next: NextFit::new(),
            told: self.strangers.then(Mutex::default),
        };
        for &run in &self.chunks {
            stage.add(run, log);
        }
        for &run in &self.held {
            let at = FixedAddress::new(BASE + run.start);
            let hold = || {
                let held = stage.pool.alloc_with(run.n, &at).expect("free");
                let _ = held.into_raw();
            };
            log.call(hold, |()| [Operation::Take(run)]);
        }
        stage
    }
}

/// What is worked on.
#[derive(Debug)]
pub struct Stage {
    pool: Pool,
    next: NextFit,
    /// What somebody held; a place only where there are strangers.
    told: Option<Mutex<Option<Run>>>,
}

/// The calls that a pool may lie in.
pub trait Subject: Sync {
    /// The pool behind it.
    fn pool(&self) -> &Pool;

    /// As [`Pool::alloc_with`], or [`Pool::alloc`] where no algorithm is given.
    ///
    /// # Errors
    ///
    /// As they.
    fn alloc(&self, size: usize, by: Option<&dyn Algorithm>) -> Result<Allocation<'_>, AllocError> {
        match by {
            Some(by) => self.pool().alloc_with(size, by),
            None => self.pool().alloc(size),
        }
    }

    /// As [`Pool::free`].
    ///
    /// # Errors
    ///
    /// As it.
    fn free(&self, addr: usize, size: usize) -> Result<(), FreeError> {
        self.pool().free(addr, size)
    }
}

impl Subject for Pool {
    fn pool(&self) -> &Pool {
        self
    }
}

/// What a thread holds: without the value, by address.
struct Held<'p> {
    run: Run,
    value: Option<Allocation<'p>>,
}

impl<'p> Held<'p> {
    fn new(value: Allocation<'p>) -> Self {
        Self {
            run: run_of(&value),
            value: Some(value),
        }
    }

    fn make_raw_if(&mut self, raw: bool) {
        if raw {
            self.value.take().map(Allocation::into_raw);
        }
    }
}

fn run_of(value: &Allocation<'_>) -> Run {
    Run::new(value.addr() - BASE, value.size())
}

/// Lets others run before and after it looks.
struct Slowly<'a>(&'a dyn Algorithm);

impl Algorithm for Slowly<'_> {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        std::thread::yield_now();
        let found = self.0.propose(chunk, request);
        std::thread::yield_now();
        found
    }
}

impl Stage {
    /// The pool.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Does the work of one thread on `subject`, which is the stage's pool or lies about it; gives
    /// everything back at the end.
    pub fn play(&self, subject: &impl Subject, work: Work, log: &mut Log<'_>) {
        let mut held = Vec::new();
        for step in work.0 {
            self.step(subject, step, &mut held, log);
        }
        for held in held {
            self.give_back(subject, held, log);
        }
    }

    fn step<'p>(
        &self,
        subject: &'p impl Subject,
        step: Step,
        held: &mut Vec<Held<'p>>,
        log: &mut Log<'_>,
    ) {
        let some = |held: &Vec<Held<'p>>, which: usize| which.checked_rem(held.len());
        match step {
            Step::Alloc { n, by, slowly } => {
                held.extend(self.alloc(subject, n, by, slowly, log));
            }
            Step::Many(sizes) => {
                let found = log.call(|| subject.pool().alloc_many(&sizes), many);
                held.extend(found.into_iter().flatten().map(Held::new));
            }
            Step::Free { which, raw } => {
                if let Some(which) = some(held, which) {
                    let mut held = held.swap_remove(which);
                    held.make_raw_if(raw);
                    self.give_back(subject, held, log);
                }
            }
            Step::Resize { which, n } => {
                if let Some(which) = some(held, which) {
                    resize(&mut held[which], n, log);
                }
            }
            Step::Tell { which } => {
                if let Some(which) = some(held, which)
                    && let Some(told) = &self.told
                {
                    *told.lock().expect("nobody panics with it") = Some(held[which].run);
                }
            }
            Step::FreeTold => {
                let told = self.told.as_ref();
                let told = told.and_then(|told| *told.lock().expect("nobody panics with it"));
                if let Some(run) = told {
                    self.give_back(subject, Held { run, value: None }, log);
                }
            }
            Step::Add(run) => self.add(run, log),
            Step::Remove(run) => {
                log.call(
                    || drop(self.pool.remove(BASE + run.start).expect("it is there")),
                    |()| [Operation::Remove(run)],
                );
            }
        }
    }

    fn add(&self, run: Run, log: &mut Log<'_>) {
        log.call(
            || {
                self.pool
                    .add(BASE + run.start, run.n)
                    .expect("a good chunk")
            },
            |()| [Operation::Add(run)],
        );
    }

    fn alloc<'p>(
        &self,
        subject: &'p impl Subject,
        n: usize,
        by: By,
        slowly: bool,
        log: &mut Log<'_>,
    ) -> Option<Held<'p>> {
        let ask = |algorithm: &dyn Algorithm| {
            if slowly {
                subject.alloc(n, Some(&Slowly(algorithm)))
            } else {
                subject.alloc(n, Some(algorithm))
            }
        };
        let call = || match by {
            By::Default if slowly => ask(&FirstFit),
            By::Default => subject.alloc(n, None),
            By::Aligned(to) => ask(&FirstFitAlign::new(to).expect("a power of two")),
            By::Best => ask(&BestFit),
            By::Next => ask(&self.next),
            By::Own => ask(&ThreadStart),
            By::At(place) => ask(&FixedAddress::new(BASE + place)),
            By::From(place) => {
                let above = Constraints::new().lowest(BASE + place);
                ask(&Constrained::new(FirstFit, above))
            }
        };
        let told = |found: &Result<Allocation<'_>, AllocError>| {
            let answer = match found {
                Ok(found) => Answer::At(run_of(found).start),
                Err(
                    AllocError::Exhausted { .. }
                    | AllocError::Taken { .. }
                    | AllocError::Impossible(_),
                ) => Answer::Exhausted,
                Err(AllocError::Contended { .. }) => Answer::Contended,
                Err(other) => panic!("{other}"),
            };
            let places = by.places();
            [Operation::Alloc { n, places, answer }]
        };
        log.call(call, told).ok().map(Held::new)
    }

    fn give_back(&self, subject: &impl Subject, mut held: Held<'_>, log: &mut Log<'_>) {
        // A drop does not say whether a stranger has freed the range.
        held.make_raw_if(self.told.is_some());
        let run = held.run;
        let free = || match held.value {
            Some(value) => {
                drop(value);
                true
            }
            None => subject.free(BASE + run.start, run.n).is_ok(),
        };
        log.call(free, |&freed| [Operation::Free { run, freed }]);
    }
}

/// The steps that several allocations at once are.
fn many(found: &Result<Vec<Allocation<'_>>, AllocError>) -> Vec<Operation> {
    match found {
        Ok(found) => found.iter().map(run_of).map(Operation::Take).collect(),
        Err(_) => vec![Operation::Nothing],
    }
}

fn resize(held: &mut Held<'_>, n: usize, log: &mut Log<'_>) {
    let run = held.run;
    if let Some(value) = &mut held.value {
        // A refusal may be due to a claim that is rolled back, so it says nothing.
        let resized = Operation::Resize { run, n };
        log.call(
            || value.resize(n).is_ok(),
            |&done| [if done { resized } else { Operation::Nothing }],
        );
        held.run = run_of(value);
    }
}
