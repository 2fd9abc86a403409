//! The calls of a pool that has an observer: the usual way, and what is told of it.

use core::panic::AssertUnwindSafe;
use std::panic::{catch_unwind, resume_unwind};

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Inner;
use crate::algorithm::{Algorithm, FirstFit, Notation};
use crate::allocation::{Allocation, Home, Parts, Place};
use crate::chunk::{Chunk, granules_for};
use crate::error::{AddError, AllocError, FreeError, RemoveError};
use crate::observer::{Audience, Event};
use crate::records::Extent;
use crate::shelf::Route;

impl Inner {
    #[inline(always)]
    pub(crate) fn audience(&self) -> Option<&Arc<Audience>> {
        self.audience.as_ref()
    }

    #[cold]
    #[inline(never)]
    pub(super) fn alloc_told(
        &self,
        audience: &Audience,
        size: usize,
    ) -> Result<Parts<'_>, AllocError> {
        // Before anything is held: it is a user's code.
        let algorithm = self.default_notation();
        let found = self.alloc_default(size, 0);
        self.tell_alloc(audience, size, algorithm, &found);
        found.map(Allocation::into_parts)
    }

    #[cold]
    #[inline(never)]
    pub(super) fn alloc_with_told<A: Algorithm + ?Sized>(
        &self,
        audience: &Audience,
        size: usize,
        algorithm: &A,
    ) -> Result<Parts<'_>, AllocError> {
        let notation = algorithm.notation();
        let found = self.alloc_with(size, algorithm, 0);
        self.tell_alloc(audience, size, notation, &found);
        found.map(Allocation::into_parts)
    }

    /// As if they had been asked for one by one, up to the one that was refused.
    #[cold]
    pub(super) fn alloc_many_told<'p>(
        &'p self,
        audience: &Audience,
        sizes: &[usize],
    ) -> Result<Vec<Allocation<'p>>, AllocError> {
        let algorithm = self.default_notation();
        // Dropped after the list.
        let crossing = self.traffic.cross();
        let mut list = Vec::new();
        let each = AssertUnwindSafe(|| self.alloc_each(sizes, &mut list));
        let outcome = catch_unwind(each);
        if let Ok(Ok(())) = outcome {
            drop(crossing);
        }
        // All of them: each will be told of when it comes back.
        for (allocation, &asked) in list.iter().zip(sizes) {
            self.tell_allocated(audience, asked, algorithm, allocation);
        }
        if let (&Ok(Err(error)), Some(&asked)) = (&outcome, sizes.get(list.len())) {
            audience.tell(&Event::AllocRefused {
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

    /// Tells of the answer to a request, which the caller holds.
    pub(crate) fn tell_alloc(
        &self,
        audience: &Audience,
        asked: usize,
        algorithm: Option<Notation>,
        found: &Result<Allocation<'_>, AllocError>,
    ) {
        match found {
            Ok(allocation) => self.tell_allocated(audience, asked, algorithm, allocation),
            &Err(error) => audience.tell(&Event::AllocRefused {
                asked,
                algorithm,
                error,
            }),
        }
    }

    fn tell_allocated(
        &self,
        audience: &Audience,
        asked: usize,
        algorithm: Option<Notation>,
        allocation: &Allocation<'_>,
    ) {
        audience.tell(&Event::Allocated {
            addr: allocation.addr(),
            asked,
            size: allocation.size(),
            algorithm,
            cached: false,
            serves: allocation.account(allocation.granules() as isize),
        });
    }

    /// Tells of an allocation that a cache kept until now.
    pub(crate) fn tell_cached(
        &self,
        audience: &Audience,
        asked: usize,
        chunk: &Chunk,
        allocation: &Allocation<'_>,
    ) {
        let (addr, size) = (allocation.addr(), allocation.size());
        let n = allocation.granules() as isize;
        let (kept, held) = (chunk.account_kept(-n), chunk.account(n));
        if kept != held {
            // Only one of the changes counts.
            audience.tell(&Event::CacheEmptied {
                addrs: &[addr],
                size,
                serves: kept,
            });
        }
        audience.tell(&Event::Allocated {
            addr,
            asked,
            size,
            algorithm: None,
            cached: kept == held,
            serves: held,
        });
    }

    /// Tells of an allocation that a cache keeps from now on.
    pub(crate) fn tell_kept(&self, audience: &Audience, chunk: &Chunk, addr: usize, n: usize) {
        let size = n << self.order;
        let n = n as isize;
        let (kept, held) = (chunk.account_kept(n), chunk.account(-n));
        audience.tell(&Event::Freed {
            addr,
            size,
            cached: kept == held,
            serves: held,
        });
        if kept != held {
            // Only one of the changes counts.
            self.tell_filled(audience, &[addr], size, kept);
        }
    }

    /// Tells of runs of `n` granules that a cache took from the pool.
    pub(crate) fn fill_cache_told(
        &self,
        audience: &Audience,
        chunk: &Chunk,
        addrs: &[usize],
        n: usize,
    ) {
        let serves = chunk.account_kept((addrs.len() * n) as isize);
        self.tell_filled(audience, addrs, n << self.order, serves);
    }

    fn tell_filled(&self, audience: &Audience, addrs: &[usize], size: usize, serves: bool) {
        audience.tell(&Event::CacheFilled {
            addrs,
            size,
            serves,
        });
    }

    /// Has a cache give back runs of `n` granules of the chunk.
    #[cold]
    pub(crate) fn empty_cache_told(
        &self,
        audience: &Audience,
        chunk: &Chunk,
        addrs: &[usize],
        n: usize,
        give_back: impl FnOnce(),
    ) {
        let step = || {
            give_back();
            chunk.account_kept(-((addrs.len() * n) as isize))
        };
        audience.around(step, |serves| Event::CacheEmptied {
            addrs,
            size: n << self.order,
            // Callbacks are those of chunks that are being removed.
            serves: serves.copied().unwrap_or(false),
        });
    }

    /// That of the default algorithm as it is now.
    fn default_notation(&self) -> Option<Notation> {
        match self.shelf.default() {
            Route::FirstFit => FirstFit.notation(),
            Route::BuiltWith => self.built_with.notation(),
            Route::Other => self.shelf.pin().algorithm().notation(),
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn give_back_told(
        &self,
        audience: &Audience,
        home: Home<'_>,
        addr: usize,
        extent: Extent,
    ) {
        let n = self.granules_of(extent);
        let size = n << self.order;
        // Whether it came back, and if so, whether to a chunk that serves.
        let give_back = |chunk: &Chunk| {
            let taken_back = self.give_back_to(chunk, addr, extent);
            taken_back.then(|| chunk.account(-(n as isize)))
        };
        let step = || {
            let outcome = match home.place() {
                Place::Permanent(chunk) => give_back(chunk),
                Place::Listed { generation } => self
                    .in_generation(addr, generation, give_back)
                    .unwrap_or(None),
            };
            if outcome.is_none() {
                self.counters.refused_free();
            }
            outcome
        };
        audience.around(step, |outcome| match outcome {
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
            // Callbacks are those of chunks that are being removed.
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
    pub(super) fn free_told<R>(
        &self,
        audience: &Audience,
        addr: usize,
        size: Option<usize>,
        with: impl FnOnce(&Chunk, usize) -> R,
    ) -> Result<R, FreeError> {
        let order = self.order;
        let step = || {
            self.free_untold(addr, size, |chunk, n| {
                let serves = chunk.account(-(n as isize));
                (n << order, serves, with(chunk, n))
            })
        };
        let freed = audience.around(step, |outcome| match outcome {
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

    pub(super) fn add_told(
        audience: &Audience,
        (start, size, phys): (usize, usize, Option<u64>),
        add: impl FnOnce() -> Result<(), AddError>,
    ) -> Result<(), AddError> {
        audience.around(add, |outcome| match outcome {
            Some(Err(error)) => Event::AddRefused {
                start,
                size,
                reason: error.reason,
            },
            _ => Event::ChunkAdded { start, size, phys },
        })
    }

    pub(super) fn remove_told(
        audience: &Audience,
        chunk: &Chunk,
        remove: impl FnOnce() -> Result<(), RemoveError>,
    ) -> Result<(), RemoveError> {
        let start = chunk.start();
        audience.around(remove, |outcome| match outcome {
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

    fn granules_of(&self, extent: Extent) -> usize {
        match self.tracked {
            true => extent.deed().len(),
            false => extent.len(),
        }
    }
}
