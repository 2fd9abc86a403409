//! The command line: arguments in, text and an exit code out.

mod bar;
mod output;
mod publish;
mod run;
mod traces;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use genpool::devm::LoadError;

use crate::algorithm::AlgorithmSpec;
use crate::chain::Chain;
use crate::dt;
use crate::plain::Plain;
use crate::show;
use crate::size::{parse_number, parse_size};
use crate::trace::MAX_ORDER;
use output::ReportArgs;

/// Exercise and check the genpool allocator.
#[derive(Debug, Parser)]
#[command(name = "genpool", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every algorithm on real memory with all cores, checking every allocation
    ///
    /// With a report everything is run with 1, 2, 4 and so on threads before all of them, and the pool is
    /// looked at all the while, so that each algorithm has less of the time.
    Run(RunArgs),
    /// Time recorded traces, ignoring the answers recorded in them
    ///
    /// What succeeds although it was refused when it was recorded is given back at once, since the program
    /// did not have it. A note counts the allocations that a trace does not free.
    Replay(ReplayArgs),
    /// Compare several algorithms and granularities by recorded traces
    ///
    /// The algorithms are the five that need no argument, unless --algorithm names others. Each trace is played
    /// on every contestant, whatever algorithms it names itself; an alignment that it names, by first-fit-align
    /// or order-align, is kept by all of them. The recommended one fails least; of
    /// those that fail as little it wastes least, where a hundredth of the pool is no difference; of these it
    /// is the fastest. Wasted is what rounding to whole granules takes, also at the ends of chunks, and what
    /// is free outside the largest free run. What a trace says was refused is given back at once where it is
    /// served. A trace takes about half a minute at most.
    Compare(CompareArgs),
    /// Replay recorded traces and compare every answer
    ///
    /// A line counts the allocations that a trace does not free; that is no difference.
    Verify(VerifyArgs),
    /// Make a trace of what strace saw of a program's mappings
    ///
    /// The output of `strace -f -e trace=mmap,munmap,mremap,clone,clone3,fork,vfork,execve -o FILE` becomes
    /// a trace of a pool of pages (order 12), on standard output. A mapping is an allocation, which is
    /// freed with its last page. What is approximated is counted in comments of the trace.
    ///
    /// malloc maps only large blocks one by one. With MALLOC_MMAP_THRESHOLD_=8192 and
    /// MALLOC_MMAP_MAX_=100000000 in the program's environment that of glibc does so from 8 KiB on.
    Convert(ConvertArgs),
    /// Show what pools a board has, by its device tree
    Dt(DtArgs),
    /// Show a pool as it was, from a snapshot in JSON
    Show(ShowArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Length of the run, shared by all algorithms [default: 20]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    seconds: Option<f64>,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number)]
    threads: Option<usize>,
    /// Memory under the pool, such as 64M, 1G, 4096 or 0x100000 [default: 16M]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = size)]
    size: Option<usize>,
    /// Granules are 2^ORDER bytes [default: 6]
    #[arg(long, value_name = "ORDER", allow_negative_numbers = true, value_parser = number)]
    order: Option<usize>,
    /// Chunks that the memory is split into [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number)]
    chunks: Option<usize>,
    #[command(flatten)]
    report: ReportArgs,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    #[command(flatten)]
    unnamed: Unnamed,
    #[command(flatten)]
    repeats: Repeats,
    #[command(flatten)]
    report: ReportArgs,
    /// Traces
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct Repeats {
    /// Runs of each trace, of which the median counts [default: up to 11, as many as fit in 10 s; of a
    /// trace that takes longer than that by itself only its beginning is played]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeats: Option<u32>,
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// Granules are 2^ORDER bytes [default: the trace's order, two below and two above]
    #[arg(long, value_name = "ORDER,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_ORDER)))]
    order: Vec<u32>,
    /// Algorithms, named as in traces [default: first-fit, next-fit, best-fit, order-align, thread-start, spread-fit]
    #[arg(long, value_name = "ALGO,…", value_delimiter = ',')]
    algorithm: Vec<AlgorithmSpec>,
    #[command(flatten)]
    repeats: Repeats,
    #[command(flatten)]
    report: ReportArgs,
    /// Traces
    #[arg(value_name = "TRACE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct ConvertArgs {
    /// Size of the pool [default: the smallest power of two that holds what was mapped at once]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    size: Option<usize>,
    /// Write the trace to a file, when all of it is made [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What strace wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    #[command(flatten)]
    unnamed: Unnamed,
    /// Traces
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct DtArgs {
    /// Print JSON, a line for each file
    #[arg(long)]
    json: bool,
    /// Properties in which to look for references too
    #[arg(long, value_name = "NAME")]
    property: Vec<String>,
    /// Flattened device trees [default: that of this system]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Snapshots
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct Unnamed {
    /// For allocations that name no algorithm: first-fit, first-fit-align:BYTES, order-align,
    /// best-fit, fixed:OFFSET, fixed-address:ADDRESS, next-fit, thread-start or spread-fit
    #[arg(long, value_name = "ALGO", default_value_t)]
    algorithm: AlgorithmSpec,
}

fn size(text: &str) -> Result<usize, String> {
    parse_size(text).map_err(|error| error.to_string())
}

fn number(text: &str) -> Result<usize, String> {
    parse_number(text)
        .map_err(|error| error.to_string())
        .and_then(|number| usize::try_from(number).map_err(|_| "too large".to_owned()))
}

/// How a command ended, unless writing its output failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Well,
    /// The pool gave a wrong answer.
    Wrong,
    /// The input or the machine does not allow the job.
    Impossible,
}

/// Runs the command with the arguments of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let mut out = io::stdout().lock();
    let end = match cli.command {
        Command::Run(args) => run::run_command(&args, &mut out),
        Command::Replay(args) => traces::replay_command(&args, &mut out),
        Command::Compare(args) => traces::compare_command(&args, &mut out),
        Command::Verify(args) => traces::verify_command(&args, &mut out),
        Command::Convert(args) => traces::convert_command(&args, &mut out),
        Command::Dt(args) => dt_command(&args, &mut out),
        Command::Show(args) => show_command(&args, &mut out),
    };
    match end.and_then(|end| out.flush().map(|()| end)) {
        Ok(End::Well) => ExitCode::SUCCESS,
        Ok(End::Wrong) => ExitCode::from(1),
        Ok(End::Impossible) => ExitCode::from(2),
        Err(error) => unwritten(&error),
    }
}

/// Ends the command because its standard output cannot be written.
fn unwritten(error: &io::Error) -> ExitCode {
    // If the reader of the output has closed it, there is nobody to inform.
    if error.kind() != io::ErrorKind::BrokenPipe {
        complain(format_args!("cannot write: {error}"));
    }
    ExitCode::from(2)
}

/// Prints help and version as they are. A wrong argument becomes one line.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            match error.print().and_then(|()| io::stdout().flush()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => unwritten(&error),
            }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            let text = error.render().to_string();
            let lines: Vec<&str> = text
                .lines()
                .map(str::trim)
                .take_while(|line| !line.is_empty())
                .collect();
            let line = lines.join(" ");
            complain(line.strip_prefix("error: ").unwrap_or(&line));
            ExitCode::from(2)
        }
    }
}

/// Writes one line to standard error. An error is ignored, since there is no place to report it.
fn complain(what: impl Display) {
    let _ = writeln!(io::stderr(), "genpool: {}", Plain(what));
}

/// Writes a complaint about a file, in a form that editors can jump to.
fn complain_of(path: &Path, line: Option<u32>, what: impl Display) {
    let (path, what) = (Plain(path.display()), Plain(what));
    let _ = match line {
        Some(line) => writeln!(io::stderr(), "{path}:{line}: {what}"),
        None => writeln!(io::stderr(), "{path}: {what}"),
    };
}

fn dt_command(args: &DtArgs, out: &mut dyn Write) -> io::Result<End> {
    let mut end = End::Well;
    let running = Path::new("this system");
    let mut files: Vec<Option<&Path>> = args.files.iter().map(|path| Some(&**path)).collect();
    if files.is_empty() {
        files.push(None);
    }
    for (at, &path) in files.iter().enumerate() {
        let board = match dt::survey(path, &args.property) {
            Ok(board) => board,
            Err(error) => {
                match (path, &error) {
                    (Some(path), LoadError::Blob { source, .. }) => complain_of(path, None, source),
                    _ => complain(Chain(&error)),
                }
                end = End::Impossible;
                continue;
            }
        };
        let srams = board.srams.iter().filter(|sram| sram.enabled);
        for error in board.error.iter().chain(srams.flat_map(|sram| &sram.error)) {
            complain_of(path.unwrap_or(running), None, error);
            end = End::Impossible;
        }
        if board.left_out.srams > 0 {
            let what = "it has more SRAMs than can be shown";
            complain_of(path.unwrap_or(running), None, what);
            end = End::Impossible;
        }
        if args.json {
            writeln!(out, "{}", dt::json(path, &board))?;
        } else {
            if at > 0 {
                writeln!(out)?;
            }
            if let Some(path) = path {
                writeln!(out, "file      {}", Plain(path.display()))?;
            }
            write!(out, "{}", dt::text::board(&board))?;
        }
    }
    Ok(end)
}

fn show_command(args: &ShowArgs, out: &mut dyn Write) -> io::Result<End> {
    let mut end = End::Well;
    for (at, path) in args.files.iter().enumerate() {
        match show::load(path) {
            Ok(snapshot) => {
                if at > 0 {
                    writeln!(out)?;
                }
                write!(out, "{}", show::text::pool(&snapshot))?;
            }
            Err(error) => {
                complain_of(path, None, Chain(&error));
                end = End::Impossible;
            }
        }
    }
    Ok(end)
}
