//! One run: every row in rounds.

use std::error::Error;
use std::time::{Duration, Instant};

use benches::before::Before;
use benches::cell::Readiness;
use benches::contestant::BuildFailure;
use benches::crew::Crew;
use benches::measure::{Measure, Round};
use benches::stats::Summary;
use benches::subject::Subject;
use benches::suite::{Row, Scale, Section};

use crate::args::Pace;

/// The part of the operations that may fail before a figure says little about the others.
const FAILING: f64 = 0.01;

/// The rows to measure: the floor's, then the sections'.
#[derive(Debug)]
pub(crate) struct Rows {
    groups: Vec<Vec<Row>>,
}

/// The result of a run for one row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// The results of the rounds.
    Measured {
        /// Whether the pool had settled before the rounds.
        settled: bool,
        rounds: Vec<Round>,
    },
    /// The contestant is not there.
    Absent,
    /// There was no time, or no room, to fill the pool.
    Unfilled,
}

/// The results of a run, one for each row.
pub(crate) type Run = Vec<Outcome>;

impl Outcome {
    fn rounds(&self) -> &[Round] {
        match self {
            Self::Measured { rounds, .. } => rounds,
            Self::Absent | Self::Unfilled => &[],
        }
    }

    /// Returns the figures of the rounds, in their order; nothing for a round that was disturbed.
    pub(crate) fn figures(&self, measure: Measure) -> Vec<Option<f64>> {
        let figure = |round: &Round| round.figure(measure).filter(|_| !round.disturbed);
        self.rounds().iter().map(figure).collect()
    }

    /// Returns the median and the range of the undisturbed rounds, or of all if there are none.
    pub(crate) fn summary(&self, measure: Measure) -> Option<Summary> {
        let undisturbed: Vec<f64> = self.figures(measure).into_iter().flatten().collect();
        Summary::of(&undisturbed).or_else(|| {
            let all = self.rounds().iter();
            let all: Vec<f64> = all.filter_map(|round| round.figure(measure)).collect();
            Summary::of(&all)
        })
    }

    /// Returns whether most of the rounds were disturbed.
    pub(crate) fn is_disturbed(&self) -> bool {
        let disturbed = self.rounds().iter().filter(|round| round.disturbed);
        2 * disturbed.count() > self.rounds().len()
    }

    /// Returns whether so many operations failed that the rest is not what was to be measured.
    pub(crate) fn is_failing(&self) -> bool {
        let missed: Vec<f64> = self.rounds().iter().map(|round| round.missed).collect();
        Summary::of(&missed).is_some_and(|missed| missed.median > FAILING)
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
            groups: [floors].into_iter().chain(sections).collect(),
        }
    }

    /// Returns all rows, in the order of a run's outcomes.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Row> {
        self.groups.iter().flatten()
    }

    /// Returns the largest number of threads.
    pub(crate) fn threads(&self) -> usize {
        self.all().map(|row| row.threads).max().unwrap_or(1)
    }

    /// Measures each row `rounds` times on a new pool, section by section: in each round of a section, every row once.
    ///
    /// # Errors
    ///
    /// If a pool cannot be made, or is not as free at the end as at the start.
    pub(crate) fn measure(
        &self,
        crew: &mut Crew,
        before: Option<&Before>,
        pace: &Pace,
    ) -> Result<Run, Box<dyn Error>> {
        let mut run = Vec::new();
        for rows in &self.groups {
            let contests = rows.iter().map(|row| Contest::new(row, crew, before, pace));
            let mut contests = contests.collect::<Result<Vec<_>, _>>()?;
            for round in 0..pace.rounds {
                // To and fro, so that a machine that becomes slower or faster affects all of them alike.
                if round > 0 {
                    contests.reverse();
                }
                for contest in &mut contests {
                    contest.measure(crew, pace)?;
                }
            }
            if pace.rounds.is_multiple_of(2) {
                contests.reverse();
            }
            for contest in contests {
                run.push(contest.finish(crew)?);
            }
        }
        Ok(run)
    }
}

/// A row, its subject if that is ready, and the results of the rounds so far.
struct Contest<'r> {
    row: &'r Row,
    subject: Option<Box<dyn Subject>>,
    outcome: Outcome,
    /// How long the rounds have taken.
    taken: Duration,
}

impl<'r> Contest<'r> {
    fn new(
        row: &'r Row,
        crew: &mut Crew,
        before: Option<&Before>,
        pace: &Pace,
    ) -> Result<Self, String> {
        let mut contest = Self {
            row,
            subject: None,
            outcome: Outcome::Unfilled,
            taken: Duration::ZERO,
        };
        let mut subject = match row.subject(pace.patience.filling, before) {
            Ok(subject) => subject,
            Err(BuildFailure::TooSlow) => return Ok(contest),
            Err(BuildFailure::Absent) => {
                contest.outcome = Outcome::Absent;
                return Ok(contest);
            }
            Err(error) => return Err(contest.failed(&error.to_string())),
        };
        let readiness = subject.prepare(crew, pace.patience);
        let readiness = readiness.map_err(|error| contest.failed(&error))?;
        if readiness != Readiness::Unfilled {
            contest.subject = Some(subject);
            contest.outcome = Outcome::Measured {
                settled: readiness == Readiness::Settled,
                rounds: Vec::new(),
            };
        }
        Ok(contest)
    }

    fn failed(&self, error: &str) -> String {
        format!("{}, {}: {error}", self.row.who, self.row.what)
    }

    fn measure(&mut self, crew: &mut Crew, pace: &Pace) -> Result<(), String> {
        let (Some(subject), Outcome::Measured { rounds, .. }) =
            (&mut self.subject, &mut self.outcome)
        else {
            return Ok(());
        };
        if self.taken > pace.most {
            return Ok(());
        }
        let start = Instant::now();
        match subject.round(crew, pace.round) {
            Ok(round) => rounds.push(round),
            Err(error) => return Err(self.failed(&error)),
        }
        self.taken += start.elapsed();
        Ok(())
    }

    fn finish(mut self, crew: &mut Crew) -> Result<Outcome, String> {
        if let Some(subject) = self.subject.take() {
            let finished = subject.finish(crew);
            finished.map_err(|error| self.failed(&error))?;
        }
        Ok(self.outcome)
    }
}
