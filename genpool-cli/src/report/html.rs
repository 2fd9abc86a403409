//! A report as a single page of HTML. The pictures are inline SVG, the style sheet is included, there is no script, and
//! the page's policy forbids it to load anything.

use std::fmt::{self, Display, Write};

use thiserror::Error;

use super::chart::Drawn;
use super::figures::{Figure, figures};
use super::{Advice, Entry, MOST_LOOKS, Report};
use crate::plain::plain;
use crate::size::{Bytes, Grouped};
use crate::table::{bytes, nanoseconds};

const STYLE: &str = include_str!("page.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Returns the page, which is well-formed XML too.
///
/// # Errors
///
/// [`DrawError`] if a picture cannot be drawn.
pub fn page(report: &Report) -> Result<String, DrawError> {
    write_page(report).map_err(|error| DrawError(error.to_string()))
}

/// A picture that cannot be drawn.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot draw a picture: {0}")]
pub struct DrawError(String);

fn write_page(report: &Report) -> Drawn<String> {
    let title = match report.command {
        "compare" => "Algorithms compared",
        "replay" => "Traces replayed",
        _ => "Load on real memory",
    };
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width\"/>\n\
         <title>genpool: {title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>genpool: {title}</h1>\n<dl>\n"
    );
    for fact in &report.about {
        let (name, value) = (Escaped(&fact.name), Escaped(&fact.value));
        let _ = writeln!(page, "<dt>{name}</dt><dd>{value}</dd>");
    }
    page.push_str("</dl>\n");
    for advice in report.advice.iter().filter(|advice| advice.load.is_none()) {
        page.push_str(&advised(advice, "For all of them"));
    }
    for (load, entries) in report.loads() {
        let advice = report
            .advice
            .iter()
            .find(|advice| advice.load.as_deref() == Some(load));
        let _ = writeln!(page, "<section>\n<h2>{}</h2>", Escaped(load));
        if let Some(advice) = advice {
            page.push_str(&advised(advice, "Recommended"));
        }
        page.push_str(&table(&entries, advice));
        if entries.iter().any(|entry| entry.memory.is_some()) {
            let _ = writeln!(page, "<p class=\"legend\">{}</p>", legend());
        }
        let figures = figures(&entries, advice)?;
        let (maps, others): (Vec<_>, Vec<_>) =
            figures.iter().partition(|figure| figure.kind == "map");
        others
            .into_iter()
            .for_each(|other| page.push_str(&figure(other)));
        if !maps.is_empty() {
            let grid = if maps.len() > 1 { "maps" } else { "map" };
            let _ = writeln!(page, "<div class=\"{grid}\">");
            maps.into_iter().for_each(|map| page.push_str(&figure(map)));
            page.push_str("</div>\n");
        }
        page.push_str("</section>\n");
    }
    if !report.notes.is_empty() {
        page.push_str("<ul>\n");
        for note in &report.notes {
            let _ = writeln!(page, "<li>{}</li>", Escaped(note));
        }
        page.push_str("</ul>\n");
    }
    let _ = write!(
        page,
        "<footer>genpool {} {}. The same figures can be had with <code>--json</code> and <code>--csv</code>.</footer>\n\
         </body>\n</html>\n",
        report.command, report.version
    );
    Ok(page)
}

fn advised(advice: &Advice, whom: &str) -> String {
    format!(
        "<p class=\"advice\">{whom}: <strong>{} at order {}</strong>: {}</p>\n",
        Escaped(&advice.algorithm),
        advice.order,
        Escaped(&advice.reason)
    )
}

fn figure(figure: &Figure) -> String {
    let Figure {
        kind,
        title,
        caption,
        svg,
    } = figure;
    let title = Escaped(title);
    format!(
        "<figure class=\"{kind}\" role=\"img\" aria-label=\"{title}\">\n<h3>{title}</h3>\n{}<figcaption>{}</figcaption>\n\
         </figure>\n",
        Plain(svg),
        Escaped(caption)
    )
}

/// A column of the table: its head, and its cell for an entry, if that has one.
type Column = (&'static str, fn(&Entry) -> Option<String>);

/// These columns are shown only if entries differ in them.
const TELLING: [&str; 2] = ["pool", "threads"];

const COLUMNS: [Column; 17] = [
    ("algorithm", |entry| Some(entry.algorithm.clone())),
    ("pool", |entry| Some(entry.pool.to_owned())),
    ("threads", |entry| Some(entry.threads.to_string())),
    ("order", |entry| Some(entry.order.to_string())),
    ("pool size", |entry| Some(Bytes(entry.size).to_string())),
    ("operations", |entry| {
        entry.memory.map(|_| entry.operations.all.to_string())
    }),
    ("failed", |entry| Some(entry.operations.failed.to_string())),
    ("rounding", |entry| {
        let memory = entry.memory?;
        Some(bytes(memory.rounded()))
    }),
    ("scattered", |entry| {
        let memory = entry.memory?;
        Some(bytes(memory.scattered))
    }),
    ("free runs", |entry| {
        let memory = entry.memory?;
        Some(format!("{:.0}", memory.free_runs))
    }),
    ("largest run", |entry| {
        let memory = entry.memory?;
        Some(bytes(memory.largest_run))
    }),
    ("largest at failures", |entry| {
        let failures = entry.memory?.at_failures?;
        let part = failures.largest_run * 100.0 / failures.free.max(1.0);
        Some(format!("{part:.0} %"))
    }),
    ("Mops/s", |entry| {
        let speed = entry.speed.filter(|_| entry.memory.is_none())?;
        Some(format!("{:.2}", speed.per_second / 1e6))
    }),
    ("each", |entry| {
        let speed = entry.speed.filter(|_| entry.memory.is_some())?;
        Some(nanoseconds(speed.ns))
    }),
    ("p50", |entry| {
        entry
            .latency
            .as_ref()
            .map(|latency| nanoseconds(latency.p50 as f64))
    }),
    ("p99", |entry| {
        entry
            .latency
            .as_ref()
            .map(|latency| nanoseconds(latency.p99 as f64))
    }),
    ("p99.9", |entry| {
        entry
            .latency
            .as_ref()
            .map(|latency| nanoseconds(latency.p999 as f64))
    }),
];

/// Returns the figures of all entries, without the columns that are empty for all.
fn table(entries: &[&Entry], advice: Option<&Advice>) -> String {
    let cells: Vec<Vec<Option<String>>> = COLUMNS
        .iter()
        .map(|(_, cell)| entries.iter().map(|entry| cell(entry)).collect())
        .collect();
    let kept: Vec<usize> = (0..COLUMNS.len())
        .filter(|&column| {
            let cells = &cells[column];
            match TELLING.contains(&COLUMNS[column].0) {
                true => cells.windows(2).any(|pair| pair[0] != pair[1]),
                false => cells.iter().any(Option::is_some),
            }
        })
        .collect();
    let mut table = "<div class=\"wide\"><table>\n<thead><tr>".to_owned();
    for &column in &kept {
        let _ = write!(table, "<th>{}</th>", COLUMNS[column].0);
    }
    table.push_str("</tr></thead>\n<tbody>\n");
    for (row, entry) in entries.iter().enumerate() {
        let marked = advice.is_some_and(|advice| {
            advice.algorithm == entry.algorithm && advice.order == entry.order
        });
        table.push_str(if marked {
            "<tr class=\"marked\">"
        } else {
            "<tr>"
        });
        for &column in &kept {
            let cell = cells[column][row].as_deref().unwrap_or("");
            let _ = write!(table, "<td>{}</td>", Escaped(cell));
        }
        table.push_str("</tr>\n");
    }
    table + "</tbody></table></div>\n"
}

/// Returns the explanation of the columns of a trace's table.
fn legend() -> String {
    format!(
        "Rounding: lost because granules are whole, beyond what was asked for and at the ends of chunks, on average. \
         Scattered: free outside the largest free run, on average. Largest at failures: that run as a part of all \
         that is free, on average over the first {} failures. Each: mean time of an operation, in the median of all \
         runs; the percentiles are of single operations, with the time to read the clock.",
        Grouped(MOST_LOOKS)
    )
}

/// Untrusted text. It stays text, and characters that HTML cannot hold become U+FFFD.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(printable(c))?,
            }
        }
        Ok(())
    }
}

/// Markup of this program, which only contains what HTML can hold.
struct Plain<'a>(&'a str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| f.write_char(printable(c)))
    }
}

fn printable(c: char) -> char {
    match c {
        '\n' | '\t' => c,
        c => plain(c),
    }
}
