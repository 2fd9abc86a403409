//! Whether targets are met, in one run and in several.

use std::fmt;

use benches::stats::Summary;
use benches::suite::{Row, Target};

use crate::run::{Figures, NOISY, Rows, Run};

/// Whether a figure is within its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    NotMet,
    /// The rounds differ too much to decide.
    TooNoisy,
    /// One of the figures is missing.
    NotMeasured,
}

/// How often each verdict was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    met: usize,
    not_met: usize,
    too_noisy: usize,
    not_measured: usize,
}

impl Tally {
    /// Returns the overall verdict. The target is met if at least one run could decide, and it is met in all those
    /// runs.
    pub(crate) fn overall(&self) -> Verdict {
        match self {
            Self { not_met: 1.., .. } => Verdict::NotMet,
            Self { met: 1.., .. } => Verdict::Met,
            Self { too_noisy: 1.., .. } => Verdict::TooNoisy,
            _ => Verdict::NotMeasured,
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
            Self::TooNoisy => "too noisy to tell",
            Self::NotMeasured => "not measured",
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.met + self.not_met + self.too_noisy + self.not_measured;
        if runs == 1 {
            return self.overall().fmt(f);
        }
        write!(f, "met {}/{runs}", self.met)?;
        if self.too_noisy > 0 {
            write!(f, ", too noisy {}/{runs}", self.too_noisy)?;
        }
        if self.not_measured > 0 {
            write!(f, ", not measured {}/{runs}", self.not_measured)?;
        }
        Ok(())
    }
}

/// The judgement of a row's target in one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Judgement {
    /// The largest figure that meets the target, if the figure to which it refers was measured.
    pub(crate) limit: Option<f64>,
    pub(crate) verdict: Verdict,
}

/// Judges row number `index` of a run. Returns `None` if it has no target.
pub(crate) fn judge(rows: &Rows, run: &Run, index: usize, row: &Row) -> Option<Judgement> {
    let (times, base) = match row.target? {
        Target::Floor(times) => (times, run.floor()),
        Target::Row(times, name) => {
            let base = rows.all().position(|row| row.name == Some(name));
            (times, base.and_then(|base| run.figures[base]))
        }
    };
    let verdict = match (run.figures[index], base) {
        (Some(figures), Some(base)) => compare(&figures, &base.summary, times),
        _ => Verdict::NotMeasured,
    };
    Some(Judgement {
        limit: base.map(|base| base.summary.median * times),
        verdict,
    })
}

fn compare(figures: &Figures, base: &Summary, times: f64) -> Verdict {
    let summary = figures.summary;
    let noisy = figures.is_noisy() || base.spread() > NOISY;
    let straddles = summary.min <= base.max * times && summary.max > base.min * times;
    if figures.is_failing() {
        Verdict::NotMet
    } else if noisy && straddles || figures.disturbed {
        Verdict::TooNoisy
    } else if summary.median <= base.median * times {
        Verdict::Met
    } else {
        Verdict::NotMet
    }
}

/// The number of targets by verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count(Tally);

impl FromIterator<Verdict> for Count {
    fn from_iter<I: IntoIterator<Item = Verdict>>(verdicts: I) -> Self {
        Self(verdicts.into_iter().collect())
    }
}

impl Count {
    /// Returns how many targets are not met.
    pub(crate) fn not_met(&self) -> usize {
        self.0.not_met
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            met,
            not_met,
            too_noisy,
            not_measured,
        } = self.0;
        let all = met + not_met + too_noisy + not_measured;
        write!(f, "targets: {met} of {all} met")?;
        if too_noisy > 0 {
            write!(f, ", {too_noisy} too noisy to tell")?;
        }
        if not_measured > 0 {
            write!(f, ", {not_measured} not measured")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MET: Verdict = Verdict::Met;
    const NOT: Verdict = Verdict::NotMet;
    const NOISE: Verdict = Verdict::TooNoisy;

    fn tally(verdicts: &[Verdict]) -> Tally {
        verdicts.iter().copied().collect()
    }

    #[test]
    fn tallies() {
        for (verdicts, text, overall) in [
            (&[MET][..], "met", MET),
            (&[NOT], "not met", NOT),
            (&[NOISE], "too noisy to tell", NOISE),
            (&[MET, MET, MET], "met 3/3", MET),
            (&[MET, NOT, MET], "met 2/3", NOT),
            (&[MET, NOISE, MET], "met 2/3, too noisy 1/3", MET),
            (&[NOISE, NOISE], "met 0/2, too noisy 2/2", NOISE),
            (
                &[Verdict::NotMeasured, MET],
                "met 1/2, not measured 1/2",
                MET,
            ),
        ] {
            assert_eq!(tally(verdicts).to_string(), text);
            assert_eq!(tally(verdicts).overall(), overall, "{text}");
        }
    }

    #[test]
    fn counts() {
        let count: Count = [MET, NOT, MET, NOISE].into_iter().collect();
        assert_eq!(
            count.to_string(),
            "targets: 2 of 4 met, 1 too noisy to tell"
        );
        assert_eq!(count.not_met(), 1);
    }

    #[test]
    fn comparisons() {
        let summary = |median, min, max| Summary { median, min, max };
        let figures = |summary| Figures {
            summary,
            settled: true,
            disturbed: false,
            missed: 0.0,
        };
        let base = summary(10.0, 9.9, 10.1);
        let near = figures(summary(14.0, 13.9, 14.1));
        assert_eq!(compare(&near, &base, 1.5), MET);
        assert_eq!(compare(&near, &base, 1.3), NOT);
        let wide = figures(summary(14.0, 10.0, 18.0));
        assert_eq!(compare(&wide, &base, 1.5), NOISE);
        // A range that is wide on one side of the limit does not prevent a decision.
        assert_eq!(compare(&wide, &base, 3.0), MET);
        let disturbed = Figures {
            disturbed: true,
            ..near
        };
        assert_eq!(compare(&disturbed, &base, 1.5), NOISE);
        let failing = Figures {
            missed: 0.5,
            ..near
        };
        assert_eq!(compare(&failing, &base, 1.5), NOT);
    }
}
