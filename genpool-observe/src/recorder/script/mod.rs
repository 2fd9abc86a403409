//! Turns operations into a trace that can always be replayed.
//!
//! Version 1 of the format knows chunks that are added, allocations and frees. Everything else is expressed by these,
//! with allocations at fixed addresses. A replay then has the same granules free. Comments alone would not do: later
//! lines would be illegal.
//!
//! | event | in the trace |
//! |---|---|
//! | an allocation is resized | it is freed, and allocated at the same address with the new size |
//! | a part, or several allocations, are freed by address | those are freed, and what remains is allocated in place |
//! | removal of a chunk begins | what is free in it is allocated; frees in it are not written |
//! | a removed chunk is all back | if it is in many pieces in the trace, they are freed and the whole is allocated |
//! | a removed chunk is added again | all of it is freed |
//!
//! The script keeps what the trace holds, as the trace has it, so that the trace stays legal whatever was lost: an
//! allocation on top of others frees those first. It also keeps the chunks of the trace, which no line removes, and
//! separately the chunks that serve in the pool.

use std::collections::BTreeMap;
use std::fmt::{Arguments, Write};

use genpool_core::AlgorithmName;

use super::entry::{Change, Entry};

/// The limits of what `genpool` reads of one trace: chunks, granules in all of them, bytes of text (2026-11).
const MOST_CHUNKS: usize = 1 << 14;
const MOST_GRANULES: usize = 1 << 30;
const MOST_BYTES: usize = 256 << 20;

/// The most pieces in which a trace holds a removed chunk. It bounds the memory for as many chunks as a trace may have,
/// and few chunks have more (2026-11).
const MOST_PIECES: usize = 16;

/// The last line of a trace that takes no more.
const END: &str = "# the end: ";
const FULL: &str = "the trace is as long as it may be\n";
const SHARED: &str = "the recorder was given to a second pool\n";

#[derive(Debug)]
pub(super) struct Script {
    /// Set once the pool is known.
    order: Option<u32>,
    next_id: u64,
    /// The allocations that the trace holds, by address.
    held: BTreeMap<usize, Held>,
    /// The chunks of the trace: size in bytes, by address.
    ground: BTreeMap<usize, usize>,
    /// The chunks that serve, by address and size: how often each was added, less how often it was removed. A chunk
    /// cannot be in the pool twice, but its removal may arrive after its next addition.
    serving: BTreeMap<(usize, usize), usize>,
    room: Room,
    ended: bool,
    /// Operations in a row that were lost, up to here.
    lost: usize,
    /// Operations so far that no line stands for.
    unsaid: u64,
}

/// What the trace still has room for.
#[derive(Debug)]
struct Room {
    chunks: usize,
    granules: usize,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    id: u64,
    size: usize,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            order: None,
            next_id: 0,
            held: BTreeMap::new(),
            ground: BTreeMap::new(),
            serving: BTreeMap::new(),
            room: Room {
                chunks: MOST_CHUNKS,
                granules: MOST_GRANULES,
                bytes: MOST_BYTES - END.len() - FULL.len().max(SHARED.len()),
            },
            ended: false,
            lost: 0,
            unsaid: 0,
        }
    }
}

impl Script {
    pub(super) fn unsaid(&self) -> u64 {
        self.unsaid
    }

    /// Notes that `count` operations are missing here.
    pub(super) fn lost(&mut self, count: usize) {
        self.lost = self.lost.saturating_add(count);
    }

    /// Writes how many operations were lost up to here.
    pub(super) fn say_lost(&mut self, text: &mut String) {
        if self.lost > 0 && self.order.is_some() {
            let lost = std::mem::take(&mut self.lost);
            self.say(text, format_args!("# lost: {lost} operations"));
        }
    }

    /// Notes that the next change was counted as lost.
    pub(super) fn found(&mut self, text: &mut String) {
        match self.lost.checked_sub(1) {
            Some(others) => self.lost = others,
            None => self.say(text, format_args!("# found: 1 operation of those lost")),
        }
    }

    pub(super) fn change(&mut self, text: &mut String, change: Change) {
        self.say_lost(text);
        if self.ended {
            self.unsaid += 1;
            return;
        }
        match change {
            Change::Built { .. } if self.order.is_some() => self.end(text, SHARED),
            Change::Built { name, order } => {
                self.order = Some(order);
                self.say(text, format_args!("# genpool trace v1"));
                if let Some(name) = name {
                    self.say(text, format_args!("# pool {}", name.escape_debug()));
                }
                self.say(text, format_args!("pool order={order}"));
            }
            Change::Added { start, size, phys } => self.added(text, start, size, phys),
            Change::Draining { start, size } => self.draining(text, start, size),
        }
    }

    pub(super) fn entry(&mut self, text: &mut String, entry: Entry) {
        self.say_lost(text);
        if self.ended {
            self.unsaid += u64::from(entry.is_operation());
            return;
        }
        match entry {
            Entry::Nothing | Entry::Change => {}
            Entry::Alloc {
                addr,
                asked,
                algorithm,
            } => {
                if self.vacate(text, addr, self.round_up(asked)) {
                    self.alloc(text, addr, asked, algorithm);
                }
            }
            Entry::Refused { asked, algorithm } => {
                let id = self.id();
                let by = By(algorithm);
                self.say(text, format_args!("alloc {id} size={asked}{by} -> none"));
            }
            Entry::Free { addr, size } => self.freed(text, addr, size),
            Entry::Resize { addr, from, asked } => {
                let to = self.round_up(asked);
                let is_said = self.serves(addr) && from != to;
                if is_said && self.vacate(text, addr, from.max(to)) {
                    self.place(text, addr, asked);
                }
            }
            Entry::Drained { start, size } => self.drained(text, start, size),
        }
    }

    fn added(&mut self, text: &mut String, start: usize, size: usize, phys: Option<u64>) {
        *self.serving.entry((start, size)).or_default() += 1;
        let last = start.saturating_add(size - 1);
        let granules = size >> self.order.unwrap_or(0);
        if self.ground.get(&start) == Some(&size) {
            self.say(text, format_args!("# the chunk at {start:#x} again"));
            self.clear(text, start, last);
        } else if !self.ground_in(start, last).is_empty() {
            self.leave_out(
                text,
                format_args!("a chunk at {start:#x} where another was"),
            );
            self.clear(text, start, last);
        } else if self.room.chunks == 0 || self.room.granules < granules {
            self.leave_out(
                text,
                format_args!("a chunk at {start:#x}, too much for a trace"),
            );
        } else {
            self.room.chunks -= 1;
            self.room.granules -= granules;
            self.ground.insert(start, size);
            match phys {
                Some(phys) => self.say(
                    text,
                    format_args!("chunk virt={start:#x} phys={phys:#x} size={size:#x}"),
                ),
                None => self.say(text, format_args!("chunk virt={start:#x} size={size:#x}")),
            }
        }
    }

    fn draining(&mut self, text: &mut String, start: usize, size: usize) {
        match self.serving.get_mut(&(start, size)) {
            None => return,
            Some(times) => {
                *times -= 1;
                if *times > 0 {
                    return;
                }
            }
        }
        self.serving.remove(&(start, size));
        for (start, last) in self.removed(start, size) {
            self.say(text, format_args!("# the chunk at {start:#x} is removed"));
            let mut gaps = Vec::new();
            let mut at = Some(start);
            let before = self.held.range(..start).next_back();
            for (&addr, held) in before.into_iter().chain(self.held.range(start..=last)) {
                if let Some(at) = at.filter(|&at| at < addr) {
                    gaps.push((at, addr - at));
                }
                at = addr.checked_add(held.size).map(|end| end.max(start));
            }
            if let Some(at) = at.filter(|&at| at <= last) {
                gaps.push((at, last - at + 1));
            }
            for (addr, size) in gaps {
                self.place(text, addr, size);
            }
        }
    }

    fn drained(&mut self, text: &mut String, start: usize, size: usize) {
        for (start, last) in self.removed(start, size) {
            if self.held.range(start..=last).nth(MOST_PIECES).is_some() {
                self.clear(text, start, last);
                self.place(text, start, last - start + 1);
            }
        }
    }

    fn freed(&mut self, text: &mut String, addr: usize, size: usize) {
        if !self.serves(addr) {
            return;
        }
        let whole = self.held.get(&addr).copied();
        match whole.filter(|held| size == 0 || held.size == size) {
            Some(held) => {
                self.held.remove(&addr);
                self.say(text, format_args!("free {}", held.id));
            }
            None => {
                self.vacate(text, addr, size);
            }
        }
    }

    fn round_up(&self, asked: usize) -> usize {
        let order = self.order.unwrap_or(0);
        match asked.checked_sub(1) {
            Some(more) => ((more >> order) + 1) << order,
            None => 0,
        }
    }

    // ---- chunks ----

    /// Returns whether a range freed at `addr` is free again, because a chunk serves there.
    fn serves(&self, addr: usize) -> bool {
        let near = self.serving.range(..=(addr, usize::MAX)).next_back();
        near.is_some_and(|(&(start, size), _)| addr - start < size)
    }

    /// Returns the parts of a removed chunk that lie in chunks of the trace, as first and last address. Returns none if
    /// another chunk serves there by now.
    fn removed(&self, start: usize, size: usize) -> Vec<(usize, usize)> {
        let last = start.saturating_add(size - 1);
        let near = self.serving.range(..=(last, usize::MAX)).next_back();
        match near {
            Some((&(other, size), _)) if other.saturating_add(size - 1) >= start => Vec::new(),
            _ => self.ground_in(start, last),
        }
    }

    /// Returns the parts of a range that lie in chunks of the trace, as first and last address.
    fn ground_in(&self, start: usize, last: usize) -> Vec<(usize, usize)> {
        let chunks = self.ground.range(..=last).rev();
        let ends = chunks.map(|(&chunk, &size)| (chunk, chunk.saturating_add(size - 1)));
        ends.take_while(|&(_, end)| end >= start)
            .map(|(chunk, end)| (chunk.max(start), end.min(last)))
            .collect()
    }

    // ---- what the trace holds ----

    /// Makes the trace hold nothing of a range, if a single chunk of the trace covers it. Returns whether one does.
    fn vacate(&mut self, text: &mut String, addr: usize, size: usize) -> bool {
        let Some(last) = size.checked_sub(1).and_then(|more| addr.checked_add(more)) else {
            return false;
        };
        let is_inside = self.ground_in(addr, last) == [(addr, last)];
        match is_inside {
            true => self.clear(text, addr, last),
            false => self.leave_out(
                text,
                format_args!("{size:#x} bytes at {addr:#x}, in no chunk of this trace"),
            ),
        }
        is_inside
    }

    /// Makes the trace hold nothing of a range. What allocations hold outside of it stays held.
    fn clear(&mut self, text: &mut String, addr: usize, last: usize) {
        while let Some((&start, &held)) = self.held.range(..=last).next_back() {
            let end = start + (held.size - 1);
            if end < addr {
                break;
            }
            self.held.remove(&start);
            self.say(text, format_args!("free {}", held.id));
            if end > last {
                self.place(text, last + 1, end - last);
            }
            if start < addr {
                self.place(text, start, addr - start);
            }
        }
    }

    /// Makes the trace hold a range that is free in it.
    fn place(&mut self, text: &mut String, addr: usize, size: usize) {
        self.alloc(
            text,
            addr,
            size,
            Some(AlgorithmName::with("fixed-address", addr)),
        );
    }

    fn alloc(
        &mut self,
        text: &mut String,
        addr: usize,
        asked: usize,
        algorithm: Option<AlgorithmName>,
    ) {
        let id = self.id();
        let by = By(algorithm);
        self.say(
            text,
            format_args!("alloc {id} size={asked}{by} -> {addr:#x}"),
        );
        if !self.ended {
            let size = self.round_up(asked);
            self.held.insert(addr, Held { id, size });
        }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    // ---- text ----

    fn leave_out(&mut self, text: &mut String, what: Arguments<'_>) {
        self.unsaid += 1;
        self.say(text, format_args!("# unsaid: {what}"));
    }

    /// Writes a line, if there is room for it.
    fn say(&mut self, text: &mut String, line: Arguments<'_>) {
        if self.ended {
            return;
        }
        let before = text.len();
        write(text, format_args!("{line}\n"));
        match self.room.bytes.checked_sub(text.len() - before) {
            Some(left) => self.room.bytes = left,
            None => {
                text.truncate(before);
                self.unsaid += 1;
                self.end(text, FULL);
            }
        }
    }

    /// Ends the trace: nothing is written after this.
    fn end(&mut self, text: &mut String, why: &str) {
        write(text, format_args!("{END}{why}"));
        self.ended = true;
        self.held.clear();
        self.ground.clear();
        self.serving.clear();
    }
}

/// Appends to `text`, which always has room.
fn write(text: &mut String, what: Arguments<'_>) {
    text.write_fmt(what)
        .expect("a text takes whatever is written");
}

/// The field that names an algorithm, if it has a name.
struct By(Option<AlgorithmName>);

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(name) => write!(f, " algo={name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
