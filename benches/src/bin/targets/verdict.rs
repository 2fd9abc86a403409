//! Whether targets are met, in one run and in several.

use std::fmt;

use benches::stats::Summary;
use benches::suite::{Bound, Side, Spot, Target};

use crate::run::{Outcome, Rows, Run};

/// Whether a figure is within a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Met,
    /// The bound is inside the interval of the rounds, or most rounds were disturbed.
    TooNoisy,
    /// One of the figures is missing.
    NotMeasured,
    NotMet,
}

/// How often each verdict was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) met: usize,
    pub(crate) not_met: usize,
    pub(crate) too_noisy: usize,
    pub(crate) not_measured: usize,
}

impl Tally {
    /// Returns how many verdicts there are.
    pub(crate) fn all(&self) -> usize {
        self.met + self.not_met + self.too_noisy + self.not_measured
    }

    /// Returns the overall verdict: met only if it is so in every run, and not met if it is so in some run.
    pub(crate) fn overall(&self) -> Verdict {
        match self {
            Self { not_met: 1.., .. } => Verdict::NotMet,
            Self {
                not_measured: 1.., ..
            } => Verdict::NotMeasured,
            Self { too_noisy: 1.., .. } => Verdict::TooNoisy,
            _ => Verdict::Met,
        }
    }
}

impl FromIterator<Verdict> for Tally {
    fn from_iter<I: IntoIterator<Item = Verdict>>(verdicts: I) -> Self {
        let mut tally = Self::default();
        for verdict in verdicts {
            match verdict {
                Verdict::Met => tally.met += 1,
                Verdict::NotMet => tally.not_met += 1,
                Verdict::TooNoisy => tally.too_noisy += 1,
                Verdict::NotMeasured => tally.not_measured += 1,
            }
        }
        tally
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Met => "met",
            Self::NotMet => "not met",
            Self::TooNoisy => "too noisy",
            Self::NotMeasured => "not measured",
        })
    }
}

/// The verdicts of several runs on one bound.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overall = self.overall();
        match (self.all(), self.met) {
            (1, _) => overall.fmt(f),
            (runs, 0) => write!(f, "{overall} 0/{runs}"),
            (runs, met) => {
                let noisy = match self.too_noisy {
                    0 => String::new(),
                    noisy => format!(", too noisy {noisy}/{runs}"),
                };
                write!(f, "met {met}/{runs}{noisy}")
            }
        }
    }
}

/// The judgement of a bound in one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Judgement {
    /// The median of the rounds.
    pub(crate) figure: Option<f64>,
    /// The figure as a multiple of the other one: the median of the rounds, and its interval. Without another figure,
    /// the figure itself.
    pub(crate) ratio: Option<(f64, (f64, f64))>,
    pub(crate) verdict: Verdict,
}

/// Judges a bound of a target in one run.
pub(crate) fn judge(rows: &Rows, run: &Run, target: &Target, bound: &Bound) -> Judgement {
    let outcome = |spot: &Spot| {
        let row = rows.all().position(|row| spot.is_in(row))?;
        run.get(row)
    };
    let of =
        |spot: &Spot| outcome(spot).map_or(Vec::new(), |outcome| outcome.figures(spot.measure));
    let fails = |spot: &Spot| outcome(spot).is_some_and(Outcome::is_failing);
    let figures = of(&target.figure);
    let bases = bound.of.as_ref().map(of);
    let mut judgement = compare(&figures, bases.as_deref(), bound);
    if bound.of.as_ref().is_some_and(fails) {
        judgement.verdict = Verdict::NotMeasured;
    }
    if fails(&target.figure) {
        judgement.verdict = Verdict::NotMet;
    }
    judgement
}

/// Compares the figures with the bases of the same rounds.
fn compare(figures: &[Option<f64>], bases: Option<&[Option<f64>]>, bound: &Bound) -> Judgement {
    let measured = bases.map_or(figures.len(), |bases| bases.len().min(figures.len()));
    let base = |round| bases.map_or(Some(1.0), |bases: &[Option<f64>]| bases[round]);
    let pairs: Vec<(f64, f64)> = (0..measured)
        .filter_map(|round| figures[round].zip(base(round)))
        .collect();
    // What is left to the bound, which is defined for a base of 0 too.
    let left = |&(figure, base): &(f64, f64)| match bound.side {
        Side::AtMost => base * bound.times - figure,
        Side::AtLeast => figure - base * bound.times,
    };
    let left: Vec<f64> = pairs.iter().map(left).collect();
    let verdict = match Summary::interval(&left) {
        _ if measured == 0 => Verdict::NotMeasured,
        _ if 2 * pairs.len() < measured => Verdict::TooNoisy,
        None => Verdict::NotMeasured,
        Some((low, _)) if low >= 0.0 => Verdict::Met,
        Some((_, high)) if high < 0.0 => Verdict::NotMet,
        Some(_) => Verdict::TooNoisy,
    };
    let ratios: Vec<f64> = pairs
        .iter()
        .map(|(figure, base)| figure / base)
        .filter(|ratio| ratio.is_finite())
        .collect();
    let figures: Vec<f64> = figures.iter().copied().flatten().collect();
    let ratio = Summary::of(&ratios).map(|summary| summary.median);
    Judgement {
        figure: Summary::of(&figures).map(|summary| summary.median),
        ratio: ratio.zip(Summary::interval(&ratios)),
        verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MET: Verdict = Verdict::Met;
    const NOT: Verdict = Verdict::NotMet;
    const NOISE: Verdict = Verdict::TooNoisy;
    const NONE: Verdict = Verdict::NotMeasured;

    #[test]
    fn tallies() {
        for (verdicts, text, overall) in [
            (&[MET][..], "met", MET),
            (&[NOT], "not met", NOT),
            (&[NOISE], "too noisy", NOISE),
            (&[MET, MET, MET], "met 3/3", MET),
            (&[MET, NOT, MET], "met 2/3", NOT),
            (&[MET, NOISE, MET], "met 2/3, too noisy 1/3", NOISE),
            (&[NOISE, NOISE], "too noisy 0/2", NOISE),
            (&[NONE, NONE], "not measured 0/2", NONE),
            (&[NONE, NOT], "not met 0/2", NOT),
        ] {
            let tally: Tally = verdicts.iter().copied().collect();
            assert_eq!(tally.to_string(), text);
            assert_eq!(tally.overall(), overall, "{text}");
        }
    }

    fn bound(side: Side, times: f64) -> Bound {
        Bound {
            side,
            times,
            of: None,
        }
    }

    #[test]
    fn a_bound_is_met_if_the_whole_interval_is() {
        let figures = [14.0, 15.0, 16.0].map(Some);
        let bases = [10.0, 10.0, 10.0].map(Some);
        let verdict = |side, times| compare(&figures, Some(&bases), &bound(side, times)).verdict;
        assert_eq!(verdict(Side::AtMost, 1.6), MET);
        assert_eq!(verdict(Side::AtMost, 1.5), NOISE);
        assert_eq!(verdict(Side::AtMost, 1.3), NOT);
        assert_eq!(verdict(Side::AtLeast, 1.4), MET);
        assert_eq!(verdict(Side::AtLeast, 1.5), NOISE);
        assert_eq!(verdict(Side::AtLeast, 1.7), NOT);
    }

    #[test]
    fn figures_are_compared_with_those_of_the_same_round() {
        // The machine takes twice as long in the second round.
        let judged = compare(
            &[Some(5.0), Some(10.0)],
            Some(&[Some(10.0), Some(20.0)]),
            &bound(Side::AtMost, 0.5),
        );
        assert_eq!(judged.verdict, MET);
        assert_eq!(judged.ratio, Some((0.5, (0.5, 0.5))));
        assert_eq!(judged.figure, Some(7.5));
        // A round that the other does not have counts for nothing.
        let judged = compare(
            &[Some(5.0), Some(90.0)],
            Some(&[Some(10.0)]),
            &bound(Side::AtMost, 0.5),
        );
        assert_eq!(judged.verdict, MET);
    }

    #[test]
    fn a_bound_may_be_zero_fixed_or_missing() {
        let most = bound(Side::AtMost, 1.0);
        let judged = compare(&[Some(0.0)], Some(&[Some(0.0)]), &most);
        assert_eq!((judged.verdict, judged.ratio), (MET, None));
        assert_eq!(
            compare(&[Some(0.1)], Some(&[Some(0.0)]), &most).verdict,
            NOT
        );
        assert_eq!(compare(&[Some(0.1)], None, &most).verdict, MET);
        assert_eq!(compare(&[Some(1.1)], None, &most).verdict, NOT);
        assert_eq!(compare(&[Some(1.0)], Some(&[]), &most).verdict, NONE);
        assert_eq!(compare(&[], None, &most).verdict, NONE);
    }

    #[test]
    fn disturbed_rounds_count_for_nothing_and_most_of_them_decide_nothing() {
        let most = bound(Side::AtMost, 1.0);
        let base = Some(10.0);
        let judged = compare(&[Some(9.0), None], Some(&[base, base]), &most);
        assert_eq!((judged.verdict, judged.figure), (MET, Some(9.0)));
        let bases = [base, None, None];
        let judged = compare(&[Some(9.0); 3], Some(&bases), &most);
        assert_eq!(judged.verdict, NOISE);
        assert_eq!(compare(&[None], None, &most).verdict, NOISE);
    }
}
