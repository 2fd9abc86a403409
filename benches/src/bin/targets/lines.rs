//! What all runs together showed of each row.

use benches::stats::Summary;
use benches::suite::{Row, Target};

use crate::run::{Figures, Rows, Run};
use crate::verdict::{Judgement, Tally, Verdict, judge};

/// A row over all runs.
#[derive(Debug)]
pub(crate) struct Line<'r> {
    pub(crate) row: &'r Row,
    /// What each run showed.
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

/// Puts the figures of all runs beside their rows.
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
    /// The figures of all runs in which there are any.
    pub(crate) fn figures(&self) -> impl Iterator<Item = Figures> {
        self.runs.iter().filter_map(|entry| entry.figures)
    }

    /// The median of the runs' medians, and the range of all rounds.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let of =
            |part: fn(Figures) -> f64| Summary::of(&self.figures().map(part).collect::<Vec<_>>());
        Some(Summary {
            median: of(|figures| figures.summary.median)?.median,
            min: of(|figures| figures.summary.min)?.min,
            max: of(|figures| figures.summary.max)?.max,
        })
    }

    /// The median of the runs' ratios to the floor.
    pub(crate) fn ratio(&self) -> Option<f64> {
        median(self.runs.iter().filter_map(|entry| entry.ratio))
    }

    /// Whether in some run so many operations failed that the others are not what was measured.
    pub(crate) fn is_failing(&self) -> bool {
        self.figures().any(|figures| figures.is_failing())
    }

    /// Whether the pool had not settled in some run.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.figures().any(|figures| !figures.settled)
    }

    /// Whether the rounds of some run differ too much.
    pub(crate) fn is_noisy(&self) -> bool {
        self.figures().any(|figures| figures.is_noisy())
    }

    fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        let judgements = self.runs.iter().filter_map(|entry| entry.judgement);
        judgements.map(|judgement| judgement.verdict)
    }

    /// How often the target was met; `None` when there is none.
    pub(crate) fn tally(&self) -> Option<Tally> {
        self.row.target.map(|_| self.verdicts().collect())
    }

    /// The target, and the median of what it was in the runs.
    pub(crate) fn target(&self) -> Option<(Target, Option<f64>)> {
        let judgements = self.runs.iter().filter_map(|entry| entry.judgement);
        let limit = median(judgements.filter_map(|judgement| judgement.limit));
        Some((self.row.target?, limit))
    }
}

fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    Summary::of(&figures.collect::<Vec<_>>()).map(|summary| summary.median)
}
