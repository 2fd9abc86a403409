//! All figures as comma-separated values, one line for each measurement.

use std::io::{self, Write};

use crate::lines::{Entry, Line};

const HEADER: [&str; 14] = [
    "run",
    "section",
    "row",
    "contestant",
    "threads",
    "granules",
    "order",
    "ns_median",
    "ns_min",
    "ns_max",
    "floor_ratio",
    "ns_target",
    "verdict",
    "noisy",
];

/// Writes every row of every run, grouped by run. What was not measured is empty.
///
/// # Errors
///
/// If `out` returns one.
pub(crate) fn write(lines: &[Line<'_>], out: &mut impl Write) -> io::Result<()> {
    record(out, HEADER.map(String::from))?;
    let runs = lines.first().map_or(0, |line| line.runs.len());
    for run in 0..runs {
        for line in lines {
            record(out, fields(run + 1, line, &line.runs[run]))?;
        }
    }
    out.flush()
}

fn fields(run: usize, line: &Line<'_>, entry: &Entry) -> [String; HEADER.len()] {
    let row = line.row;
    let summary = entry.figures.map(|figures| figures.summary);
    let limit = entry.judgement.and_then(|judgement| judgement.limit);
    [
        run.to_string(),
        row.section.name().into(),
        row.what.clone(),
        row.who.to_string(),
        row.threads.to_string(),
        row.layout.granules.to_string(),
        row.layout.order.to_string(),
        number(summary.map(|summary| summary.median)),
        number(summary.map(|summary| summary.min)),
        number(summary.map(|summary| summary.max)),
        number(entry.ratio),
        number(limit),
        entry
            .judgement
            .map(|judgement| judgement.verdict.to_string())
            .unwrap_or_default(),
        entry
            .figures
            .map(|figures| figures.is_noisy().to_string())
            .unwrap_or_default(),
    ]
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
    use benches::stats::Summary;
    use benches::suite::{Scale, Section};

    use super::*;
    use crate::lines::lines;
    use crate::run::{Figures, Rows, Run};

    #[test]
    fn quotes() {
        assert_eq!(quoted("pair"), "pair");
        assert_eq!(quoted("churn, 8"), "\"churn, 8\"");
        assert_eq!(quoted("a \"b\""), "\"a \"\"b\"\"\"");
    }

    #[test]
    fn records() {
        let rows = Rows::new(&Scale::default(), &[Section::Pair]);
        let figures = |median| {
            Some(Figures {
                summary: Summary {
                    median,
                    min: median - 1.0,
                    max: median + 1.0,
                },
                settled: true,
                disturbed: false,
                missed: 0.0,
            })
        };
        let mut run = Run {
            figures: vec![None; rows.all().count()],
        };
        run.figures[0] = figures(10.0);
        run.figures[2] = figures(14.0);
        let mut text = Vec::new();
        let lines = lines(&rows, &[run]);
        write(&lines, &mut text).expect("memory takes what is written");
        let text = String::from_utf8(text).expect("all fields are text");
        let records: Vec<&str> = text.lines().collect();
        assert_eq!(records.len(), rows.all().count() + 1);
        assert!(records[0].starts_with("run,section,row,contestant,threads,"));
        assert_eq!(
            records[3],
            "1,pair,alloc + free,\"genpool, first fit\",1,65536,12,14.000,13.000,15.000,1.400,15.000,met,false"
        );
        assert!(records[4].ends_with(",1,65536,12,,,,,,,"), "{}", records[4]);
    }
}
