//! What all pictures share: colours, fonts, and a drawing area that becomes text.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::plain::columns;
use crate::table::shorten;

/// Text and axes. The page's style sheet selects these four by value, and replaces them on dark screens.
pub(super) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Guide lines.
pub(super) const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
/// The background of the recommended contestant.
pub(super) const MARK: RGBColor = RGBColor(0xff, 0xf1, 0xc9);
/// Taken memory.
pub(super) const TAKEN: RGBColor = RGBColor(0x0b, 0x5c, 0x8e);

/// The colours of Okabe and Ito, which most people can tell apart, and three more. The style sheet replaces some by
/// lighter ones on dark screens.
const PALETTE: [RGBColor; 9] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x7f, 0x7f, 0x7f),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0x94, 0x67, 0xbd),
];

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn<T> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// Pixels of a text column in the font of [`text`], for a wide typeface such as DejaVu Sans: the reader's browser
/// chooses its own (2026-11).
const COLUMN: f64 = 6.5;

/// Returns the pixels for the longest of `names`, at most `most`.
pub(super) fn room<'n>(names: impl Iterator<Item = &'n str>, most: i32) -> i32 {
    let longest = names.map(columns).max().unwrap_or(0);
    most.min((longest as f64 * COLUMN).ceil() as i32)
}

/// Shortens a name to the given pixels.
pub(super) fn fitted(name: &str, pixels: i32) -> String {
    shorten(name, (f64::from(pixels) / COLUMN) as usize)
}

/// How the n-th of several is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ink {
    pub(super) color: RGBColor,
    /// Distinguishes lines when colours repeat.
    pub(super) dashed: bool,
}

/// Returns the ink of the n-th of several.
pub(super) fn ink(n: usize) -> Ink {
    Ink {
        color: PALETTE[n % PALETTE.len()],
        dashed: n / PALETTE.len() % 2 == 1,
    }
}

/// Returns the style of a picture's texts, positioned relative to their anchor.
pub(super) fn text(h: HPos, v: VPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", 15).into_font())
        .color(&INK)
        .pos(Pos::new(h, v))
}

/// Draws a picture, and returns it as an `svg` element.
pub(super) fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn<()>) -> Drawn<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        draw(&area)?;
        area.present()?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_algorithms_fit() {
        let name = "fixed-address:0x8000000000000000, order 63";
        let pixels = room(["first-fit", name].into_iter(), 290);
        assert!(pixels < 290);
        assert_eq!(fitted(name, pixels), name);
        // A longer name keeps its end, and fewer wide letters fit.
        let pixels = room(["軍".repeat(80).as_str()].into_iter(), 290);
        assert_eq!(
            fitted(&"軍".repeat(80), pixels),
            format!("…{}", "軍".repeat(21))
        );
    }

    /// Returns the colours of a dark screen, from the style sheet.
    fn dark() -> [RGBColor; PALETTE.len()] {
        let style = include_str!("page.css");
        PALETTE.map(|color| {
            let RGBColor(r, g, b) = color;
            let rule = format!("[fill=\"#{r:02X}{g:02X}{b:02X}\"] {{ fill: #");
            let Some((_, other)) = style.split_once(&rule) else {
                return color;
            };
            let part = |at| u8::from_str_radix(&other[at..at + 2], 16).unwrap();
            RGBColor(part(0), part(2), part(4))
        })
    }

    #[test]
    fn no_two_colours_look_alike() {
        for colors in [PALETTE, dark()] {
            for (at, one) in colors.iter().enumerate() {
                for other in &colors[..at] {
                    let apart = |a: u8, b: u8| (f64::from(a) - f64::from(b)).powi(2);
                    let distance =
                        apart(one.0, other.0) + apart(one.1, other.1) + apart(one.2, other.2);
                    assert!(distance.sqrt() > 60.0, "{one:?} {other:?}");
                }
            }
        }
        assert_ne!(dark(), PALETTE);
    }

    #[test]
    fn no_two_lines_look_alike_soon() {
        let inks: Vec<Ink> = (0..2 * PALETTE.len()).map(ink).collect();
        for (at, one) in inks.iter().enumerate() {
            assert!(!inks[..at].contains(one), "{at}");
        }
    }
}
