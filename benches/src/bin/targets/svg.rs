//! A chart of the ratios to the floor: a line for each workload, a mark for each contestant, on a logarithmic scale.

use std::error::Error;
use std::path::Path;

use benches::call::Call;
use benches::suite::Who;
use plotters::coord::ranged1d::SegmentValue;
use plotters::element::{Drawable, PointCollection};
use plotters::prelude::*;
use plotters_backend::{BackendCoord, DrawingErrorKind};

use crate::lines::Line;

const WIDTH: u32 = 1200;
/// Pixels from one workload to the next.
const STEP: usize = 30;
/// Pixels for the title, and from one line of the legend to the next.
const TITLE: usize = 54;
const LEGEND: usize = 22;
/// Contestants in one line of the legend.
const ACROSS: usize = 4;
/// Pixels for the workloads' names.
const NAMES: u32 = 330;
/// Pixels for the scale.
const SCALE: usize = 80;
const TEXT: (&str, u32) = ("sans-serif", 15);

/// A line of the chart.
struct Workload {
    name: String,
    /// Ratios to the floor.
    marks: Vec<(Who, f64)>,
}

/// Draws all workloads that were measured with more than one contestant.
///
/// # Errors
///
/// If the file cannot be written.
pub(crate) fn draw(lines: &[Line<'_>], file: &Path) -> Result<(), Box<dyn Error>> {
    let workloads = workloads(lines);
    let has_mark = |&who: &Who| {
        let mut marks = workloads.iter().flat_map(|workload| &workload.marks);
        marks.any(|mark| mark.0 == who)
    };
    let contestants: Vec<Who> = Who::all().filter(has_mark).collect();
    let head = u32::try_from(TITLE + contestants.len().div_ceil(ACROSS) * LEGEND)?;
    let height = u32::try_from(workloads.len() * STEP + SCALE)? + head;
    let root = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let (legend, body) = root.split_vertically(head);
    let title = "Times as long as the floor takes (fetch_or + fetch_and, one thread); median";
    legend.draw(&Text::new(title, (20, 14), ("sans-serif", 20)))?;
    for (at, who) in contestants.into_iter().enumerate() {
        let left = 20 + (at % ACROSS * (WIDTH as usize - 20) / ACROSS) as i32;
        let top = (TITLE + at / ACROSS * LEGEND) as i32;
        legend.draw(&Mark {
            at: (left, top),
            down: 0,
            who,
        })?;
        legend.draw(&Text::new(who.to_string(), (left + 12, top - 7), TEXT))?;
    }

    let ratios = || {
        let marks = workloads.iter().flat_map(|workload| &workload.marks);
        marks.map(|mark| mark.1)
    };
    let least = ratios().fold(1.0, f64::min) * 0.7;
    let most = ratios().fold(1.0, f64::max) * 1.4;
    let count = workloads.len();
    let mut chart = ChartBuilder::on(&body)
        .margin_right(30)
        .x_label_area_size(50)
        .y_label_area_size(NAMES)
        .build_cartesian_2d((least..most).log_scale(), (0..count).into_segmented())?;
    chart
        .configure_mesh()
        .x_desc("times the floor")
        .x_label_formatter(&|ratio| ratio.to_string())
        .x_label_style(TEXT)
        .y_labels(count)
        .y_label_formatter(&|at| match at {
            SegmentValue::CenterOf(at) => from_top(&workloads, *at).to_string(),
            SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
        })
        .y_label_style(TEXT)
        .light_line_style(WHITE)
        .draw()?;
    for (at, workload) in workloads.iter().rev().enumerate() {
        chart.draw_series(workload.marks.iter().map(|&(who, ratio)| {
            let at = (ratio, SegmentValue::CenterOf(at));
            // Many of the figures are close to each other, so the marks are moved apart.
            let down = if who.is_ours() { -6 } else { 6 };
            Mark { at, down, who }
        }))?;
    }
    root.present()?;
    Ok(())
}

/// Returns the name of a workload by its index from the bottom, where the scale begins.
fn from_top(workloads: &[Workload], at: usize) -> &str {
    let workload = workloads.len().checked_sub(at + 1);
    workload.map_or("", |at| &workloads[at].name)
}

fn workloads(lines: &[Line<'_>]) -> Vec<Workload> {
    let mut workloads: Vec<Workload> = Vec::new();
    let measured = lines.iter().filter(|line| !line.is_failing());
    for (line, ratio) in measured.filter_map(|line| Some((line, line.times_floor()?))) {
        let row = line.row;
        let name = match row.threads {
            1 => row.what.clone(),
            threads => format!("{}, {threads} threads", row.what),
        };
        let mark = (row.who, ratio);
        match workloads.iter_mut().find(|workload| workload.name == name) {
            Some(workload) => workload.marks.push(mark),
            None => workloads.push(Workload {
                name,
                marks: vec![mark],
            }),
        }
    }
    workloads.retain(|workload| workload.marks.len() > 1);
    workloads
}

/// A contestant's mark: a square for the floor, discs for genpool, hollow squares for an earlier genpool, rings for
/// contestants under a mutex.
struct Mark<C> {
    at: C,
    /// How many pixels the mark is below its place.
    down: i32,
    who: Who,
}

impl<'a, C> PointCollection<'a, C> for &'a Mark<C> {
    type Point = &'a C;
    type IntoIter = std::iter::Once<&'a C>;

    fn point_iter(self) -> Self::IntoIter {
        std::iter::once(&self.at)
    }
}

impl<C, DB: DrawingBackend> Drawable<DB> for Mark<C> {
    fn draw<I: Iterator<Item = BackendCoord>>(
        &self,
        points: I,
        backend: &mut DB,
        _: (u32, u32),
    ) -> Result<(), DrawingErrorKind<DB::ErrorType>> {
        let color = color(self.who);
        for (x, y) in points {
            let y = y + self.down;
            if self.who == Who::Floor {
                backend.draw_rect((x - 5, y - 5), (x + 5, y + 5), &color, true)?;
            } else if self.who.is_ours() {
                backend.draw_circle((x, y), 6, &color, true)?;
            } else if matches!(self.who, Who::Before(_)) {
                let (top, bottom) = ((x - 5, y - 5), (x + 5, y + 5));
                backend.draw_rect(top, bottom, &color.stroke_width(2), false)?;
            } else {
                backend.draw_circle((x, y), 5, &color.stroke_width(2), false)?;
            }
        }
        Ok(())
    }
}

/// Okabe and Ito's colours, which most people can tell apart. Each is used for a filled and for a hollow mark. The way to
/// call an earlier genpool has the colour of that way, in a hollow mark of its own.
fn color(who: Who) -> RGBColor {
    match who {
        Who::Floor => BLACK,
        Who::Ours(call) | Who::Before(call) => match call {
            Call::FirstFit => RGBColor(0, 114, 178),
            Call::FirstFitNamed | Call::ByAddress => RGBColor(86, 180, 233),
            Call::ThreadStart => RGBColor(213, 94, 0),
            Call::BestFit | Call::BestFitNamed => RGBColor(0, 158, 115),
            Call::Cached => RGBColor(230, 159, 0),
            _ => RGBColor(130, 130, 130),
        },
        Who::SpreadFit | Who::Buddy => RGBColor(204, 121, 167),
        Who::MutexFirstFit => RGBColor(0, 114, 178),
        Who::MutexBestFit => RGBColor(0, 158, 115),
        Who::RangeAlloc => RGBColor(86, 180, 233),
        Who::OffsetAllocator => RGBColor(213, 94, 0),
        Who::Sharded => RGBColor(230, 159, 0),
        Who::VmAllocator => RGBColor(130, 130, 130),
    }
}

#[cfg(test)]
mod tests {
    use benches::measure::{Measure, Round};
    use benches::suite::{Scale, Section};

    use super::*;
    use crate::lines::lines;
    use crate::run::{Outcome, Rows};

    #[test]
    fn workloads_gather_their_contestants() {
        let rows = Rows::new(&Scale::default(), &[Section::Pair, Section::Crowd]);
        let measured = Outcome::Measured {
            settled: true,
            rounds: vec![Round {
                figures: vec![(Measure::Time, 20.0)],
                ..Round::default()
            }],
        };
        let runs = [vec![measured; rows.all().count()]];
        let lines = lines(&rows, &runs);
        let workloads = workloads(&lines);
        let marks: usize = workloads.iter().map(|workload| workload.marks.len()).sum();
        assert_eq!(marks, lines.len());
        assert_eq!(workloads[0].name, "alloc + free");
        assert_eq!(workloads[1].name, "alloc + free, 2 threads");
        assert_eq!(from_top(&workloads, workloads.len() - 1), "alloc + free");
        assert_eq!(from_top(&workloads, workloads.len()), "");
    }
}
