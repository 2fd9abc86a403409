//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use benches::cell::Patience;
use benches::suite::{Scale, Section};
use clap::Parser;
use clap::builder::PossibleValuesParser;

/// Measures genpool against its speed targets.
///
/// Figures are nanoseconds per operation and thread, the median of the rounds. Every round measures every row once, so
/// that drift of the machine hits all alike, and the floor once before each section. Where threads outnumber the
/// processors, figures are nanoseconds per operation and processor.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Rounds of a run; the median of their figures is printed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// Runs, each on new pools: how often each target is met is counted
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) runs: u32,

    /// Threads in the rows with several; 1 leaves those rows out. The targets are for 2
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,

    /// Granules of a pool, a multiple of 16384; the large pools have 64 times as many. The targets are for 65536
    #[arg(long, default_value_t = 65_536, value_parser = granules)]
    granules: usize,

    /// A granule has 2^ORDER bytes
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(0..=24))]
    order: u32,

    /// How much of the pool churn holds, in per cent. The targets are for 70
    #[arg(long, default_value_t = 70, value_parser = clap::value_parser!(u32).range(1..=95))]
    occupancy: u32,

    /// Short rounds: about twenty seconds in all
    #[arg(long)]
    quick: bool,

    /// Only these sections
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(Section::ALL.map(Section::name)))]
    only: Vec<String>,

    /// Write all figures to this file, as comma-separated values
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,

    /// Draw the ratios to the floor into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// Fail when a target is not met
    #[arg(long)]
    pub(crate) strict: bool,
}

fn granules(text: &str) -> Result<usize, String> {
    let granules = text.parse::<usize>().map_err(|error| error.to_string())?;
    if granules == 0 || granules > 1 << 24 || !granules.is_multiple_of(16_384) {
        return Err("a multiple of 16384 between 16384 and 16777216 is needed".into());
    }
    Ok(granules)
}

/// How long each part of a measurement takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) round: Duration,
    pub(crate) patience: Patience,
}

impl Args {
    pub(crate) fn pace(&self) -> Pace {
        if self.quick {
            Pace {
                round: Duration::from_millis(10),
                patience: Patience {
                    filling: Duration::from_secs(1),
                    settling: Duration::from_millis(150),
                },
            }
        } else {
            Pace {
                round: Duration::from_millis(100),
                patience: Patience {
                    filling: Duration::from_secs(8),
                    settling: Duration::from_secs(2),
                },
            }
        }
    }

    pub(crate) fn scale(&self) -> Scale {
        Scale {
            granules: self.granules,
            order: self.order,
            threads: self.threads as usize,
            occupancy: self.occupancy as usize,
        }
    }

    /// Returns the sections to measure, in order.
    pub(crate) fn sections(&self) -> Vec<Section> {
        let mut sections = Section::ALL.to_vec();
        sections.retain(|section| {
            self.only.is_empty() || self.only.iter().any(|name| name == section.name())
        });
        sections
    }

    /// Returns whether all sections are measured.
    pub(crate) fn is_complete(&self) -> bool {
        self.only.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
        let args = Args::parse_from(["targets", "--only", "runs,pair", "--occupancy", "50"]);
        assert_eq!(args.sections(), [Section::Pair, Section::Runs]);
        assert_eq!(args.scale().occupancy, 50);
        assert!(Args::try_parse_from(["targets", "--granules", "1000"]).is_err());
    }

    #[test]
    fn the_defaults_are_what_the_targets_are_for() {
        assert_eq!(Args::parse_from(["targets"]).scale(), Scale::default());
    }
}
