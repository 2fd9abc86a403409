//! The unit index: which part of a chunk each thread allocates from, and where in it something is free. It serves
//! spread first fit.
//!
//! # Units and shards
//!
//! A chunk is divided into *units* of whole cache lines of the bitmap. A unit is free to take, or owned by a *shard*: the
//! threads with one number, modulo the number of shards. Usually that is a single thread. A thread allocates from the
//! lowest unit of its shard that can serve it, so threads do not meet on cache lines, and what is allocated stays low.
//! The first unit of a shard is not beside one of another shard, if possible.
//!
//! The last units of a chunk are never owned. Only strict first fit fills them, so long runs survive there even if the
//! chunk is nearly full.
//!
//! # Levels of bytes
//!
//! - A byte for each word: its longest free run inside the word, 0 to [`WORD_BITS`].
//! - In a large unit, a byte for each node of these, the highest of the node.
//! - For each shard, a byte for each unit: the highest of the unit, or 0 if the shard does not own it.
//! - For each shard, a byte for each group of these, the highest of the group.
//!
//! A shard also records its last claim. An alloc of as many granules looks there first.
//!
//! All bytes are in the order of addresses, so the first byte that is high enough is the lowest unit, or word. All start
//! out zeroed, so a fresh index touches no memory. The bytes of a unit, and those of a shard, share no cache line with
//! others.
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
//! A recorded claim is wrong after a free by another thread in a lower word, and where a take-over or a signal handler
//! comes in between. Then allocs of the same length go on there, although it is not the lowest fit or another shard's
//! unit by now, until there is no fit.
//!
//! Nobody waits for an owner. The units of a thread that is gone serve other shards through strict first fit, and are
//! taken over when that finds much room in them.
//!
//! # Orderings
//!
//! All accesses are `Relaxed`: the claim of the bits decides.

mod last_claim;
mod node;

use crossbeam_utils::CachePadded;

use self::last_claim::LastClaim;
use self::node::{GROUP_BYTES, Group, NODE_BYTES, Node, first_in, highest_in};
use super::CACHE_LINE_WORDS;
use crate::memory::Table;
#[cfg(feature = "alloc")]
use crate::memory::{self, NoMemory};
use crate::sync::{AtomicUsize, Ordering, load_hint};
use crate::units::{WORD_BITS, WordIndex};

/// Words of a small unit: as many as a node has bytes. A cache line of the bitmap on 64-bit machines.
const SMALL_UNIT: usize = NODE_BYTES;

/// Words of a large unit: as many as so many nodes have bytes.
const LARGE_UNIT: usize = NODE_BYTES * NODE_BYTES;

/// The most words of a bitmap with small units, if these fill a cache line. Large units leave more holes, small ones
/// take more memory (2026-11).
const SMALL: usize = if SMALL_UNIT < CACHE_LINE_WORDS {
    0
} else {
    (1 << 18) / WORD_BITS
};

/// The share of the units that are never owned, one in so many. In a chunk that is 90 % full, two threads then keep 0.7
/// of strict first fit's longest run instead of 0.1. If it were more, strict first fit would serve more requests there
/// (2026-11).
const UNOWNED: usize = 10;

/// The most shards of a chunk (2026-11).
const MAX_SHARDS: usize = if cfg!(genpool_small) { 2 } else { 64 };

/// How many units there are for each shard, at least (2026-11).
const SHARD_UNITS: usize = if cfg!(genpool_small) { 1 } else { 4 };

/// Groups of two cache lines, to which the groups of a shard are filled up. Processors prefetch lines in pairs.
const PAIR_GROUPS: usize = 128 / size_of::<Group>();

/// How many owners a search for an unowned unit reads, and how many unowned units it looks into (2026-11).
const MOST_OWNERS: usize = 64;
const MOST_UNITS: usize = 8;

/// A unit of the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnitNumber(usize);

/// What a unit has, a cache line on 64-bit machines.
#[derive(Debug)]
#[cfg_attr(not(genpool_loom), derive(bytemuck::Zeroable))]
#[cfg_attr(genpool_loom, derive(Default))]
#[repr(C)]
struct Unit {
    /// The bytes of the words of a small unit, or those of the nodes of a large one.
    node: Node,
    /// The mark of the shard that owns it, or 0.
    owner: AtomicUsize,
    rest: [usize; 6],
}

/// The owned units of a bitmap, and where in them something is free.
#[derive(Debug)]
pub(super) struct UnitIndex {
    /// The groups of each shard: one with its last claim, the highest bytes of its groups of units, then these.
    shards: Table<Group>,
    /// The units that may be owned. The others come after them.
    units: Table<Unit>,
    /// The nodes of the words of large units.
    words: Table<[Node; NODE_BYTES]>,
    /// The number of shards, a power of two, less one.
    last_shard: usize,
    /// How many groups sum up the groups of a shard's units, and how many it has in all.
    top_groups: usize,
    shard_groups: usize,
    cursors: CachePadded<Cursors>,
}

/// What searches for other units change.
#[derive(Debug)]
struct Cursors {
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
    /// What marks its units: its number plus one.
    mark: usize,
    /// Its first group, which holds the last claim.
    first: usize,
}

impl UnitIndex {
    /// Creates the index of a bitmap of `words` words. None if that is too small for one.
    #[cfg(feature = "alloc")]
    pub(super) fn new(words: usize, node: Option<memory::Node>) -> Result<Option<Self>, NoMemory> {
        let large = words > SMALL;
        let all = words.div_ceil(if large { LARGE_UNIT } else { SMALL_UNIT });
        let units = all - all.div_ceil(UNOWNED);
        if units == 0 {
            return Ok(None);
        }
        // The highest power of two that is not above.
        let shards = 1 << (units / SHARD_UNITS).clamp(1, MAX_SHARDS).ilog2();
        let unit_groups = units.div_ceil(GROUP_BYTES);
        let top_groups = unit_groups.div_ceil(GROUP_BYTES);
        let shard_groups = (1 + top_groups + unit_groups).next_multiple_of(PAIR_GROUPS);
        Ok(Some(Self {
            shards: Table::zeroed(shards * shard_groups, node)?,
            units: Table::zeroed(units, node)?,
            words: Table::zeroed(if large { units } else { 0 }, node)?,
            last_shard: shards - 1,
            top_groups,
            shard_groups,
            cursors: CachePadded::new(Cursors {
                unowned: AtomicUsize::new(units),
                next: AtomicUsize::new(0),
                turn: AtomicUsize::new(0),
            }),
        }))
    }

    /// Returns the bytes of bookkeeping.
    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.shards)
            + size_of_val(&*self.units)
            + size_of_val(&*self.words)
    }

    /// Returns the shard of the thread of this number.
    #[inline(always)]
    pub(super) fn shard(&self, thread: usize) -> Shard<'_> {
        let number = thread & self.last_shard;
        Shard {
            index: self,
            mark: number + 1,
            first: number * self.shard_groups,
        }
    }

    #[inline(always)]
    fn is_large(&self) -> bool {
        !self.words.is_empty()
    }

    #[inline(always)]
    fn unit_words(&self) -> usize {
        if self.is_large() {
            LARGE_UNIT
        } else {
            SMALL_UNIT
        }
    }

    /// Returns the unit of a word, if it may be owned.
    #[inline(always)]
    pub(super) fn unit_of(&self, word: WordIndex) -> Option<UnitNumber> {
        let unit = word.0 / self.unit_words();
        (unit < self.units.len()).then_some(UnitNumber(unit))
    }

    /// Returns the words of a unit.
    pub(super) fn words_of(&self, unit: UnitNumber) -> impl Iterator<Item = WordIndex> + use<> {
        let words = self.unit_words();
        (unit.0 * words..(unit.0 + 1) * words).map(WordIndex)
    }

    #[inline(always)]
    fn owner(&self, unit: UnitNumber) -> &AtomicUsize {
        &self.units[unit.0].owner
    }

    /// Returns the first word of a unit whose byte is at least `n`.
    #[inline(always)]
    fn first_word(&self, unit: UnitNumber, n: usize) -> Option<WordIndex> {
        let at = self.units[unit.0].node.first(n)?;
        if !self.is_large() {
            return Some(WordIndex(unit.0 * SMALL_UNIT + at));
        }
        let word = self.words[unit.0][at % NODE_BYTES].first(n)?;
        Some(WordIndex(unit.0 * LARGE_UNIT + at * NODE_BYTES + word))
    }

    /// Sets the byte of a word, whose longest free run is `run`, and the one above it in the unit.
    #[inline(always)]
    fn set(&self, word: WordIndex, run: usize) {
        let (mut above, mut byte) = (word.0, run);
        if self.is_large() {
            let (node, at) = (word.0 / NODE_BYTES, word.0 % NODE_BYTES);
            let words = &self.words[node / NODE_BYTES][node % NODE_BYTES];
            words.set(at, run);
            (above, byte) = (node, words.highest());
        }
        let unit = &self.units[above / NODE_BYTES];
        unit.node.set(above % NODE_BYTES, byte);
    }

    /// Records that a free run of `run` granules lies in a word, after a free by the thread of this number. Goes from the
    /// word up: a search that sees a byte above sees those below it too, or finds them at its second look.
    #[inline]
    pub(super) fn raise(&self, word: WordIndex, run: usize, thread: usize) {
        let node = word.0 / NODE_BYTES;
        let (unit, at) = if self.is_large() {
            (node / NODE_BYTES, node % NODE_BYTES)
        } else {
            (node, word.0 % NODE_BYTES)
        };
        let Some(cells) = self.units.get(unit) else {
            return;
        };
        let (owner, shard) = (load_hint(&cells.owner), self.shard(thread));
        if owner == 0 {
            return;
        }
        if owner != shard.mark {
            return self.raise_for(owner, shard, word, run);
        }
        // Without a look at what there was, because the branch would be mispredicted.
        if self.is_large() {
            self.words[unit][at].raise(word.0 % NODE_BYTES, run);
        }
        cells.node.raise(at, run);
        shard.raise(UnitNumber(unit), run);
        shard.freed_in(word);
    }

    /// Does the same in a unit of another shard. Touches no more of that shard's lines than it must.
    #[inline(never)]
    fn raise_for(&self, owner: usize, shard: Shard<'_>, word: WordIndex, run: usize) {
        let Some(unit) = self.unit_of(word) else {
            return;
        };
        let cells = &self.units[unit.0];
        let before = cells.node.highest();
        let mut at = word.0 % NODE_BYTES;
        if self.is_large() {
            let node = word.0 / NODE_BYTES % NODE_BYTES;
            self.words[unit.0][node].raise(at, run);
            at = node;
        }
        cells.node.raise(at, run);
        if run > before {
            self.shard(owner - 1).raise(unit, run);
        }
        // A take-over may have left this byte set.
        shard.unit(unit).set(unit.0 % NODE_BYTES, 0);
    }

    /// Returns words for a second look, other ones each time: as many as a node has bytes.
    pub(super) fn next_look(&self) -> (UnitNumber, impl Iterator<Item = WordIndex> + use<>) {
        let turn = self.cursors.turn.fetch_add(1, Ordering::Relaxed);
        let words = self.unit_words();
        let first = turn.wrapping_mul(NODE_BYTES) % (self.units.len() * words);
        let unit = UnitNumber(first / words);
        (unit, (first..first + NODE_BYTES).map(WordIndex))
    }

    /// Returns the lowest unowned unit that `suits`. Looks at a bounded number of units, and goes on there the next time.
    /// The first unit of a shard lies beside none of another shard, if possible: processors prefetch lines in pairs, so
    /// threads that hold little would slow each other down for as long as they live (2026-11).
    pub(super) fn find_unowned(
        &self,
        shard: Shard<'_>,
        suits: impl Fn(UnitNumber) -> bool,
    ) -> Option<UnitNumber> {
        if load_hint(&self.cursors.unowned) == 0 {
            return None;
        }
        let is_first = shard.last().is_none();
        let (mut unit, mut looks) = (load_hint(&self.cursors.next), 0);
        let (mut found, mut passed) = (None, None);
        for _ in 0..self.units.len().min(MOST_OWNERS) {
            let number = UnitNumber(unit);
            if load_hint(self.owner(number)) == 0 {
                if is_first && self.is_beside_others(number, shard) {
                    passed = passed.or(Some(number));
                } else if suits(number) {
                    found = Some(number);
                    break;
                } else {
                    looks += 1;
                    if looks == MOST_UNITS {
                        break;
                    }
                }
            }
            unit = if unit + 1 < self.units.len() {
                unit + 1
            } else {
                0
            };
        }
        let found = found.or_else(|| passed.filter(|&unit| suits(unit)));
        // The next search begins at the first unit that was passed over, unless that may be full.
        let next = found.and(passed).map_or(unit, |unit| unit.0);
        self.cursors.next.store(next, Ordering::Relaxed);
        found
    }

    /// Returns true if another shard owns a neighbour of a unit.
    fn is_beside_others(&self, unit: UnitNumber, shard: Shard<'_>) -> bool {
        let neighbours = [unit.0.wrapping_sub(1), unit.0 + 1];
        let mut cells = neighbours.into_iter().filter_map(|at| self.units.get(at));
        cells.any(|unit| {
            let owner = load_hint(&unit.owner);
            owner != 0 && owner != shard.mark
        })
    }
}

impl<'i> Shard<'i> {
    #[inline(always)]
    pub(super) fn owns(self, unit: UnitNumber) -> bool {
        load_hint(self.index.owner(unit)) == self.mark
    }

    /// Returns group `number` of those that sum up the others.
    #[inline(always)]
    fn top(self, number: usize) -> &'i Group {
        &self.index.shards[self.first + 1 + number]
    }

    #[inline(always)]
    fn last_cell(self) -> &'i Node {
        &self.index.shards[self.first][0]
    }

    /// Returns the last claim.
    #[inline(always)]
    pub(super) fn last(self) -> LastClaim {
        LastClaim(self.last_cell().number())
    }

    /// Records a claim in the lowest word that has a fit for `n` granules.
    #[inline(always)]
    pub(super) fn set_last(self, word: WordIndex, n: usize) {
        self.put_last(LastClaim::new(word, n));
    }

    #[inline(always)]
    fn put_last(self, last: LastClaim) {
        self.last_cell().set_number(last.0);
    }

    /// Makes the next claim search for the lowest fit.
    fn search_again(self) {
        self.put_last(self.last().outdated());
    }

    /// Makes the next claim search if `word` lies below that of the last claim. Without a branch, because it would be
    /// mispredicted.
    #[inline(always)]
    fn freed_in(self, word: WordIndex) {
        let last = self.last();
        self.put_last(if word.0 < last.word().0 {
            last.outdated()
        } else {
            last
        });
    }

    /// Returns group `number` of its units.
    #[inline(always)]
    fn group(self, number: usize) -> &'i Group {
        self.top(self.index.top_groups + number)
    }

    /// Returns the node of a unit.
    #[inline(always)]
    fn unit(self, unit: UnitNumber) -> &'i Node {
        &self.group(unit.0 / GROUP_BYTES)[unit.0 % GROUP_BYTES / NODE_BYTES]
    }

    /// Returns the node of a group.
    #[inline(always)]
    fn group_node(self, group: usize) -> &'i Node {
        &self.top(group / GROUP_BYTES)[group % GROUP_BYTES / NODE_BYTES]
    }

    /// Returns the first word of the shard's units whose byte is at least `n`, if all bytes on the way are right.
    #[inline(always)]
    pub(super) fn find(self, n: usize) -> Option<WordIndex> {
        let group = first_in(self.top(0), n).or_else(|| self.find_further(n))?;
        let unit = UnitNumber(group * GROUP_BYTES + first_in(self.group(group), n)?);
        self.index.first_word(unit, n)
    }

    /// Returns the first group past those of the first top group whose byte is at least `n`.
    #[cold]
    fn find_further(self, n: usize) -> Option<usize> {
        let mut tops = 1..self.index.top_groups;
        tops.find_map(|top| Some(top * GROUP_BYTES + first_in(self.top(top), n)?))
    }

    /// Does the same, but lowers bytes that turn out too high on the way.
    pub(super) fn find_slowly(self, n: usize) -> Option<WordIndex> {
        for top in 0..self.index.top_groups {
            while let Some(at) = first_in(self.top(top), n) {
                let group = top * GROUP_BYTES + at;
                let Some(at) = first_in(self.group(group), n) else {
                    let highest = highest_in(self.group(group));
                    self.group_node(group).set(group % NODE_BYTES, highest);
                    continue;
                };
                let unit = UnitNumber(group * GROUP_BYTES + at);
                if let Some(word) = self.index.first_word(unit, n) {
                    return Some(word);
                }
                self.look_again(unit);
            }
        }
        None
    }

    /// Corrects the bytes above those of a unit's words.
    #[cold]
    fn look_again(self, unit: UnitNumber) {
        if self.index.is_large() {
            let cells = &self.index.units[unit.0];
            for (at, words) in self.index.words[unit.0].iter().enumerate() {
                cells.node.set(at, words.highest());
            }
        }
        let highest = self.index.units[unit.0].node.highest();
        self.set_unit(unit, if self.owns(unit) { highest } else { 0 });
    }

    /// Sets the byte of a word, whose longest free run is `run`, and those above it.
    #[inline(always)]
    pub(super) fn set(self, word: WordIndex, run: usize) {
        let Some(unit) = self.index.unit_of(word) else {
            return;
        };
        if !self.owns(unit) {
            return self.pass_over(unit);
        }
        self.index.set(word, run);
        self.set_unit(unit, self.index.units[unit.0].node.highest());
    }

    /// Passes over a unit from now on. The word of the last claim may belong to another shard by now.
    #[cold]
    #[inline(never)]
    fn pass_over(self, unit: UnitNumber) {
        self.set_unit(unit, 0);
    }

    /// Sets the byte of a unit, and the one above it.
    #[inline(always)]
    fn set_unit(self, unit: UnitNumber, highest: usize) {
        self.unit(unit).set(unit.0 % NODE_BYTES, highest);
        let group = unit.0 / GROUP_BYTES;
        let highest = highest_in(self.group(group));
        self.group_node(group).set(group % NODE_BYTES, highest);
    }

    /// Raises the byte of a unit, and the one above it.
    #[inline(always)]
    fn raise(self, unit: UnitNumber, run: usize) {
        let group = unit.0 / GROUP_BYTES;
        self.unit(unit).raise(unit.0 % NODE_BYTES, run);
        self.group_node(group).raise(group % NODE_BYTES, run);
    }

    /// Makes the shard the owner of a unit. `longest` returns the longest free run inside a word. Does nothing if another
    /// thread is faster.
    pub(super) fn take(self, unit: UnitNumber, longest: impl Fn(WordIndex) -> usize) {
        let owner = self.index.owner(unit);
        let former = load_hint(owner);
        let taken = owner.compare_exchange(former, self.mark, Ordering::Relaxed, Ordering::Relaxed);
        if taken.is_err() {
            return;
        }
        match former {
            0 => {
                // Not below zero: a unit is unowned only once.
                self.index.cursors.unowned.fetch_sub(1, Ordering::Relaxed);
            }
            mark => {
                let former = self.index.shard(mark - 1);
                former.unit(unit).set(unit.0 % NODE_BYTES, 0);
                former.search_again();
            }
        }
        self.search_again();
        for word in self.index.words_of(unit) {
            self.index.set(word, longest(word));
        }
        self.look_again(unit);
    }

    /// At rest, while no other thread has worked in its units: returns true if the byte of each word but that of the
    /// last claim is right, and each byte above is the highest of those below.
    #[cfg(all(test, not(genpool_loom)))]
    pub(super) fn is_exact(self, longest: impl Fn(WordIndex) -> usize) -> bool {
        let last = self.last().word();
        (0..self.index.units.len()).map(UnitNumber).all(|unit| {
            let right = |word: WordIndex| {
                let (above, byte) = if self.index.is_large() {
                    let node = word.0 / NODE_BYTES;
                    let words = &self.index.words[unit.0][node % NODE_BYTES];
                    assert_eq!(
                        self.index.units[unit.0].node.get(node % NODE_BYTES),
                        words.highest()
                    );
                    (words, word.0 % NODE_BYTES)
                } else {
                    (&self.index.units[unit.0].node, word.0 % NODE_BYTES)
                };
                word == last || above.get(byte) == longest(word)
            };
            let owned = self.owns(unit);
            let highest = if owned {
                self.index.units[unit.0].node.highest()
            } else {
                0
            };
            let group = unit.0 / GROUP_BYTES;
            (!owned || self.index.words_of(unit).all(right))
                && self.unit(unit).get(unit.0 % NODE_BYTES) == highest
                && self.group_node(group).get(group % NODE_BYTES) == highest_in(self.group(group))
        })
    }
}
