//! What a round measures.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The result of a round.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Round {
    /// What was measured.
    pub figures: Vec<(Measure, f64)>,
    /// The part of the operations that did not end as expected.
    pub missed: f64,
    /// Whether threads that have a processor each were kept from running together, because the system ran something
    /// else: the figures do not show how the threads affect each other.
    pub disturbed: bool,
}

impl Round {
    /// Returns the figure of this kind.
    pub fn figure(&self, measure: Measure) -> Option<f64> {
        let mut figures = self.figures.iter();
        figures
            .find(|figure| figure.0 == measure)
            .map(|figure| figure.1)
    }
}

/// The kinds of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// Nanoseconds per operation and thread. With one thread, which never waits for another, the time in which the
    /// system ran something else is not counted.
    ///
    /// With more threads than processors, nanoseconds per operation and processor: the cost of an operation in
    /// processor time, whether the processors work, switch between threads, or idle because the thread that could let
    /// the others continue is stopped. For one thread on one processor the two definitions give the same figure.
    Time,
    /// The nanoseconds in which half of the allocs end, including the time to read the clock.
    P50,
    /// The same for 99 of 100 allocs.
    P99,
    /// The same for 999 of 1,000 allocs.
    P999,
    /// Granules in the longest free run.
    LongestRun,
    /// The number of free runs.
    FreeRuns,
    /// The part of the small allocs that were refused.
    Refused,
    /// The part of the large allocs among small ones that were refused.
    LargeRefused,
    /// Seconds to add all chunks.
    Adding,
    /// Seconds to remove all chunks.
    Removing,
    /// The time to add one of the last chunks, as a multiple of that for one of the first.
    Growth,
    /// Bits of bookkeeping per granule.
    Bits,
}

impl Measure {
    /// Returns the name of the measure in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "ns",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::LongestRun => "longest run",
            Self::FreeRuns => "free runs",
            Self::Refused => "refused",
            Self::LargeRefused => "large refused",
            Self::Adding => "s to add",
            Self::Removing => "s to remove",
            Self::Growth => "last / 100th",
            Self::Bits => "bits a granule",
        }
    }

    /// Formats a figure with as many digits as are of use.
    pub fn show(self, figure: f64) -> String {
        match self {
            Self::LongestRun | Self::FreeRuns => format!("{figure:.0}"),
            Self::Refused | Self::LargeRefused => format!("{:.2} %", figure * 100.0),
            Self::Adding | Self::Removing | Self::Bits => format!("{figure:.3}"),
            _ if figure < 100.0 => format!("{figure:.1}"),
            _ => format!("{figure:.0}"),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
