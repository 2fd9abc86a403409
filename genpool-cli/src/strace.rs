//! From what `strace` saw of a program's mappings to a trace of a pool of pages.
//!
//! ```sh
//! strace -f -o program.strace -e trace=mmap,munmap,mremap,clone,clone3,fork,vfork,execve PROGRAM
//! genpool convert program.strace >program.trace
//! ```
//!
//! Each mapping is an allocation of whole pages, and each page belongs to one of them:
//!
//! | what the program did | what the trace has |
//! |---|---|
//! | `mmap` | an `alloc` of its length; with `MAP_HUGETLB` of whole huge pages, of 2 MiB if the flags do not say |
//! | `mmap` with `MAP_FIXED` over what is mapped | nothing, as the pages are held already; an `alloc` for each gap that it fills |
//! | `munmap` | a `free` of each mapping of which no page is left |
//! | `munmap` of an end of a mapping, directly after it was made | an `alloc` of what is left of it: so do allocators that align; the rule is at the top of `trim.rs` |
//! | any other `munmap` of a part of a mapping | nothing: a part cannot be given back, so all of it stays until its last page goes |
//! | `mremap` of a mapping to another size in place | a `free`, then an `alloc` of the new size |
//! | `mremap` to another place | an `alloc` of the new size, then a `free` of what was there; a `free` first where other threads had a turn meanwhile |
//! | `execve`, which ends all other threads, or the end of the last thread | a `free` of all that is left |
//!
//! Threads share their mappings and processes do not, as far as the lines of `clone` and its
//! relatives say; without such lines all are taken for threads. All processes together are served by
//! one pool. The heap that `brk` moves and memory of `shmat` have no part in the trace.
//!
//! Flags may be names or numbers (`strace -X`). Comments of the trace count how often a line of the table was only
//! nearly true, and how many calls could not be read.

mod call;
mod flags;
mod head;
mod line;
mod spaces;
mod trim;

use std::fmt;
use std::io::{self, BufRead};

use crate::size::Bytes;
use crate::trace::{MAX_BYTES, MAX_GRANULES};
use line::{Lines, Said};
use spaces::{Op, Spaces};

/// Pages are `1 << PAGE_ORDER` bytes. Larger ones are multiples of it.
pub const PAGE_ORDER: u32 = 12;

/// What became of the output of `strace`. Shown, it is a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    ops: Vec<Op>,
    chunk_pages: u64,
    counts: Counts,
}

/// How much there was of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines of the file.
    pub lines: u64,
    /// Lines that are no call of interest, or one that failed.
    pub ignored: u64,
    /// Calls that have a part in it, but that could not be read.
    pub unclear: u64,
    /// The line of the first of them, from 1.
    pub first_unclear: Option<u64>,
    /// Calls of `brk`, `shmat` and `map_shadow_stack`, whose memory has no part in the trace.
    pub elsewhere: u64,
    /// Allocations made of them.
    pub allocs: u64,
    /// Pages that were held at once, at most.
    pub peak_pages: u64,
    /// Fixed mappings over what was mapped.
    pub fixed: u64,
    /// Cuts that belong to the making of a mapping.
    pub trimmed: u64,
    /// Other cuts; what is left of such a mapping stays as a whole.
    pub partial: u64,
    /// Mappings that `mremap` changed or moved.
    pub resized: u64,
    /// Calls that unmapped what no line had mapped.
    pub unknown: u64,
    /// Mappings that appeared where another still was, as if a call were missing.
    pub conflicts: u64,
}

/// Reads the output of `strace`. The pool is `size` bytes large, or the smallest power of two that
/// holds what was mapped at any one time.
///
/// # Errors
///
/// [`ConvertError`] when the input cannot be read, maps nothing, or needs too large a pool.
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
        // Editors of other systems put this mark before the first line.
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
    /// How much there was of what.
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

/// The output of `strace` cannot be made a trace.
#[derive(Debug)]
pub enum ConvertError {
    /// It cannot be read.
    Io(io::Error),
    /// It is longer than [`MAX_BYTES`].
    TooLong,
    /// No line maps anything.
    Nothing,
    /// No line maps anything, and some call could not be read.
    Unclear {
        /// The line of the first such call, from 1.
        line: u64,
    },
    /// The pool would have no pages, or over [`MAX_GRANULES`].
    PoolSize {
        /// How many it would have.
        pages: u64,
    },
}

impl From<io::Error> for ConvertError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::TooLong => write!(f, "longer than {} MiB", MAX_BYTES >> 20),
            Self::Nothing => {
                f.write_str("no line is a call of mmap that succeeded, as strace writes it")
            }
            Self::Unclear { line } => write!(
                f,
                "no call of mmap that succeeded could be read; the first that could not is in line {line}"
            ),
            Self::PoolSize { pages } => write!(
                f,
                "a pool of {pages} pages: it must have 1 to {MAX_GRANULES}"
            ),
        }
    }
}

impl std::error::Error for ConvertError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::TooLong | Self::Nothing | Self::Unclear { .. } | Self::PoolSize { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
