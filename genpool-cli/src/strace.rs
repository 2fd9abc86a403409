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
//! | `mmap` | an `alloc` of its length |
//! | `mmap` with `MAP_FIXED` over what is mapped | nothing, as the pages are held already; an `alloc` for each gap that it fills |
//! | `munmap` | a `free` of each mapping of which no page is left |
//! | `munmap` of a part of the newest mapping | an `alloc` of what is left of it: so do allocators that align |
//! | `munmap` of a part of another mapping | nothing: a part cannot be given back, so all of it stays until its last page goes |
//! | `mremap` to a larger size in place | a `free`, then an `alloc` of the new size |
//! | `mremap` to another place | an `alloc` of the new size, then a `free` of what was there; a `free` first where other threads had a turn meanwhile |
//! | `execve`, which ends all other threads, or the end of the last thread | a `free` of all that is left |
//!
//! Threads share their mappings and processes do not, as far as the lines of `clone` and its
//! relatives say; without such lines all are taken for threads. All processes together are served by
//! one pool. How often a line of the table was only nearly true is counted in comments of the trace.

mod line;
mod spaces;

use std::fmt;
use std::io::{self, BufRead};

use crate::size::Bytes;
use crate::trace::{MAX_BYTES, MAX_GRANULES};
use line::Lines;
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
    /// Allocations made of them.
    pub allocs: u64,
    /// Pages that were held at once, at most.
    pub peak_pages: u64,
    /// Fixed mappings over what was mapped.
    pub fixed: u64,
    /// Mappings that were cut while they were the newest.
    pub trimmed: u64,
    /// Parts of other mappings that were unmapped; what is left of such a mapping stays as a whole.
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
        if !lines.read(&String::from_utf8_lossy(&line)) {
            counts.ignored += 1;
        }
        while let Some((pid, event)) = lines.next() {
            spaces.event(pid, event);
        }
        line.clear();
    }
    lines.close();
    while let Some((pid, event)) = lines.next() {
        spaces.event(pid, event);
    }
    let ops = spaces.finish(&mut counts);
    if ops.is_empty() {
        return Err(ConvertError::Nothing);
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
                "cuts of the newest mapping: it was allocated as short as that",
            ),
            (
                self.counts.partial,
                "parts of other mappings unmapped: all of such a one stays until its last page goes",
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
        ] {
            if count > 0 {
                writeln!(f, "# {count} {what}.")?;
            }
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
            Self::TooLong | Self::Nothing | Self::PoolSize { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
