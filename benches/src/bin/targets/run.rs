//! One run: every row in rounds.

use std::error::Error;

use benches::cell::{Cell, Readiness, Round};
use benches::contestant::BuildFailure;
use benches::crew::Crew;
use benches::stats::Summary;
use benches::suite::{Row, Scale, Section};

use crate::args::Pace;

/// If the range of the rounds exceeds this part of their median, it is too wide to decide about a limit inside it.
pub(crate) const NOISY: f64 = 0.25;

/// The part of a round that threads which share a pool may spend without a processor before the figure no longer shows
/// how they affect each other.
const DISTURBED: f64 = 0.05;

/// The part of the operations that may fail before a figure says little about the others.
const FAILING: f64 = 0.01;

/// The rows to measure: the floor's, then the sections'.
#[derive(Debug)]
pub(crate) struct Rows {
    floors: Vec<Row>,
    sections: Vec<Vec<Row>>,
}

/// The result of a run for one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figures {
    pub(crate) summary: Summary,
    /// Whether the pool had settled before the rounds.
    pub(crate) settled: bool,
    /// Whether threads that should have run together were kept apart in most rounds, because the system ran something
    /// else. Threads that wait for a lock look the same.
    pub(crate) disturbed: bool,
    /// The part of the operations that did not end as expected.
    pub(crate) missed: f64,
}

impl Figures {
    /// Returns whether the rounds differ too much.
    pub(crate) fn is_noisy(&self) -> bool {
        self.summary.spread() > NOISY
    }

    /// Returns whether so many operations failed that the rest is not what was to be measured.
    pub(crate) fn is_failing(&self) -> bool {
        self.missed > FAILING
    }
}

/// The result of a run: figures for each of the [`Rows`], except those whose pool could not be filled.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) figures: Vec<Option<Figures>>,
}

impl Run {
    /// Returns the figures of the floor with one thread.
    pub(crate) fn floor(&self) -> Option<Figures> {
        self.figures.first().copied().flatten()
    }
}

impl Rows {
    /// Makes the rows of these sections.
    pub(crate) fn new(scale: &Scale, sections: &[Section]) -> Self {
        let mut floors = vec![scale.floor(1)];
        if scale.threads > 1 {
            floors.push(scale.floor(scale.threads));
        }
        let sections = sections.iter().map(|&section| scale.rows(section));
        Self {
            floors,
            sections: sections.collect(),
        }
    }

    /// Returns all rows, in the order of a run's figures.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Row> {
        self.floors.iter().chain(self.sections.iter().flatten())
    }

    /// Returns the largest number of threads.
    pub(crate) fn threads(&self) -> usize {
        self.all().map(|row| row.threads).max().unwrap_or(1)
    }

    /// Measures each row `rounds` times on a new pool. The floor is measured before each section, and its figure is the
    /// median of a round.
    ///
    /// # Errors
    ///
    /// If a pool cannot be made, or is not as free at the end as at the start.
    pub(crate) fn measure(
        &self,
        crew: &mut Crew,
        pace: &Pace,
        rounds: u32,
    ) -> Result<Run, Box<dyn Error>> {
        let mut groups = Vec::new();
        for rows in [&self.floors].into_iter().chain(&self.sections) {
            let contests = rows.iter().map(|row| Contest::new(row, crew, pace));
            groups.push(contests.collect::<Result<Vec<_>, _>>()?);
        }
        let (floors, sections) = groups.split_at_mut(1);
        for round in 0..rounds {
            for section in &mut *sections {
                for contest in floors.iter_mut().flatten().chain(section) {
                    contest.measure(crew, pace);
                }
            }
            for floor in floors.iter_mut().flatten() {
                floor.condense(round as usize);
            }
        }
        let contests = groups.into_iter().flatten();
        let figures = contests.map(|contest| contest.finish(crew));
        Ok(Run {
            figures: figures.collect::<Result<_, _>>()?,
        })
    }
}

/// A row, its pool if that is ready, and the results of the rounds so far.
struct Contest<'r> {
    row: &'r Row,
    cell: Option<Cell>,
    settled: bool,
    rounds: Vec<Round>,
}

impl<'r> Contest<'r> {
    fn new(row: &'r Row, crew: &mut Crew, pace: &Pace) -> Result<Self, String> {
        let (mut cell, mut settled) = (None, false);
        match row.cell(pace.patience.filling) {
            Ok(mut ready) => {
                let readiness = ready.prepare(crew, pace.patience);
                settled = readiness == Readiness::Settled;
                cell = (readiness != Readiness::Unfilled).then_some(ready);
            }
            Err(BuildFailure::TooSlow) => {}
            Err(error) => return Err(format!("{}, {}: {error}", row.who, row.what)),
        }
        Ok(Self {
            row,
            cell,
            settled,
            rounds: Vec::new(),
        })
    }

    fn measure(&mut self, crew: &mut Crew, pace: &Pace) {
        if let Some(cell) = &mut self.cell {
            self.rounds.push(cell.round(crew, pace.round));
        }
    }

    /// Replaces the figures since the first `rounds` rounds by their median.
    fn condense(&mut self, rounds: usize) {
        let since: Vec<Round> = self.rounds.drain(rounds..).collect();
        let of = |part| median(&since, part);
        self.rounds
            .extend(of(|round| round.nanoseconds).map(|nanoseconds| Round {
                nanoseconds,
                idle: of(|round| round.idle).unwrap_or_default(),
                missed: of(|round| round.missed).unwrap_or_default(),
            }));
    }

    fn finish(self, crew: &mut Crew) -> Result<Option<Figures>, String> {
        if let Some(cell) = self.cell {
            let finished = cell.finish(crew);
            finished.map_err(|error| format!("{}, {}: {error}", self.row.who, self.row.what))?;
        }
        let meet = (2..=crew.processors()).contains(&self.row.threads);
        let idle = median(&self.rounds, |round| round.idle);
        let figures = summary(&self.rounds, |round| round.nanoseconds).map(|summary| Figures {
            summary,
            settled: self.settled,
            disturbed: meet && idle.is_some_and(|idle| idle > DISTURBED),
            missed: median(&self.rounds, |round| round.missed).unwrap_or_default(),
        });
        Ok(figures)
    }
}

fn summary(rounds: &[Round], part: fn(&Round) -> f64) -> Option<Summary> {
    Summary::of(&rounds.iter().map(part).collect::<Vec<_>>())
}

fn median(rounds: &[Round], part: fn(&Round) -> f64) -> Option<f64> {
    summary(rounds, part).map(|summary| summary.median)
}
