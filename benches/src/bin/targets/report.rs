//! The tables, and remarks for their reader.

use std::time::{Duration, Instant};

use benches::measure::Measure;
use benches::stats::Summary;
use benches::suite::{Column, Side, Who};
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};

use crate::lines::{Judged, Line};
use crate::run::Outcome;

/// If the rounds of the floor differ by more than this part of their median, nothing else is worth comparing.
const RESTLESS: f64 = 0.5;

/// Returns the table with a row for each contestant and a column for each of the usual workloads.
pub(crate) fn compared(lines: &[Line<'_>], columns: &[Column]) -> Table {
    let cell = |column: &Column, who| {
        let spot = column.spot.by(who);
        let line = lines.iter().find(|line| spot.is_in(line.row))?;
        let summary = line.summary(spot.measure);
        let summary = summary.filter(|_| !line.is_failing())?;
        Some(spot.measure.show(summary.median))
    };
    let is_used = |column: &&Column| Who::all().any(|who| cell(column, who).is_some());
    let columns: Vec<&Column> = columns.iter().filter(is_used).collect();
    let titles = columns.iter().map(|column| column.title.clone());
    let mut table = table([String::new()].into_iter().chain(titles));
    for who in Who::all() {
        let cells: Vec<String> = columns
            .iter()
            .map(|column| cell(column, who).unwrap_or_default())
            .collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            table.add_row([who.to_string()].into_iter().chain(cells));
        }
    }
    align(&mut table, 1..=columns.len());
    table
}

/// Returns a table of every row for each group of sections with the same measures, with the median, and for times also
/// the range of the rounds and the multiple of the floor.
pub(crate) fn measured(lines: &[Line<'_>]) -> Vec<Table> {
    let measures = |line: &Line<'_>| line.row.section.measures();
    let groups = lines.chunk_by(|one, next| measures(one) == measures(next));
    let tables = groups.map(|lines| {
        let measures = measures(&lines[0]);
        let timed = measures == [Measure::Time];
        let names = measures.iter().map(|measure| measure.name());
        let more = ["min .. max", "x floor"].into_iter().filter(|_| timed);
        let head = ["what", "contestant", "threads"].into_iter();
        let mut table = table(head.chain(names).chain(more));
        for line in lines.iter().filter(|line| line.has_figures()) {
            let row = line.row;
            let mut cells = vec![
                row.what.clone(),
                row.who.to_string(),
                row.threads.to_string(),
            ];
            cells.extend(measures.iter().map(|&measure| {
                let summary = line.summary(measure);
                summary.map_or(String::new(), |summary| measure.show(summary.median))
            }));
            if timed {
                let range = |Summary { min, max, .. }| {
                    let show = |figure| Measure::Time.show(figure);
                    format!("{} .. {}", show(min), show(max))
                };
                let ratio = line.times_floor().map(|ratio| format!("{ratio:.2}"));
                cells.push(line.summary(Measure::Time).map(range).unwrap_or_default());
                cells.push(ratio.unwrap_or_default());
            }
            table.add_row(cells);
        }
        let columns = table.column_count();
        align(&mut table, 2..=columns - 1);
        table
    });
    tables.collect()
}

/// Returns the table of targets: a line for each bound.
pub(crate) fn judged(bounds: &[Judged<'_>]) -> Table {
    let mut table = table([
        "target",
        "what",
        "contestant",
        "threads",
        "figure",
        "bound",
        "measured",
        "interval",
        "verdict",
    ]);
    let mut last = None;
    for judged in bounds {
        let (target, figure) = (judged.target, &judged.target.figure);
        let is_next = last.is_none_or(|last| !std::ptr::eq(last, target));
        last = Some(target);
        let first = |text: String| if is_next { text } else { String::new() };
        let show = |figure_: f64| match judged.bound.of {
            Some(_) => format!("{figure_:.2}"),
            None => figure.measure.show(figure_),
        };
        let ratio = judged.ratio();
        table.add_row([
            first(target.title.clone()),
            first(figure.what.clone()),
            first(figure.who.to_string()),
            first(figure.threads.to_string()),
            first(judged.figure().map_or(String::new(), |value| {
                format!("{} {}", figure.measure.show(value), figure.measure)
            })),
            bound(judged),
            ratio.map_or(String::new(), |(ratio, _)| show(ratio)),
            ratio.map_or(String::new(), |(_, (low, high))| {
                format!("{} .. {}", show(low), show(high))
            }),
            judged.tally().to_string(),
        ]);
    }
    align(&mut table, 3..=4);
    align(&mut table, 6..=7);
    table
}

/// Returns the text of a bound.
fn bound(judged: &Judged<'_>) -> String {
    let (figure, bound) = (&judged.target.figure, judged.bound);
    let side = match bound.side {
        Side::AtMost => "<=",
        Side::AtLeast => ">=",
    };
    let Some(of) = &bound.of else {
        return format!("{side} {}", figure.measure.show(bound.times));
    };
    let threads = match of.threads {
        threads if threads == figure.threads => String::new(),
        1 => " on 1 thread".into(),
        threads => format!(" on {threads} threads"),
    };
    format!("{side} {} x {}{threads}", bound.times, of.who)
}

/// Prints what a reader of the tables has to know.
pub(crate) fn remarks(lines: &[Line<'_>], pinned: bool) {
    println!(
        "- A bound is judged by pairs: the figure and the other figure of the same round. It is met in a run if the \
         95 % interval of the pairs' median lies within it, not met if the interval lies outside, and too noisy if the \
         bound is inside the interval. A round in which the system kept threads that have a processor each from \
         running together does not count; if that leaves fewer than half of the pairs, the bound is too noisy too. \
         Over several runs it is met if it is met in each. \"measured\" is the median of the pairs' ratios, \
         \"interval\" covers the intervals of all runs."
    );
    println!(
        "- Latencies include the time to read the clock, {} ns here.",
        clock()
    );
    if !pinned {
        println!(
            "- The threads could not each have a processor of their own: rows with several say little."
        );
    }
    let floors = lines.iter().filter(|line| line.row.who == Who::Floor);
    let widest = floors
        .flat_map(Line::outcomes)
        .filter_map(|outcome| outcome.summary(Measure::Time))
        .map(|summary| summary.spread())
        .fold(0.0, f64::max);
    if widest > RESTLESS {
        println!(
            "- The machine was restless: the floor itself differed by {:.0} % between rounds.",
            widest * 100.0
        );
    }
    let mut before = lines
        .iter()
        .filter(|line| matches!(line.row.who, Who::Before(_)));
    if before.any(|line| line.outcomes().any(|outcome| *outcome == Outcome::Absent)) {
        println!("- The earlier genpool was not measured: benches/before.sh builds it.");
    }
    remark(
        lines,
        "Not measured, for want of time or room to fill the pool as far as it should be",
        |outcome| *outcome == Outcome::Unfilled,
    );
    let disturbed = lines
        .iter()
        .filter(|line| line.outcomes().any(Outcome::is_disturbed));
    let disturbed = disturbed.count();
    if disturbed > 0 {
        println!(
            "- Something else ran on the processors: in {disturbed} of {} rows most rounds were disturbed.",
            lines.len()
        );
    }
    remark(
        lines,
        "Measured before the pool had settled, for want of time",
        |outcome| matches!(outcome, Outcome::Measured { settled: false, .. }),
    );
    remark(
        lines,
        "Not compared, because more than one operation in a hundred found no room",
        Outcome::is_failing,
    );
}

/// Prints a remark with the names of the rows to which it applies, if there are any.
fn remark(lines: &[Line<'_>], remark: &str, applies: impl Fn(&Outcome) -> bool) {
    let lines: Vec<&Line<'_>> = lines
        .iter()
        .filter(|line| line.outcomes().any(&applies))
        .collect();
    let place = |line: &&Line<'_>| (line.row.what.clone(), line.row.threads);
    let named = lines
        .chunk_by(|one, next| place(one) == place(next))
        .map(|lines| {
            let whos: Vec<String> = lines.iter().map(|line| line.row.who.to_string()).collect();
            let (what, threads) = place(&lines[0]);
            format!("{what}, {threads}T ({})", whos.join("; "))
        });
    let named: Vec<String> = named.collect();
    if !named.is_empty() {
        println!("- {remark}: {}.", named.join(", "));
    }
}

/// Returns the nanoseconds that it takes to read the clock: a latency of nothing.
fn clock() -> u64 {
    let nothing = |_| Instant::now().elapsed();
    let mut readings: Vec<Duration> = (0..10_001).map(nothing).collect();
    readings.sort_unstable();
    readings[readings.len() / 2].as_nanos() as u64
}

fn table<T: Into<comfy_table::Cell>>(header: impl IntoIterator<Item = T>) -> Table {
    let mut table = Table::new();
    let header: Vec<comfy_table::Cell> = header.into_iter().map(Into::into).collect();
    table.load_style(ASCII_MARKDOWN).set_header(header);
    table
}

fn align(table: &mut Table, columns: std::ops::RangeInclusive<usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
