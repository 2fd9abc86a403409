//! A board as tables and pictures.

use std::fmt::Write;

use super::{Board, Consumer, Layout, LeftOut, PartitionRow, Range, SramRow};
use crate::picture::{CELLS, framed};
use crate::size::Bytes;
use crate::table::{WIDTH, layout, shorten};

/// The letters of partitions in a picture, by address. Further partitions share the last one.
const MARKS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#";
const FREE: char = '·';
/// Marks a cell with parts of more than one partition.
const SEVERAL: char = '+';

/// Returns everything about a board.
pub fn board(board: &Board) -> String {
    let mut text = String::new();
    if let Some(model) = &board.model {
        let _ = writeln!(text, "board     {}", shorten(model, WIDTH - 10));
    }
    if let Some(error) = &board.error {
        let _ = writeln!(text, "error     {error}");
    }
    let parts = board.srams.iter().flat_map(|sram| &sram.layout);
    let parts: usize = parts.map(|layout| layout.partitions.len()).sum();
    let LeftOut {
        srams,
        consumers,
        unreadable,
    } = board.left_out;
    let _ = writeln!(
        text,
        "found     SRAM nodes: {}, partitions: {parts}, references: {}, of them to a pool: {}",
        board.srams.len() + srams,
        board.consumers.len() + consumers,
        board.resolved
    );
    if board.left_out != LeftOut::default() {
        let _ = writeln!(
            text,
            "left out  SRAM nodes: {srams}, references: {consumers}, references that cannot be read: {unreadable}"
        );
    }
    for sram in &board.srams {
        text.push('\n');
        text.push_str(&sram_text(sram));
    }
    if !board.consumers.is_empty() {
        text.push('\n');
        text.push_str(&references(&board.consumers));
    }
    for error in &board.unreadable {
        let _ = writeln!(text, "none      {error}");
    }
    text
}

fn sram_text(sram: &SramRow) -> String {
    let mut text = format!("SRAM      {}", shorten(&sram.node, WIDTH - 10));
    if !sram.enabled {
        text.push_str("\n          disabled: becomes no device");
    }
    text.push('\n');
    if let Some(error) = &sram.error {
        let _ = writeln!(text, "error     {error}");
    }
    if let Some(layout) = &sram.layout {
        text.push_str(&picture(layout));
        text.push_str(&ranges(layout));
    }
    text
}

/// Returns the partition map: a line for the whole memory, with a cell for each part of it.
pub fn picture(layout: &Layout) -> String {
    let mut cells = [FREE; CELLS];
    for (at, part) in layout.partitions.iter().enumerate() {
        for cell in &mut cells[covered(layout.range, part.range)] {
            *cell = if *cell == FREE { mark(at) } else { SEVERAL };
        }
    }
    framed(cells)
}

/// Returns the cells that a part of `whole` touches.
fn covered(whole: Range, part: Range) -> std::ops::RangeInclusive<usize> {
    let cell = |offset: u64| {
        let cell = u128::from(offset) * CELLS as u128 / u128::from(whole.size);
        (cell as usize).min(CELLS - 1)
    };
    let offset = part.start.saturating_sub(whole.start);
    cell(offset)..=cell(offset.saturating_add(part.size.saturating_sub(1)))
}

fn mark(at: usize) -> char {
    MARKS[at.min(MARKS.len() - 1)].into()
}

fn ranges(sram: &Layout) -> String {
    let row = |mark: char, name: &str, range: Range, kind: String| {
        let last = range.start.saturating_add(range.size.saturating_sub(1));
        let cells = [
            format!("{mark} {}", shorten(name, 34)),
            format!("{:#x}", range.start),
            format!("{last:#x}"),
            Bytes(usize::try_from(range.size).unwrap_or(usize::MAX)).to_string(),
            kind,
        ];
        (range.start, cells.to_vec())
    };
    let parts = sram.partitions.iter().enumerate().map(|(at, part)| {
        let name = part.node.rsplit('/').next().unwrap_or_default();
        row(mark(at), name, part.range, kind(part))
    });
    let gaps = sram
        .gaps
        .iter()
        .map(|&gap| row(FREE, "", gap, "unnamed pool".to_owned()));
    let mut rows: Vec<_> = parts.chain(gaps).collect();
    rows.sort_by_key(|(start, _)| *start);
    let rows: Vec<_> = rows.into_iter().map(|(_, cells)| cells).collect();
    let mut text = table(&["part", "first", "last", "size", "what it is"], &rows);
    if !sram.write_combining {
        text.push_str("mapped    not write-combining\n");
    }
    for (nodes, word) in [(&sram.disabled, "disabled"), (&sram.empty, "empty")] {
        for node in nodes {
            let _ = writeln!(text, "{word:<9} {}", shorten(node, WIDTH - 10));
        }
    }
    text
}

fn kind(part: &PartitionRow) -> String {
    let mut kind = match part.pool || part.protect_exec {
        true => format!("pool {:?}", shorten(&part.label, 20)),
        false => "reserved".to_owned(),
    };
    for (is_so, word) in [(part.protect_exec, "exec"), (part.export, "exported")] {
        if is_so {
            kind.push_str(", ");
            kind.push_str(word);
        }
    }
    kind
}

fn references(all: &[Consumer]) -> String {
    let rows = all.iter().map(|one| {
        let pool = match &one.pool {
            Some(pool) => {
                let name = pool.name.as_deref().unwrap_or("unnamed").escape_debug();
                let device = pool.device.rsplit('/').next().unwrap_or_default();
                format!("{device}: {name}")
            }
            None => "none".to_owned(),
        };
        vec![
            shorten(&one.node, 42),
            format!("{}[{}]", shorten(&one.property, 22), one.index),
            shorten(&pool, 28),
        ]
    });
    let mut text = table(&["consumer", "property", "pool"], &rows.collect::<Vec<_>>());
    let mut errors: Vec<_> = all.iter().filter_map(|one| one.error.as_deref()).collect();
    errors.dedup();
    for error in errors {
        let _ = writeln!(text, "none      {error}");
    }
    text
}

fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    layout(header, &[], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: u64, size: u64) -> PartitionRow {
        PartitionRow {
            node: "/sram/part".to_owned(),
            label: "part".to_owned(),
            range: Range { start, size },
            pool: false,
            export: false,
            protect_exec: false,
        }
    }

    fn picture_of(size: u64, partitions: Vec<PartitionRow>) -> String {
        let start = 0x1000;
        let text = picture(&Layout {
            range: Range { start, size },
            write_combining: true,
            partitions,
            disabled: Vec::new(),
            empty: Vec::new(),
            gaps: Vec::new(),
        });
        let line = text.trim().trim_start_matches('▕').trim_end_matches('▏');
        assert_eq!(line.chars().count(), CELLS);
        line.to_owned()
    }

    #[test]
    fn pictures() {
        let line = picture_of(
            96 * 64,
            vec![part(0x1000, 64), part(0x1000 + 48 * 64, 48 * 64)],
        );
        assert_eq!(line, format!("A{}{}", "·".repeat(47), "B".repeat(48)));
        // Small ones are visible, and share a cell if they must.
        let line = picture_of(
            1 << 20,
            vec![part(0x1000, 1), part(0x1001, 1), part(0x10_0fff, 1)],
        );
        assert_eq!(line, format!("+{}C", "·".repeat(94)));
        let line = picture_of(3, vec![part(0x1001, 1)]);
        assert_eq!(line.matches('A').count(), 1);
        // No arithmetic overflows at the end of the address space.
        let whole = Range {
            start: 0,
            size: u64::MAX,
        };
        let last = Range {
            start: u64::MAX - 1,
            size: 1,
        };
        assert_eq!(covered(whole, last), CELLS - 1..=CELLS - 1);
    }
}
