//! The files that a report goes to.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use console::Style;

use super::{End, complain_of};
use crate::plain::Plain;
use crate::report::{Report, csv, html};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Write a report with pictures, one file of HTML that needs no network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the figures of the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the figures of the report as CSV, one a line
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// What a file holds.
#[derive(Clone, Copy)]
enum Kind {
    Html,
    Json,
    Csv,
}

impl ReportArgs {
    /// Whether any file is asked for.
    pub(super) fn is_wanted(&self) -> bool {
        self.files().next().is_some()
    }

    fn files(&self) -> impl Iterator<Item = (Kind, &Path)> {
        [
            (Kind::Html, &self.html),
            (Kind::Json, &self.json),
            (Kind::Csv, &self.csv),
        ]
        .into_iter()
        .filter_map(|(kind, path)| Some((kind, path.as_deref()?)))
    }

    /// Opens the files, before the work whose result they get; what they hold stays until there is one, and
    /// new ones go where there is none.
    /// `None`, and a complaint, where one cannot be written, or is another of them, of the `inputs`, or
    /// standard output's, which would be lost.
    pub(super) fn open(&self, inputs: &[PathBuf]) -> Option<Output> {
        let shown = Path::new("/dev/stdout");
        let shown = shown.is_file().then_some(shown);
        let others = inputs.iter().map(PathBuf::as_path).chain(shown);
        let mut known: Vec<_> = others.flat_map(identity).collect();
        let mut output = Output { files: Vec::new() };
        for (kind, path) in self.files() {
            if identity(path).is_ok_and(|file| known.contains(&file)) {
                complain_of(path, None, "named twice: what it holds would be lost");
                return None;
            }
            match Target::open(kind, path) {
                Ok(target) => {
                    known.extend(identity(path));
                    output.files.push(target);
                }
                Err(error) => {
                    complain_of(path, None, format_args!("cannot write: {error}"));
                    return None;
                }
            }
        }
        Some(output)
    }
}

/// The same for all names of a file.
#[cfg(unix)]
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;

    // Without opening it, for it may be a pipe.
    let file = fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// The same for all names of a file but hard links.
#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}

/// Replaces what the file holds; a device or a pipe holds nothing.
fn replace(file: &mut File, text: &str) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())
}

/// A file that is open.
struct Target {
    kind: Kind,
    path: PathBuf,
    file: File,
    /// It was not there before.
    is_new: bool,
}

impl Target {
    fn open(kind: Kind, path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.write(true);
        let new = options.create_new(true).open(path);
        let is_new = new.is_ok();
        let file = new.or_else(|_| options.create_new(false).create(true).open(path))?;
        Ok(Self {
            kind,
            path: path.to_owned(),
            file,
            is_new,
        })
    }
}

/// Files that are open. Those that are new and get nothing are taken away.
pub(super) struct Output {
    files: Vec<Target>,
}

impl Drop for Output {
    fn drop(&mut self) {
        for target in self.files.iter().filter(|target| target.is_new) {
            let _ = fs::remove_file(&target.path);
        }
    }
}

/// What became of the files.
pub(super) struct Written {
    /// A line for each that has the report.
    pub(super) text: String,
    pub(super) end: End,
}

impl Output {
    /// Writes the report, and complains of files that cannot be written. Before the report is shown, so that
    /// it is there also where nobody reads standard output to its end.
    pub(super) fn write(mut self, report: &Report) -> Written {
        let mut written = Written {
            text: String::new(),
            end: End::Well,
        };
        for mut target in self.files.drain(..) {
            let text = match target.kind {
                Kind::Html => html::page(report).map_err(io::Error::other),
                Kind::Json => Ok(report.to_json() + "\n"),
                Kind::Csv => Ok(csv::table(report)),
            };
            let path = Plain(target.path.display());
            match text.and_then(|text| replace(&mut target.file, &text)) {
                Ok(()) => written.text += &format!("wrote      {path}\n"),
                Err(error) => {
                    complain_of(&target.path, None, format_args!("cannot write: {error}"));
                    written.end = End::Impossible;
                }
            }
        }
        written
    }
}

/// Emphasises the lines that `is_main` picks, where standard output is a terminal and `NO_COLOR` is
/// not set.
pub(super) fn emphasised(text: &str, is_main: impl Fn(&str) -> bool) -> String {
    if !io::stdout().is_terminal() || !console::colors_enabled() {
        return text.to_owned();
    }
    let style = Style::new().green().bold();
    text.split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) if is_main(line) => format!("{}\n", style.apply_to(line)),
            _ => line.to_owned(),
        })
        .collect()
}
