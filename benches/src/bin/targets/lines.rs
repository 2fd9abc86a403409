//! The results of all runs for each row.

use benches::stats::Summary;
use benches::suite::{Row, Target};

use crate::run::{Figures, Rows, Run};
use crate::verdict::{Judgement, Tally, Verdict, judge};

/// A row over all runs.
#[derive(Debug)]
pub(crate) struct Line<'r> {
    pub(crate) row: &'r Row,
    /// The result of each run.
    pub(crate) runs: Vec<Entry>,
}

/// A row in one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) figures: Option<Figures>,
    /// The median as a multiple of the floor in the same run.
    pub(crate) ratio: Option<f64>,
    pub(crate) judgement: Option<Judgement>,
}

/// Joins the figures of all runs with their rows.
pub(crate) fn lines<'r>(rows: &'r Rows, runs: &[Run]) -> Vec<Line<'r>> {
    let line = |(index, row)| Line {
        row,
        runs: runs
            .iter()
            .map(|run| {
                let figures = run.figures[index];
                let floor = run.floor().map(|floor| floor.summary.median);
                Entry {
                    figures,
                    ratio: figures
                        .zip(floor)
                        .map(|(figures, floor)| figures.summary.median / floor),
                    judgement: judge(rows, run, index, row),
                }
            })
            .collect(),
    };
    rows.all().enumerate().map(line).collect()
}

impl Line<'_> {
    /// Returns the figures of all runs that have any.
    pub(crate) fn figures(&self) -> impl Iterator<Item = Figures> {
        self.runs.iter().filter_map(|entry| entry.figures)
    }

    /// Returns the median of the runs' medians, and the range of all rounds.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let of =
            |part: fn(Figures) -> f64| Summary::of(&self.figures().map(part).collect::<Vec<_>>());
        Some(Summary {
            median: of(|figures| figures.summary.median)?.median,
            min: of(|figures| figures.summary.min)?.min,
            max: of(|figures| figures.summary.max)?.max,
        })
    }

    /// Returns the median of the runs' ratios to the floor.
    pub(crate) fn ratio(&self) -> Option<f64> {
        median(self.runs.iter().filter_map(|entry| entry.ratio))
    }

    /// Returns whether in some run so many operations failed that the rest is not what was to be measured.
    pub(crate) fn is_failing(&self) -> bool {
        self.figures().any(|figures| figures.is_failing())
    }

    /// Returns whether the pool had not settled in some run.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.figures().any(|figures| !figures.settled)
    }

    /// Returns whether the rounds of some run differ too much.
    pub(crate) fn is_noisy(&self) -> bool {
        self.figures().any(|figures| figures.is_noisy())
    }

    fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        let judgements = self.runs.iter().filter_map(|entry| entry.judgement);
        judgements.map(|judgement| judgement.verdict)
    }

    /// Returns how often the target was met, or `None` if there is no target.
    pub(crate) fn tally(&self) -> Option<Tally> {
        self.row.target.map(|_| self.verdicts().collect())
    }

    /// Returns the target, and the median of its limits in the runs.
    pub(crate) fn target(&self) -> Option<(Target, Option<f64>)> {
        let judgements = self.runs.iter().filter_map(|entry| entry.judgement);
        let limit = median(judgements.filter_map(|judgement| judgement.limit));
        Some((self.row.target?, limit))
    }
}

fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    Summary::of(&figures.collect::<Vec<_>>()).map(|summary| summary.median)
}
