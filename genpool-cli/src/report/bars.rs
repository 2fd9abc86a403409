//! Contestants side by side: a row for each, and a panel of bars for each figure.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::chart::{self, Drawn, GRID, INK, MARK};

const WIDTH: i32 = 900;
/// The most pixels for the contestants' names, and the pixels around them.
const MOST_NAMES: i32 = 290;
const MARGIN: i32 = 20;
/// The height of the panels' titles, in pixels.
const HEAD: i32 = 34;
/// The height of a row, in pixels.
const STEP: i32 = 22;
/// The pixels after the longest bar of a panel, for its figure.
const FIGURE: i32 = 84;
const GAP: i32 = 14;

/// A row.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) color: RGBColor,
    /// Whether this contestant is the recommended one.
    pub(super) marked: bool,
}

/// The bars of all rows for one figure.
pub(super) struct Panel {
    pub(super) title: &'static str,
    /// The value for each row, and its text.
    pub(super) bars: Vec<Option<(f64, String)>>,
}

/// Draws the panels side by side.
pub(super) fn draw(rows: &[Row], panels: &[Panel]) -> Drawn<String> {
    let height = HEAD + STEP * rows.len() as i32 + 8;
    let longest = chart::room(rows.iter().map(|row| row.name.as_str()), MOST_NAMES);
    let names = longest + MARGIN;
    chart::svg((WIDTH as u32, height as u32), |root| {
        let left = chart::text(HPos::Left, VPos::Center);
        let right = chart::text(HPos::Right, VPos::Center);
        let tops = || (0..).map(|row: i32| HEAD + row * STEP);
        for (row, top) in rows.iter().zip(tops()) {
            if row.marked {
                let corners = [(0, top), (WIDTH, top + STEP)];
                root.draw(&Rectangle::new(corners, MARK.filled()))?;
            }
            let at = (names - MARGIN / 2, top + STEP / 2);
            let name = chart::fitted(&row.name, longest);
            root.draw(&Text::new(name, at, right.clone()))?;
        }
        let width = (WIDTH - names) / panels.len().max(1) as i32;
        for (panel, start) in panels.iter().zip((0..).map(|i| names + i * width)) {
            root.draw(&Text::new(panel.title, (start, HEAD / 2), left.clone()))?;
            let axis = vec![(start, HEAD), (start, height - 8)];
            root.draw(&PathElement::new(axis, INK))?;
            let figures = panel.bars.iter().flatten().map(|bar| bar.0);
            let most = figures
                .filter(|figure| figure.is_finite())
                .fold(0.0, f64::max);
            let longest = f64::from(width - FIGURE - GAP);
            for ((row, bar), top) in rows.iter().zip(&panel.bars).zip(tops()) {
                let Some((figure, text)) = bar else { continue };
                let length = match most {
                    most if most > 0.0 && *figure > 0.0 => (figure / most * longest).max(1.0),
                    _ => 0.0,
                };
                let end = start + length as i32;
                let corners = [(start, top + 4), (end, top + STEP - 4)];
                root.draw(&Rectangle::new(corners, row.color.filled()))?;
                let at = (end + 6, top + STEP / 2);
                root.draw(&Text::new(text.clone(), at, left.clone()))?;
            }
        }
        let rule = vec![(0, HEAD), (WIDTH, HEAD)];
        root.draw(&PathElement::new(rule, GRID))
    })
}
