//! Measures genpool against its speed targets and prints two tables: contestants against workloads, and every row with
//! its target.

#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use benches::cell::{Measured, Round};
use benches::crew::Crew;
use benches::stats::Summary;
use benches::suite::{Column, Row, Scale, Section, Target, Who};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};

/// A range of the rounds beyond this part of their median is too wide to decide what lies within it.
const NOISY: f64 = 0.25;

/// The part of a round that threads which share a pool may spend without a processor, before what they do to each
/// other is no longer what is measured.
const DISTURBED: f64 = 0.05;

/// Measures genpool against its speed targets.
///
/// Figures are nanoseconds per operation and thread, the median of the rounds. Every round measures every row once,
/// so that drift of the machine hits all alike, and the floor once before each section.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Rounds; the median of their figures is printed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Threads in the rows with several; 1 leaves those rows out
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,

    /// Granules of a pool, a multiple of 16384; the large pools have 64 times as many. The targets are for 65536
    #[arg(long, default_value_t = 65_536, value_parser = granules)]
    granules: usize,

    /// A granule has 2^ORDER bytes
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(0..=24))]
    order: u32,

    /// Short rounds: about ten seconds in all
    #[arg(long)]
    quick: bool,

    /// Only these sections
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(Section::ALL.map(Section::name)))]
    only: Vec<String>,
}

fn granules(text: &str) -> Result<usize, String> {
    let granules = text.parse::<usize>().map_err(|error| error.to_string())?;
    if granules == 0 || granules > 1 << 24 || !granules.is_multiple_of(16_384) {
        return Err("a multiple of 16384 between 16384 and 16777216 is needed".into());
    }
    Ok(granules)
}

/// How long things take.
struct Pace {
    round: Duration,
    settling: Duration,
}

impl Pace {
    const FULL: Self = Self {
        round: Duration::from_millis(100),
        settling: Duration::from_secs(2),
    };
    const QUICK: Self = Self {
        round: Duration::from_millis(10),
        settling: Duration::from_millis(150),
    };
}

/// A row, its pool, and its figures so far.
struct Contest {
    row: Row,
    cell: Box<dyn Measured>,
    settled: bool,
    rounds: Vec<Round>,
}

impl Contest {
    fn new(row: Row, crew: &mut Crew, pace: &Pace) -> Result<Self, Box<dyn Error>> {
        let mut cell = row
            .cell()
            .map_err(|error| format!("{}, {}: {error}", row.who, row.what))?;
        let settled = cell.prepare(crew, pace.settling);
        Ok(Self {
            row,
            cell,
            settled,
            rounds: Vec::new(),
        })
    }

    fn measure(&mut self, crew: &mut Crew, pace: &Pace) {
        self.rounds.push(self.cell.round(crew, pace.round));
    }

    fn summary(&self) -> Option<Summary> {
        Summary::of(
            &self
                .rounds
                .iter()
                .map(|round| round.nanoseconds)
                .collect::<Vec<_>>(),
        )
    }

    /// Whether threads that should have met were kept apart, because the system ran something else, in most rounds.
    /// Threads that wait for a lock look the same.
    fn is_disturbed(&self) -> bool {
        let idle: Vec<f64> = self.rounds.iter().map(|round| round.idle).collect();
        self.row.threads > 1 && Summary::of(&idle).is_some_and(|idle| idle.median > DISTURBED)
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("targets: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let pace = if args.quick { Pace::QUICK } else { Pace::FULL };
    let threads = usize::try_from(args.threads)?;
    let scale = Scale {
        granules: args.granules,
        order: args.order,
        threads,
    };
    let sections = Section::ALL.into_iter().filter(|section| {
        args.only.is_empty() || args.only.iter().any(|name| name == section.name())
    });
    let mut crew = Crew::new(threads);

    let mut floors = vec![Contest::new(scale.floor(1), &mut crew, &pace)?];
    if threads > 1 {
        floors.push(Contest::new(scale.floor(threads), &mut crew, &pace)?);
    }
    let mut contests = Vec::new();
    for section in sections {
        for row in scale.rows(section) {
            contests.push(Contest::new(row, &mut crew, &pace)?);
        }
    }

    for _ in 0..args.rounds {
        for sections in contests.chunk_by_mut(|a, b| a.row.section == b.row.section) {
            floors
                .iter_mut()
                .chain(sections)
                .for_each(|contest| contest.measure(&mut crew, &pace));
        }
    }

    let floor = floors[0].summary().ok_or("there are no rounds")?;
    println!(
        "{} granules of {} bytes, {} rounds, {threads} threads{}; nanoseconds per operation and thread, median\n",
        scale.granules,
        1usize << scale.order,
        args.rounds,
        if crew.is_pinned() {
            ", each on a processor of its own"
        } else {
            ""
        },
    );
    println!("{}\n", compared(&floors, &contests, threads));
    println!("{}\n", judged(&floors, &contests, floor));
    if args.only.is_empty() {
        println!("{}\n", kept(&scale)?);
    }
    remarks(&floors, &contests, &crew, floor);
    let mut failed = Vec::new();
    for contest in floors.iter_mut().chain(&mut contests) {
        let row = &contest.row;
        match contest.cell.finish(&mut crew) {
            Ok(0) => {}
            Ok(misses) => println!(
                "- {misses} operations did not end as they should: {}, {}.",
                row.who, row.what
            ),
            Err(error) => failed.push(format!("{}, {}: {error}", row.who, row.what)),
        }
    }
    println!(
        "- The run took {:.1} seconds.",
        started.elapsed().as_secs_f64()
    );
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join("\n").into())
    }
}

/// A row for each contestant and a column for each of the usual workloads.
fn compared(floors: &[Contest], contests: &[Contest], threads: usize) -> Table {
    let titles = Column::titles(threads);
    let mut table = table([String::new()].into_iter().chain(titles.clone()));
    for who in Who::ALL {
        let mine = || {
            floors
                .iter()
                .chain(contests)
                .filter(|contest| contest.row.who == who)
        };
        let figures = (0..titles.len()).map(|column| {
            let contest = mine().find(|contest| contest.row.column == Some(Column(column)));
            contest
                .and_then(Contest::summary)
                .map(|summary| nanoseconds(summary.median))
                .unwrap_or_default()
        });
        let figures: Vec<String> = figures.collect();
        if figures.iter().any(|figure| !figure.is_empty()) {
            table.add_row([who.to_string()].into_iter().chain(figures));
        }
    }
    align(&mut table, 1..=titles.len());
    table
}

/// Every row with its target.
fn judged(floors: &[Contest], contests: &[Contest], floor: Summary) -> Table {
    let mut table = table([
        "what",
        "contestant",
        "threads",
        "ns",
        "min .. max",
        "x floor",
        "target",
        "verdict",
    ]);
    for contest in floors.iter().chain(contests) {
        let Some(summary) = contest.summary() else {
            continue;
        };
        let (target, verdict) = verdict(contest, summary, contests, floor);
        table.add_row([
            contest.row.what.clone(),
            contest.row.who.to_string(),
            contest.row.threads.to_string(),
            nanoseconds(summary.median),
            format!(
                "{} .. {}",
                nanoseconds(summary.min),
                nanoseconds(summary.max)
            ),
            format!("{:.2}", summary.median / floor.median),
            target,
            verdict,
        ]);
    }
    align(&mut table, 2..=5);
    table
}

/// What pools keep beside the memory that they manage.
fn kept(scale: &Scale) -> Result<Table, Box<dyn Error>> {
    let mut table = table([
        "bookkeeping",
        "granules",
        "chunks",
        "bytes",
        "bits a granule",
        "target",
        "verdict",
    ]);
    for pool in scale.bookkeeping()? {
        let layout = pool.layout;
        table.add_row([
            if pool.tracked {
                "with boundary tracking"
            } else {
                "without boundary tracking"
            }
            .into(),
            layout.granules.to_string(),
            layout.chunks.to_string(),
            pool.bytes.to_string(),
            format!("{:.3}", pool.bytes as f64 * 8.0 / layout.granules as f64),
            pool.target
                .map(|target| target.to_string())
                .unwrap_or_default(),
            match pool.target {
                None => "",
                Some(target) if pool.bytes <= target => "met",
                Some(_) => "not met",
            }
            .into(),
        ]);
    }
    align(&mut table, 1..=5);
    Ok(table)
}

/// The target in words, and whether it was met.
fn verdict(
    contest: &Contest,
    summary: Summary,
    contests: &[Contest],
    floor: Summary,
) -> (String, String) {
    let (base, times, text) = match contest.row.target {
        None => return Default::default(),
        Some(Target::Floor(times)) => (Some(floor), times, format!("{times} F")),
        Some(Target::Row(times, name)) => {
            let row = contests.iter().find(|other| other.row.name == Some(name));
            (
                row.and_then(Contest::summary),
                times,
                format!("{times} x {name}"),
            )
        }
    };
    let Some(base) = base else {
        return (text, "needs another section".into());
    };
    let limit = base.median * times;
    let text = format!("{text} = {}", nanoseconds(limit));
    let noisy = summary.spread() > NOISY || base.spread() > NOISY;
    let straddles = summary.min <= base.max * times && summary.max > base.min * times;
    let verdict = if noisy && straddles || contest.is_disturbed() {
        "too noisy to tell"
    } else if summary.median <= limit {
        "met"
    } else {
        "not met"
    };
    (text, verdict.into())
}

/// What a reader of the tables has to know.
fn remarks(floors: &[Contest], contests: &[Contest], crew: &Crew, floor: Summary) {
    if !crew.is_pinned() {
        println!(
            "- The threads could not each have a processor of their own: rows with several say little."
        );
    }
    let all = || floors.iter().chain(contests);
    let noisy = all()
        .filter(|contest| {
            contest
                .summary()
                .is_some_and(|summary| summary.spread() > NOISY)
        })
        .count();
    let percent = NOISY * 100.0;
    if floor.spread() > NOISY {
        println!(
            "- The machine was too noisy: the floor itself differed by {:.0} % between rounds. Compare nothing.",
            floor.spread() * 100.0
        );
    }
    if noisy > 0 {
        println!(
            "- In {noisy} of {} rows the rounds differ by more than {percent:.0} %.",
            all().count()
        );
    }
    if floors.iter().any(Contest::is_disturbed) {
        println!(
            "- Something else ran on the threads' processors: rows with several threads say little, and those with \
             one leave out the time that it took."
        );
    }
    let unsettled: Vec<String> = all()
        .filter(|contest| !contest.settled)
        .map(|contest| format!("{}, {}", contest.row.who, contest.row.what))
        .collect();
    if !unsettled.is_empty() {
        println!(
            "- Measured before the pool had settled, for want of time: {}.",
            unsettled.join("; ")
        );
    }
}

fn nanoseconds(figure: f64) -> String {
    if figure < 100.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.0}")
    }
}

fn table<T: Into<comfy_table::Cell>>(header: impl IntoIterator<Item = T>) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(
        header
            .into_iter()
            .map(Into::into)
            .collect::<Vec<comfy_table::Cell>>(),
    );
    table
}

fn align(table: &mut Table, columns: std::ops::RangeInclusive<usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
