//! Several single-threaded allocators, one for each thread, each under a mutex of its own.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{BuildFailure, Contestant, FreeRuns, Handle, Layout, Mutexed, Peer, Stage};

/// A pool that is split evenly into shards. A thread allocates from its own shard, and from the next ones if that has
/// no room; a free goes to the shard that the allocation is from. No allocation is longer than a shard.
pub struct Sharded<P: Peer> {
    shards: Vec<Mutexed<P>>,
    /// How many handles there are.
    handles: AtomicUsize,
}

/// A thread's access to a [`Sharded`] pool.
pub struct ShardedHandle<P: Peer> {
    pool: &'static Sharded<P>,
    own: usize,
}

impl<P: Peer> Sharded<P> {
    /// Makes a pool of this layout with this many shards.
    ///
    /// # Errors
    ///
    /// If the layout has several chunks, or more granules than a peer can number.
    pub fn new(layout: &Layout, shards: usize) -> Result<Self, BuildFailure> {
        let &[start] = layout.starts().as_slice() else {
            return Err(BuildFailure::new("a sharded pool manages one chunk"));
        };
        let shard = |index| {
            let first = |index| layout.granules * index / shards;
            let granules = first(index + 1) - first(index);
            Mutexed::at(
                start + (first(index) << layout.order),
                granules,
                layout.order,
            )
        };
        Ok(Self {
            shards: (0..shards).map(shard).collect::<Result<_, _>>()?,
            handles: AtomicUsize::new(0),
        })
    }
}

impl<P: Peer> fmt::Debug for Sharded<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Sharded");
        text.field("shards", &self.shards).finish_non_exhaustive()
    }
}

impl<P: Peer> fmt::Debug for ShardedHandle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("ShardedHandle");
        text.field("own", &self.own).finish_non_exhaustive()
    }
}

impl<P: Peer> Stage for Sharded<P> {
    fn avail(&self) -> Option<usize> {
        None
    }

    fn take(&self, bytes: usize) -> Option<usize> {
        self.shards.iter().find_map(|shard| shard.take(bytes))
    }

    fn give(&self, addr: usize, bytes: usize) -> Result<(), String> {
        let holds = |shard: &&Mutexed<P>| shard.start() <= addr;
        let shard = self.shards.iter().rev().find(holds);
        let shard = shard.ok_or_else(|| format!("{addr:#x} is in no shard"))?;
        shard.give(addr, bytes)
    }

    fn frees_parts(&self) -> bool {
        false
    }

    fn free_runs(&self) -> Option<FreeRuns> {
        self.shards
            .iter()
            .try_fold(FreeRuns::default(), |sum, shard| {
                let runs = shard.free_runs()?;
                Some(FreeRuns {
                    longest: sum.longest.max(runs.longest),
                    count: sum.count + runs.count,
                })
            })
    }

    fn retire(&self) {
        self.shards.iter().for_each(Stage::retire);
    }
}

impl<P: Peer> Contestant for Sharded<P> {
    type Handle = ShardedHandle<P>;

    fn handle(&'static self) -> Self::Handle {
        ShardedHandle {
            pool: self,
            own: self.handles.fetch_add(1, Ordering::Relaxed) % self.shards.len(),
        }
    }
}

impl<P: Peer> Handle for ShardedHandle<P> {
    type Held = (&'static Mutexed<P>, P::Held);

    #[inline]
    fn alloc(&mut self, bytes: usize) -> Option<Self::Held> {
        let (before, from_own) = self.pool.shards.split_at(self.own);
        from_own.iter().chain(before).find_map(|shard| {
            let held = (&mut &*shard).alloc(bytes)?;
            Some((shard, held))
        })
    }

    #[inline]
    fn free(&mut self, (mut shard, held): Self::Held) {
        shard.free(held);
    }

    #[inline]
    fn addr((shard, held): &Self::Held) -> usize {
        shard.addr_of(held)
    }

    fn phys_of(&mut self, _: usize) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::OffsetTable;
    use super::*;

    #[test]
    fn a_thread_uses_its_own_shard_first_then_the_others() {
        let layout = Layout {
            order: 0,
            granules: 64,
            chunks: 1,
        };
        let pool = Sharded::<OffsetTable>::new(&layout, 4).expect("one chunk");
        let pool: &'static Sharded<OffsetTable> = Box::leak(Box::new(pool));
        let start = layout.starts()[0];
        let mut handles: Vec<_> = (0..2).map(|_| pool.handle()).collect();
        let mut held: Vec<_> = (0..5).map(|_| handles[1].alloc(16)).collect();
        let addr = |held: &Option<_>| held.as_ref().map(ShardedHandle::<OffsetTable>::addr);
        let addrs: Vec<_> = held.iter().map(addr).collect();
        let expected = [16, 32, 48, 0].map(|first| Some(start + first));
        assert_eq!(addrs[..4], expected);
        assert!(held[4].is_none());

        handles[0].free(held.swap_remove(0).expect("it was allocated"));
        assert_eq!(pool.take(16), Some(start + 16));
        assert_eq!(pool.give(start + 16, 16), Ok(()));
        assert!(pool.give(start - 1, 1).is_err());
        assert_eq!(pool.free_runs().map(|runs| runs.count), Some(1));
    }
}
