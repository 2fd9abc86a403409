//! The files that a report goes to.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use console::Style;

use super::complain_of;
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

    /// Opens the files, before the work whose result they get; what they hold stays until there is one.
    /// `None`, and a complaint, where one cannot be written, or is another of them or of the `inputs`,
    /// which would be lost.
    pub(super) fn open(&self, inputs: &[PathBuf]) -> Option<Output> {
        let mut known: Vec<_> = inputs.iter().flat_map(|path| identity(path)).collect();
        let mut files = Vec::new();
        for (kind, path) in self.files() {
            if identity(path).is_ok_and(|file| known.contains(&file)) {
                complain_of(path, None, "named twice: what it holds would be lost");
                return None;
            }
            let opened = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(path);
            match opened {
                Ok(file) => {
                    known.extend(identity(path));
                    files.push((kind, path.to_owned(), file));
                }
                Err(error) => {
                    complain_of(path, None, format_args!("cannot write: {error}"));
                    return None;
                }
            }
        }
        Some(Output { files })
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

/// Files that are open.
pub(super) struct Output {
    files: Vec<(Kind, PathBuf, File)>,
}

impl Output {
    /// Writes the report, and to `out` which files have it. False, and a complaint, where a file cannot be
    /// written.
    pub(super) fn write(self, report: &Report, out: &mut dyn Write) -> io::Result<bool> {
        let mut all = true;
        for (kind, path, mut file) in self.files {
            let text = match kind {
                Kind::Html => html::page(report).map_err(io::Error::other),
                Kind::Json => Ok(report.to_json() + "\n"),
                Kind::Csv => Ok(csv::table(report)),
            };
            match text.and_then(|text| replace(&mut file, &text)) {
                Ok(()) => writeln!(out, "wrote      {}", Plain(path.display()))?,
                Err(error) => {
                    complain_of(&path, None, format_args!("cannot write: {error}"));
                    all = false;
                }
            }
        }
        Ok(all)
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
