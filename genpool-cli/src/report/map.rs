//! The occupancy map: time to the right, addresses upwards, taken memory in colour.

use std::fmt::Write;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::chart::{self, Drawn, GRID, INK, TAKEN};
use super::scale::{Scale, Unit};
use super::{Point, Timeline};

/// The shades between nothing and everything.
const SHADES: usize = 8;
/// The number of addresses that are labelled.
const NAMED: usize = 4;
/// The pixels for the addresses, and for the time below.
const SIDE: i32 = 130;
const FOOT: i32 = 44;
const MARGIN: i32 = 10;

/// Draws the map of a timeline, in a picture of the given pixels.
pub(super) fn draw(timeline: &Timeline, size: (u32, u32)) -> Drawn<String> {
    let Timeline {
        unit,
        addresses,
        points,
    } = timeline;
    let of_time = if *unit == "seconds" {
        Unit::Seconds
    } else {
        Unit::Count
    };
    let time = Scale::new(unit, of_time, points.iter().map(|point| point.at)).cut();
    let plot = Plot {
        left: SIDE,
        right: size.0 as i32 - MARGIN,
        top: MARGIN,
        bottom: size.1 as i32 - FOOT,
        rows: addresses.len(),
        end: time.end(),
    };
    let mut picture = chart::svg(size, |root| {
        let right = chart::text(HPos::Right, VPos::Center);
        let center = chart::text(HPos::Center, VPos::Center);
        for row in (0..addresses.len()).step_by(addresses.len().div_ceil(NAMED).max(1)) {
            let y = plot.y(row);
            root.draw(&PathElement::new(
                vec![(plot.left - 5, y), (plot.left, y)],
                INK,
            ))?;
            let name = format!("{:#x}", addresses[row]);
            root.draw(&Text::new(name, (plot.left - 9, y - 1), right.clone()))?;
        }
        for (at, name) in time.ticks() {
            let x = plot.x(at);
            let y = plot.bottom;
            root.draw(&PathElement::new(vec![(x, y), (x, y + 5)], INK))?;
            root.draw(&Text::new(name, (x, y + 14), center.clone()))?;
        }
        let middle = ((plot.left + plot.right) / 2, plot.bottom + 33);
        root.draw(&Text::new(time.title.clone(), middle, center))?;
        let corners = [(plot.left, plot.top), (plot.right, plot.bottom)];
        root.draw(&Rectangle::new(corners, GRID.mix(0.45).filled()))
    })?;
    let end = picture.rfind("</svg>").unwrap_or(picture.len());
    picture.insert_str(end, &cells(points, &plot));
    Ok(picture)
}

/// The position of the map in the picture.
struct Plot {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
    rows: usize,
    /// The last instant.
    end: f64,
}

impl Plot {
    fn x(&self, at: f64) -> i32 {
        self.left + (f64::from(self.right - self.left) * at / self.end) as i32
    }

    /// Returns the lower border of a row.
    fn y(&self, row: usize) -> i32 {
        self.bottom - (self.bottom - self.top) * row as i32 / self.rows.max(1) as i32
    }
}

/// Returns a path for each shade. A cell reaches back to the previous instant, and adjacent cells of one shade are one
/// rectangle: a picture of some ten thousand cells would be too large.
fn cells(points: &[Point], plot: &Plot) -> String {
    let mut paths = vec![String::new(); SHADES + 1];
    for row in 0..plot.rows {
        let (bottom, top) = (plot.y(row), plot.y(row + 1));
        let mut from = plot.left;
        let mut columns = points.iter().peekable();
        while let Some(point) = columns.next() {
            let shade_of = |point: &Point| point.rows.get(row).map_or(0, |&part| shade(part));
            let shade = shade_of(point);
            if columns.peek().is_some_and(|next| shade_of(next) == shade) {
                continue;
            }
            let to = plot.x(point.at);
            if shade > 0 {
                let _ = write!(paths[shade], "M{from} {top}H{to}V{bottom}H{from}z");
            }
            from = to;
        }
    }
    let mut all = String::new();
    let RGBColor(r, g, b) = TAKEN;
    for (shade, path) in paths
        .iter()
        .enumerate()
        .filter(|(_, path)| !path.is_empty())
    {
        let opacity = 0.15 + 0.85 * shade as f64 / SHADES as f64;
        let _ = writeln!(
            all,
            "<path shape-rendering=\"crispEdges\" fill=\"#{r:02X}{g:02X}{b:02X}\" fill-opacity=\"{opacity:.2}\" \
             d=\"{path}\"/>"
        );
    }
    all
}

/// Returns 0 if nothing is taken, [`SHADES`] if everything is.
fn shade(percent: u8) -> usize {
    match percent {
        0 => 0,
        percent => 1 + (usize::from(percent.min(100)) - 1) * (SHADES - 1) / 99,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_distinguish_none_and_all_from_the_rest() {
        assert_eq!([0, 1, 99, 100].map(shade), [0, 1, SHADES - 1, SHADES]);
    }

    #[test]
    fn equal_cells_are_one() {
        let point = |at, rows: [u8; 2]| Point {
            at,
            free: 0,
            taken: 0,
            free_runs: 0,
            largest_run: 0,
            fragmentation: 0.0,
            rows: rows.to_vec(),
        };
        let plot = Plot {
            left: 0,
            right: 30,
            top: 0,
            bottom: 20,
            rows: 2,
            end: 3.0,
        };
        let points = [
            point(1.0, [100, 0]),
            point(2.0, [100, 0]),
            point(3.0, [0, 100]),
        ];
        let text = cells(&points, &plot);
        assert_eq!(text.matches("<path").count(), 1);
        assert!(
            text.contains("d=\"M0 10H20V20H0zM20 0H30V10H20z\""),
            "{text}"
        );
    }
}
