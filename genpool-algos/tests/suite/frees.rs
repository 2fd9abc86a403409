//! Frees by address, right and wrong, and the required result of each.

use genpool_core::FreeError;

use crate::ops::Aim;
use crate::spec::granules;
use crate::world::{Hold, Live, World};

impl<'p> World<'p> {
    /// Frees a range derived from one of the live allocations.
    pub(crate) fn free_aimed(&mut self, pick: usize, aim: Aim) {
        if self.live.is_empty() {
            return;
        }
        let live = &self.live[pick % self.live.len()];
        let (addr, n) = (live.addr, live.n);
        let granule = self.bytes(1);
        let size = self.bytes(n);
        let inside = |more: usize| addr + self.bytes(more % n);
        match aim {
            Aim::Exact => self.free(addr, Some(size)),
            Aim::Less(less) => self.free(addr, Some(size - less % granule)),
            Aim::Addr => self.free(addr, None),
            Aim::Twice => {
                self.free(addr, Some(size));
                self.free(addr, Some(size));
            }
            Aim::Head(part) => self.free(addr, Some(self.bytes((n - 1).min(part)))),
            Aim::Tail(part) => {
                let from = inside(n - part.min(n));
                self.free(from, Some(size - (from - addr)));
            }
            Aim::Over(more) => self.free(addr, Some(self.bytes(n + more))),
            Aim::Before(less) => {
                let before = addr.saturating_sub(self.bytes(less));
                self.free(before, Some(size + (addr - before)));
            }
            Aim::Misaligned(skew) => self.free(addr + skew % granule, Some(size)),
            Aim::Interior(more) => self.free(inside(more), Some(granule)),
            Aim::InteriorAddr(more) => self.free(inside(more), None),
            Aim::PastChunk => {
                self.free(addr, Some(usize::MAX));
                if let Some((known, _)) = self.chunk_of(addr) {
                    let rest = known.size - (addr - known.start);
                    self.free(addr, Some(rest + 1));
                }
            }
        }
    }

    /// Frees by address, with or without a size, and checks the result.
    ///
    /// Without tracking, the pool cannot distinguish a range that an `Allocation` holds from one that none holds.
    /// Frees of held ranges break the pool's rules and are left out.
    pub(crate) fn free(&mut self, addr: usize, size: Option<usize>) {
        let wrongs = self.wrongs(addr, size);
        if !wrongs.is_empty() {
            let refused = match size {
                Some(size) => self.pool.free(addr, size).unwrap_err(),
                None => self.pool.free_addr(addr).unwrap_err(),
            };
            assert!(wrongs.contains(&refused), "{refused} not of {wrongs:?}");
            self.refused_frees += 1;
            return;
        }
        if self.tracked {
            let at = self.live.iter().position(|live| live.addr == addr);
            let live = self.live.swap_remove(at.expect("it is recorded"));
            match size {
                Some(size) => {
                    let owner = self.pool.free_owner(addr, size).unwrap().expect("an owner");
                    let (known, _) = self.chunk_of(addr).expect("in a chunk");
                    assert_eq!(owner.downcast_ref(), Some(&*known.number));
                }
                None => assert_eq!(self.pool.free_addr(addr), Ok(self.bytes(live.n))),
            }
            self.forget(addr, live.n);
            self.stale.push(live);
            return;
        }
        let size = size.expect("an address alone is refused without tracking");
        let n = usize::try_from(granules(size, self.order)).expect("it is in a chunk");
        let (order, last) = (self.order, addr + (self.bytes(n) - 1));
        let touches =
            |live: &Live<'_>| live.addr <= last && addr <= live.addr + ((live.n << order) - 1);
        let raw = |live: &Live<'_>| matches!(live.hold, Hold::Raw);
        if self.live.iter().any(|live| touches(live) && !raw(live)) {
            return;
        }
        self.pool.free(addr, size).unwrap();
        self.forget(addr, n);
        // The parts of each raw range that were not freed remain as ranges of their own.
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < self.live.len() {
            if !touches(&self.live[at]) {
                at += 1;
                continue;
            }
            let live = self.live.swap_remove(at);
            let live_last = live.addr + (self.bytes(live.n) - 1);
            if live.addr < addr {
                pieces.push((live.addr, addr - 1));
            }
            if last < live_last {
                pieces.push((last + 1, live_last));
            }
        }
        for (from, to) in pieces {
            self.live.push(Live {
                addr: from,
                n: (to - from + 1) >> self.order,
                tag: 0,
                hold: Hold::Raw,
            });
        }
    }

    /// Every reason for which a free may be refused; none if it is right.
    fn wrongs(&mut self, addr: usize, size: Option<usize>) -> Vec<FreeError> {
        let (order, tracked, granule) = (self.order, self.tracked, self.bytes(1));
        let mut wrongs = Vec::new();
        if size == Some(0) {
            wrongs.push(FreeError::ZeroSize { addr });
        }
        if size.is_none() && !tracked {
            wrongs.push(FreeError::NotTracked);
        }
        let Some((known, oracle)) = self.chunk_of(addr) else {
            wrongs.push(FreeError::Foreign { addr });
            return wrongs;
        };
        let last = known.start + (known.size - 1);
        if !addr.is_multiple_of(granule) {
            wrongs.push(FreeError::Misaligned { addr, granule });
        }
        if let Some(size) = size
            && size > 0
            && addr as u128 + size as u128 > last as u128 + 1
        {
            wrongs.push(FreeError::PastChunk { addr, size, last });
        }
        if !wrongs.is_empty() {
            return wrongs;
        }
        let asked = size.map(|size| granules(size, order) as usize);
        if !tracked {
            // The oracle refuses a range that is not wholly allocated; the pool names the first free granule.
            let asked = asked.expect("an address alone is refused without tracking");
            let mut probe = oracle.clone();
            if probe.free(addr, asked << order).is_err() {
                let free = (0..asked)
                    .map(|at| addr + (at << order))
                    .find(|&at| oracle.clone().free(at, granule).is_err());
                let addr = free.expect("one of them is free");
                wrongs.push(FreeError::NotAllocated { addr });
            }
            return wrongs;
        }
        let over = |live: &&Live<'_>| live.addr <= addr && addr - live.addr < live.n << order;
        match self.live.iter().find(over) {
            None => wrongs.push(FreeError::NotAllocated { addr }),
            Some(live) if live.addr < addr => wrongs.push(FreeError::Interior {
                addr,
                start: live.addr,
            }),
            Some(live) => {
                if let Some(size) = size
                    && asked != Some(live.n)
                {
                    wrongs.push(FreeError::WrongSize {
                        addr,
                        size,
                        allocated: live.n << order,
                    });
                }
            }
        }
        wrongs
    }
}
