//! Random work on a pool, and the record of it.

use std::sync::Mutex;

use fastrand::Rng;
use genpool_algos::{BestFit, FirstFitAlign, FixedAddress, NextFit, ThreadStart};
use genpool_core::{
    Algorithm, AllocError, Allocation, ChunkView, Claim, FirstFit, FreeError, Granule, Pool,
    PoolView, Request,
};
use genpool_core::{Constrained, Constraints};

use crate::history::{Answer, Log, Operation, Run, Set};

/// The address of granule 0; granules are single bytes.
const BASE: usize = 1 << 20;

/// The algorithm of a request.
#[derive(Clone, Copy, Debug)]
pub enum By {
    /// The pool's default, first fit.
    Default,
    /// First fit at multiples of this many granules.
    Aligned(usize),
    /// Best fit.
    BestFit,
    /// Next fit, one value for all threads.
    NextFit,
    /// Thread start: each thread has a start position of its own.
    ThreadStart,
    /// At this granule.
    At(usize),
    /// First fit from this granule on.
    From(usize),
}

impl By {
    /// Returns the granules at which a run may start.
    fn places(self) -> Set {
        Set::of(|granule| match self {
            Self::Default | Self::BestFit | Self::NextFit | Self::ThreadStart => true,
            Self::Aligned(to) => granule.is_multiple_of(to),
            Self::At(place) => granule == place,
            Self::From(lowest) => granule >= lowest,
        })
    }
}

/// One step of a thread. A number that selects one of the runs it holds is taken modulo how many it holds.
#[derive(Clone, Debug)]
enum Step {
    Alloc {
        n: usize,
        by: By,
        slowly: bool,
    },
    Many(Vec<usize>),
    /// Gives a run back: drops it, or frees it by address if it is `raw`.
    Free {
        which: usize,
        raw: bool,
    },
    Resize {
        which: usize,
        n: usize,
    },
    /// Publishes the address of a run that the thread holds.
    Publish {
        which: usize,
    },
    /// Frees the run published last, whichever thread holds it.
    FreePublished,
    Add(Run),
    Remove(Run),
}

/// The work of one thread.
#[derive(Clone, Debug)]
pub struct Work(Vec<Step>);

/// The setting of the work.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The chunks that exist from the start.
    pub chunks: Vec<Run>,
    /// The runs that are held from the start until the end.
    pub held: Vec<Run>,
    /// A chunk that is added during the work.
    pub comes: Option<Run>,
    /// One of `chunks`, which is removed during the work.
    pub goes: Option<Run>,
    /// The longest run that is requested.
    pub longest: usize,
    /// Whether boundary tracking is on.
    pub tracked: bool,
    /// Whether threads also free ranges that they do not hold.
    pub foreign_frees: bool,
}

impl Scene {
    /// Makes a scene of these chunks and the runs held in them, with requests of up to `longest` granules. The chunk
    /// list does not change, boundary tracking is off, and only the holder of a range frees it.
    #[must_use]
    pub fn new(chunks: &[Run], held: &[Run], longest: usize) -> Self {
        Self {
            chunks: chunks.to_vec(),
            held: held.to_vec(),
            comes: None,
            goes: None,
            longest,
            tracked: false,
            foreign_frees: false,
        }
    }

    /// Returns five variants. Of this scene: the scene itself; with boundary tracking and foreign frees; with single
    /// granules and foreign frees, because without boundary tracking, racing frees across words may each take a part
    /// (PROMISES.md). Of `wide`: with the chunk `comes`; and in addition with its last chunk removed.
    #[must_use]
    pub fn in_five_ways(self, wide: Self, comes: Run) -> [Self; 5] {
        let comes = Some(comes);
        let goes = wide.chunks.last().copied();
        [
            self.clone(),
            Self {
                tracked: true,
                foreign_frees: true,
                ..self.clone()
            },
            Self {
                longest: 1,
                foreign_frees: true,
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

    /// Returns the work of one thread. The work of the `first` thread changes the chunk list.
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
                    7 => By::BestFit,
                    8 => By::NextFit,
                    9 => By::ThreadStart,
                    10 => By::At(place),
                    _ => By::From(place),
                };
                let slowly = rng.u8(..4) == 0;
                Step::Alloc { n, by, slowly }
            }
            // Not with foreign frees: one may free a part of what a refused call is about to give back.
            8 if !self.foreign_frees => {
                Step::Many((0..2).map(|_| rng.usize(1..=self.longest)).collect())
            }
            9 if self.foreign_frees => Step::Publish { which },
            10 if self.foreign_frees => Step::FreePublished,
            9..12 if !self.foreign_frees => Step::Resize {
                which,
                n: rng.usize(1..=self.longest),
            },
            _ => Step::Free {
                which,
                raw: rng.bool(),
            },
        }
    }

    /// Makes the pool as it is at the start, and records how it came to be.
    ///
    /// # Panics
    ///
    /// If the scene is impossible.
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
            published: self.foreign_frees.then(Mutex::default),
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

/// The pool under work and what the threads share.
#[derive(Debug)]
pub struct Stage {
    pool: Pool,
    next: NextFit,
    /// The run published last; present only if there are foreign frees.
    published: Option<Mutex<Option<Run>>>,
}

/// The calls that a false pool may override.
pub trait Subject: Sync {
    /// Returns the pool that answers the calls.
    fn pool(&self) -> &Pool;

    /// Like [`PoolView::alloc_with`], or [`PoolView::alloc`] if no algorithm is given.
    ///
    /// # Errors
    ///
    /// The same.
    fn alloc(&self, size: usize, by: Option<&dyn Algorithm>) -> Result<Allocation<'_>, AllocError> {
        let pool: &PoolView = self.pool();
        match by {
            Some(by) => pool.alloc_with(size, by),
            None => pool.alloc(size),
        }
    }

    /// Like [`Pool::free`].
    ///
    /// # Errors
    ///
    /// The same.
    fn free(&self, addr: usize, size: usize) -> Result<(), FreeError> {
        self.pool().free(addr, size)
    }
}

impl Subject for Pool {
    fn pool(&self) -> &Pool {
        self
    }
}

/// A run that a thread holds, as a value or, without one, by address.
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

/// Lets other threads run before and after it searches.
struct Slowly<'a>(&'a dyn Algorithm);

impl Algorithm for Slowly<'_> {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        std::thread::yield_now();
        let found = self.0.propose(chunk, request);
        std::thread::yield_now();
        found
    }

    fn claim<'c>(&self, chunk: &ChunkView<'c>, request: &Request) -> Claim<'c> {
        std::thread::yield_now();
        let claim = self.0.claim(chunk, request);
        std::thread::yield_now();
        claim
    }
}

impl Stage {
    /// Returns the pool.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Does the work of one thread on `subject`, which is the stage's pool or one that misreports it, and gives
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
            Step::Publish { which } => {
                if let Some(which) = some(held, which)
                    && let Some(published) = &self.published
                {
                    *published.lock().expect("nobody panics with it") = Some(held[which].run);
                }
            }
            Step::FreePublished => {
                let published = self.published.as_ref();
                let published = published
                    .and_then(|published| *published.lock().expect("nobody panics with it"));
                if let Some(run) = published {
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
            By::BestFit => ask(&BestFit),
            By::NextFit => ask(&self.next),
            By::ThreadStart => ask(&ThreadStart),
            By::At(place) => ask(&FixedAddress::new(BASE + place)),
            By::From(place) => {
                let above = Constraints::new().lowest(BASE + place);
                ask(&Constrained::new(FirstFit, above))
            }
        };
        let steps = |found: &Result<Allocation<'_>, AllocError>| {
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
        log.call(call, steps).ok().map(Held::new)
    }

    fn give_back(&self, subject: &impl Subject, mut held: Held<'_>, log: &mut Log<'_>) {
        // Made raw, because a drop does not report whether another thread has freed the range.
        held.make_raw_if(self.published.is_some());
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

/// Returns the steps of a call for several allocations.
fn many(found: &Result<Vec<Allocation<'_>>, AllocError>) -> Vec<Operation> {
    match found {
        Ok(found) => found.iter().map(run_of).map(Operation::Take).collect(),
        Err(_) => vec![Operation::Nothing],
    }
}

fn resize(held: &mut Held<'_>, n: usize, log: &mut Log<'_>) {
    let run = held.run;
    if let Some(value) = &mut held.value {
        // A refusal may be due to a claim that is rolled back, so it carries no information.
        let resized = Operation::Resize { run, n };
        log.call(
            || value.resize(n).is_ok(),
            |&done| [if done { resized } else { Operation::Nothing }],
        );
        held.run = run_of(value);
    }
}
