//! The unit index: which part of a chunk each thread allocates from, and where in it something is free. It serves
//! spread first fit.
//!
//! # Units and shards
//!
//! A chunk is divided into *units* of whole cache lines of the bitmap. A unit is free to take, or owned by a *shard*: the
//! threads with one number, modulo the number of shards. Usually that is a single thread. A thread allocates from the
//! lowest unit of its shard that can serve it, so threads do not meet on cache lines, and what is allocated stays low.
//!
//! The last units are never owned. Only strict first fit fills them, so long runs survive there even in a chunk that is
//! nearly full.
//!
//! # Three levels of bytes
//!
//! - A byte for each word: its longest free run inside the word, 0 to [`WORD_BITS`]. The bytes of a unit have a cache
//!   line of their own.
//! - For each shard, a byte for each unit: the highest byte of the unit, or 0 if the shard does not own it.
//! - For each shard, a byte for each line of these, the highest of the line.
//!
//! All are in the order of addresses, so the first byte that is high enough is the lowest unit, or word. All start out
//! zeroed, so a fresh index touches no memory.
//!
//! # Everything here is a hint
//!
//! An owner is changed by a compare-exchange, and a byte by a load and a store. While only one thread works in a unit,
//! its bytes are exact. Otherwise a byte may be wrong:
//!
//! - Two threads change bytes of one node, and one change is lost.
//! - A thread takes a unit over while the owner is in the middle of an allocation or a free there.
//! - A signal handler allocates or frees while the interrupted thread is in the middle of a change.
//!
//! A byte that is too high costs a look, which corrects it. A byte that is too low hides a run from the shard, until a
//! free or a claim in that word, or a second look ([`UnitIndex::next_look`]), corrects it. No caller is refused because
//! of it: a search of the own units that finds nothing is followed by strict first fit, and that by the proof.
//!
//! Nobody waits for an owner. The units of a thread that is gone serve other shards through strict first fit, and are
//! taken over when that finds much room in them.
//!
//! # Orderings
//!
//! All accesses are `Relaxed`: the claim of the bits decides.

mod line;

use self::line::{LINE_BYTES, LINE_NODES, Line, NODE_BYTES};
use crate::memory::{NoMemory, Node, Table};
use crate::sync::{AtomicUsize, Ordering};
use crate::units::{WORD_BITS, WordIndex};

/// Words of a unit in a chunk of up to [`SMALL`] granules: a cache line of the bitmap.
const SMALL_UNIT: usize = super::CACHE_LINE_WORDS;

/// Words of a unit in a larger chunk: as many as a line has bytes.
const LARGE_UNIT: usize = LINE_BYTES;

/// The most granules of a chunk with small units. Larger units leave more holes, smaller ones take more memory
/// (2026-11).
const SMALL: usize = 1 << 18;

/// The share of the units that are never owned, one in so many. In a chunk that is 90 % full, two threads then keep 0.7
/// of strict first fit's longest run instead of 0.1. More makes strict first fit serve more requests there (2026-11).
const UNOWNED: usize = 10;

/// The most shards of a chunk, and how many units there are for each at least (2026-11).
const MAX_SHARDS: usize = if cfg!(genpool_small) { 2 } else { 64 };
const SHARD_UNITS: usize = if cfg!(genpool_small) { 1 } else { 4 };

/// The granules that must be free in a unit for a thread to take it (2026-11).
pub(super) const WORTH_TAKING: usize = if cfg!(genpool_small) { 1 } else { 64 };

/// How many owners a search for a unit to take reads, and how many unowned units it looks into (2026-11).
const MOST_OWNERS: usize = 64;
const MOST_UNITS: usize = 8;

/// A unit of the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnitNumber(usize);

/// The owned units of a bitmap, and where in them something is free.
#[derive(Debug)]
pub(super) struct UnitIndex {
    /// The owners, a cell each. Then a line of bytes for each unit. Then the lines of each shard: the highest bytes of
    /// its lines, and the bytes of its units.
    cells: Table<AtomicUsize>,
    /// A unit has two to the power of this many words.
    shift: u32,
    /// The units that may be owned. The others come after them.
    units: usize,
    /// The number of shards, a power of two, less one.
    last_shard: usize,
    /// The first line of bytes of words, and that of shards.
    first_unit: usize,
    first_shard: usize,
    /// How many lines of a shard sum up the lines of its units, and how many it has in all.
    top_lines: usize,
    shard_lines: usize,
    /// No more units than this are unowned.
    unowned: AtomicUsize,
    /// Where the next search for an unowned unit begins.
    next: AtomicUsize,
    /// Which words are next for a second look.
    turn: AtomicUsize,
}

/// The threads that own units together, and their part of the index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shard<'i> {
    index: &'i UnitIndex,
    /// The mark of its units: its number plus one.
    mark: usize,
    first_line: usize,
}

/// A byte of a node.
#[derive(Clone, Copy, Debug)]
struct Byte<'i> {
    node: &'i AtomicUsize,
    at: usize,
}

impl Byte<'_> {
    #[inline(always)]
    fn set(self, byte: usize) {
        line::set(self.node, self.at, byte);
    }

    #[inline(always)]
    fn raise(self, byte: usize) -> bool {
        line::raise(self.node, self.at, byte)
    }
}

impl UnitIndex {
    /// Creates the index of a bitmap of `words` words. None if that is too small for one.
    pub(super) fn new(words: usize, node: Option<Node>) -> Result<Option<Self>, NoMemory> {
        let unit = if words > SMALL / WORD_BITS {
            LARGE_UNIT
        } else {
            SMALL_UNIT
        };
        let all = words.div_ceil(unit);
        let units = all - all.div_ceil(UNOWNED);
        if units == 0 {
            return Ok(None);
        }
        // The highest power of two that is not above.
        let shards = 1 << (units / SHARD_UNITS).clamp(1, MAX_SHARDS).ilog2();
        let first_unit = units.div_ceil(LINE_NODES);
        let first_shard = first_unit + units;
        let unit_lines = units.div_ceil(LINE_BYTES);
        let top_lines = unit_lines.div_ceil(LINE_BYTES);
        let shard_lines = top_lines + unit_lines;
        Ok(Some(Self {
            cells: Table::zeroed((first_shard + shards * shard_lines) * LINE_NODES, node)?,
            shift: unit.trailing_zeros(),
            units,
            last_shard: shards - 1,
            first_unit,
            first_shard,
            top_lines,
            shard_lines,
            unowned: AtomicUsize::new(units),
            next: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
        }))
    }

    /// Returns the bytes of bookkeeping.
    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.cells)
    }

    /// Returns the shard of the thread of this number.
    #[inline(always)]
    pub(super) fn shard(&self, thread: usize) -> Shard<'_> {
        let number = thread & self.last_shard;
        Shard {
            index: self,
            mark: number + 1,
            first_line: self.first_shard + number * self.shard_lines,
        }
    }

    /// Returns the unit of a word, if it may be owned.
    #[inline(always)]
    pub(super) fn unit_of(&self, word: WordIndex) -> Option<UnitNumber> {
        let unit = word.0 >> self.shift;
        (unit < self.units).then_some(UnitNumber(unit))
    }

    /// Returns the words of a unit.
    pub(super) fn words_of(&self, unit: UnitNumber) -> impl Iterator<Item = WordIndex> + use<> {
        (unit.0 << self.shift..(unit.0 + 1) << self.shift).map(WordIndex)
    }

    #[inline(always)]
    fn owner(&self, unit: UnitNumber) -> &AtomicUsize {
        &self.cells[unit.0]
    }

    #[inline(always)]
    fn line(&self, line: usize) -> Option<&Line> {
        self.cells.get(line * LINE_NODES..)?.first_chunk()
    }

    /// Returns the byte of a word.
    #[inline(always)]
    fn word(&self, unit: UnitNumber, word: WordIndex) -> Byte<'_> {
        let within = word.0 & ((1 << self.shift) - 1);
        let first = (self.first_unit + unit.0) * LINE_NODES;
        Byte {
            node: &self.cells[first + within / NODE_BYTES],
            at: within % NODE_BYTES,
        }
    }

    /// Returns the highest byte of a unit.
    #[inline(always)]
    fn highest(&self, unit: UnitNumber) -> usize {
        let Some(line) = self.line(self.first_unit + unit.0) else {
            return 0;
        };
        // A unit of eight words on a 64-bit machine, and those in small models.
        if 1 << self.shift == NODE_BYTES {
            line::highest_in_node(&line[0])
        } else {
            line::highest_in_line(line)
        }
    }

    /// Returns the first word of a unit whose byte is at least `n`.
    #[inline(always)]
    fn first_word(&self, unit: UnitNumber, n: usize) -> Option<WordIndex> {
        let line = self.line(self.first_unit + unit.0)?;
        let within = if 1 << self.shift == NODE_BYTES {
            line::first_in_node(&line[0], n)
        } else {
            line::first_in_line(line, n)
        };
        Some(WordIndex((unit.0 << self.shift) + within?))
    }

    /// Records that a free run of `run` granules lies in a word, after a free by the thread of this number.
    #[inline(always)]
    pub(super) fn raise(&self, word: WordIndex, run: usize, thread: usize) {
        let Some(unit) = self.unit_of(word) else {
            return;
        };
        let owner = self.owner(unit).load(Ordering::Relaxed);
        let shard = self.shard(thread);
        if owner == shard.mark {
            // Without a look at what was there, because the branch would be mispredicted.
            self.word(unit, word).raise(run);
            shard.unit(unit).raise(run);
            shard.top(unit).raise(run);
        } else if owner != 0 {
            self.raise_for(owner - 1, unit, word, run);
        }
    }

    /// Does the same for another thread's unit. Touches no more of its lines than it must.
    #[inline(never)]
    fn raise_for(&self, owner: usize, unit: UnitNumber, word: WordIndex, run: usize) {
        if run > self.highest(unit) {
            let shard = self.shard(owner);
            shard.unit(unit).raise(run);
            shard.top(unit).raise(run);
        }
        self.word(unit, word).raise(run);
    }

    /// Returns words for a second look, other ones each time: as many as fit a node.
    pub(super) fn next_look(&self) -> (UnitNumber, impl Iterator<Item = WordIndex> + use<>) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let first = turn.wrapping_mul(NODE_BYTES) % (self.units << self.shift);
        let unit = UnitNumber(first >> self.shift);
        (unit, (first..first + NODE_BYTES).map(WordIndex))
    }

    /// Returns the lowest unowned unit, as far as that is known, that `suits`. Looks at a bounded number of units, and
    /// goes on there the next time.
    pub(super) fn find_unowned(&self, suits: impl Fn(UnitNumber) -> bool) -> Option<UnitNumber> {
        if self.unowned.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let first = self.next.load(Ordering::Relaxed);
        let (mut unit, mut seen) = (first, 0);
        let mut found = None;
        for _ in 0..self.units.min(MOST_OWNERS) {
            if self.owner(UnitNumber(unit)).load(Ordering::Relaxed) == 0 {
                if suits(UnitNumber(unit)) {
                    found = Some(UnitNumber(unit));
                    break;
                }
                seen += 1;
                if seen == MOST_UNITS {
                    break;
                }
            }
            unit = if unit + 1 < self.units { unit + 1 } else { 0 };
        }
        self.next.store(unit, Ordering::Relaxed);
        found
    }
}

impl<'i> Shard<'i> {
    /// Returns the line of shards' bytes of this number.
    #[inline(always)]
    fn byte(self, first: usize, at: usize) -> Byte<'i> {
        let cell = (self.first_line + first) * LINE_NODES + at / NODE_BYTES;
        Byte {
            node: &self.index.cells[cell],
            at: at % NODE_BYTES,
        }
    }

    /// Returns the byte of a unit.
    #[inline(always)]
    fn unit(self, unit: UnitNumber) -> Byte<'i> {
        self.byte(self.index.top_lines, unit.0)
    }

    /// Returns the byte of the line that a unit's byte lies in.
    #[inline(always)]
    fn top(self, unit: UnitNumber) -> Byte<'i> {
        self.byte(0, unit.0 / LINE_BYTES)
    }

    /// Returns the line that a unit's byte lies in.
    #[inline(always)]
    fn unit_line(self, line: usize) -> Option<&'i Line> {
        self.index
            .line(self.first_line + self.index.top_lines + line)
    }

    /// Returns the first word of the shard's units whose byte is at least `n`.
    #[inline(always)]
    pub(super) fn find(self, n: usize) -> Option<(UnitNumber, WordIndex)> {
        // Few chunks have so many units that there is a second.
        let top = self.index.line(self.first_line)?;
        let line = line::first_in_node(&top[0], n)?;
        let unit = line * LINE_BYTES + line::first_in_line(self.unit_line(line)?, n)?;
        let unit = UnitNumber(unit);
        Some((unit, self.index.first_word(unit, n)?))
    }

    /// Does the same, but lowers bytes that turn out too high on the way.
    pub(super) fn find_slowly(self, n: usize) -> Option<(UnitNumber, WordIndex)> {
        for top in 0..self.index.top_lines {
            let line = self.index.line(self.first_line + top)?;
            while let Some(at) = line::first_in_line(line, n) {
                let number = top * LINE_BYTES + at;
                let units = self.unit_line(number)?;
                let Some(at) = line::first_in_line(units, n) else {
                    self.byte(0, number).set(line::highest_in_line(units));
                    continue;
                };
                let unit = UnitNumber(number * LINE_BYTES + at);
                if let Some(word) = self.index.first_word(unit, n) {
                    return Some((unit, word));
                }
                self.update(unit);
            }
        }
        None
    }

    /// Sets the byte of a word, whose longest free run is `run` now, and those above it.
    #[inline(always)]
    pub(super) fn set(self, unit: UnitNumber, word: WordIndex, run: usize) {
        self.index.word(unit, word).set(run);
        self.update(unit);
    }

    /// Sets the bytes above those of a unit's words.
    #[inline(always)]
    fn update(self, unit: UnitNumber) {
        let owned = self.owns(unit);
        let highest = self.index.highest(unit);
        self.unit(unit).set(if owned { highest } else { 0 });
        let highest = self.unit_line(unit.0 / LINE_BYTES);
        self.top(unit).set(highest.map_or(0, line::highest_in_line));
    }

    #[inline(always)]
    pub(super) fn owns(self, unit: UnitNumber) -> bool {
        self.index.owner(unit).load(Ordering::Relaxed) == self.mark
    }

    /// Makes the shard the owner of a unit. `longest` returns the longest free run inside a word. Returns false if
    /// another thread was faster.
    pub(super) fn take(self, unit: UnitNumber, longest: impl Fn(WordIndex) -> usize) -> bool {
        let owner = self.index.owner(unit);
        let former = owner.load(Ordering::Relaxed);
        let taken =
            owner.compare_exchange(former, self.mark, Ordering::Relaxed, Ordering::Relaxed);
        if taken.is_err() {
            return false;
        }
        match former {
            0 => {
                // Not below zero: each unit is unowned once.
                self.index.unowned.fetch_sub(1, Ordering::Relaxed);
            }
            mark => self.index.shard(mark - 1).unit(unit).set(0),
        }
        for word in self.index.words_of(unit) {
            self.index.word(unit, word).set(longest(word));
        }
        self.update(unit);
        true
    }
}
