//! Axes: from values to positions, with ticks where readers expect them.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use crate::size::Bytes;

/// The unit of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    /// On a logarithmic scale from 1.
    Threads,
    Bytes,
    /// 0 to 100.
    Percent,
    Seconds,
    /// On a logarithmic scale.
    Nanoseconds,
    /// The reciprocal of the remaining part: 1, 10 and 100 stand for 0, 90 and 99 %.
    Percentile,
}

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    unit: Unit,
    pub(super) title: String,
    /// The values at its ends.
    low: f64,
    high: f64,
    /// The largest value that it was made for.
    most: f64,
    /// The values with a tick.
    ticks: Vec<f64>,
}

impl Scale {
    /// Returns an axis that covers all of `values`. Linear ones begin at 0.
    pub(super) fn new(title: &str, unit: Unit, values: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0f64);
        for value in values.filter(|value| value.is_finite()) {
            least = least.min(value);
            most = most.max(value);
        }
        let ticks = match unit {
            Unit::Percent => vec![0.0, 25.0, 50.0, 75.0, 100.0],
            Unit::Bytes => steps(most, binary_step(most)),
            Unit::Count | Unit::Seconds => steps(most, decimal_step(most)),
            Unit::Nanoseconds | Unit::Percentile => powers(10, least, most),
            Unit::Threads => powers(2, 1.0, most),
        };
        Self {
            unit,
            title: title.to_owned(),
            low: ticks[0],
            high: ticks[ticks.len() - 1],
            most,
            ticks,
        }
    }

    /// Ends the axis at the last value instead of the tick after it.
    pub(super) fn cut(mut self) -> Self {
        if self.most > self.low {
            self.high = self.most;
            self.ticks.retain(|&tick| tick <= self.most);
        }
        self
    }

    /// Returns the last value.
    pub(super) fn end(&self) -> f64 {
        self.high
    }

    /// Returns the ticks and their labels.
    pub(super) fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        self.ticks.iter().map(|&tick| (tick, self.label(tick)))
    }

    /// Returns the position of a value: its logarithm on a logarithmic scale.
    fn place(&self, value: f64) -> f64 {
        match self.unit {
            Unit::Nanoseconds | Unit::Percentile | Unit::Threads => value.max(1.0).log10(),
            Unit::Count | Unit::Bytes | Unit::Percent | Unit::Seconds => value,
        }
    }

    fn label(&self, value: f64) -> String {
        match self.unit {
            Unit::Count | Unit::Threads => count(value),
            Unit::Bytes => Bytes(value as usize).to_string(),
            Unit::Percent => format!("{value:.0} %"),
            Unit::Seconds => format!("{} s", short(value)),
            Unit::Nanoseconds => match value {
                ns if ns < 1e3 => format!("{ns:.0} ns"),
                ns if ns < 1e6 => format!("{:.0} µs", ns / 1e3),
                ns if ns < 1e9 => format!("{:.0} ms", ns / 1e6),
                ns => format!("{:.0} s", ns / 1e9),
            },
            Unit::Percentile => match value {
                part if part < 1.5 => "0 %".to_owned(),
                part => format!("{} %", short(100.0 - 100.0 / part)),
            },
        }
    }
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    /// Clamps values beyond the ends.
    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let (low, high) = (self.place(self.low), self.place(self.high));
        let part = (self.place(*value) - low) / (high - low);
        from + (f64::from(to - from) * part.clamp(0.0, 1.0)) as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        self.label(*value)
    }
}

/// Returns the multiples of `step` from 0 to the first that is at least `most`.
fn steps(most: f64, step: f64) -> Vec<f64> {
    let last = (most / step).ceil().clamp(1.0, 100.0) as usize;
    (0..=last).map(|i| i as f64 * step).collect()
}

/// Returns a step for about five ticks, a power of two.
fn binary_step(most: f64) -> f64 {
    (most / 5.0).max(1.0).log2().ceil().exp2()
}

/// Returns a step for about five ticks: 1, 2 or 5 times a power of ten.
fn decimal_step(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let raw = most / 5.0;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| step * power >= raw);
    step.unwrap_or(10.0) * power
}

/// Returns the powers of `base` from the one below `least` to the one above `most`.
fn powers(base: i32, least: f64, most: f64) -> Vec<f64> {
    let base = f64::from(base);
    let least = if least.is_finite() { least } else { 1.0 };
    let first = least.max(1.0).log(base).floor() as i32;
    let last = (most.max(1.0).log(base).ceil() as i32).max(first + 1);
    (first..=last).map(|power| base.powi(power)).collect()
}

/// Returns a number in few characters.
fn count(value: f64) -> String {
    match value {
        value if value >= 1e9 => format!("{} G", short(value / 1e9)),
        value if value >= 1e6 => format!("{} M", short(value / 1e6)),
        value if value >= 1e4 => format!("{} k", short(value / 1e3)),
        value => short(value),
    }
}

/// Returns at most three decimal digits, without trailing zeros.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(unit: Unit, values: &[f64]) -> Vec<String> {
        let scale = Scale::new("", unit, values.iter().copied());
        scale.ticks().map(|tick| tick.1).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(Unit::Count, &[0.0, 7.0]), ["0", "2", "4", "6", "8"]);
        assert_eq!(
            labels(Unit::Bytes, &[3.5 * 1048576.0]),
            ["0 B", "1 MiB", "2 MiB", "3 MiB", "4 MiB"]
        );
        assert_eq!(
            labels(Unit::Nanoseconds, &[33.0, 12_000.0]),
            ["10 ns", "100 ns", "1 µs", "10 µs", "100 µs"]
        );
        assert_eq!(
            labels(Unit::Percentile, &[1.0, 5000.0]),
            ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]
        );
        assert_eq!(labels(Unit::Threads, &[2.0, 6.0]), ["1", "2", "4", "8"]);
        assert_eq!(
            labels(Unit::Seconds, &[0.77]),
            ["0 s", "0.2 s", "0.4 s", "0.6 s", "0.8 s"]
        );
    }

    #[test]
    fn anything_has_a_scale() {
        for unit in [
            Unit::Count,
            Unit::Threads,
            Unit::Bytes,
            Unit::Percent,
            Unit::Seconds,
            Unit::Nanoseconds,
            Unit::Percentile,
        ] {
            for values in [
                &[][..],
                &[0.0],
                &[f64::NAN, f64::INFINITY],
                &[1e300],
                &[-1.0],
            ] {
                let scale = Scale::new("", unit, values.iter().copied());
                assert!(
                    (2..=1100).contains(&scale.ticks.len()),
                    "{unit:?} {values:?}"
                );
                for scale in [scale.clone(), scale.cut()] {
                    let range = scale.range();
                    assert!(range.start < range.end, "{unit:?} {values:?} {range:?}");
                }
            }
        }
    }

    #[test]
    fn a_cut_scale_ends_with_the_last_value() {
        let scale = Scale::new("", Unit::Seconds, [0.0, 0.77].into_iter());
        assert_eq!(scale.range(), 0.0..0.8);
        let scale = scale.cut();
        assert_eq!((scale.range(), scale.ticks.len()), (0.0..0.77, 4));
    }

    #[test]
    fn few_characters() {
        assert_eq!(count(12_500.0), "12.5 k");
        assert_eq!(count(9_999.0), "9999");
        assert_eq!(count(2.5e9), "2.5 G");
        assert_eq!(short(0.5), "0.5");
        assert_eq!(short(100.0), "100");
    }
}
