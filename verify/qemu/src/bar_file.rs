//! Step 1 seen from both sides: what the machine wrote into the BAR, and what the host finds in its file.

use std::fs;
use std::process::ExitCode;

/// The byte with which the host fills the file before the machine starts.
const BACKGROUND: u8 = 0xee;
const PAGE: usize = 4096;

/// A part of the BAR and what was written there: zeros if `seed` is 0, otherwise a sequence that starts at it.
#[derive(Clone, Copy)]
pub(crate) struct Written {
    pub(crate) offset: usize,
    pub(crate) len: usize,
    pub(crate) seed: u8,
}

impl Written {
    /// Returns the bytes.
    pub(crate) fn bytes(self) -> Vec<u8> {
        (0..self.len)
            .map(|at| match self.seed {
                0 => 0,
                seed => seed.wrapping_add((at % 251) as u8),
            })
            .collect()
    }

    /// Reports the part to the host.
    pub(crate) fn print(self) {
        let Self { offset, len, seed } = self;
        println!("BAR {offset} {len} {seed}");
    }

    fn of_line(line: &str) -> Option<Self> {
        let mut numbers = line.strip_prefix("BAR ")?.split_whitespace();
        Some(Self {
            offset: numbers.next()?.parse().ok()?,
            len: numbers.next()?.parse().ok()?,
            seed: numbers.next()?.parse().ok()?,
        })
    }
}

/// Returns where the file differs from the reported parts, `moved` bytes further up, or ends too soon.
fn difference(file: &[u8], written: &[Written], moved: usize) -> Option<usize> {
    let mut expected = vec![BACKGROUND; file.len()];
    for part in written {
        let at = part.offset + moved;
        let Some(place) = expected.get_mut(at..at + part.len) else {
            return Some(at);
        };
        place.copy_from_slice(&part.bytes());
    }
    file.iter()
        .zip(&expected)
        .position(|(have, want)| have != want)
}

/// Compares the file with the machine's log. A comparison one page off must find a difference.
pub(crate) fn check(log: &str, file: &str) -> ExitCode {
    let (log, file) = match (fs::read(log), fs::read(file)) {
        (Ok(log), Ok(file)) => (String::from_utf8_lossy(&log).into_owned(), file),
        (log, file) => {
            eprintln!("cannot read: {:?} {:?}", log.err(), file.err());
            return ExitCode::FAILURE;
        }
    };
    let written: Vec<Written> = log
        .lines()
        .map(str::trim)
        .filter_map(Written::of_line)
        .collect();
    let bytes: usize = written.iter().map(|part| part.len).sum();
    let mut table = crate::table::Table::default();
    let step = "1 device memory";
    let compare = |moved| match difference(&file, &written, moved) {
        _ if written.is_empty() => crate::table::wrong("the machine wrote nothing"),
        Some(at) => crate::table::wrong(format!("byte {at:#x} of the file differs")),
        None => Ok(format!("{bytes} bytes, and no other")),
    };
    table.check(step, "the host finds the bytes in its file", || compare(0));
    table.control(step, "a page further up", || compare(PAGE));
    table.sum_up()
}
