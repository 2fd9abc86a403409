//! Recorded operations of a pool: the trace format, version 1.
//!
//! ```text
//! # genpool trace v1
//! pool order=12
//! chunk virt=0x40000000 phys=0x100000000 size=0x4000
//! alloc 1 size=5000 algo=best-fit -> 0x40000000
//! expect avail=0x2000 size=0x4000
//! free 1
//! ```
//!
//! Each line holds one operation. `#` starts a comment, numbers are decimal or `0x` hexadecimal, addresses and sizes
//! are in bytes. An ID is a number or a word. It is in use from its `alloc` until its `free`, unless the recorded
//! result is `none`: such an ID holds nothing, freeing it does nothing, and it may be reused at once.
//!
//! # Limits
//!
//! A trace is untrusted input, so its size must not determine how much memory the reader takes: see [`MAX_BYTES`],
//! [`MAX_CHUNKS`] and [`MAX_GRANULES`].

mod fields;
mod ids;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use thiserror::Error;

use crate::algorithm::AlgorithmSpec;
use crate::size::{NumberError, parse_number};
use fields::{Fields, quoted};
use ids::Ids;

/// The longest trace that is read: 256 MiB, some five million operations.
pub const MAX_BYTES: u64 = 256 << 20;

/// The most chunks of a trace. A pool copies its list of chunks on each add, so the cost is quadratic.
pub const MAX_CHUNKS: usize = 1 << 14;

/// The most granules in all chunks of a trace together. They take 128 MiB, at one bit each.
pub const MAX_GRANULES: usize = 1 << 30;

/// The highest order of a pool.
pub const MAX_ORDER: u32 = 63;

const HEADER: &str = "# genpool trace v";
const VERSION: &str = "1";

/// A trace that was read and checked: it has one pool, and every `free` has its `alloc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    order: u32,
    pool_line: u32,
    steps: Vec<Step>,
    algorithms: Vec<AlgorithmSpec>,
    allocs: usize,
}

/// One operation, and its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Line number, from 1.
    pub line: u32,
    /// The operation.
    pub op: Op,
}

/// An operation after `pool`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Adds a chunk.
    Chunk {
        /// First address.
        virt: usize,
        /// Physical address of the first byte.
        phys: Option<u64>,
        /// Size in bytes.
        size: usize,
    },
    /// Allocates.
    Alloc {
        /// Which allocation of the trace this is.
        slot: Slot,
        /// Size in bytes.
        size: usize,
        /// Index into [`Trace::algorithms`]; the replayer chooses if there is none.
        algorithm: Option<u32>,
        /// The recorded answer.
        result: Option<Outcome>,
    },
    /// Frees what the allocation got; does nothing if it failed.
    Free {
        /// Which allocation.
        slot: Slot,
    },
    /// Compares both totals.
    ExpectTotals {
        /// Free bytes.
        avail: usize,
        /// Bytes in all chunks.
        size: usize,
    },
    /// Compares whether a range is inside the pool.
    ExpectHasAddr {
        /// First address.
        addr: usize,
        /// Size in bytes.
        size: usize,
        /// The recorded answer.
        inside: bool,
    },
    /// Compares a physical address.
    ExpectPhysOf {
        /// The virtual address.
        addr: usize,
        /// The recorded answer.
        phys: Option<u64>,
    },
}

/// The answer to an `alloc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded with this address.
    Addr(usize),
    /// It failed.
    None,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => write!(f, "{addr:#x}"),
            Self::None => f.write_str("none"),
        }
    }
}

/// The index of an allocation within its trace, from 0 without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot(u32);

impl Slot {
    /// Returns the index into a table with [`Trace::allocs`] entries.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Trace {
    /// Reads a file, or anything else that can be read to its end, such as a pipe.
    ///
    /// # Errors
    ///
    /// Those of [`Trace::read`].
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        Self::read(BufReader::new(File::open(path)?))
    }

    /// Reads a trace line by line, so that its text is never in memory as a whole.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the input cannot be read, exceeds [`MAX_BYTES`], is not UTF-8, or is not a trace.
    pub fn read(input: impl BufRead) -> Result<Self, LoadError> {
        let mut input = input.take(MAX_BYTES + 1);
        let mut reader = Reader::default();
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line)? > 0 {
            if input.limit() == 0 {
                return Err(LoadError::TooLong);
            }
            match str::from_utf8(&line) {
                Ok(line) => reader.line(line)?,
                Err(_) => {
                    return Err(TraceError::new(reader.lines + 1, "not UTF-8 text").into());
                }
            }
            line.clear();
        }
        Ok(reader.end()?)
    }

    /// Reads a trace from text.
    ///
    /// # Errors
    ///
    /// [`TraceError`] with the first wrong line, or with the last line if the text exceeds [`MAX_BYTES`].
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        if text.len() as u64 > MAX_BYTES {
            let last = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
            return Err(TraceError::new(last, LoadError::TooLong.to_string()));
        }
        let mut reader = Reader::default();
        text.lines().try_for_each(|line| reader.line(line))?;
        reader.end()
    }

    /// Returns the order of the pool: a granule is `1 << order` bytes.
    pub fn order(&self) -> u32 {
        self.order
    }

    /// Returns the number of the `pool` line.
    pub fn pool_line(&self) -> u32 {
        self.pool_line
    }

    /// Returns everything after the `pool` line, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the algorithms that allocations name, each once. [`Op::Alloc`] holds the index.
    pub fn algorithms(&self) -> &[AlgorithmSpec] {
        &self.algorithms
    }

    /// Returns how many allocations there are, and so how many [`Slot`]s.
    pub fn allocs(&self) -> usize {
        self.allocs
    }

    /// Returns the lines of the allocations that no line frees, in order. Allocations whose recorded result is `none`
    /// hold nothing.
    pub fn unfreed(&self) -> Vec<u32> {
        let mut lines = vec![None; self.allocs];
        for step in &self.steps {
            match step.op {
                Op::Alloc { slot, result, .. } if result != Some(Outcome::None) => {
                    lines[slot.index()] = Some(step.line);
                }
                Op::Free { slot } => lines[slot.index()] = None,
                _ => {}
            }
        }
        lines.into_iter().flatten().collect()
    }
}

fn check_header(line: &str) -> Result<(), TraceError> {
    let Some(version) = line.trim_end().strip_prefix(HEADER) else {
        return Err(TraceError::new(
            1,
            format!(
                "the first line must be `{HEADER}{VERSION}`, not {}; of what strace wrote `genpool convert` makes a trace",
                quoted(line.trim_end())
            ),
        ));
    };
    if version != VERSION {
        return Err(TraceError::new(
            1,
            format!(
                "unknown version {}: this reader knows version {VERSION}",
                quoted(version)
            ),
        ));
    }
    Ok(())
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    lines: u32,
    /// The pool's order, and its line.
    pool: Option<(u32, u32)>,
    steps: Vec<Step>,
    algorithms: Vec<AlgorithmSpec>,
    /// The index of each algorithm. A recorded trace may name one per address.
    indices: HashMap<AlgorithmSpec, u32>,
    ids: Ids,
    chunks: usize,
    granules: usize,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), TraceError> {
        self.lines += 1;
        if self.lines == 1 {
            return check_header(line);
        }
        let operation = line.split('#').next().unwrap_or_default();
        self.operation(self.lines, operation)
            .map_err(|what| TraceError::new(self.lines, what))
    }

    fn end(self) -> Result<Trace, TraceError> {
        if self.lines == 0 {
            check_header("")?;
        }
        let Some((order, pool_line)) = self.pool else {
            return Err(TraceError::new(
                self.lines,
                "the trace ends without a `pool` line",
            ));
        };
        Ok(Trace {
            order,
            pool_line,
            steps: self.steps,
            algorithms: self.algorithms,
            allocs: self.ids.allocs(),
        })
    }

    fn operation(&mut self, number: u32, text: &str) -> Result<(), String> {
        let mut words = text.split_whitespace();
        let Some(verb) = words.next() else {
            return Ok(());
        };
        if verb == "pool" {
            return self.pool(number, words);
        }
        let Some((order, _)) = self.pool else {
            return Err(format!(
                "the first operation must be `pool order=N`, not {}",
                quoted(verb)
            ));
        };
        let op = match verb {
            "chunk" => self.chunk(order, words)?,
            "alloc" => self.alloc(number, words)?,
            "free" => self.free(number, words)?,
            "expect" => expect(words)?,
            _ => {
                return Err(format!(
                    "unknown operation {}; known are pool, chunk, alloc, free and expect",
                    quoted(verb)
                ));
            }
        };
        self.steps.push(Step { line: number, op });
        Ok(())
    }

    fn pool<'t>(&mut self, line: u32, words: impl Iterator<Item = &'t str>) -> Result<(), String> {
        if self.pool.is_some() {
            return Err("a second `pool`: one trace drives one pool".to_owned());
        }
        let mut fields = Fields::read(words)?;
        let order = fields.number("order")?;
        fields.end()?;
        match u32::try_from(order) {
            Ok(order) if order <= MAX_ORDER => {
                self.pool = Some((order, line));
                Ok(())
            }
            _ => Err(format!("order {order} is too large: at most {MAX_ORDER}")),
        }
    }

    fn chunk<'t>(
        &mut self,
        order: u32,
        words: impl Iterator<Item = &'t str>,
    ) -> Result<Op, String> {
        let mut fields = Fields::read(words)?;
        let virt = fields.address("virt")?;
        let phys = fields.optional_number("phys")?;
        let size = fields.address("size")?;
        fields.end()?;

        self.chunks += 1;
        if self.chunks > MAX_CHUNKS {
            return Err(format!(
                "too many chunks: this reader takes at most {MAX_CHUNKS} a trace"
            ));
        }
        let granules = size.checked_shr(order).unwrap_or(0);
        self.granules = self.granules.saturating_add(granules);
        if self.granules > MAX_GRANULES {
            return Err(format!(
                "chunks too large: {size:#x} bytes are {granules} granules of order {order}, and this reader takes at \
                 most {MAX_GRANULES} granules a trace"
            ));
        }
        Ok(Op::Chunk { virt, phys, size })
    }

    fn alloc<'t>(
        &mut self,
        line: u32,
        mut words: impl Iterator<Item = &'t str>,
    ) -> Result<Op, String> {
        let id = id("alloc", words.next())?;
        // The `->` ends the fields; taking it inside `take_while` also consumes it.
        let mut arrow = false;
        let mut fields = Fields::read(words.by_ref().take_while(|&word| {
            arrow = word == "->";
            !arrow
        }))?;
        let size = fields.address("size")?;
        let algorithm = match fields.optional("algo")? {
            Some(text) => Some(self.algorithm(text)?),
            None => None,
        };
        fields.end()?;
        let result = match arrow {
            true => Some(outcome(words)?),
            false => None,
        };
        let slot = self.ids.alloc(id, line, result)?;
        Ok(Op::Alloc {
            slot,
            size,
            algorithm,
            result,
        })
    }

    fn free<'t>(
        &mut self,
        line: u32,
        mut words: impl Iterator<Item = &'t str>,
    ) -> Result<Op, String> {
        let id = id("free", words.next())?;
        if let Some(word) = words.next() {
            return Err(format!("{} after the ID of a `free`", quoted(word)));
        }
        Ok(Op::Free {
            slot: self.ids.free(id, line)?,
        })
    }

    fn algorithm(&mut self, text: &str) -> Result<u32, String> {
        let spec = text
            .parse()
            .map_err(|error| format!("algo={}: {error}", quoted(text)))?;
        let next = self.algorithms.len() as u32;
        let index = *self.indices.entry(spec).or_insert(next);
        if index == next {
            self.algorithms.push(spec);
        }
        Ok(index)
    }
}

fn id<'t>(verb: &str, word: Option<&'t str>) -> Result<&'t str, String> {
    match word {
        None => Err(format!("`{verb}` needs an ID")),
        Some(word) if word.contains('=') || word == "->" => {
            Err(format!("`{verb}` needs an ID first, not {}", quoted(word)))
        }
        Some(word) => Ok(word),
    }
}

fn outcome<'t>(mut words: impl Iterator<Item = &'t str>) -> Result<Outcome, String> {
    let text = words.next().ok_or("nothing follows the `->`")?;
    if let Some(word) = words.next() {
        return Err(format!("{} after the result", quoted(word)));
    }
    if text == "none" {
        return Ok(Outcome::None);
    }
    match parse_address(text) {
        Ok(addr) => Ok(Outcome::Addr(addr)),
        Err(error) => Err(format!(
            "the result {} is {error}, nor is it `none`",
            quoted(text)
        )),
    }
}

fn expect<'t>(words: impl Iterator<Item = &'t str>) -> Result<Op, String> {
    let mut fields = Fields::read(words)?;
    let op = if let Some(range) = fields.optional("has-addr")? {
        let (addr, size) = range
            .split_once(',')
            .ok_or_else(|| format!("has-addr={} is not `A,N`", quoted(range)))?;
        let number = |text| {
            parse_address(text).map_err(|error| format!("has-addr={}: {error}", quoted(range)))
        };
        Op::ExpectHasAddr {
            addr: number(addr)?,
            size: number(size)?,
            inside: match fields.required("is")? {
                "yes" => true,
                "no" => false,
                other => return Err(format!("is={} is neither `yes` nor `no`", quoted(other))),
            },
        }
    } else if let Some(addr) = fields.optional("phys-of")? {
        Op::ExpectPhysOf {
            addr: parse_address(addr)
                .map_err(|error| format!("phys-of={}: {error}", quoted(addr)))?,
            phys: match fields.required("is")? {
                "none" => None,
                text => Some(parse_number(text).map_err(|error| {
                    format!("is={} is {error}, nor is it `none`", quoted(text))
                })?),
            },
        }
    } else {
        Op::ExpectTotals {
            avail: fields.address("avail")?,
            size: fields.address("size")?,
        }
    };
    fields.end()?;
    Ok(op)
}

/// Parses a number that must fit an address of this machine.
fn parse_address(text: &str) -> Result<usize, NumberError> {
    usize::try_from(parse_number(text)?).map_err(|_| NumberError::TooLarge)
}

/// A wrong line of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct TraceError {
    line: u32,
    what: String,
}

impl TraceError {
    pub(crate) fn new(line: u32, what: impl Into<String>) -> Self {
        Self {
            line,
            what: what.into(),
        }
    }

    /// Returns the line number, from 1.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Returns what is wrong with it.
    pub fn what(&self) -> &str {
        &self.what
    }
}

/// A file could not be read as a trace.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is longer than [`MAX_BYTES`].
    #[error("longer than {} MiB", MAX_BYTES >> 20)]
    TooLong,
    /// A line of it is wrong.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

#[cfg(test)]
mod tests;
