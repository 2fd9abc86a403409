//! Lines over a common axis.

use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::chart::{self, Drawn, GRID, INK, Ink};
use super::scale::Scale;

const WIDTH: i32 = 900;
/// The height in pixels; larger if the names of the lines need more.
const HEIGHT: i32 = 290;
/// The most pixels for the names of the lines, and the pixels around them.
const MOST_NAMES: i32 = 290;
const KEY: i32 = 30;
const MARGIN: i32 = 8;
/// The height of a name, in pixels.
const LEGEND_STEP: i32 = 20;

/// A line.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) ink: Ink,
    /// Drawn thin and pale, for a line that is only there for comparison.
    pub(super) faint: bool,
    pub(super) points: Vec<(f64, f64)>,
}

impl Line {
    fn style(&self) -> ShapeStyle {
        match self.faint {
            true => self.ink.color.mix(0.55).stroke_width(1),
            false => self.ink.color.stroke_width(2),
        }
    }
}

/// The pixels of a dash, and of the gap after it.
const DASH: (u32, u32) = (7, 4);

/// Draws the lines, with their names at the right.
pub(super) fn draw(x: &Scale, y: &Scale, lines: &[Line]) -> Drawn<String> {
    let names = chart::room(lines.iter().map(|line| line.name.as_str()), MOST_NAMES);
    let height = HEIGHT.max((lines.len() as i32 + 1) * LEGEND_STEP);
    chart::svg((WIDTH as u32, height as u32), |root| {
        let (plot, legend) = root.split_horizontally(WIDTH - KEY - names - MARGIN);
        let mut chart = ChartBuilder::on(&plot)
            .margin(8)
            .margin_right(24)
            .x_label_area_size(46)
            .y_label_area_size(86)
            .build_cartesian_2d(x.clone(), y.clone())?;
        let label = chart::text(HPos::Center, VPos::Center);
        chart
            .configure_mesh()
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style(label.clone())
            .axis_desc_style(label)
            .x_desc(&x.title)
            .y_desc(&y.title)
            .draw()?;
        for line in lines {
            let (points, style) = (line.points.clone(), line.style());
            match line.ink.dashed {
                true => {
                    chart.draw_series([DashedPathElement::new(points, DASH.0, DASH.1, style)])?
                }
                false => chart.draw_series([PathElement::new(points, style)])?,
            };
        }
        for (at, line) in (0..).zip(lines) {
            let top = 18 + at * LEGEND_STEP;
            let key = vec![(0, top), (22, top)];
            let style = line.style().stroke_width(3);
            match line.ink.dashed {
                true => legend.draw(&DashedPathElement::new(key, DASH.0, DASH.1, style))?,
                false => legend.draw(&PathElement::new(key, style))?,
            }
            let style = chart::text(HPos::Left, VPos::Center);
            let name = chart::fitted(&line.name, names);
            legend.draw(&Text::new(name, (KEY, top), style))?;
        }
        Ok(())
    })
}
