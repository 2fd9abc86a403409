//! Sums over the chunks of a snapshot, and the check of its totals against them.

use genpool_core::{Fragmentation, Stats};

use super::{ChunkShot, LiveShot, NoSnapshot, Snapshot};

/// Free runs. Sums of bytes saturate at the highest address. Chunks do not overlap, so only chunks that cover all
/// addresses would exceed it.
#[derive(Clone, Copy, Default)]
pub(super) struct Free {
    bytes: usize,
    runs: usize,
    largest: usize,
}

impl Free {
    /// Adds a run of `bytes` bytes; adds none if `bytes` is 0.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.runs += usize::from(bytes > 0);
        self.largest = self.largest.max(bytes);
    }

    /// Returns what is free in a chunk, if all of its taken runs are known.
    fn of(chunk: &ChunkShot, order: u32) -> Self {
        let mut free = Self::default();
        let mut at = 0;
        for &(first, len) in &chunk.taken {
            free.add((first - at) << order);
            at = first + len;
        }
        free.add(chunk.size - (at << order));
        free
    }
}

/// Totals of chunks, in bytes except for their number.
#[derive(Default)]
pub(super) struct Sums {
    chunks: usize,
    size: usize,
    used: usize,
    draining: usize,
    draining_size: usize,
    draining_used: usize,
    free: Free,
}

impl Sums {
    pub(super) fn add(&mut self, draining: bool, size: usize, free: Free) {
        let used = size - free.bytes;
        if draining {
            self.draining += 1;
            self.draining_size = self.draining_size.saturating_add(size);
            self.draining_used = self.draining_used.saturating_add(used);
        } else {
            self.chunks += 1;
            self.size = self.size.saturating_add(size);
            self.used = self.used.saturating_add(used);
            self.free.bytes = self.free.bytes.saturating_add(free.bytes);
            self.free.runs += free.runs;
            self.free.largest = self.free.largest.max(free.largest);
        }
    }

    /// Returns how many bytes are taken.
    pub(super) fn taken(&self) -> usize {
        self.used.saturating_add(self.draining_used)
    }

    pub(super) fn put_into(&self, stats: &mut Stats, fragmentation: &mut Fragmentation) {
        stats.chunks = self.chunks;
        stats.size = self.size;
        stats.used = self.used;
        stats.free = self.free.bytes;
        stats.draining = self.draining;
        stats.draining_used = self.draining_used;
        fragmentation.free = self.free.bytes;
        fragmentation.free_runs = self.free.runs;
        fragmentation.largest_run = self.free.largest;
    }
}

/// Returns how many bytes are in live allocations.
pub(super) fn held_in(live: Option<&[LiveShot]>) -> usize {
    let sizes = live.unwrap_or_default().iter().map(|live| live.size);
    sizes.fold(0, usize::saturating_add)
}

impl LiveShot {
    pub(super) fn is_after(&self, earlier: Option<&Self>) -> bool {
        earlier.is_none_or(|earlier| {
            let apart = self.addr.checked_sub(earlier.addr);
            apart.is_some_and(|apart| apart >= earlier.size)
        })
    }

    /// Returns the chunk that it lies in, its first granule there, and how many granules it has.
    fn place<'c>(
        &self,
        chunks: &'c [ChunkShot],
        order: u32,
    ) -> Option<(&'c ChunkShot, usize, usize)> {
        let granule = 1 << order;
        let before = chunks.partition_point(|chunk| chunk.start <= self.addr);
        let chunk = chunks.get(before.checked_sub(1)?)?;
        let offset = self.addr - chunk.start;
        let left = chunk.size.checked_sub(offset)?;
        let is_inside = (1..=left).contains(&self.size);
        let is_whole = offset.is_multiple_of(granule) && self.size.is_multiple_of(granule);
        (is_inside && is_whole).then_some((chunk, offset >> order, self.size >> order))
    }

    pub(super) fn is_in_a_run_of(&self, chunks: &[ChunkShot], order: u32) -> bool {
        self.place(chunks, order).is_some_and(|(chunk, first, n)| {
            let before = chunk.taken.partition_point(|&(start, _)| start <= first);
            let run = before.checked_sub(1).and_then(|at| chunk.taken.get(at));
            run.is_some_and(|&(start, len)| {
                len.checked_sub(first - start).is_some_and(|left| n <= left)
            })
        })
    }
}

impl Snapshot {
    /// Checks each chunk and returns the sums over all.
    pub(super) fn check_chunks(&self) -> Result<Sums, NoSnapshot> {
        let granule = 1 << self.order;
        let mut sums = Sums::default();
        let mut after = Some(0);
        for chunk in &self.chunks {
            let (start, size) = (chunk.start, chunk.size);
            let last = size.checked_sub(1).and_then(|more| start.checked_add(more));
            let is_whole = start.is_multiple_of(granule) && size.is_multiple_of(granule);
            let (Some(last), true, true) = (last, is_whole, after.is_some_and(|at| at <= start))
            else {
                return Err(NoSnapshot::Chunk { start, size });
            };
            after = last.checked_add(1);
            if let Some(phys) = chunk.phys
                && phys.checked_add((size - 1) as u64).is_none()
            {
                return Err(NoSnapshot::Phys { start, phys });
            }
            let granules = size >> self.order;
            // The first granule that the next run may begin at.
            let mut next = 0;
            for &(first, len) in &chunk.taken {
                let left = granules.checked_sub(first);
                if len == 0 || first < next || left.is_none_or(|left| len > left) {
                    return Err(NoSnapshot::Run { start, first, len });
                }
                // The highest possible granule has none after it, so the sum may saturate.
                next = (first + len).saturating_add(1);
            }
            sums.add(chunk.draining, size, Free::of(chunk, self.order));
        }
        Ok(sums)
    }

    pub(super) fn check_live(&self) -> Result<(), NoSnapshot> {
        if self.live.is_some() != self.tracked {
            let tracked = self.tracked;
            return Err(NoSnapshot::Tracked { tracked });
        }
        let mut earlier = None;
        for live in self.live.iter().flatten() {
            // A snapshot that is cut may lack runs.
            let is_taken = match self.cut {
                true => live.place(&self.chunks, self.order).is_some(),
                false => live.is_in_a_run_of(&self.chunks, self.order),
            };
            if !is_taken || !live.is_after(earlier) {
                let &LiveShot { addr, size, .. } = live;
                return Err(NoSnapshot::Live { addr, size });
            }
            earlier = Some(live);
        }
        Ok(())
    }

    pub(super) fn check_totals(&self, sums: &Sums) -> Result<(), NoSnapshot> {
        let (stats, fragmentation) = (&self.stats, &self.fragmentation);
        equal("stats.chunks", stats.chunks, sums.chunks)?;
        equal("stats.draining", stats.draining, sums.draining)?;
        equal("stats.size", stats.size, sums.size)?;
        let (runs, largest) = (fragmentation.free_runs, fragmentation.largest_run);
        if self.cut {
            self.whole("stats.used", stats.used)?;
            within("stats.used", stats.used, sums.used, stats.size)?;
            equal("stats.free", stats.free, stats.size - stats.used)?;
            self.whole("stats.draining_used", stats.draining_used)?;
            let (least, most) = (sums.draining_used, sums.draining_size);
            within("stats.draining_used", stats.draining_used, least, most)?;
            // Each run has at least one granule, and the longest is no shorter than the mean.
            let (free, granule) = (stats.free, 1 << self.order);
            let least = usize::from(free > 0);
            within("fragmentation.free_runs", runs, least, free >> self.order)?;
            self.whole("fragmentation.largest_run", largest)?;
            let least = free.checked_div(runs).unwrap_or(0);
            let most = free - runs.saturating_sub(1) * granule;
            within("fragmentation.largest_run", largest, least, most)?;
        } else {
            equal("stats.used", stats.used, sums.used)?;
            equal("stats.free", stats.free, sums.free.bytes)?;
            equal(
                "stats.draining_used",
                stats.draining_used,
                sums.draining_used,
            )?;
            equal("fragmentation.free_runs", runs, sums.free.runs)?;
            equal("fragmentation.largest_run", largest, sums.free.largest)?;
        }
        equal("fragmentation.free", fragmentation.free, stats.free)?;
        self.whole("stats.cached", stats.cached)?;
        let taken = stats.used.saturating_add(stats.draining_used);
        let most = taken.saturating_sub(held_in(self.live.as_deref()));
        within("stats.cached", stats.cached, 0, most)
    }

    /// Checks that a number of bytes is a multiple of the granule.
    fn whole(&self, name: &'static str, says: usize) -> Result<(), NoSnapshot> {
        equal(name, says, says >> self.order << self.order)
    }
}

fn equal(name: &'static str, says: usize, is: usize) -> Result<(), NoSnapshot> {
    match says == is {
        true => Ok(()),
        false => Err(NoSnapshot::Total { name, says, is }),
    }
}

fn within(name: &'static str, says: usize, least: usize, most: usize) -> Result<(), NoSnapshot> {
    if says < least {
        return Err(NoSnapshot::TooLow { name, says, least });
    }
    if says > most {
        return Err(NoSnapshot::TooHigh { name, says, most });
    }
    Ok(())
}
