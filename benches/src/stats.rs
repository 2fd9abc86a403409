//! The summary of a row's rounds, and how certain a median is.

/// The median and the range of several rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The middle figure; for an even number of rounds, the mean of the two in the middle.
    pub median: f64,
    /// The smallest figure.
    pub min: f64,
    /// The largest figure.
    pub max: f64,
}

impl Summary {
    /// Summarises `figures`. Returns `None` if there are none.
    pub fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Some(Self { median, min, max })
    }

    /// Returns the interval in which the median of all possible rounds lies with a probability of about 95 %, judging by
    /// these. It makes no assumption about how they are distributed: of n figures in order, the ends are as many from
    /// the middle as 0.98 times the square root of n. Of fewer than six figures it is the range.
    pub fn interval(figures: &[f64]) -> Option<(f64, f64)> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let from_end = (n as f64 / 2.0 - 0.98 * (n as f64).sqrt()).max(0.0) as usize;
        Some((*sorted.get(from_end)?, sorted[n - 1 - from_end]))
    }

    /// Returns the range as a part of the median: 0.1 if the rounds differ by a tenth.
    pub fn spread(&self) -> f64 {
        if self.median > 0.0 {
            (self.max - self.min) / self.median
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        assert_eq!(Summary::interval(&[]), None);
        assert_eq!(Summary::interval(&[2.0]), Some((2.0, 2.0)));
        let rounds = |n: u32| (1..=n).rev().map(f64::from).collect::<Vec<_>>();
        assert_eq!(Summary::interval(&rounds(5)), Some((1.0, 5.0)));
        // As tables of the sign test have it.
        assert_eq!(Summary::interval(&rounds(15)), Some((4.0, 12.0)));
        assert_eq!(Summary::interval(&rounds(30)), Some((10.0, 21.0)));
    }

    #[test]
    fn medians() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(
            Summary::of(&[3.0, 1.0, 2.0]),
            Some(Summary {
                median: 2.0,
                min: 1.0,
                max: 3.0
            })
        );
        assert_eq!(
            Summary::of(&[4.0, 1.0, 2.0, 3.0]).map(|s| s.median),
            Some(2.5)
        );
        assert_eq!(Summary::of(&[2.0, 1.0, 3.0]).map(|s| s.spread()), Some(1.0));
    }
}
