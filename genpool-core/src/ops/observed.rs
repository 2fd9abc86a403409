//! The calls of a pool that has an observer: each makes the ordinary call and notifies the observer of its outcome.

use core::panic::AssertUnwindSafe;
use std::panic::{catch_unwind, resume_unwind};

use crate::sync::Arc;
use alloc::vec::Vec;

use crate::allocation::{Allocation, Origin, OriginKind, Parts};
use crate::chunk::{Chunk, ChunkSpec, Extent, granules_for};
use crate::chunk_ops::Free;
use crate::error::{AddRefused, AllocError, FreeError, RemoveError};
use crate::observe::{Event, Notifier};
use crate::placement::{Algorithm, AlgorithmName};
use crate::shared::Shared;

impl Shared {
    #[inline(always)]
    pub(crate) fn notifier(&self) -> Option<&Arc<Notifier>> {
        self.notifier.as_ref()
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn alloc_observed(
        &self,
        notifier: &Notifier,
        size: usize,
    ) -> Result<Parts<'_>, AllocError> {
        // Called before anything is held, because it is user code.
        let algorithm = self.default_name();
        let found = self.alloc_default(size, 0);
        self.notify_alloc(notifier, size, algorithm, &found);
        found.map(Allocation::into_parts)
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn alloc_with_observed<A: Algorithm + ?Sized>(
        &self,
        notifier: &Notifier,
        size: usize,
        algorithm: &A,
    ) -> Result<Parts<'_>, AllocError> {
        let name = algorithm.name();
        let found = self.alloc_with(size, algorithm, 0);
        self.notify_alloc(notifier, size, name, &found);
        found.map(Allocation::into_parts)
    }

    /// Allocates the sizes and notifies as if they had been requested one by one, up to the one that was refused.
    #[cold]
    pub(crate) fn alloc_many_observed<'p>(
        &'p self,
        notifier: &Notifier,
        sizes: &[usize],
    ) -> Result<Vec<Allocation<'p>>, AllocError> {
        let algorithm = self.default_name();
        // Declared before the list, so that it is dropped after it.
        let in_flight = self.activity.enter();
        let mut list = Vec::new();
        let each = AssertUnwindSafe(|| self.alloc_each(sizes, &mut list));
        let outcome = catch_unwind(each);
        if let Ok(Ok(())) = outcome {
            drop(in_flight);
        }
        // Notify of all of them, since each will be reported when it comes back.
        for (allocation, &asked) in list.iter().zip(sizes) {
            self.notify_allocated(notifier, asked, algorithm, allocation);
        }
        if let (&Ok(Err(error)), Some(&asked)) = (&outcome, sizes.get(list.len())) {
            notifier.notify(&Event::AllocRefused {
                asked,
                algorithm,
                error,
            });
        }
        match outcome {
            Ok(outcome) => outcome.map(|()| list),
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Notifies of the answer to a request. The caller holds the allocation.
    pub(crate) fn notify_alloc(
        &self,
        notifier: &Notifier,
        asked: usize,
        algorithm: Option<AlgorithmName>,
        found: &Result<Allocation<'_>, AllocError>,
    ) {
        match found {
            Ok(allocation) => self.notify_allocated(notifier, asked, algorithm, allocation),
            &Err(error) => notifier.notify(&Event::AllocRefused {
                asked,
                algorithm,
                error,
            }),
        }
    }

    fn notify_allocated(
        &self,
        notifier: &Notifier,
        asked: usize,
        algorithm: Option<AlgorithmName>,
        allocation: &Allocation<'_>,
    ) {
        notifier.notify(&Event::Allocated {
            addr: allocation.addr(),
            asked,
            size: allocation.size(),
            algorithm,
            cached: false,
            serves: allocation.account(allocation.granules() as isize),
        });
    }

    /// Notifies of an allocation that a cache kept until now.
    pub(crate) fn notify_cached(
        &self,
        notifier: &Notifier,
        asked: usize,
        chunk: &Chunk,
        allocation: &Allocation<'_>,
    ) {
        let (addr, size) = (allocation.addr(), allocation.size());
        let n = allocation.granules() as isize;
        let (kept, held) = (chunk.account_kept(-n), chunk.account(n));
        if kept != held {
            // The removal of the chunk began between the two changes, so only one of them counts.
            notifier.notify(&Event::CacheEmptied {
                addrs: &[addr],
                size,
                serves: kept,
            });
        }
        notifier.notify(&Event::Allocated {
            addr,
            asked,
            size,
            algorithm: None,
            cached: kept == held,
            serves: held,
        });
    }

    /// Notifies of an allocation that a cache keeps from now on.
    pub(crate) fn notify_kept(&self, notifier: &Notifier, chunk: &Chunk, addr: usize, n: usize) {
        let size = n << self.order;
        let n = n as isize;
        let (kept, held) = (chunk.account_kept(n), chunk.account(-n));
        notifier.notify(&Event::Freed {
            addr,
            size,
            cached: kept == held,
            serves: held,
        });
        if kept != held {
            // The removal of the chunk began between the two changes, so only one of them counts.
            self.notify_filled(notifier, &[addr], size, kept);
        }
    }

    /// Notifies of runs of `n` granules that a cache took from the pool.
    pub(crate) fn fill_cache_observed(
        &self,
        notifier: &Notifier,
        chunk: &Chunk,
        addrs: &[usize],
        n: usize,
    ) {
        let serves = chunk.account_kept((addrs.len() * n) as isize);
        self.notify_filled(notifier, addrs, n << self.order, serves);
    }

    fn notify_filled(&self, notifier: &Notifier, addrs: &[usize], size: usize, serves: bool) {
        notifier.notify(&Event::CacheFilled {
            addrs,
            size,
            serves,
        });
    }

    /// Makes a cache give back runs of `n` granules to the chunk, and notifies of it.
    #[cold]
    pub(crate) fn empty_cache_observed(
        &self,
        notifier: &Notifier,
        chunk: &Chunk,
        addrs: &[usize],
        n: usize,
        give_back: impl FnOnce(),
    ) {
        let step = || {
            give_back();
            chunk.account_kept(-((addrs.len() * n) as isize))
        };
        notifier.around(step, |serves| Event::CacheEmptied {
            addrs,
            size: n << self.order,
            // `None` if a callback panicked. Then the chunk is being removed.
            serves: serves.copied().unwrap_or(false),
        });
    }

    /// Returns the name of the current default algorithm.
    fn default_name(&self) -> Option<AlgorithmName> {
        self.with_default(self.chunk_set.tag(), |algorithm| algorithm.name())
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn give_back_observed(
        &self,
        notifier: &Notifier,
        origin: Origin<'_>,
        addr: usize,
        extent: Extent,
    ) {
        let n = extent.len();
        let size = n << self.order;
        // `None` if it did not come back, otherwise whether its chunk serves.
        let give_back = |chunk: &Chunk| {
            let taken_back = self.give_back_to(chunk, addr, extent);
            taken_back.then(|| chunk.account(-(n as isize)))
        };
        let step = || {
            let outcome = match origin.kind() {
                OriginKind::Permanent(chunk) => give_back(chunk),
                OriginKind::ByGeneration { generation } => self
                    .in_generation(addr, generation, give_back)
                    .unwrap_or(None),
            };
            if outcome.is_none() {
                self.counters.refused_free();
            }
            outcome
        };
        notifier.around(step, |outcome| match outcome {
            Some(None) => Event::FreeRefused {
                addr,
                size: Some(size),
                error: None,
            },
            Some(&Some(serves)) => Event::Freed {
                addr,
                size,
                cached: false,
                serves,
            },
            // `None` if a callback panicked. Then the chunk is being removed.
            None => Event::Freed {
                addr,
                size,
                cached: false,
                serves: false,
            },
        });
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn free_observed<R>(
        &self,
        notifier: &Notifier,
        addr: usize,
        size: Option<usize>,
        with: impl FnOnce(&Chunk, usize) -> R,
    ) -> Result<R, FreeError> {
        let order = self.order;
        let step = || {
            self.free_unobserved(addr, size, |chunk, n| {
                let serves = chunk.account(-(n as isize));
                (n << order, serves, with(chunk, n))
            })
        };
        let freed = notifier.around(step, |outcome| match outcome {
            Some(&Ok((size, serves, _))) => Event::Freed {
                addr,
                size,
                cached: false,
                serves,
            },
            Some(&Err(error)) => Event::FreeRefused {
                addr,
                size,
                error: Some(error),
            },
            None => Event::Freed {
                addr,
                size: size.map_or(0, |size| granules_for(size, order) << order),
                cached: false,
                serves: false,
            },
        });
        freed.map(|(_, _, with)| with)
    }

    /// Calls `add`, which adds all of these chunks or none, and notifies the observer of each.
    pub(crate) fn add_observed(
        notifier: &Notifier,
        chunks: &[ChunkSpec],
        add: impl FnOnce() -> Result<(), (usize, AddRefused)>,
    ) -> Result<(), (usize, AddRefused)> {
        notifier.around_all(chunks.len(), add, |at, outcome| {
            let (start, size) = (chunks[at].start(), chunks[at].size());
            let phys = chunks[at].phys_of_start();
            match outcome {
                Some(&Err((_, reason))) => Event::AddRefused {
                    start,
                    size,
                    reason,
                },
                _ => Event::ChunkAdded { start, size, phys },
            }
        })
    }

    pub(crate) fn remove_observed(
        notifier: &Notifier,
        chunk: &Chunk,
        remove: impl FnOnce() -> Result<(), RemoveError>,
    ) -> Result<(), RemoveError> {
        let start = chunk.start();
        notifier.around(remove, |outcome| match outcome {
            Some(&Err(error)) => Event::RemoveRefused { start, error },
            _ => {
                let (held, kept) = chunk.close_account();
                Event::Draining {
                    start,
                    size: chunk.size(),
                    free: chunk.size().wrapping_sub(held << chunk.order()),
                    cached: kept << chunk.order(),
                }
            }
        })
    }
}
