//! The address spaces of a program's processes, and the allocations for their mappings.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Counts;
use super::event::{Event, Kin, Pages, Pid};
use super::line::{Stamp, Step};
use super::trim::{Cut, Window};

/// An operation of the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Alloc { id: u32, pages: u64 },
    Free { id: u32 },
}

/// Everything that is mapped.
#[derive(Default)]
pub(super) struct Spaces {
    spaces: Vec<Space>,
    /// The space and the process of each thread.
    threads: HashMap<Pid, Thread>,
    /// The threads of each process, by the number of its leader, which is that of the process.
    processes: HashMap<Pid, BTreeSet<Pid>>,
    ops: Vec<Op>,
    /// The mappings by ID, which starts at 1.
    mappings: Vec<Mapping>,
    /// What each thread has just mapped.
    windows: HashMap<Pid, Window>,
    /// The unit of the pages that an unfinished `mremap` unmapped, by thread.
    moving: HashMap<Pid, u64>,
    counts: Counts,
}

#[derive(Clone, Copy)]
struct Thread {
    space: usize,
    leader: Pid,
}

/// The memory of one process, or of several that share it.
#[derive(Default)]
struct Space {
    /// The number of threads that use it.
    users: usize,
    /// Mapped pages, by the first page of each piece.
    pieces: BTreeMap<u64, Piece>,
    /// The same pages, whichever mapping they belong to.
    cover: Cover,
}

/// Pages up to `end` that belong to one mapping.
#[derive(Clone, Copy)]
struct Piece {
    end: u64,
    id: u32,
}

struct Mapping {
    /// The index of its `alloc` in the operations.
    op: usize,
    /// The number of pages that are still mapped.
    left: u64,
    /// The number of pages that are unmapped together: those of a huge page.
    unit: u64,
}

/// The effect of unmapping.
struct Taken {
    pages: u64,
    /// The number of mappings of which a part is left.
    parts: u64,
}

impl Spaces {
    /// Applies the event of a line.
    pub(super) fn event(&mut self, step: Step) {
        let Step { pid, stamp, event } = step;
        let window = self.windows.remove(&pid);
        if event == Event::Exit {
            return self.leave(pid);
        }
        let Thread {
            space: index,
            leader,
        } = self.thread(pid);
        match event {
            Event::Map { pages, fixed, unit } => match fixed {
                true => self.map_fixed(index, pages, unit),
                false => {
                    let id = self.map_free(index, pages, unit);
                    self.windows.insert(pid, Window::new(id, pages, stamp));
                }
            },
            Event::Unmap(pages) => self.cut(pid, stamp, window, index, pages),
            Event::Remap { from, to } => self.remap(pid, index, from, to),
            Event::Spawn { child, kin } => {
                // A known thread was created before by a process, and no line reports its end.
                if !self.threads.contains_key(&child) {
                    let (space, leader) = match kin {
                        Kin::Process => (self.build(), child),
                        Kin::Sharing => (index, child),
                        Kin::Thread => (index, leader),
                    };
                    self.settle(child, Thread { space, leader });
                }
            }
            Event::Exec => {
                let threads = self.processes.remove(&leader).unwrap_or_default();
                threads.into_iter().for_each(|thread| self.leave(thread));
                self.settle_alone(pid);
            }
            Event::Exit => {}
        }
    }

    /// Returns the operations, and writes the counts to `counts`.
    pub(super) fn finish(self, counts: &mut Counts) -> Vec<Op> {
        let (mut held, mut peak) = (0u128, 0u128);
        let mut sizes = vec![0; self.mappings.len()];
        for op in &self.ops {
            match *op {
                Op::Alloc { id, pages } => {
                    sizes[id as usize - 1] = u128::from(pages);
                    held += u128::from(pages);
                    peak = peak.max(held);
                }
                Op::Free { id } => held -= sizes[id as usize - 1],
            }
        }
        let Counts {
            fixed,
            trimmed,
            partial,
            resized,
            unknown,
            conflicts,
            ..
        } = self.counts;
        *counts = Counts {
            allocs: self.mappings.len() as u64,
            peak_pages: u64::try_from(peak).unwrap_or(u64::MAX),
            fixed,
            trimmed,
            partial,
            resized,
            unknown,
            conflicts,
            ..*counts
        };
        self.ops
    }

    fn build(&mut self) -> usize {
        self.spaces.push(Space::default());
        self.spaces.len() - 1
    }

    fn settle(&mut self, pid: Pid, thread: Thread) -> Thread {
        self.spaces[thread.space].users += 1;
        self.threads.insert(pid, thread);
        self.processes.entry(thread.leader).or_default().insert(pid);
        thread
    }

    fn settle_alone(&mut self, pid: Pid) -> Thread {
        let space = self.build();
        self.settle(pid, Thread { space, leader: pid })
    }

    /// Returns the space and the process of `pid`. A thread without a known origin shares the memory of the first
    /// process, and belongs to the process of the lines without a number: strace numbers its lines only while it
    /// follows several.
    fn thread(&mut self, pid: Pid) -> Thread {
        match self.threads.get(&pid) {
            Some(&thread) => thread,
            None if self.spaces.is_empty() => self.settle_alone(pid),
            None => {
                let unnumbered = self.threads.get(&0).copied();
                let leader = unnumbered.map_or(pid, |thread| thread.leader);
                self.settle(pid, Thread { space: 0, leader })
            }
        }
    }

    /// Removes a thread. When the last one of a space leaves, everything in it is freed.
    fn leave(&mut self, pid: Pid) {
        self.windows.remove(&pid);
        self.moving.remove(&pid);
        let Some(Thread {
            space: index,
            leader,
        }) = self.threads.remove(&pid)
        else {
            return;
        };
        if let Some(threads) = self.processes.get_mut(&leader) {
            threads.remove(&pid);
            if threads.is_empty() {
                self.processes.remove(&leader);
            }
        }
        let space = &mut self.spaces[index];
        space.users -= 1;
        if space.users == 0 {
            let all = Pages {
                start: 0,
                end: u64::MAX,
            };
            self.unmap(index, all);
        }
    }

    fn alloc(&mut self, index: usize, pages: Pages, unit: u64) -> u32 {
        let id = self.mappings.len() as u32 + 1;
        self.mappings.push(Mapping {
            op: self.ops.len(),
            left: pages.len(),
            unit,
        });
        self.ops.push(Op::Alloc {
            id,
            pages: pages.len(),
        });
        let space = &mut self.spaces[index];
        space
            .pieces
            .insert(pages.start, Piece { end: pages.end, id });
        space.cover.add(pages);
        id
    }

    /// Maps pages where the system found room.
    fn map_free(&mut self, index: usize, pages: Pages, unit: u64) -> u32 {
        if self.unmap(index, pages) > 0 {
            self.counts.conflicts += 1;
        }
        self.alloc(index, pages, unit)
    }

    /// Maps pages over whatever is there: only unmapped pages are new.
    fn map_fixed(&mut self, index: usize, pages: Pages, unit: u64) {
        let gaps = self.spaces[index].cover.add(pages);
        if gaps.iter().map(|gap| gap.len()).sum::<u64>() < pages.len() {
            self.counts.fixed += 1;
        }
        for gap in gaps {
            self.alloc(index, gap, unit);
        }
    }

    fn remap(&mut self, pid: Pid, index: usize, from: Option<Pages>, to: Option<Pages>) {
        let moved = self.moving.remove(&pid);
        let unit = match from {
            Some(from) => self.unit_at(index, from.start),
            None => moved.unwrap_or(1),
        };
        let rounded = |pages: Pages| pages.round_up(unit).unwrap_or(pages);
        let from = from.map(rounded);
        let Some(to) = to.map(rounded) else {
            self.moving.insert(pid, unit);
            if let Some(from) = from {
                self.unmap(index, from);
            }
            return;
        };
        self.counts.resized += 1;
        match from {
            Some(from) if from == to => {}
            // A part of a mapping cannot be freed.
            Some(from)
                if from.start == to.start && to.end < from.end && !self.is_whole(index, from) =>
            {
                let rest = Pages {
                    start: to.end,
                    end: from.end,
                };
                self.unmap(index, rest);
            }
            Some(from) if from.start == to.start => {
                self.unmap(index, from);
                self.unmap(index, to);
                self.alloc(index, to, unit);
            }
            from => {
                self.unmap(index, to);
                self.alloc(index, to, unit);
                if let Some(from) = from {
                    self.unmap(index, from);
                }
            }
        }
    }

    /// Handles a call of `munmap`.
    fn cut(&mut self, pid: Pid, stamp: Stamp, window: Option<Window>, index: usize, pages: Pages) {
        let pages = self.widened(index, pages);
        let window = window.filter(|window| self.is_of(index, window.left(), window.id));
        match window.map(|window| (window, window.cut(stamp, pages))) {
            Some((_, Cut::Trim(cut))) => {
                self.take(index, pages);
                self.counts.trimmed += 1;
                self.resize(cut.id, cut.left());
                self.windows.insert(pid, cut);
                return;
            }
            Some((window, Cut::Piecewise(cuts))) => {
                self.counts.trimmed -= cuts;
                self.counts.partial += cuts;
                self.resize(window.id, window.whole());
            }
            Some((_, Cut::Other)) | None => {}
        }
        if self.unmap(index, pages) == 0 {
            self.counts.unknown += 1;
        }
    }

    /// Changes the length with which a mapping is allocated.
    fn resize(&mut self, id: u32, pages: Pages) {
        self.ops[self.mappings[id as usize - 1].op] = Op::Alloc {
            id,
            pages: pages.len(),
        };
    }

    fn piece_at(&self, index: usize, page: u64) -> Option<(Pages, u32)> {
        let (&start, piece) = self.spaces[index].pieces.range(..=page).next_back()?;
        let end = piece.end;
        (page < end).then_some((Pages { start, end }, piece.id))
    }

    /// Returns whether these pages are exactly one piece of this mapping.
    fn is_of(&self, index: usize, pages: Pages, id: u32) -> bool {
        self.piece_at(index, pages.start) == Some((pages, id))
    }

    /// Returns whether these pages are all that is left of a mapping.
    fn is_whole(&self, index: usize, pages: Pages) -> bool {
        self.piece_at(index, pages.start)
            .is_some_and(|(piece, id)| {
                piece == pages && self.mappings[id as usize - 1].left == pages.len()
            })
    }

    fn unit_at(&self, index: usize, page: u64) -> u64 {
        self.piece_at(index, page)
            .map_or(1, |(_, id)| self.mappings[id as usize - 1].unit)
    }

    /// Extends a range to whole huge pages if it ends inside one.
    fn widened(&self, index: usize, pages: Pages) -> Pages {
        let unit_of = |page| {
            let (piece, id) = self.piece_at(index, page)?;
            Some((piece, self.mappings[id as usize - 1].unit))
        };
        let start = unit_of(pages.start).map_or(pages.start, |(piece, unit)| {
            piece.start.max(pages.start / unit * unit)
        });
        let end = unit_of(pages.end - 1).map_or(pages.end, |(piece, unit)| {
            piece.end.min(pages.end.next_multiple_of(unit))
        });
        Pages { start, end }
    }

    /// Unmaps pages, and frees mappings that have none left. Returns how many were mapped.
    fn unmap(&mut self, index: usize, pages: Pages) -> u64 {
        let taken = self.take(index, pages);
        self.counts.partial += taken.parts;
        taken.pages
    }

    fn take(&mut self, index: usize, pages: Pages) -> Taken {
        let space = &mut self.spaces[index];
        space.cover.remove(pages);
        let mut taken = Taken { pages: 0, parts: 0 };
        for (first, piece) in space.overlapping(pages) {
            let (start, end) = (first.max(pages.start), piece.end.min(pages.end));
            let space = &mut self.spaces[index];
            space.pieces.remove(&first);
            if first < start {
                space.pieces.insert(
                    first,
                    Piece {
                        end: start,
                        id: piece.id,
                    },
                );
            }
            if end < piece.end {
                space.pieces.insert(end, piece);
            }
            taken.pages += end - start;
            let mapping = &mut self.mappings[piece.id as usize - 1];
            mapping.left -= end - start;
            match mapping.left {
                0 => self.ops.push(Op::Free { id: piece.id }),
                _ => taken.parts += 1,
            }
        }
        taken
    }
}

impl Space {
    /// Returns the pieces that share a page with `pages`, in ascending order.
    fn overlapping(&self, pages: Pages) -> Vec<(u64, Piece)> {
        let before = self.pieces.range(..pages.start).next_back();
        let inside = self.pieces.range(pages.start..pages.end);
        before
            .filter(|(_, piece)| piece.end > pages.start)
            .into_iter()
            .chain(inside)
            .map(|(&first, &piece)| (first, piece))
            .collect()
    }
}

/// A set of pages, as disjoint ranges that do not touch. Each call removes the ranges that it visits, except two, so no
/// sequence of calls is slow.
#[derive(Default)]
struct Cover {
    ends: BTreeMap<u64, u64>,
}

impl Cover {
    /// Adds pages, and returns those that were not in the set.
    fn add(&mut self, pages: Pages) -> Vec<Pages> {
        let Pages { mut start, mut end } = pages;
        let mut at = start;
        if let Some((&first, &last)) = self.ends.range(..start).next_back()
            && last >= start
        {
            start = first;
            at = last;
            end = end.max(last);
        }
        let mut gaps = Vec::new();
        while let Some((&first, &last)) = self.ends.range(pages.start..=pages.end).next() {
            if at < first {
                gaps.push(Pages {
                    start: at,
                    end: first,
                });
            }
            at = at.max(last);
            end = end.max(last);
            self.ends.remove(&first);
        }
        if at < pages.end {
            gaps.push(Pages {
                start: at,
                end: pages.end,
            });
        }
        self.ends.insert(start, end);
        gaps
    }

    fn remove(&mut self, pages: Pages) {
        if let Some((&first, &last)) = self.ends.range(..pages.start).next_back()
            && last > pages.start
        {
            self.ends.insert(first, pages.start);
            if last > pages.end {
                self.ends.insert(pages.end, last);
            }
        }
        while let Some((&first, &last)) = self.ends.range(pages.start..pages.end).next() {
            self.ends.remove(&first);
            if last > pages.end {
                self.ends.insert(pages.end, last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Ranges that touch, overlap, and lie inside each other, against a set of pages.
    #[test]
    fn a_cover_is_a_set_of_pages() {
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..200 {
            let (mut cover, mut pages) = (Cover::default(), BTreeSet::new());
            for _ in 0..30 {
                let start = random(24);
                let end = start + 1 + random(8);
                if random(2) == 0 {
                    cover.remove(Pages { start, end });
                    pages.retain(|page| !(start..end).contains(page));
                } else {
                    let gaps = cover.add(Pages { start, end });
                    let gaps: Vec<_> = gaps.iter().flat_map(|gap| gap.start..gap.end).collect();
                    let new: Vec<_> = (start..end).filter(|page| pages.insert(*page)).collect();
                    assert_eq!(gaps, new);
                }
                let all: Vec<_> = cover
                    .ends
                    .iter()
                    .flat_map(|(&start, &end)| start..end)
                    .collect();
                assert!(all.iter().eq(&pages), "{all:?} {pages:?}");
                assert!(cover.ends.iter().all(|(start, end)| start < end));
                let mut next = cover.ends.keys().skip(1);
                let is_apart = |end: &u64| next.next().is_none_or(|next| end < next);
                assert!(cover.ends.values().all(is_apart), "{:?}", cover.ends);
            }
        }
    }
}
