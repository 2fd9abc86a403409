//! From operations to a trace that can always be replayed.
//!
//! Version 1 of the format knows chunks that are added, allocations and frees. The rest is said with
//! these, by allocations at fixed addresses:
//!
//! | what happened | what the trace says |
//! |---|---|
//! | an allocation was resized | it is freed, and allocated at the same address with the other size |
//! | a part of an allocation, or several at once, were freed by address | those are freed, and what is left is allocated where it is |
//! | a chunk is being removed | what is free in it is allocated; what comes back there is not freed |
//! | it was added again, as it was | all of it is freed |
//!
//! What is held, as the trace says it, is kept here, so that it stays legal whatever was lost: an
//! allocation on top of others frees those first.

use std::collections::BTreeMap;
use std::fmt::Write;

use genpool_core::Notation;

use super::entry::{Change, Entry};

#[derive(Debug, Default)]
pub(super) struct Script {
    /// Once the pool is known.
    order: Option<u32>,
    next_id: u64,
    /// What the trace holds, by address.
    held: BTreeMap<usize, Held>,
    chunks: BTreeMap<usize, Chunk>,
    /// Operations in a row that were lost up to here.
    lost: u64,
    /// Operations so far that no line stands for.
    unsaid: u64,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    id: u64,
    size: usize,
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    size: usize,
    draining: bool,
}

/// A text that has room for everything.
fn say(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line)
        .expect("a text takes whatever is written");
    text.push('\n');
}

impl Script {
    pub(super) fn unsaid(&self) -> u64 {
        self.unsaid
    }

    /// An operation is missing here.
    pub(super) fn lost(&mut self) {
        self.lost += 1;
    }

    /// Says what was lost up to here.
    pub(super) fn say_lost(&mut self, text: &mut String) {
        if self.lost > 0 && self.order.is_some() {
            let lost = std::mem::take(&mut self.lost);
            say(text, format_args!("# lost: {lost} operations"));
        }
    }

    pub(super) fn change(&mut self, text: &mut String, change: Change) {
        self.say_lost(text);
        match change {
            Change::Built { name, order } => {
                self.order = Some(order);
                say(text, format_args!("# genpool trace v1"));
                if let Some(name) = name {
                    say(text, format_args!("# pool {}", name.escape_debug()));
                }
                say(text, format_args!("pool order={order}"));
            }
            Change::Added { start, size, phys } => self.added(text, start, size, phys),
            Change::Draining { start } => self.draining(text, start),
        }
    }

    pub(super) fn entry(&mut self, text: &mut String, entry: Entry) {
        self.say_lost(text);
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
                say(text, format_args!("alloc {id} size={asked}{by} -> none"));
            }
            Entry::Free { addr, size } => self.freed(text, addr, size),
            Entry::Resize { addr, from, asked } => {
                let to = self.round_up(asked);
                let stays = self.chunk_at(addr).is_some_and(|chunk| chunk.draining);
                if !stays && from != to && self.vacate(text, addr, from.max(to)) {
                    self.place(text, addr, asked);
                }
            }
        }
    }

    fn added(&mut self, text: &mut String, start: usize, size: usize, phys: Option<u64>) {
        let last = start.saturating_add(size - 1);
        let met = self.chunks.range(..=last).next_back();
        match met {
            Some((&known, &chunk)) if known.saturating_add(chunk.size - 1) >= start => {
                if (known, chunk.size) == (start, size) {
                    say(text, format_args!("# the chunk at {start:#x} again"));
                    self.vacate(text, start, size);
                } else {
                    self.unsaid += 1;
                    say(
                        text,
                        format_args!("# unsaid: a chunk at {start:#x} where another was"),
                    );
                    return;
                }
            }
            _ => match phys {
                Some(phys) => say(
                    text,
                    format_args!("chunk virt={start:#x} phys={phys:#x} size={size:#x}"),
                ),
                None => say(text, format_args!("chunk virt={start:#x} size={size:#x}")),
            },
        }
        let draining = false;
        self.chunks.insert(start, Chunk { size, draining });
    }

    fn draining(&mut self, text: &mut String, start: usize) {
        let Some(chunk) = self.chunks.get_mut(&start) else {
            return;
        };
        chunk.draining = true;
        let last = start + (chunk.size - 1);
        say(text, format_args!("# the chunk at {start:#x} is removed"));
        let mut gaps = Vec::new();
        let mut at = Some(start);
        for (&addr, held) in self.held.range(start..=last) {
            if let Some(at) = at.filter(|&at| at < addr) {
                gaps.push((at, addr - at));
            }
            at = addr.checked_add(held.size);
        }
        if let Some(at) = at.filter(|&at| at <= last) {
            gaps.push((at, last - at + 1));
        }
        for (addr, size) in gaps {
            self.place(text, addr, size);
        }
    }

    fn freed(&mut self, text: &mut String, addr: usize, size: usize) {
        let whole = self.held.get(&addr).copied();
        let known = whole.filter(|held| size == 0 || held.size == size);
        match (self.chunk_at(addr), known) {
            (Some(chunk), _) if chunk.draining => {}
            (Some(_), Some(held)) => {
                self.held.remove(&addr);
                say(text, format_args!("free {}", held.id));
            }
            _ => {
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

    fn chunk_at(&self, addr: usize) -> Option<Chunk> {
        let (&start, &chunk) = self.chunks.range(..=addr).next_back()?;
        (addr - start < chunk.size).then_some(chunk)
    }

    /// Has the trace hold nothing of a range, and the rest of what reaches into it as before. Says
    /// whether the range lies in a chunk that the trace knows.
    fn vacate(&mut self, text: &mut String, addr: usize, size: usize) -> bool {
        let Some(last) = size.checked_sub(1).and_then(|more| addr.checked_add(more)) else {
            return false;
        };
        if self.chunk_at(addr).is_none() {
            self.unsaid += 1;
            say(
                text,
                format_args!("# unsaid: {size:#x} bytes at {addr:#x}, in no chunk of this trace"),
            );
            return false;
        }
        while let Some((&start, &held)) = self.held.range(..=last).next_back() {
            let end = start + (held.size - 1);
            if end < addr {
                break;
            }
            self.held.remove(&start);
            say(text, format_args!("free {}", held.id));
            if end > last {
                self.place(text, last + 1, end - last);
            }
            if start < addr {
                self.place(text, start, addr - start);
            }
        }
        true
    }

    /// Has the trace hold what is free there.
    fn place(&mut self, text: &mut String, addr: usize, size: usize) {
        self.alloc(text, addr, size, Some(Notation::FixedAddress { addr }));
    }

    fn alloc(&mut self, text: &mut String, addr: usize, asked: usize, algorithm: Option<Notation>) {
        let id = self.id();
        let size = self.round_up(asked);
        self.held.insert(addr, Held { id, size });
        let by = By(algorithm);
        say(
            text,
            format_args!("alloc {id} size={asked}{by} -> {addr:#x}"),
        );
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// The field that names an algorithm, if it can be named.
struct By(Option<Notation>);

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(notation) => write!(f, " algo={notation}"),
            None => Ok(()),
        }
    }
}
