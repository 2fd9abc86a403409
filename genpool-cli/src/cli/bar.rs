//! A progress bar on a terminal, with the state of the pool.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::measure::Progress;
use crate::space::{Look, Strip};

/// The steps of the bar.
const STEPS: u64 = 1000;

/// The strip is redrawn as often as the eye can follow.
const REFRESH: Duration = Duration::from_millis(80);

/// A bar on standard error for the progress of the work, and below it the taken parts of the pool, by address. Neither
/// is drawn if that is not a terminal. Colours follow `NO_COLOR`.
pub(super) struct Bar {
    bar: ProgressBar,
    drawn: Option<Instant>,
}

impl Bar {
    pub(super) fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self {
                bar: ProgressBar::hidden(),
                drawn: None,
            };
        }
        let bar = ProgressBar::new(STEPS);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:50.cyan} {percent:>3} %  {msg}\n{prefix:.blue}")
        {
            bar.set_style(style);
        }
        Self { bar, drawn: None }
    }

    /// Returns whether the bar is visible.
    pub(super) fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    pub(super) fn show(&mut self, progress: Progress<'_>) {
        if !self.is_shown() {
            return;
        }
        self.bar.set_message(progress.name.to_owned());
        self.bar.set_position((progress.part * STEPS as f64) as u64);
        let is_due = self.drawn.is_none_or(|drawn| drawn.elapsed() > REFRESH);
        if let Some(look) = progress.look.filter(|_| is_due) {
            self.bar.set_prefix(strip(look));
            self.drawn = Some(Instant::now());
        }
    }

    /// Does something that may print, without the bar overwriting it.
    pub(super) fn aside<R>(&self, what: impl FnOnce() -> R) -> R {
        self.bar.suspend(what)
    }

    /// Removes the bar from the terminal.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn strip(look: &Look) -> String {
    format!(
        "{} {:>3.0} % taken, {:>3.0} % fragmented",
        Strip(&look.rows),
        look.fill(),
        look.fragmentation() * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ROWS;

    #[test]
    fn a_strip_fits_a_terminal() {
        let look = Look {
            taken: 1,
            rows: vec![100; ROWS],
            ..Look::default()
        };
        let text = strip(&look);
        assert!(text.ends_with("100 % taken,   0 % fragmented"), "{text}");
        assert!(text.chars().count() <= 80, "{text}");
    }
}
