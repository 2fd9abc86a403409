//! Tables for a terminal of 100 columns.

use comfy_table::{CellAlignment, ContentLineStyle, LineStyle, Table, TableStyle};
use unicode_width::UnicodeWidthChar;

use crate::plain::columns;
use crate::report::Report;

/// The width of the widest table.
pub const WIDTH: usize = 100;

/// The columns of space between columns, and between groups of them.
const GAP: u16 = 2;
const GROUP_GAP: u16 = 3;

/// A thin line under the header, and a space between columns, to which their padding adds.
const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .content_lines(ContentLineStyle::none());

/// Columns with a common title.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// The index of the first column.
    pub first: usize,
    /// The title above the columns; at most as wide as they are.
    pub title: &'a str,
}

/// Lays out `rows` under `header`, with `groups` above it. The first column is left-aligned, all others are
/// right-aligned.
pub fn layout(header: &[&str], groups: &[Group<'_>], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(STYLE).force_no_tty().set_header(header);
    for row in rows {
        table.add_row(row);
    }
    let widths = table.column_max_content_widths();
    let mut titles = String::new();
    let mut line_width = 0;
    for (i, column) in table.column_iter_mut().enumerate() {
        let group = groups.iter().find(|group| group.first == i);
        let gap = match group {
            _ if i == 0 => 0,
            Some(_) => GROUP_GAP,
            None => GAP,
        };
        // The border between columns is one space of the gap.
        column.set_padding((gap.saturating_sub(1), 0));
        column.set_cell_alignment(if i == 0 {
            CellAlignment::Left
        } else {
            CellAlignment::Right
        });
        line_width += usize::from(gap);
        if let Some(group) = group {
            let before = line_width.saturating_sub(titles.chars().count());
            titles.extend(std::iter::repeat_n(' ', before));
            titles.push_str(group.title);
        }
        line_width += usize::from(widths[i]);
    }
    let rule = "─".repeat(line_width);
    let table = table.trim_fmt();
    match groups {
        [] => format!("{rule}\n{table}\n{rule}\n"),
        _ => format!("{rule}\n{titles}\n{table}\n{rule}\n"),
    }
}

/// Returns the end of a text that takes more than `longest` columns.
pub fn shorten(text: &str, longest: usize) -> String {
    if columns(text) <= longest {
        return text.to_owned();
    }
    let mut used = 1;
    let end = text.char_indices().rev().take_while(|(_, c)| {
        used += c.width().unwrap_or(0);
        used <= longest
    });
    let start = end.last().map_or(text.len(), |(start, _)| start);
    format!("…{}", &text[start..])
}

/// Breaks `text` into lines of at most [`WIDTH`], the first after `head` and the others indented as far.
pub fn wrapped(head: &str, text: &str) -> String {
    let mut all = String::new();
    let mut line = head.to_owned();
    let mut is_fresh = true;
    for word in words(text) {
        if !is_fresh && columns(&line) + 1 + columns(word) > WIDTH {
            all.push_str(&line);
            all.push('\n');
            line = " ".repeat(head.len());
            is_fresh = true;
        }
        if !is_fresh {
            line.push(' ');
        }
        line.push_str(word);
        is_fresh = false;
    }
    all + &line + "\n"
}

/// Returns the words of a text. A number and its unit are one word.
fn words(text: &str) -> impl Iterator<Item = &str> {
    const UNITS: [&str; 9] = ["ns", "µs", "ms", "s", "%", "B", "KiB", "MiB", "GiB"];
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (first, tail) = text.split_once(' ').unwrap_or((text, ""));
        let next = tail.split(' ').next().unwrap_or_default();
        let is_unit = UNITS.contains(&next.trim_end_matches([',', ')', ';', '.']));
        let end = match is_unit && first.ends_with(|c: char| c.is_ascii_digit()) {
            true => first.len() + 1 + next.len(),
            false => first.len(),
        };
        rest = text.get(end + 1..);
        Some(&text[..end])
    })
}

/// Returns what a report is about, at least a line for each fact.
pub fn facts(report: &Report) -> String {
    let facts = report.about.iter();
    facts
        .map(|fact| wrapped(&format!("{:<10}", fact.name), &fact.value))
        .collect()
}

/// Formats a time in microseconds, with about three digits.
pub fn microseconds(ns: u64) -> String {
    match ns as f64 / 1e3 {
        us if us < 9.995 => format!("{us:.2}"),
        us if us < 99.95 => format!("{us:.1}"),
        us => format!("{us:.0}"),
    }
}

/// Formats a time in nanoseconds, with about three digits.
pub fn nanoseconds(ns: f64) -> String {
    match ns {
        ns if ns < 999.5 => format!("{ns:.0} ns"),
        ns if ns < 99_950.0 => format!("{:.1} µs", ns / 1e3),
        ns if ns < 999_500.0 => format!("{:.0} µs", ns / 1e3),
        ns if ns < 99_950_000.0 => format!("{:.1} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}

/// Formats a mean of bytes, with about three digits.
pub fn bytes(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let step = (bytes.max(1.0).log2() / 10.0) as usize;
    let step = step.min(units.len() - 1);
    match bytes / 1024f64.powi(step as i32) {
        value if step > 0 && value < 99.95 => format!("{value:.1} {}", units[step]),
        value => format!("{value:.0} {}", units[step]),
    }
}

/// Formats a count in at most five characters.
pub fn count(count: u64) -> String {
    match count {
        0..100_000 => count.to_string(),
        100_000..10_000_000 => format!("{}k", count / 1_000),
        10_000_000..10_000_000_000 => format!("{}M", count / 1_000_000),
        _ => format!("{}G", count / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let text = layout(
            &["name", "a", "b"],
            &[Group {
                first: 2,
                title: "b's",
            }],
            &[
                vec!["x".to_owned(), "1".to_owned(), "200".to_owned()],
                vec!["longer".to_owned(), "1000".to_owned(), "2".to_owned()],
            ],
        );
        let lines: Vec<&str> = text.lines().collect();
        let rule = "─".repeat(18);
        assert_eq!(
            lines,
            [
                rule.as_str(),
                "               b's",
                "name       a     b",
                &rule,
                "x          1   200",
                "longer  1000     2",
                &rule,
            ]
        );
    }

    #[test]
    fn times_and_counts() {
        assert_eq!(nanoseconds(83.4), "83 ns");
        assert_eq!(nanoseconds(1_204.0), "1.2 µs");
        assert_eq!(nanoseconds(123_456.0), "123 µs");
        assert_eq!(nanoseconds(12_345_678.0), "12.3 ms");
        assert_eq!(nanoseconds(1.5e9), "1.50 s");
        assert_eq!(microseconds(261), "0.26");
        assert_eq!(microseconds(20_700), "20.7");
        assert_eq!(microseconds(1_234_567), "1235");
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(bytes(1023.4), "1023 B");
        assert_eq!(bytes(1.5 * 1024.0), "1.5 KiB");
        assert_eq!(bytes(1023.0 * 1024.0), "1023 KiB");
        assert_eq!(count(99_999), "99999");
        assert_eq!(count(1_234_567), "1234k");
        assert_eq!(count(12_345_678), "12M");
    }

    #[test]
    fn the_end_is_kept() {
        assert_eq!(shorten("abcdef", 6), "abcdef");
        assert_eq!(shorten("abcdefg", 6), "…cdefg");
        // Each takes two columns, and half of one is never shown.
        assert_eq!(shorten("軍軍軍", 6), "軍軍軍");
        assert_eq!(shorten("軍軍軍軍", 6), "…軍軍");
        assert_eq!(columns(&shorten(&"軍".repeat(80), 34)), 33);
    }

    #[test]
    fn a_number_stays_with_its_unit() {
        let found: Vec<&str> = words("wastes 5.3 % (worst 9.1 %), fastest: 41 ns").collect();
        assert_eq!(
            found,
            ["wastes", "5.3 %", "(worst", "9.1 %),", "fastest:", "41 ns"]
        );
        for text in ["", " ", "a", "1", "1 ", "1 s", "ns ns", "of 2 traces"] {
            let found: Vec<&str> = words(text).collect();
            assert_eq!(found.join(" "), text);
        }
    }

    #[test]
    fn wrapping() {
        let text = wrapped("note ", &"word ".repeat(40));
        assert!(text.lines().all(|line| line.trim_end().len() <= WIDTH));
        assert!(
            text.starts_with("note word") && text.lines().nth(1).unwrap().starts_with("     word")
        );
    }

    #[test]
    fn a_line_may_be_full() {
        let text = format!("{} b", "a".repeat(WIDTH - 2));
        assert_eq!(wrapped("", &text), format!("{text}\n"));
    }

    #[test]
    fn only_groups_have_titles() {
        let rows = [vec!["x".to_owned(), "1".to_owned()]];
        let text = layout(&["name", "a"], &[], &rows);
        assert_eq!(text.lines().count(), 5, "{text}");
    }
}
