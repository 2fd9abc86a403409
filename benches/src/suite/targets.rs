//! The targets: figures, and what they are compared with in the same run.

use super::{CROWD, Row, Scale, Section, Who, rows};
use crate::before;
use crate::call::Call;
use crate::call::Call::{BestFit, Cached, FirstFit, FirstFitNamed, ThreadStart};
use crate::contestant::Layout;
use crate::measure::Measure;

use Who::{Before, Buddy, OffsetAllocator, Ours, RangeAlloc, SpreadFit};

/// What counts as equally fast: the rounds of one build in two places of a program differ by as much.
const EQUAL: f64 = 1.05;

/// A figure, and the bounds within which it has to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The group of targets that it belongs to.
    pub title: String,
    /// The figure.
    pub figure: Spot,
    /// The bounds.
    pub bounds: Vec<Bound>,
}

/// Names a figure: what a contestant has in a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Spot {
    /// The row.
    pub what: String,
    /// The contestant.
    pub who: Who,
    /// The number of threads.
    pub threads: usize,
    /// The kind of figure.
    pub measure: Measure,
}

/// A column of the table that compares contestants.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The title.
    pub title: String,
    /// The figure, of any contestant.
    pub spot: Spot,
}

/// One bound of a figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// On which side of the bound the figure has to be.
    pub side: Side,
    /// The bound: a multiple of the other figure, or itself the bound if there is none.
    pub times: f64,
    /// The other figure.
    pub of: Option<Spot>,
}

/// A side of a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The bound or less.
    AtMost,
    /// The bound or more.
    AtLeast,
}

/// Returns a bound of this many times the other figure.
fn times(times: f64, of: Spot) -> Bound {
    Bound {
        side: Side::AtMost,
        times,
        of: Some(of),
    }
}

fn fixed(most: f64) -> Bound {
    Bound {
        side: Side::AtMost,
        times: most,
        of: None,
    }
}

fn time(what: &str, who: Who, threads: usize) -> Spot {
    Spot {
        what: what.into(),
        who,
        threads,
        measure: Measure::Time,
    }
}

impl Spot {
    /// Returns whether the figure is in this row.
    pub fn is_in(&self, row: &Row) -> bool {
        (&self.what, self.who, self.threads) == (&row.what, row.who, row.threads)
    }

    /// Returns the same figure of another contestant.
    #[must_use]
    pub fn by(&self, who: Who) -> Self {
        Self {
            who,
            ..self.clone()
        }
    }
}

/// The targets so far.
#[derive(Default)]
struct List(Vec<Target>);

impl List {
    fn add(&mut self, title: &str, figure: Spot, bounds: impl Into<Vec<Bound>>) {
        self.0.push(Target {
            title: title.into(),
            figure,
            bounds: bounds.into(),
        });
    }

    fn compares(&self, figure: &Spot, with: &Spot) -> bool {
        let mut bounds = self
            .0
            .iter()
            .filter(|target| target.figure == *figure)
            .flat_map(|target| &target.bounds);
        bounds.any(|bound| bound.of.as_ref() == Some(with))
    }
}

impl Scale {
    /// Returns the targets of these sections, for the usual scale. For another there are none.
    pub fn targets(&self, sections: &[Section]) -> Vec<Target> {
        if *self != Self::default() {
            return Vec::new();
        }
        let mut list = List::default();
        self.churn_targets(&mut list);
        self.spread_targets(&mut list);
        self.other_targets(&mut list);
        self.fixed_targets(&mut list);
        let rows: Vec<Row> = sections.iter().flat_map(|&part| self.rows(part)).collect();
        self.pairwise_targets(&mut list, &rows);
        let mut targets = list.0;
        targets.retain(|target| rows.iter().any(|row| target.figure.is_in(row)));
        targets
    }

    /// Returns the columns of the table that compares contestants.
    pub fn columns(&self) -> Vec<Column> {
        use Measure::{LongestRun, P99, Time};
        let (n, large, full) = (self.threads, self.large_churn(), Self::nearly_full_at(999));
        let run = Self::run_in(&self.layout());
        let refusal = Self::refusal_in(&self.layout());
        let fragments = Self::fragments_in(&self.layout(), 70);
        let columns = [
            ("pair", rows::PAIR, 1, Time),
            ("pair", rows::PAIR, n, Time),
            ("churn", rows::CHURN, 1, Time),
            ("churn", rows::CHURN, n, Time),
            ("churn", rows::CHURN, CROWD, Time),
            ("large churn", &large, 1, Time),
            ("large churn", &large, n, Time),
            ("99.9 %", &full, 1, Time),
            ("99.9 %", &full, n, Time),
            ("run of 512", &run, 1, Time),
            ("refusal", &refusal, 1, Time),
            ("p99", rows::LATENCY, n, P99),
            ("longest run", &fragments, 1, LongestRun),
            ("longest run", &fragments, n, LongestRun),
        ];
        let columns = columns.map(|(title, what, threads, measure)| Column {
            title: format!("{title} {threads}T"),
            spot: Spot {
                measure,
                ..time(what, Who::Floor, threads)
            },
        });
        columns.into()
    }

    fn churn_targets(&self, list: &mut List) {
        for threads in [1, self.threads] {
            let usual = time(rows::CHURN, Ours(FirstFit), threads);
            let bounds = [
                times(0.62, usual.by(Before(FirstFit))),
                times(1.0, usual.by(Buddy)),
            ];
            list.add("first fit churn", usual, bounds);
            let large = time(&self.large_churn(), Ours(FirstFit), threads);
            let bounds = [
                times(0.62, large.by(Before(FirstFit))),
                times(1.0, large.by(OffsetAllocator)),
            ];
            list.add("first fit churn", large, bounds);
        }
        for (threads, most) in [(1, 1.0), (self.threads, 0.6)] {
            let cached = time(rows::CHURN, Ours(Cached), threads);
            let bounds = [times(most, cached.by(OffsetAllocator))];
            list.add("cache churn, 16 sizes", cached, bounds);
        }
    }

    fn spread_targets(&self, list: &mut List) {
        let n = self.threads;
        let churn = |threads| time(rows::CHURN, SpreadFit, threads);
        let title = "spread fit, churn";
        for (threads, first_fit, offset) in [(1, 0.85, 1.1), (n, 0.4, 1.0)] {
            let spread = churn(threads);
            let mut bounds = vec![
                times(1.8, spread.by(Ours(ThreadStart))),
                times(first_fit, spread.by(Ours(FirstFit))),
                times(offset, spread.by(OffsetAllocator)),
            ];
            if threads > 1 {
                bounds.push(times(1.2, churn(1)));
            }
            list.add(title, spread, bounds);
        }
        let crowd = churn(CROWD);
        list.add(
            title,
            crowd.clone(),
            [times(1.0, crowd.by(OffsetAllocator))],
        );
        for threads in [1, n] {
            let pair = time(rows::PAIR, SpreadFit, threads);
            let bounds = [times(1.5, pair.by(Ours(ThreadStart)))];
            list.add("spread fit, pair", pair, bounds);
        }

        let least = [0.9, 0.8, 0.4, 0.85, 0.6, 0.3];
        for ((layout, percent, threads), least) in self.fragment_cells().into_iter().zip(least) {
            let spot = |measure| Spot {
                what: Self::fragments_in(&layout, percent),
                who: SpreadFit,
                threads,
                measure,
            };
            let longest = spot(Measure::LongestRun);
            let bound = Bound {
                side: Side::AtLeast,
                times: least,
                of: Some(longest.by(Ours(FirstFit))),
            };
            list.add("spread fit, longest free run", longest, [bound]);
            let title = "spread fit, refused requests";
            if percent == 70 {
                let large = spot(Measure::LargeRefused);
                let bounds = [times(1.0, large.by(Ours(FirstFit)))];
                list.add(title, large, bounds);
            } else {
                list.add(title, spot(Measure::Refused), [fixed(0.001)]);
            }
        }
    }

    fn other_targets(&self, list: &mut List) {
        let n = self.threads;
        let pair = |call| time(rows::PAIR, Ours(call), 1);
        let title = "pair, one thread";
        let first_fit = pair(FirstFit);
        let range_alloc = times(1.0, first_fit.by(RangeAlloc));
        list.add(title, first_fit.clone(), [range_alloc]);
        list.add(title, pair(ThreadStart), [times(1.15, first_fit.clone())]);
        list.add(title, pair(Cached), [times(0.35, first_fit)]);

        let full = Self::nearly_full_at(999);
        for (what, threads, most) in [
            (rows::PAIR, 1, 1.5),
            (&full, 1, 1.5),
            (rows::CHURN, 1, 2.0),
            (rows::CHURN, n, 1.0),
        ] {
            let best = time(what, Ours(BestFit), threads);
            let bounds = [times(most, best.by(OffsetAllocator))];
            list.add("best fit", best, bounds);
        }

        for layout in [self.layout(), self.large()] {
            for call in [FirstFit, FirstFitNamed, ThreadStart, BestFit] {
                let run = time(&Self::run_in(&layout), Ours(call), 1);
                let bounds = [times(0.6, run.by(Before(call)))];
                list.add("run of 512", run, bounds);
            }
            for who in Call::ALL.map(Ours).into_iter().chain([SpreadFit]) {
                let refusal = time(&Self::refusal_in(&layout), who, 1);
                let bounds = [times(1.0, refusal.by(OffsetAllocator))];
                list.add("refusal through every way to allocate", refusal, bounds);
            }
        }

        for who in [Ours(FirstFit), SpreadFit, Ours(ThreadStart)] {
            for measure in [Measure::P99, Measure::P999] {
                let spot = Spot {
                    measure,
                    ..time(rows::LATENCY, who, n)
                };
                let bounds = [times(0.25, spot.by(OffsetAllocator))];
                list.add("latency of alloc in churn", spot, bounds);
            }
        }
    }

    /// Adds the targets that are not compared with another contestant.
    fn fixed_targets(&self, list: &mut List) {
        for (measure, most) in [
            (Measure::Adding, 0.2),
            (Measure::Removing, 0.2),
            (Measure::Growth, 3.0),
        ] {
            let spot = Spot {
                measure,
                ..time(&Self::changed(), Ours(FirstFit), 1)
            };
            list.add("adding and removing chunks", spot, [fixed(most)]);
        }
        for layout in [self.layout(), self.large(), self.many()] {
            let spot = Spot {
                measure: Measure::Bits,
                ..time(&Self::bookkeeping_of(&layout, false), Ours(FirstFit), 1)
            };
            list.add("bookkeeping", spot, [fixed(most_bits(&layout))]);
        }
    }

    /// Adds the targets of one way to call genpool against another, and against the earlier one.
    fn pairwise_targets(&self, list: &mut List, rows: &[Row]) {
        let other = |row: &Row, who| {
            let spot = time(&row.what, who, row.threads);
            rows.iter().any(|row| spot.is_in(row)).then_some(spot)
        };
        let timed = |row: &&Row| row.section.measures() == [Measure::Time];
        for row in rows.iter().filter(timed) {
            let spot = time(&row.what, row.who, row.threads);
            if row.who == Ours(FirstFitNamed)
                && let Some(alloc) = other(row, Ours(FirstFit))
            {
                let title = "alloc_with(&FirstFit) as fast as alloc";
                list.add(title, spot, [times(EQUAL, alloc)]);
            }
        }
        for row in rows.iter().filter(timed) {
            let spot = time(&row.what, row.who, row.threads);
            if let Ours(call) = row.who
                && let Some(before) = other(row, Before(call))
                && !list.compares(&spot, &before)
            {
                let title = format!("nothing slower than {}", before::COMMIT);
                list.add(&title, spot, [times(EQUAL, before)]);
            }
        }
    }
}

/// Returns the most bits of bookkeeping per granule: 1.3, and what 4 KiB a pool and 256 bytes a chunk are.
fn most_bits(layout: &Layout) -> f64 {
    let apart = 4096 + 256 * layout.chunks;
    1.3 + apart as f64 * 8.0 / layout.granules as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_of_a_target_is_measured() {
        let scale = Scale::default();
        let rows: Vec<Row> = Section::ALL
            .into_iter()
            .flat_map(|section| scale.rows(section))
            .collect();
        let targets = scale.targets(&Section::ALL);
        let others = targets.iter().flat_map(|target| &target.bounds);
        let others = others.filter_map(|bound| bound.of.as_ref());
        for spot in targets.iter().map(|target| &target.figure).chain(others) {
            let row = rows.iter().find(|row| spot.is_in(row));
            let row = row.unwrap_or_else(|| panic!("no row has {spot:?}"));
            assert!(row.section.measures().contains(&spot.measure), "{spot:?}");
        }
    }

    #[test]
    fn targets_are_for_one_scale_and_for_the_sections_asked_for() {
        let scale = Scale::default();
        let pairs = scale.targets(&[Section::Pair]);
        assert!(pairs.iter().all(|target| target.figure.what == rows::PAIR));
        assert!(pairs.len() > 5);
        let other = Scale {
            occupancy: 50,
            ..scale
        };
        assert_eq!(other.targets(&Section::ALL), []);
    }
}
