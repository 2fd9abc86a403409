//! The owner of each granule: a table outside the pool that every holder signs.
//!
//! It is not the oracle, which is for one thread: here no order of the calls is known, and a lock would impose one.

use std::sync::atomic::{AtomicU32, Ordering};

use genpool_core::{Allocation, OwnedAllocation, Pool};

use crate::{GRANULE, ORDER, SEED};

/// One signature per granule of the address range in use; 0 means no owner.
///
/// All accesses are `Relaxed`. That a new owner sees the previous owner's signature gone is the pool's guarantee:
/// what was written before a free happens before the next owner's use.
pub(crate) struct Table {
    base: usize,
    owners: Vec<AtomicU32>,
}

impl Table {
    pub(crate) fn new(base: usize, granules: usize) -> Self {
        Self {
            base,
            owners: (0..granules).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    fn range(&self, addr: usize, size: usize) -> &[AtomicU32] {
        let from = (addr - self.base) >> ORDER;
        &self.owners[from..from + (size >> ORDER)]
    }

    /// Signs a range that was just allocated.
    pub(crate) fn sign(&self, by: u32, addr: usize, size: usize) {
        assert_eq!(addr % GRANULE, 0);
        for (at, owner) in self.range(addr, size).iter().enumerate() {
            // The load alone may see an old value if nothing orders it; the exchange may not.
            let stale = owner.load(Ordering::Relaxed);
            let signed = owner.compare_exchange(0, by, Ordering::Relaxed, Ordering::Relaxed);
            assert!(
                stale == 0 && signed.is_ok(),
                "{by} was given granule {at} of {size:#x} bytes at {addr:#x}, which is {stale}'s \
                 ({signed:?}); seed {SEED}"
            );
        }
    }

    /// Removes the signature before the range is freed.
    pub(crate) fn clear(&self, by: u32, addr: usize, size: usize) {
        for owner in self.range(addr, size) {
            let was = owner.swap(0, Ordering::Relaxed);
            // While a failed test unwinds, a second failure would abort the process.
            assert!(
                was == by || std::thread::panicking(),
                "{was} signed in {by}'s {size:#x} bytes at {addr:#x}; seed {SEED}"
            );
        }
    }

    pub(crate) fn is_clear(&self) -> bool {
        let mut owners = self.owners.iter();
        owners.all(|owner| owner.load(Ordering::Relaxed) == 0)
    }
}

/// How the pool's side of a range is held.
pub(crate) enum Hold<'p> {
    Scoped(Allocation<'p>),
    Owned(OwnedAllocation),
    Raw(&'p Pool),
}

/// A signed range. The signature is removed before the range is given back.
pub(crate) struct Held<'p> {
    table: &'p Table,
    by: u32,
    pub(crate) addr: usize,
    pub(crate) size: usize,
    hold: Option<Hold<'p>>,
}

impl<'p> Held<'p> {
    pub(crate) fn new(table: &'p Table, by: u32, hold: Hold<'p>) -> Self {
        let (addr, size) = match &hold {
            Hold::Scoped(scoped) => (scoped.addr(), scoped.size()),
            Hold::Owned(owned) => (owned.addr(), owned.size()),
            Hold::Raw(_) => unreachable!("ranges become raw later"),
        };
        table.sign(by, addr, size);
        Self {
            table,
            by,
            addr,
            size,
            hold: Some(hold),
        }
    }

    /// Turns the allocation into numbers. The range is freed by address from now on.
    pub(crate) fn make_raw(&mut self, pool: &'p Pool) {
        let range = match self.hold.take() {
            Some(Hold::Scoped(scoped)) => Some(scoped.into_raw()),
            Some(Hold::Owned(owned)) => Some(owned.into_raw()),
            Some(Hold::Raw(_)) | None => None,
        };
        if let Some(range) = range {
            assert_eq!((range.addr, range.size), (self.addr, self.size));
        }
        self.hold = Some(Hold::Raw(pool));
    }

    /// Grows or shrinks. Returns whether it did.
    pub(crate) fn resize(&mut self, size: usize) -> bool {
        if self.is_raw() {
            return false;
        }
        if size < self.size {
            // What lies past the new end belongs to its next owner as soon as the range is resized.
            let whole = size.next_multiple_of(GRANULE);
            self.table
                .clear(self.by, self.addr + whole, self.size - whole);
        }
        let outcome = match &mut self.hold {
            Some(Hold::Scoped(scoped)) => scoped.resize(size).map(|()| scoped.size()),
            Some(Hold::Owned(owned)) => owned.resize(size).map(|()| owned.size()),
            Some(Hold::Raw(_)) | None => return false,
        };
        match outcome {
            Ok(now) => {
                if now > self.size {
                    self.table
                        .sign(self.by, self.addr + self.size, now - self.size);
                }
                self.size = now;
                true
            }
            Err(refused) => {
                assert!(size > self.size, "not shrunk: {refused}; seed {SEED}");
                false
            }
        }
    }

    pub(crate) fn allocation(&self) -> Option<&Allocation<'_>> {
        match &self.hold {
            Some(Hold::Scoped(scoped)) => Some(scoped),
            Some(Hold::Owned(owned)) => Some(owned),
            Some(Hold::Raw(_)) | None => None,
        }
    }

    pub(crate) fn is_raw(&self) -> bool {
        matches!(self.hold, Some(Hold::Raw(_)))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.table.clear(self.by, self.addr, self.size);
        if let Some(Hold::Raw(pool)) = &self.hold {
            // Half of the tracked ranges are freed by address alone.
            let freed = if pool.is_tracked() && self.addr & GRANULE != 0 {
                pool.free_addr(self.addr).map(|size| size == self.size)
            } else {
                pool.free(self.addr, self.size).map(|()| true)
            };
            assert!(
                freed == Ok(true) || std::thread::panicking(),
                "free of {:#x} bytes at {:#x}: {freed:?}; seed {SEED}",
                self.size,
                self.addr
            );
        }
    }
}
