//! The tables, and remarks for their reader.

use benches::stats::Summary;
use benches::suite::{Bookkeeping, Column, Target, Who};
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};

use crate::lines::Line;
use crate::run::NOISY;
use crate::verdict::Verdict;

/// Returns the table with a row for each contestant and a column for each of the usual workloads.
pub(crate) fn compared(lines: &[Line<'_>], threads: usize) -> Table {
    let titles: Vec<(usize, String)> = Column::titles(threads)
        .into_iter()
        .enumerate()
        .filter(|&(column, _)| {
            lines
                .iter()
                .any(|line| line.row.column == Some(Column(column)))
        })
        .collect();
    let header = titles.iter().map(|(_, title)| title.clone());
    let mut table = table([String::new()].into_iter().chain(header));
    for who in Who::ALL {
        let figure = |&(column, _): &(usize, String)| {
            let column = Some(Column(column));
            let line = lines
                .iter()
                .find(|line| line.row.who == who && line.row.column == column);
            line.filter(|line| !line.is_failing())
                .and_then(Line::summary)
                .map(|summary| nanoseconds(summary.median))
                .unwrap_or_default()
        };
        let figures: Vec<String> = titles.iter().map(figure).collect();
        if figures.iter().any(|figure| !figure.is_empty()) {
            table.add_row([who.to_string()].into_iter().chain(figures));
        }
    }
    align(&mut table, 1..=titles.len());
    table
}

/// Returns the table of every row with its target.
pub(crate) fn judged(lines: &[Line<'_>]) -> Table {
    let mut table = table([
        "what",
        "contestant",
        "threads",
        "ns",
        "min .. max",
        "x floor",
        "target",
        "verdict",
    ]);
    for line in lines {
        let (median, range) = match line.summary() {
            None => (String::new(), String::new()),
            Some(Summary { median, min, max }) => (
                nanoseconds(median),
                format!("{} .. {}", nanoseconds(min), nanoseconds(max)),
            ),
        };
        let ratio = line.ratio().map(|ratio| format!("{ratio:.2}"));
        let tally = line.tally().map(|tally| tally.to_string());
        table.add_row([
            line.row.what.clone(),
            line.row.who.to_string(),
            line.row.threads.to_string(),
            median,
            range,
            ratio.unwrap_or_default(),
            target(line),
            tally.unwrap_or_default(),
        ]);
    }
    align(&mut table, 2..=5);
    table
}

fn target(line: &Line<'_>) -> String {
    let Some((target, limit)) = line.target() else {
        return String::new();
    };
    let target = match target {
        Target::Floor(times) => format!("{times} F"),
        Target::Row(times, name) => format!("{times} x {name}"),
    };
    match limit {
        Some(limit) => format!("{target} = {}", nanoseconds(limit)),
        None => target,
    }
}

/// Returns the table of what pools need in addition to the memory that they manage.
pub(crate) fn kept(pools: &[Bookkeeping]) -> Table {
    let mut table = table([
        "bookkeeping",
        "granules",
        "chunks",
        "bytes",
        "bits a granule",
        "target",
        "verdict",
    ]);
    for pool in pools {
        let layout = pool.layout;
        table.add_row([
            if pool.tracked {
                "with boundary tracking"
            } else {
                "without boundary tracking"
            }
            .into(),
            layout.granules.to_string(),
            layout.chunks.to_string(),
            pool.bytes.to_string(),
            format!("{:.3}", pool.bytes as f64 * 8.0 / layout.granules as f64),
            pool.target
                .map(|target| target.to_string())
                .unwrap_or_default(),
            fits(pool)
                .map(|verdict| verdict.to_string())
                .unwrap_or_default(),
        ]);
    }
    align(&mut table, 1..=5);
    table
}

/// Returns whether a pool's bookkeeping is within its target, or `None` if there is no target.
pub(crate) fn fits(pool: &Bookkeeping) -> Option<Verdict> {
    pool.target.map(|target| {
        if pool.bytes <= target {
            Verdict::Met
        } else {
            Verdict::NotMet
        }
    })
}

/// Prints what a reader of the tables has to know.
pub(crate) fn remarks(lines: &[Line<'_>], pinned: bool) {
    if !pinned {
        println!(
            "- The threads could not each have a processor of their own: rows with several say little."
        );
    }
    let floors = || lines.iter().filter(|line| line.row.who == Who::Floor);
    let widest = floors()
        .flat_map(Line::figures)
        .map(|figures| figures.summary.spread())
        .fold(0.0, f64::max);
    if widest > NOISY {
        println!(
            "- The machine was too noisy: the floor itself differed by {:.0} % between rounds. Compare nothing.",
            widest * 100.0
        );
    }
    let noisy = lines.iter().filter(|line| line.is_noisy()).count();
    if noisy > 0 {
        println!(
            "- In {noisy} of {} rows the rounds differ by more than {:.0} %.",
            lines.len(),
            NOISY * 100.0
        );
    }
    if floors()
        .flat_map(Line::figures)
        .any(|figures| figures.disturbed)
    {
        println!(
            "- Something else ran on the threads' processors: rows with several threads say little, and those with \
             one leave out the time that it took."
        );
    }
    remark(
        lines,
        "Not measured, for want of time or room to fill the pool as far as it should be",
        |line| line.figures().next().is_none(),
    );
    remark(
        lines,
        "Measured before the pool had settled, for want of time",
        Line::is_unsettled,
    );
    remark(
        lines,
        "No figures, because more than one operation in a hundred found no room",
        Line::is_failing,
    );
}

/// Prints a remark with the names of the rows to which it applies, if there are any.
fn remark<'r>(lines: &[Line<'r>], remark: &str, applies: impl Fn(&Line<'r>) -> bool) {
    let named: Vec<String> = lines
        .iter()
        .filter(|line| applies(line))
        .map(|line| {
            let row = line.row;
            format!("{}, {}, {} threads", row.who, row.what, row.threads)
        })
        .collect();
    if !named.is_empty() {
        println!("- {remark}: {}.", named.join("; "));
    }
}

fn nanoseconds(figure: f64) -> String {
    if figure < 100.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.0}")
    }
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
