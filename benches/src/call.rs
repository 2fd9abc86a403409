//! The ways to call genpool, by name.

use std::fmt;
use std::time::Instant;

use genpool::{
    Algorithm, BestFit, Constrained, ConstraintError, Constraints, FirstFit, FirstFitAlign,
    NextFit, OrderAlign, ThreadStart,
};
use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::contestant::{BuildFailure, By, ByAddress, Layout, Ours, Plain, ThroughCache, Way};
use crate::task::Task;

/// A way to call genpool, with its algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// `alloc`, first fit.
    FirstFit,
    /// `alloc_with(&FirstFit)`.
    FirstFitNamed,
    /// `alloc`, first fit, with frees by address.
    ByAddress,
    /// `alloc_with` first fit under the constraints of a device.
    Constrained,
    /// `alloc_with(&FirstFitAlign)`, two granules.
    FirstFitAlign,
    /// `alloc_with(&OrderAlign)`.
    OrderAlign,
    /// `alloc_with(&NextFit)`.
    NextFit,
    /// `alloc_with(&ThreadStart)`.
    ThreadStart,
    /// `alloc`, best fit.
    BestFit,
    /// `alloc_with(&BestFit)`.
    BestFitNamed,
    /// A cache for each thread, over first fit.
    Cached,
}

impl Call {
    /// All ways, in the order of a table.
    pub const ALL: [Self; 11] = [
        Self::FirstFit,
        Self::FirstFitNamed,
        Self::ByAddress,
        Self::Constrained,
        Self::FirstFitAlign,
        Self::OrderAlign,
        Self::NextFit,
        Self::ThreadStart,
        Self::BestFit,
        Self::BestFitNamed,
        Self::Cached,
    ];

    /// Makes the pool and sets the scene of the task before the `deadline`.
    ///
    /// # Errors
    ///
    /// If the pool refuses its layout or its scene, or the deadline passes.
    pub fn cell(self, task: &Task, deadline: Instant) -> Result<Cell, BuildFailure> {
        let layout = &task.layout;
        let refused = |error: ConstraintError| BuildFailure::new(error);
        let two = 2 * layout.granule();
        match self {
            Self::FirstFit => of(FirstFit, Plain, task, deadline),
            Self::FirstFitNamed => of(FirstFit, By(FirstFit), task, deadline),
            Self::ByAddress => of(FirstFit, ByAddress, task, deadline),
            Self::Constrained => {
                let constraints = device_constraints(layout).map_err(refused)?;
                let way = By(Constrained::new(FirstFit, constraints));
                of(FirstFit, way, task, deadline)
            }
            Self::FirstFitAlign => {
                let way = By(FirstFitAlign::new(two).map_err(refused)?);
                of(FirstFit, way, task, deadline)
            }
            Self::OrderAlign => of(FirstFit, By(OrderAlign), task, deadline),
            Self::NextFit => of(FirstFit, By(NextFit::new()), task, deadline),
            Self::ThreadStart => of(FirstFit, By(ThreadStart), task, deadline),
            Self::BestFit => of(BestFit, Plain, task, deadline),
            Self::BestFitNamed => of(FirstFit, By(BestFit), task, deadline),
            Self::Cached => of(FirstFit, ThroughCache, task, deadline),
        }
    }
}

fn of<W: Way>(
    default: impl Algorithm + 'static,
    way: W,
    task: &Task,
    deadline: Instant,
) -> Result<Cell, BuildFailure> {
    Cell::new(Ours::new(&task.layout, default, way)?, task, deadline)
}

/// Returns the constraints of a device that reaches three quarters of the pool.
///
/// # Errors
///
/// If granules are longer than the boundary.
pub fn device_constraints(layout: &Layout) -> Result<Constraints, ConstraintError> {
    let first: usize = layout.starts().iter().sum();
    let reached = Constraints::new().highest(first + layout.bytes() / 4 * 3 - 1);
    reached.align(2 * layout.granule())?.boundary(1 << 20)
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::FirstFit => "first fit",
            Self::FirstFitNamed => "first fit, alloc_with",
            Self::ByAddress => "first fit, free by address",
            Self::Constrained => "first fit under constraints",
            Self::FirstFitAlign => "aligned first fit",
            Self::OrderAlign => "order align",
            Self::NextFit => "next fit",
            Self::ThreadStart => "thread start",
            Self::BestFit => "best fit",
            Self::BestFitNamed => "best fit, alloc_with",
            Self::Cached => "cache",
        })
    }
}
