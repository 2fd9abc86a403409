//! The taken parts of a pool's addresses, as figures and as a strip of rows.

use std::fmt;

use genpool::Pool;

/// A pool's chunks by address, joined without the gaps between them, and cut into rows of equal length.
#[derive(Debug, Clone)]
pub struct Space {
    order: u32,
    parts: Vec<Part>,
    granules: usize,
    rows: usize,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    start: usize,
    granules: usize,
    /// The number of granules in the chunks at lower addresses.
    before: usize,
}

/// The state of a pool at one instant. While other threads allocate, each figure is read separately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Free bytes.
    pub free: usize,
    /// Bytes taken.
    pub taken: usize,
    /// Maximal runs of free granules.
    pub free_runs: usize,
    /// Bytes of the largest of these runs.
    pub largest_run: usize,
    /// The taken part of each row, in percent: 0 only if nothing is taken, 100 only if everything is.
    pub rows: Vec<u8>,
}

impl Look {
    /// Returns the part of the free bytes outside the largest run: 0 if one request could have all of them, near 1 if
    /// they are in many small runs.
    pub fn fragmentation(&self) -> f64 {
        match self.free {
            0 => 0.0,
            free => 1.0 - self.largest_run as f64 / free as f64,
        }
    }

    /// Returns the taken part of the pool, in percent.
    pub fn fill(&self) -> f64 {
        match self.taken + self.free {
            0 => 0.0,
            size => self.taken as f64 * 100.0 / size as f64,
        }
    }
}

impl Space {
    /// Returns the space of `chunks`, each a start and a size in bytes made of whole granules, in at most `rows` rows.
    /// Chunks need not be in the pool when it is examined; those that are not count as nothing.
    pub fn new(order: u32, chunks: &[(usize, usize)], rows: usize) -> Self {
        let mut parts: Vec<Part> = chunks
            .iter()
            .map(|&(start, size)| Part {
                start,
                granules: size >> order,
                before: 0,
            })
            .collect();
        parts.sort_unstable_by_key(|part| part.start);
        let mut granules = 0;
        for part in &mut parts {
            part.before = granules;
            granules += part.granules;
        }
        Self {
            order,
            parts,
            granules,
            rows: rows.min(granules),
        }
    }

    /// Returns the address of each row's first granule, in ascending order.
    pub fn addresses(&self) -> Vec<usize> {
        let address = |row: usize| {
            let granule = self.border(row);
            let at = self.parts.partition_point(|part| part.before <= granule);
            let part = self.parts[at - 1];
            part.start + ((granule - part.before) << self.order)
        };
        (0..self.rows).map(address).collect()
    }

    /// Examines `pool`. Linear in its granules, 64 at a time.
    pub fn look(&self, pool: &Pool) -> Look {
        let mut look = Look::default();
        let mut taken = vec![0usize; self.rows];
        for chunk in pool.chunks() {
            let known = |part: &&Part| part.start == chunk.start();
            let at = self
                .parts
                .partition_point(|part| part.start < chunk.start());
            let part = self.parts.get(at).filter(known).copied();
            if let Some(part) = part {
                self.spread(part.before, part.granules, |row, n| taken[row] += n);
            }
            look.taken += chunk.size();
            for run in chunk.free_runs() {
                let bytes = run.len << self.order;
                look.free += bytes;
                look.free_runs += 1;
                look.largest_run = look.largest_run.max(bytes);
                if let Some(part) = part {
                    self.spread(part.before + run.start.0, run.len, |row, n| {
                        taken[row] = taken[row].saturating_sub(n);
                    });
                }
            }
        }
        look.taken = look.taken.saturating_sub(look.free);
        look.rows = taken
            .iter()
            .enumerate()
            .map(|(row, &taken)| percent(taken, self.border(row + 1) - self.border(row)))
            .collect();
        look
    }

    /// Returns the first granule of a row. The row after the last begins at the number of granules.
    fn border(&self, row: usize) -> usize {
        (row as u128 * self.granules as u128 / self.rows as u128) as usize
    }

    fn row_of(&self, granule: usize) -> usize {
        let past = (granule as u128 + 1) * self.rows as u128;
        ((past - 1) / self.granules as u128) as usize
    }

    /// Calls `add` with each row that the granules touch, and how many of them are in it.
    fn spread(&self, first: usize, granules: usize, mut add: impl FnMut(usize, usize)) {
        let (mut at, end) = (first, first + granules);
        while at < end {
            let row = self.row_of(at);
            let next = self.border(row + 1).min(end);
            add(row, next - at);
            at = next;
        }
    }
}

fn percent(part: usize, all: usize) -> u8 {
    match part {
        0 => 0,
        part if part >= all => 100,
        part => (part as u128 * 100 / all as u128).clamp(1, 99) as u8,
    }
}

/// The rows, as a bar of shaded blocks for a terminal.
#[derive(Debug, Clone, Copy)]
pub struct Strip<'a>(pub &'a [u8]);

impl fmt::Display for Strip<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("▕")?;
        for &percent in self.0 {
            f.write_str(match percent {
                0 => "·",
                1..=33 => "░",
                34..=66 => "▒",
                67..=99 => "▓",
                _ => "█",
            })?;
        }
        f.write_str("▏")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(order: u32, chunks: &[(usize, usize)]) -> Pool {
        let pool = Pool::new(order).unwrap();
        for &(start, size) in chunks {
            pool.add(start, size).unwrap();
        }
        pool
    }

    #[test]
    fn rows_cover_all_chunks() {
        let chunks = [(0x9000, 0x3000), (0x1000, 0x4000)];
        let pool = pool(12, &chunks);
        let space = Space::new(12, &chunks, 3);
        assert_eq!(space.addresses(), [0x1000, 0x3000, 0x9000]);
        assert_eq!(space.look(&pool).rows, [0, 0, 0]);
        // The newest chunk comes first: the one at 0x1000 is asked before the one at 0x9000.
        let held = pool.alloc(0x3000).unwrap();
        let look = space.look(&pool);
        assert_eq!(look.rows, [100, 50, 0]);
        assert_eq!((look.taken, look.free), (0x3000, 0x4000));
        assert_eq!((look.free_runs, look.largest_run), (2, 0x3000));
        assert_eq!(look.fragmentation(), 0.25);
        assert_eq!(Strip(&look.rows).to_string(), "▕█▒·▏");
        drop(held);
    }

    #[test]
    fn fewer_granules_than_rows() {
        let chunks = [(0, 0x20)];
        let space = Space::new(4, &chunks, 64);
        assert_eq!(space.addresses(), [0, 0x10]);
        let pool = pool(4, &chunks);
        let all = pool.alloc(0x20).unwrap();
        let look = space.look(&pool);
        assert_eq!(
            (look.rows.as_slice(), look.fragmentation()),
            (&[100, 100][..], 0.0)
        );
        drop(all);
    }

    #[test]
    fn chunks_that_are_not_there() {
        let space = Space::new(4, &[(0, 0x40), (0x100, 0x40)], 2);
        let look = space.look(&pool(4, &[(0x100, 0x40)]));
        assert_eq!((look.free, look.rows), (0x40, vec![0, 0]));
        let empty = Space::new(4, &[], 64);
        assert_eq!(empty.look(&pool(4, &[])), Look::default());
        assert!(empty.addresses().is_empty());
        // A chunk that the space does not know counts, but is in no row.
        assert_eq!(empty.look(&pool(4, &[(0, 0x40)])).free, 0x40);
    }

    #[test]
    fn shares_are_whole_only_where_they_are() {
        assert_eq!([percent(0, 1000), percent(1, 1000)], [0, 1]);
        assert_eq!([percent(999, 1000), percent(1000, 1000)], [99, 100]);
    }
}
