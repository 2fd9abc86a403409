//! The results of all runs, for each row and for each bound of a target.

use benches::measure::Measure;
use benches::stats::Summary;
use benches::suite::{Bound, Row, Target};

use crate::run::{Outcome, Rows, Run};
use crate::verdict::{Judgement, Tally, Verdict, judge};

/// A row over all runs.
#[derive(Debug)]
pub(crate) struct Line<'r> {
    pub(crate) row: &'r Row,
    /// The result of each run, and the time of the floor in the same run.
    pub(crate) runs: Vec<(&'r Outcome, Option<f64>)>,
}

/// Joins the outcomes of all runs with their rows.
pub(crate) fn lines<'r>(rows: &'r Rows, runs: &'r [Run]) -> Vec<Line<'r>> {
    let floor = |run: &Run| Some(run.first()?.summary(Measure::Time)?.median);
    let line = |(index, row)| Line {
        row,
        runs: runs.iter().map(|run| (&run[index], floor(run))).collect(),
    };
    rows.all().enumerate().map(line).collect()
}

impl Line<'_> {
    /// Returns the outcome of each run.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.runs.iter().map(|run| run.0)
    }

    /// Returns the median of the runs' medians, and the range of all rounds.
    pub(crate) fn summary(&self, measure: Measure) -> Option<Summary> {
        let runs: Vec<Summary> = self
            .outcomes()
            .filter_map(|outcome| outcome.summary(measure))
            .collect();
        let of =
            |part: fn(&Summary) -> f64| Summary::of(&runs.iter().map(part).collect::<Vec<_>>());
        Some(Summary {
            median: of(|run| run.median)?.median,
            min: of(|run| run.min)?.min,
            max: of(|run| run.max)?.max,
        })
    }

    /// Returns the median of the runs' times as multiples of the floor's.
    pub(crate) fn times_floor(&self) -> Option<f64> {
        median(self.runs.iter().filter_map(|(outcome, floor)| {
            Some(outcome.summary(Measure::Time)?.median / (*floor)?)
        }))
    }

    /// Returns whether there are figures of some run.
    pub(crate) fn has_figures(&self) -> bool {
        let has_figures = |outcome: &Outcome| matches!(outcome, Outcome::Measured { .. });
        self.outcomes().any(has_figures)
    }

    /// Returns whether in some run so many operations failed that the rest is not what was to be measured.
    pub(crate) fn is_failing(&self) -> bool {
        self.outcomes().any(Outcome::is_failing)
    }
}

/// A bound of a target over all runs.
#[derive(Debug)]
pub(crate) struct Judged<'t> {
    pub(crate) target: &'t Target,
    pub(crate) bound: &'t Bound,
    /// The judgement of each run.
    pub(crate) runs: Vec<Judgement>,
}

/// Judges all bounds of the targets.
pub(crate) fn judged<'t>(targets: &'t [Target], rows: &Rows, runs: &[Run]) -> Vec<Judged<'t>> {
    let bounds = targets.iter().flat_map(|target| {
        let bounds = target.bounds.iter();
        bounds.map(move |bound| (target, bound))
    });
    let judged = bounds.map(|(target, bound)| Judged {
        target,
        bound,
        runs: runs
            .iter()
            .map(|run| judge(rows, run, target, bound))
            .collect(),
    });
    judged.collect()
}

impl Judged<'_> {
    /// Returns how often the bound was met.
    pub(crate) fn tally(&self) -> Tally {
        self.runs.iter().map(|run| run.verdict).collect()
    }

    /// Returns the median of the runs' figures.
    pub(crate) fn figure(&self) -> Option<f64> {
        median(self.runs.iter().filter_map(|run| run.figure))
    }

    /// Returns the median of the runs' ratios, and what all their intervals cover.
    pub(crate) fn ratio(&self) -> Option<(f64, (f64, f64))> {
        let ratios = || self.runs.iter().filter_map(|run| run.ratio);
        let ratio = median(ratios().map(|ratio| ratio.0))?;
        let low = ratios().map(|(_, (low, _))| low);
        let high = ratios().map(|(_, (_, high))| high);
        let range = (
            low.fold(f64::INFINITY, f64::min),
            high.fold(f64::NEG_INFINITY, f64::max),
        );
        Some((ratio, range))
    }
}

/// Counts the targets by verdict: a target is met if all its bounds are.
pub(crate) fn count(judged: &[Judged<'_>]) -> Tally {
    let targets = judged.chunk_by(|one, next| std::ptr::eq(one.target, next.target));
    let worst = targets.map(|bounds| {
        let verdicts = bounds.iter().map(|bound| bound.tally().overall());
        verdicts.max().unwrap_or(Verdict::NotMeasured)
    });
    worst.collect()
}

fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    Summary::of(&figures.collect::<Vec<_>>()).map(|summary| summary.median)
}
