//! All figures as comma-separated values, one line for each measurement.

use std::io::{self, Write};

use benches::measure::Measure;
use benches::suite::Row;

use crate::lines::Line;
use crate::run::Outcome;

const HEADER: [&str; 12] = [
    "run",
    "section",
    "row",
    "contestant",
    "threads",
    "granules",
    "order",
    "measure",
    "median",
    "min",
    "max",
    "floor_ratio",
];

/// Writes every figure of every row, grouped by run. What was not measured is left out.
///
/// # Errors
///
/// If `out` returns one.
pub(crate) fn write(lines: &[Line<'_>], out: &mut impl Write) -> io::Result<()> {
    record(out, HEADER.map(String::from))?;
    let runs = lines.first().map_or(0, |line| line.runs.len());
    for run in 0..runs {
        for line in lines {
            let (outcome, floor) = line.runs[run];
            for &measure in line.row.section.measures() {
                if let Some(fields) = fields(run + 1, line.row, outcome, floor, measure) {
                    record(out, fields)?;
                }
            }
        }
    }
    out.flush()
}

fn fields(
    run: usize,
    row: &Row,
    outcome: &Outcome,
    floor: Option<f64>,
    measure: Measure,
) -> Option<[String; HEADER.len()]> {
    let summary = outcome.summary(measure)?;
    let floor = floor.filter(|_| measure == Measure::Time);
    Some([
        run.to_string(),
        row.section.name().into(),
        row.what.clone(),
        row.who.to_string(),
        row.threads.to_string(),
        row.layout.granules.to_string(),
        row.layout.order.to_string(),
        measure.to_string(),
        number(Some(summary.median)),
        number(Some(summary.min)),
        number(Some(summary.max)),
        number(floor.map(|floor| summary.median / floor)),
    ])
}

fn number(figure: Option<f64>) -> String {
    figure
        .map(|figure| format!("{figure:.3}"))
        .unwrap_or_default()
}

fn record<const N: usize>(out: &mut impl Write, fields: [String; N]) -> io::Result<()> {
    let fields = fields.map(|field| quoted(&field));
    writeln!(out, "{}", fields.join(","))
}

/// Quotes a field as RFC 4180 requires.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.into()
    }
}

#[cfg(test)]
mod tests {
    use benches::measure::Round;
    use benches::suite::{Scale, Section};

    use super::*;
    use crate::lines::lines;
    use crate::run::Rows;

    #[test]
    fn quotes() {
        assert_eq!(quoted("pair"), "pair");
        assert_eq!(quoted("churn, 8"), "\"churn, 8\"");
        assert_eq!(quoted("a \"b\""), "\"a \"\"b\"\"\"");
    }

    #[test]
    fn records() {
        let rows = Rows::new(&Scale::default(), &[Section::Pair]);
        let measured = |figures: [f64; 3]| Outcome::Measured {
            settled: true,
            rounds: figures
                .map(|figure| Round {
                    figures: vec![(Measure::Time, figure)],
                    ..Round::default()
                })
                .into(),
        };
        let mut run = vec![Outcome::Unfilled; rows.all().count()];
        run[0] = measured([10.0, 10.0, 10.0]);
        run[2] = measured([15.0, 13.0, 14.0]);
        let (mut text, runs) = (Vec::new(), [run]);
        write(&lines(&rows, &runs), &mut text).expect("memory takes what is written");
        let text = String::from_utf8(text).expect("all fields are text");
        let records: Vec<&str> = text.lines().collect();
        assert_eq!(records.len(), 3);
        assert!(records[0].starts_with("run,section,row,contestant,threads,"));
        assert_eq!(
            records[2],
            "1,pair,alloc + free,\"genpool, first fit\",1,65536,12,ns,14.000,13.000,15.000,1.400"
        );
    }
}
