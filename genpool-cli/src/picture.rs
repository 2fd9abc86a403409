//! Memory as a line of cells.

use crate::table::WIDTH;

/// The cells of a picture: the width of a table, less the frame.
pub(crate) const CELLS: usize = WIDTH - 4;

/// Returns the cells in a frame.
pub(crate) fn framed(cells: [char; CELLS]) -> String {
    let line: String = cells.iter().collect();
    format!("  ▕{line}▏\n")
}
