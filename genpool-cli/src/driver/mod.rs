//! A pool and what a trace holds of it: the part that replaying, comparing and verifying share.

mod aligned;

use genpool::{AddRefused, Algorithm, AllocError, FreeError, Pool};

use crate::algorithm::AlgorithmSpec;
use crate::trace::{MAX_GRANULES, Op, Slot, Trace, TraceError};
use aligned::Aligned;

pub(crate) use aligned::Alignment;

/// How a trace is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// The order of the pool. If it differs from the trace's, chunks lose the partial granules at their ends, and
    /// chunks of which nothing is left are not added.
    pub(crate) order: u32,
    /// Which algorithm serves which allocation.
    pub(crate) choice: Choice,
}

impl Manner {
    /// As recorded, with `unnamed` for allocations that name no algorithm.
    pub(crate) fn recorded(trace: &Trace, unnamed: AlgorithmSpec) -> Self {
        Self {
            order: trace.order(),
            choice: Choice::Unnamed(unnamed),
        }
    }
}

/// Which algorithm serves which allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The algorithms that allocations name, and this one if they name none.
    Unnamed(AlgorithmSpec),
    /// This one for all, at the alignment that allocations name.
    All(AlgorithmSpec),
}

/// A pool driven by a trace.
pub(crate) struct Driver {
    pool: Pool,
    /// Whether chunks are cut to whole granules.
    cuts: bool,
    /// The algorithms named by allocations, by index. `None` stands for the one that serves the others.
    named: Vec<Option<Box<dyn Algorithm>>>,
    unnamed: Box<dyn Algorithm>,
    /// What each allocation of the trace holds: its address and its requested size.
    held: Vec<Option<(usize, usize)>>,
}

impl Driver {
    /// Returns a driver with an empty pool for `trace`.
    pub(crate) fn new(trace: &Trace, manner: Manner) -> Result<Self, TraceError> {
        let of_pool = |error: String| TraceError::new(trace.pool_line(), error);
        let build = |spec: AlgorithmSpec| spec.build().map_err(|error| of_pool(error.to_string()));
        let algorithms = trace.algorithms().iter().copied();
        let (named, unnamed): (Vec<Option<Box<dyn Algorithm>>>, _) = match manner.choice {
            Choice::Unnamed(unnamed) => {
                let named = algorithms.map(|spec| build(spec).map(Some));
                (named.collect::<Result<_, _>>()?, unnamed)
            }
            Choice::All(spec) => {
                let wanted = |named| {
                    Alignment::named_by(named).filter(|wanted| !wanted.is_free_at(manner.order))
                };
                let aligned = |wanted| -> Result<Box<dyn Algorithm>, _> {
                    Ok(Box::new(Aligned(build(spec)?, wanted)))
                };
                let named = algorithms.map(|named| wanted(named).map(aligned).transpose());
                (named.collect::<Result<_, _>>()?, spec)
            }
        };
        let unnamed = build(unnamed)?;
        let mut builder = Pool::builder().order(manner.order);
        let all = named.iter().flatten().chain([&unnamed]);
        if { all }.any(|algorithm| algorithm.spreads()) {
            builder = builder.unit_index();
        }
        Ok(Self {
            pool: builder
                .build()
                .map_err(|error| of_pool(error.to_string()))?,
            cuts: manner.order != trace.order(),
            named,
            unnamed,
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
        let (start, size) = match self.cuts {
            true => whole(virt, size, self.pool.order()),
            false => (virt, size),
        };
        if self.cuts && size == 0 {
            return Ok(());
        }
        match phys.and_then(|phys| phys.checked_add((start - virt) as u64)) {
            Some(phys) => self.pool.add_virt(start, phys, size),
            None => self.pool.add(start, size),
        }
        .map_err(|error| TraceError::new(line, error.to_string()))
    }

    pub(crate) fn alloc(
        &mut self,
        slot: Slot,
        size: usize,
        algorithm: Option<u32>,
    ) -> Result<usize, AllocError> {
        let named = algorithm.and_then(|index| self.named.get(index as usize)?.as_deref());
        let algorithm = named.unwrap_or(&*self.unnamed);
        let addr = self.pool.alloc_with(size, algorithm)?.into_raw().addr;
        self.held[slot.index()] = Some((addr, size));
        Ok(addr)
    }

    /// Returns the requested size of what the allocation holds.
    pub(crate) fn held(&self, slot: Slot) -> Option<usize> {
        self.held[slot.index()].map(|(_, size)| size)
    }

    /// Returns `None` if there is nothing to free. The size is the requested one; the pool rounds it up.
    pub(crate) fn free(&mut self, slot: Slot) -> Option<Result<(), FreeError>> {
        let (addr, size) = self.held[slot.index()].take()?;
        Some(self.pool.free(addr, size))
    }

    /// Frees everything that the trace left allocated.
    pub(crate) fn free_rest(&mut self) -> Result<(), FreeError> {
        self.held
            .iter_mut()
            .filter_map(Option::take)
            .try_for_each(|(addr, size)| self.pool.free(addr, size))
    }
}

/// Returns the chunks of `trace` in a pool of `order`: start and size, in the order of the trace.
///
/// # Errors
///
/// [`TraceError`] if one wraps, or if they have more than [`MAX_GRANULES`] granules.
pub(crate) fn chunks(trace: &Trace, order: u32) -> Result<Vec<(usize, usize)>, TraceError> {
    let mut granules = 0usize;
    let mut chunks = Vec::new();
    for step in trace.steps() {
        let Op::Chunk { virt, size, .. } = step.op else {
            continue;
        };
        if virt.checked_add(size.saturating_sub(1)).is_none() {
            let reason = AddRefused::Wraps;
            let what = format!("chunk of {size:#x} bytes at {virt:#x}: {reason}");
            return Err(TraceError::new(step.line, what));
        }
        let (start, size) = match order == trace.order() {
            true => (virt, size),
            false => whole(virt, size, order),
        };
        granules = granules.saturating_add(size.checked_shr(order).unwrap_or(0));
        if granules > MAX_GRANULES {
            return Err(TraceError::new(
                step.line,
                format!("at order {order} the chunks are over {MAX_GRANULES} granules"),
            ));
        }
        if size > 0 {
            chunks.push((start, size));
        }
    }
    Ok(chunks)
}

/// Returns the whole granules of a range. A range that wraps is left as it is, for the pool to refuse.
fn whole(virt: usize, size: usize, order: u32) -> (usize, usize) {
    let granule = 1u128 << order;
    let end = virt as u128 + size as u128;
    if end > usize::MAX as u128 + 1 {
        return (virt, size);
    }
    let start = (virt as u128).next_multiple_of(granule);
    match (end / granule * granule).checked_sub(start) {
        Some(size) if size > 0 => (start as usize, size as usize),
        Some(_) | None => (virt, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lower order than the trace's makes more granules of the same chunk.
    #[test]
    fn chunks_have_a_limited_number_of_granules() {
        let chunks_of = |size: usize| {
            let text = format!("# genpool trace v1\npool order=12\nchunk virt=0 size={size:#x}\n");
            chunks(&Trace::parse(&text).unwrap(), 11)
        };
        assert!(chunks_of(MAX_GRANULES << 11).is_ok());
        let error = chunks_of((MAX_GRANULES << 11) + (1 << 12)).unwrap_err();
        assert!(error.to_string().contains("at order 11"), "{error}");
    }

    #[test]
    fn chunks_are_cut_to_whole_granules() {
        for (virt, size, order, expected) in [
            (0x1000, 0x4000, 12, (0x1000, 0x4000)),
            (0x1000, 0x4000, 13, (0x2000, 0x2000)),
            (0x1000, 0x4000, 14, (0x1000, 0)),
            (0, 0x4000, 14, (0, 0x4000)),
            (0, 0x4000, 63, (0, 0)),
            (usize::MAX - 0xfff, 0x1000, 12, (usize::MAX - 0xfff, 0x1000)),
            (usize::MAX - 0xfff, 0x1000, 13, (usize::MAX - 0xfff, 0)),
            (usize::MAX, 2, 3, (usize::MAX, 2)),
            (8, 0, 3, (8, 0)),
        ] {
            assert_eq!(
                whole(virt, size, order),
                expected,
                "{virt:#x} {size:#x} {order}"
            );
        }
    }
}
