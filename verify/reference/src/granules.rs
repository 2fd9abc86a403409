//! A chunk of the oracle, granule by granule.

use alloc::vec::Vec;
use core::ops::Range;

use crate::Limits;

/// The granules of a chunk of an [`Oracle`](crate::Oracle).
///
/// Addresses are `u128`, so that a chunk may end exactly at the top of the address space.
#[derive(Debug, Clone, Copy)]
pub struct Granules<'o> {
    pub(crate) start: usize,
    pub(crate) order: u32,
    /// `true`: allocated.
    pub(crate) bits: &'o [bool],
}

impl Granules<'_> {
    /// Returns the indices of all granules.
    pub fn all(&self) -> Range<usize> {
        0..self.bits.len()
    }

    /// Returns the address of granule `at`, which need not exist.
    pub fn addr(&self, at: usize) -> u128 {
        self.start as u128 + ((at as u128) << self.order)
    }

    /// Returns the granule that contains `addr`, if one of the chunk does.
    pub fn granule_at(&self, addr: usize) -> Option<usize> {
        let at = addr.checked_sub(self.start)? >> self.order;
        (at < self.bits.len()).then_some(at)
    }

    /// Returns whether `n` granules from `at` on exist.
    pub fn exist(&self, at: usize, n: usize) -> bool {
        at.checked_add(n).is_some_and(|end| end <= self.bits.len())
    }

    /// Returns whether `n` granules from `at` on exist and are free.
    pub fn are_free(&self, at: usize, n: usize) -> bool {
        let end = at.checked_add(n);
        let run = end.and_then(|end| self.bits.get(at..end));
        run.is_some_and(|run| !run.contains(&true))
    }

    /// Returns whether `n` granules from `at` on exist and meet the limits. `n` is not 0.
    pub fn meet(&self, at: usize, n: usize, limits: &Limits) -> bool {
        self.exist(at, n) && limits.allow(self.addr(at), self.addr(at + n) - 1)
    }

    /// Returns the maximal runs of free granules, lowest first, as the first granule and the number of granules.
    pub fn free_runs(&self) -> Vec<(usize, usize)> {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for at in self.all().filter(|&at| !self.bits[at]) {
            match runs.last_mut() {
                Some((start, len)) if *start + *len == at => *len += 1,
                _ => runs.push((at, 1)),
            }
        }
        runs
    }
}
