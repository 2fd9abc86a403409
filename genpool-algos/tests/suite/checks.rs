//! What the pool and the oracle must agree on after every step.

use std::sync::atomic::Ordering;

use crate::world::{Hold, Known, Live, World};

impl World<'_> {
    pub(crate) fn check(&self) {
        let pool = self.pool;
        assert!(pool.is_sound(), "the bookkeeping disagrees with itself");
        assert_eq!(
            (pool.size(), pool.avail()),
            (self.oracle.size(), self.oracle.avail())
        );
        self.check_chunks();
        self.check_leaving();
        self.check_stats();
        self.check_live();
    }

    fn check_chunks(&self) {
        let listed: Vec<_> = self
            .pool
            .chunks()
            .filter(|chunk| !chunk.is_draining())
            .collect();
        let newest_first = self.chunks.iter().enumerate().rev();
        assert_eq!(listed.len(), self.chunks.len());
        let (mut free, mut count, mut largest) = (0, 0, 0);
        for (chunk, (at, known)) in listed.iter().zip(newest_first) {
            let last = known.start + (known.size - 1);
            assert_eq!(
                (chunk.start(), chunk.size(), chunk.last(), chunk.phys()),
                (known.start, known.size, last, known.phys)
            );
            let owner = chunk.owner().and_then(|owner| owner.downcast_ref());
            assert_eq!(owner, Some(&*known.number));
            let runs = self.oracle.free_runs(at);
            let seen: Vec<_> = chunk
                .free_runs()
                .map(|run| (run.start.0, run.len))
                .collect();
            assert_eq!(seen, runs);
            let bytes: usize = runs.iter().map(|&(_, len)| self.bytes(len)).sum();
            assert_eq!(chunk.avail(), bytes);
            free += bytes;
            count += runs.len();
            largest = runs
                .iter()
                .map(|&(_, len)| self.bytes(len))
                .fold(largest, usize::max);
        }
        let fragmentation = self.pool.fragmentation();
        assert_eq!(
            (
                fragmentation.free,
                fragmentation.free_runs,
                fragmentation.largest_run
            ),
            (free, count, largest)
        );
    }

    fn check_leaving(&self) {
        let mut listed: Vec<_> = self
            .pool
            .chunks()
            .filter(|chunk| chunk.is_draining())
            .map(|chunk| chunk.start())
            .collect();
        listed.sort_unstable();
        let mut expected = Vec::new();
        for leaving in &self.leaving {
            let held = leaving.oracle.size() - leaving.oracle.avail();
            assert_eq!(leaving.drain.held(), held);
            assert_eq!(leaving.drain.is_drained(), held == 0);
            let notified = leaving.notified.load(Ordering::Relaxed);
            assert_eq!(notified, usize::from(held == 0), "calls of the callback");
            if held > 0 {
                expected.push(leaving.known.start);
            }
        }
        expected.sort_unstable();
        assert_eq!(listed, expected);
    }

    fn check_stats(&self) {
        let stats = self.pool.stats();
        let held = |leaving: &crate::world::Leaving| leaving.oracle.size() - leaving.oracle.avail();
        let leaving: Vec<_> = self
            .leaving
            .iter()
            .map(held)
            .filter(|&held| held > 0)
            .collect();
        let (size, free) = (self.oracle.size(), self.oracle.avail());
        assert_eq!(
            (stats.chunks, stats.size, stats.used, stats.free),
            (self.chunks.len(), size, size - free, free)
        );
        assert_eq!(
            (stats.draining, stats.draining_used),
            (leaving.len(), leaving.iter().sum())
        );
        assert_eq!(
            (stats.exhausted, stats.refused_frees),
            (self.exhausted, self.refused_frees)
        );
        assert_eq!(
            (stats.contended, stats.lost_claims),
            (0, 0),
            "nobody else is here"
        );
    }

    fn check_live(&self) {
        let Ok(listed) = self.pool.live() else {
            assert!(!self.tracked);
            return;
        };
        assert!(self.tracked);
        let seen: Vec<_> = listed
            .iter()
            .map(|held| (held.addr, held.size, held.tag))
            .collect();
        let mut expected: Vec<_> = self
            .live
            .iter()
            .map(|live| (live.addr, self.bytes(live.n), Some(live.tag)))
            .collect();
        expected.sort_unstable();
        assert_eq!(seen, expected);
    }

    /// Queries about any range.
    pub(crate) fn probe(&mut self, addr: usize, size: usize) {
        let pool = self.pool;
        let chunk: Option<Known> = self.chunk_of(addr).map(|(known, _)| known);
        let inside = chunk.as_ref().is_some_and(|known| {
            size > 0 && addr as u128 + size as u128 <= known.start as u128 + known.size as u128
        });
        assert_eq!(pool.contains(addr, size), inside);
        assert_eq!(pool.contains(addr, 1), chunk.is_some());
        assert!(!pool.contains(addr, 0));
        let phys = chunk
            .as_ref()
            .and_then(|known| Some(known.phys? + (addr - known.start) as u64));
        assert_eq!(pool.phys_of(addr), phys);
        for live in &self.live {
            let Live { addr, n, .. } = *live;
            assert!(pool.contains(addr, self.bytes(n)));
            if let Hold::Scoped(scoped) = &live.hold {
                assert_eq!((scoped.addr(), scoped.size()), (addr, self.bytes(n)));
            }
        }
    }
}
