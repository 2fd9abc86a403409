//! The command line.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use benches::cell::Patience;
use benches::suite::{Scale, Section};
use clap::Parser;
use clap::builder::PossibleValuesParser;

/// Measures genpool against its speed targets: ratios to other contestants in the same run.
///
/// Section by section, every round measures every row once, so that drift of the machine hits all alike. A time is
/// nanoseconds per operation and thread; where threads outnumber the processors, per operation and processor.
///
/// A bound is judged by pairs: the figure and the other figure of the same round. It is met in a run if the 95 % interval
/// of the median of the pairs lies within the bound, and not met if the interval lies outside. If the bound is inside the
/// interval, the bound is too noisy. A round in which the system kept threads that have a processor each from running
/// together does not count; if that leaves fewer than half of the pairs, the bound is too noisy too. Over several runs a
/// target is met if every bound is met in every run; otherwise the program fails.
///
/// The earlier genpool of some targets is measured if benches/before.sh has built it.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Rounds of a run [default: 15, or 3 if quick]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,

    /// Runs, each on new pools: a target has to be met in each
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

    /// Few and short rounds, less than a minute in all: the exit status does not depend on the targets
    #[arg(long)]
    pub(crate) quick: bool,

    /// Only these sections
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(Section::ALL.map(Section::name)))]
    only: Vec<String>,

    /// Write all figures to this file, as comma-separated values
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,

    /// Draw the ratios to the floor into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// The program that runs the earlier genpool [default: the one that benches/before.sh builds]
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
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
    pub(crate) rounds: u32,
    pub(crate) round: Duration,
    /// After how long a row gets no more rounds.
    pub(crate) most: Duration,
    pub(crate) patience: Patience,
}

impl Args {
    pub(crate) fn pace(&self) -> Pace {
        if self.quick {
            Pace {
                rounds: self.rounds.unwrap_or(3),
                round: Duration::from_millis(5),
                most: Duration::from_secs(1),
                patience: Patience {
                    filling: Duration::from_secs(1),
                    settling: Duration::from_millis(100),
                },
            }
        } else {
            Pace {
                rounds: self.rounds.unwrap_or(15),
                round: Duration::from_millis(40),
                most: Duration::from_secs(4),
                patience: Patience {
                    filling: Duration::from_secs(8),
                    settling: Duration::from_secs(3),
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

    /// Returns the program that runs the earlier genpool, if there is one.
    pub(crate) fn before(&self) -> Option<PathBuf> {
        self.before.clone().or_else(|| {
            let exe = env::current_exe().ok()?;
            let built = exe.parent()?.parent()?.join("before/build/release/before");
            built.exists().then_some(built)
        })
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
