//! Memory as a line of cells.

use crate::table::WIDTH;

/// Cells of a picture: as wide as a table may be, less its frame.
pub(crate) const CELLS: usize = WIDTH - 4;

/// The line.
pub(crate) fn framed(cells: [char; CELLS]) -> String {
    let line: String = cells.iter().collect();
    format!("  ▕{line}▏\n")
}
