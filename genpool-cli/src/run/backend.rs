//! A common interface to the pools under load.

use genpool::{Algorithm, AllocError, Allocation, Pool};
use genpool_plain::{Fit, LockedPool};

/// Something that allocates ranges.
pub(super) trait Backend: Sync {
    /// An allocation.
    type Held: Send;

    fn alloc(&self, size: usize) -> Result<Self::Held, Refusal>;

    /// Returns the first address, and the size in bytes.
    fn range(held: &Self::Held) -> (usize, usize);

    fn free(&self, held: Self::Held) -> Result<(), String>;
}

/// Why an allocation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no room.
    Exhausted,
    /// Other threads were faster, again and again.
    Contended,
    /// An error that the requests of a run never cause.
    Unexpected(String),
}

/// The lock-free pool with one algorithm.
pub(super) struct LockFree<'p> {
    pub(super) pool: &'p Pool,
    pub(super) algorithm: &'p dyn Algorithm,
}

impl<'p> Backend for LockFree<'p> {
    type Held = Allocation<'p>;

    fn alloc(&self, size: usize) -> Result<Allocation<'p>, Refusal> {
        self.pool
            .alloc_with(size, self.algorithm)
            .map_err(|error| match error {
                AllocError::Exhausted { .. }
                | AllocError::Taken { .. }
                | AllocError::Impossible(_) => Refusal::Exhausted,
                AllocError::Contended { .. } => Refusal::Contended,
                error => Refusal::Unexpected(error.to_string()),
            })
    }

    fn range(held: &Allocation<'p>) -> (usize, usize) {
        (held.addr(), held.size())
    }

    fn free(&self, held: Allocation<'p>) -> Result<(), String> {
        drop(held);
        Ok(())
    }
}

/// The plain pool under its mutex, with one fit.
pub(super) struct Locked<'p> {
    pub(super) pool: &'p LockedPool,
    pub(super) fit: Fit,
}

impl Backend for Locked<'_> {
    type Held = (usize, usize);

    fn alloc(&self, size: usize) -> Result<(usize, usize), Refusal> {
        match self.pool.alloc(size, self.fit) {
            Some(addr) => Ok((addr, size)),
            None => Err(Refusal::Exhausted),
        }
    }

    fn range(held: &(usize, usize)) -> (usize, usize) {
        *held
    }

    fn free(&self, (addr, size): (usize, usize)) -> Result<(), String> {
        self.pool
            .free(addr, size)
            .map_err(|error| error.to_string())
    }
}
