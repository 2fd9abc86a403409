//! A pool and what a trace holds of it: the step that replaying and verifying share.

use genpool::{Algorithm, AllocError, FreeError, Pool};

use crate::algorithm::AlgorithmSpec;
use crate::trace::{Slot, Trace, TraceError};

/// One pool being driven by one trace.
pub(crate) struct Driver {
    pool: Pool,
    named: Vec<Box<dyn Algorithm>>,
    unnamed: Box<dyn Algorithm>,
    /// What each allocation of the trace got: its address, and the size that was asked for.
    held: Vec<Option<(usize, usize)>>,
}

impl Driver {
    /// An empty pool for `trace`; `unnamed` serves allocations that name no algorithm.
    pub(crate) fn new(trace: &Trace, unnamed: AlgorithmSpec) -> Result<Self, TraceError> {
        let build = |spec: AlgorithmSpec| {
            spec.build()
                .map_err(|error| TraceError::new(trace.pool_line(), error.to_string()))
        };
        Ok(Self {
            pool: Pool::new(trace.order())
                .map_err(|error| TraceError::new(trace.pool_line(), error.to_string()))?,
            named: trace
                .algorithms()
                .iter()
                .map(|&spec| build(spec))
                .collect::<Result<_, _>>()?,
            unnamed: build(unnamed)?,
            held: vec![None; trace.allocs()],
        })
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn add(
        &self,
        line: u32,
        virt: usize,
        phys: Option<u64>,
        size: usize,
    ) -> Result<(), TraceError> {
        match phys {
            Some(phys) => self.pool.add_virt(virt, phys, size),
            None => self.pool.add(virt, size),
        }
        .map_err(|error| TraceError::new(line, error.to_string()))
    }

    pub(crate) fn alloc(
        &mut self,
        slot: Slot,
        size: usize,
        algorithm: Option<u32>,
    ) -> Result<usize, AllocError> {
        let algorithm = match algorithm {
            Some(index) => &*self.named[index as usize],
            None => &*self.unnamed,
        };
        let addr = self.pool.alloc_with(size, algorithm)?.into_raw().addr;
        self.held[slot.index()] = Some((addr, size));
        Ok(addr)
    }

    /// `None` when there is nothing to give back. The size is the one that was asked for; the pool
    /// rounds it up.
    pub(crate) fn free(&mut self, slot: Slot) -> Option<Result<(), FreeError>> {
        let (addr, size) = self.held[slot.index()].take()?;
        Some(self.pool.free(addr, size))
    }

    /// Gives back what the trace has left allocated.
    pub(crate) fn free_rest(&mut self) -> Result<(), FreeError> {
        self.held
            .iter_mut()
            .filter_map(Option::take)
            .try_for_each(|(addr, size)| self.pool.free(addr, size))
    }
}
