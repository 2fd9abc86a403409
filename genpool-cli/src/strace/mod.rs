//! Converts the mappings of a program, as seen by `strace`, into a trace of a pool of pages.
//!
//! ```sh
//! strace -f -o program.strace -e trace=mmap,munmap,mremap,clone,clone3,fork,vfork,execve PROGRAM
//! genpool convert program.strace >program.trace
//! ```
//!
//! Each mapping is an allocation of whole pages, and each page belongs to one of them:
//!
//! | program | trace |
//! |---|---|
//! | `mmap` | an `alloc` of its length; with `MAP_HUGETLB`, of whole huge pages (2 MiB unless flags say otherwise) |
//! | `mmap` with `MAP_FIXED` over mappings | an `alloc` for each gap that it fills; the other pages are held already |
//! | `munmap` | a `free` of each mapping that has no pages left |
//! | `munmap` of an end of a new mapping | an `alloc` of the rest only: allocators align so (rule: `trim.rs`) |
//! | any other `munmap` of a part of a mapping | nothing: the whole mapping stays until its last page goes |
//! | `mremap` of a mapping to another size in place | a `free`, then an `alloc` of the new size |
//! | `mremap` to another place | an `alloc` of the new size, then a `free`; a `free` first if other threads ran |
//! | `execve`, which ends all other threads, or the end of the last thread | a `free` of all that remains |
//!
//! Threads share their mappings and processes do not, according to the lines of `clone` and its relatives. Without such
//! lines all are taken for threads. A single pool serves all processes. The heap of `brk` and memory of `shmat` are not
//! part of the trace.
//!
//! Flags may be names or numbers (`strace -X`). Comments in the trace count how often a row of the table is only an
//! approximation, and how many calls could not be read.

mod call;
mod event;
mod flags;
mod head;
mod line;
mod spaces;
mod trim;

use std::fmt;
use std::io::{self, BufRead};

use thiserror::Error;

use crate::size::Bytes;
use crate::trace::{MAX_BYTES, MAX_GRANULES};
use line::{Lines, Said};
use spaces::{Op, Spaces};

/// Pages are `1 << PAGE_ORDER` bytes. Larger ones are multiples of that.
pub const PAGE_ORDER: u32 = 12;

/// Converted output of `strace`. Its `Display` is a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    ops: Vec<Op>,
    chunk_pages: u64,
    counts: Counts,
}

/// Counts of what was converted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines of the file.
    pub lines: u64,
    /// Lines that are not a relevant call, or are a failed one.
    pub ignored: u64,
    /// Relevant calls that could not be read.
    pub unclear: u64,
    /// The line of the first of them, from 1.
    pub first_unclear: Option<u64>,
    /// Calls of `brk`, `shmat` and `map_shadow_stack`, whose memory is not part of the trace.
    pub elsewhere: u64,
    /// Allocations in the trace.
    pub allocs: u64,
    /// The most pages held at one time.
    pub peak_pages: u64,
    /// Fixed mappings over mapped pages.
    pub fixed: u64,
    /// Partial unmappings that trim a new mapping.
    pub trimmed: u64,
    /// Other partial unmappings. Such a mapping stays as a whole.
    pub partial: u64,
    /// Mappings that `mremap` changed or moved.
    pub resized: u64,
    /// Calls that unmapped pages which no line had mapped.
    pub unknown: u64,
    /// Mappings that appeared where another one still was, as if a call were missing.
    pub conflicts: u64,
}

/// Converts the output of `strace`. The pool has `size` bytes, or the smallest power of two that holds what was mapped
/// at any one time.
///
/// # Errors
///
/// [`ConvertError`] if the input cannot be read, maps nothing, or needs too large a pool.
pub fn convert(input: impl BufRead, size: Option<usize>) -> Result<Converted, ConvertError> {
    let mut input = input.take(MAX_BYTES + 1);
    let mut lines = Lines::default();
    let mut spaces = Spaces::default();
    let mut counts = Counts::default();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        if input.limit() == 0 {
            return Err(ConvertError::TooLong);
        }
        counts.lines += 1;
        let text = String::from_utf8_lossy(&line);
        // Editors on other systems put a byte order mark before the first line.
        match lines.read(text.trim_start_matches('\u{feff}')) {
            Said::Something => {}
            Said::Nothing => counts.ignored += 1,
            Said::Elsewhere => {
                counts.ignored += 1;
                counts.elsewhere += 1;
            }
            Said::Unclear => {
                counts.unclear += 1;
                counts.first_unclear.get_or_insert(counts.lines);
            }
        }
        while let Some(step) = lines.next() {
            spaces.event(step);
        }
        line.clear();
    }
    lines.close();
    while let Some(step) = lines.next() {
        spaces.event(step);
    }
    let ops = spaces.finish(&mut counts);
    if ops.is_empty() {
        return Err(match counts.first_unclear {
            Some(line) => ConvertError::Unclear { line },
            None => ConvertError::Nothing,
        });
    }
    let chunk_pages = match size {
        Some(size) => (size as u64).div_ceil(1 << PAGE_ORDER),
        None => counts
            .peak_pages
            .checked_next_power_of_two()
            .unwrap_or(u64::MAX),
    };
    if chunk_pages == 0 || chunk_pages > MAX_GRANULES as u64 {
        return Err(ConvertError::PoolSize { pages: chunk_pages });
    }
    Ok(Converted {
        ops,
        chunk_pages,
        counts,
    })
}

impl Converted {
    /// Returns the counts of what was converted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl fmt::Display for Converted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            lines,
            ignored,
            allocs,
            peak_pages,
            ..
        } = self.counts;
        let peak = usize::try_from(peak_pages)
            .unwrap_or(usize::MAX)
            .saturating_mul(1 << PAGE_ORDER);
        writeln!(
            f,
            "# genpool trace v1\n\
             # Mappings of a program, made by `genpool convert` from {lines} lines of strace, {ignored} of them without\n\
             # a part in it. {allocs} mappings, at most {} at once.",
            Bytes(peak)
        )?;
        for (count, what) in [
            (
                self.counts.fixed,
                "fixed mappings over what was mapped: no allocation, but for gaps",
            ),
            (
                self.counts.trimmed,
                "cuts that directly follow a mapping: it was allocated as short as that",
            ),
            (
                self.counts.partial,
                "other cuts of a mapping: all of it stays until its last page goes",
            ),
            (self.counts.resized, "calls of mremap: allocated anew"),
            (
                self.counts.unknown,
                "calls that unmapped what no line had mapped: nothing",
            ),
            (
                self.counts.conflicts,
                "mappings where another still was, as if a call were missing: the old one was freed",
            ),
            (
                self.counts.elsewhere,
                "calls of brk, shmat or map_shadow_stack: not in the trace",
            ),
        ] {
            if count > 0 {
                writeln!(f, "# {count} {what}.")?;
            }
        }
        if let Some(line) = self.counts.first_unclear {
            writeln!(
                f,
                "# {} calls that could not be read, the first in line {line}: not in the trace, or not as they were.",
                self.counts.unclear
            )?;
        }
        let size = self.chunk_pages << PAGE_ORDER;
        let start = size.next_power_of_two();
        writeln!(
            f,
            "pool order={PAGE_ORDER}\nchunk virt={start:#x} size={size:#x}"
        )?;
        for op in &self.ops {
            match *op {
                Op::Alloc { id, pages } => {
                    writeln!(f, "alloc {id} size={:#x}", pages << PAGE_ORDER)?;
                }
                Op::Free { id } => writeln!(f, "free {id}")?,
            }
        }
        Ok(())
    }
}

/// Output of `strace` that cannot be converted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is longer than [`MAX_BYTES`].
    #[error("longer than {} MiB", MAX_BYTES >> 20)]
    TooLong,
    /// No line maps anything.
    #[error("no line is a call of mmap that succeeded, as strace writes it")]
    Nothing,
    /// No line maps anything, and some call could not be read.
    #[error(
        "no call of mmap that succeeded could be read; the first that could not is in line {line}"
    )]
    Unclear {
        /// The line of the first such call, from 1.
        line: u64,
    },
    /// The pool would have no pages, or more than [`MAX_GRANULES`].
    #[error("a pool of {pages} pages: it must have 1 to {MAX_GRANULES}")]
    PoolSize {
        /// The number of pages that it would have.
        pages: u64,
    },
}

#[cfg(test)]
mod tests;
