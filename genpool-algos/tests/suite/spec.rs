//! Every algorithm twice: the real one, and its rule by brute force over the granules of the oracle.

use genpool_algos::{
    BestFit, FirstFitAlign, FixedAddress, FixedOffset, NextFit, OrderAlign, SpreadFit, ThreadStart,
};
use genpool_core::{Algorithm, AllocError, FirstFit, Impossible, Unsuitable};
use genpool_core::{Constrained, Constraints};
use genpool_plain::{Fit, Granules, Limits, Oracle};

/// An algorithm and its data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spec {
    FirstFit,
    Align(usize),
    OrderAlign,
    BestFit,
    FixedOffset(usize),
    FixedAddress(usize),
    NextFit,
    ThreadStart,
    SpreadFit,
    Constrained(Among, Limits),
}

/// The fit among the places that the limits allow.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Among {
    FirstFit,
    BestFit,
    NextFit,
    ThreadStart,
}

/// The real algorithm, and the state that its rule needs.
pub(crate) struct Chooser {
    pub(crate) spec: Spec,
    pub(crate) real: Box<dyn Algorithm>,
    pub(crate) rule: Rule,
}

/// The rule of a [`Spec`], with its state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    spec: Spec,
    /// The address after the last allocation of a next fit.
    next: usize,
}

/// A real algorithm that a pool can own.
pub(crate) struct Shared(pub(crate) Box<dyn Algorithm>);

impl Algorithm for Shared {
    fn check(&self, request: &genpool_core::Request) -> Result<(), Unsuitable> {
        self.0.check(request)
    }

    fn rules_out(
        &self,
        chunk: &genpool_core::ChunkView<'_>,
        request: &genpool_core::Request,
    ) -> Option<Impossible> {
        self.0.rules_out(chunk, request)
    }

    fn only_address(&self) -> Option<usize> {
        self.0.only_address()
    }

    fn spreads(&self) -> bool {
        self.0.spreads()
    }

    fn propose(
        &self,
        chunk: &genpool_core::ChunkView<'_>,
        request: &genpool_core::Request,
    ) -> Option<genpool_core::Granule> {
        self.0.propose(chunk, request)
    }

    fn claim<'c>(
        &self,
        chunk: &genpool_core::ChunkView<'c>,
        request: &genpool_core::Request,
    ) -> genpool_core::Claim<'c> {
        self.0.claim(chunk, request)
    }
}

impl Chooser {
    pub(crate) fn new(spec: Spec) -> Self {
        Self {
            spec,
            real: spec.real(),
            rule: Rule::new(spec),
        }
    }
}

impl Spec {
    /// A new algorithm without any state.
    pub(crate) fn real(self) -> Box<dyn Algorithm> {
        match self {
            Self::FirstFit => Box::new(FirstFit),
            Self::Align(bytes) => Box::new(FirstFitAlign::new(bytes).expect("a power of two")),
            Self::OrderAlign => Box::new(OrderAlign),
            Self::BestFit => Box::new(BestFit),
            Self::FixedOffset(offset) => Box::new(FixedOffset::new(offset)),
            Self::FixedAddress(addr) => Box::new(FixedAddress::new(addr)),
            Self::NextFit => Box::new(NextFit::new()),
            Self::ThreadStart => Box::new(ThreadStart),
            Self::SpreadFit => Box::new(SpreadFit),
            Self::Constrained(among, limits) => {
                let limits = constraints(limits);
                match among {
                    Among::FirstFit => Box::new(Constrained::new(FirstFit, limits)),
                    Among::BestFit => Box::new(Constrained::new(BestFit, limits)),
                    Among::NextFit => Box::new(Constrained::new(NextFit::new(), limits)),
                    Among::ThreadStart => Box::new(Constrained::new(ThreadStart, limits)),
                }
            }
        }
    }

    /// The reasons why a request of `size` bytes cannot be served at all. The pool may return any of them.
    fn unsuitable(self, size: usize, order: u32) -> Vec<Unsuitable> {
        let granule = 1_usize << order;
        match self {
            Self::FixedOffset(place) | Self::FixedAddress(place) => (place % granule != 0)
                .then_some(Unsuitable::MisalignedPlace { place, granule })
                .into_iter()
                .collect(),
            Self::Constrained(_, limits) => {
                let mut reasons = Vec::new();
                let phase = limits.phase;
                if phase % granule != 0 {
                    reasons.push(Unsuitable::Phase { phase, granule });
                }
                if let Some(boundary) = limits.boundary
                    && granules(size, order) << order > boundary as u128
                {
                    let boundary = boundary as u64;
                    reasons.push(Unsuitable::LongerThanBoundary { size, boundary });
                }
                let (lowest, highest) = (limits.lowest, limits.highest);
                if lowest as u128 + (granules(size, order) << order) > highest as u128 + 1 {
                    let (lowest, highest) = (lowest as u64, highest as u64);
                    reasons.push(Unsuitable::LongerThanRange {
                        size,
                        lowest,
                        highest,
                    });
                }
                reasons
            }
            _ => Vec::new(),
        }
    }
}

/// Returns the constraints with these limits.
fn constraints(limits: Limits) -> Constraints {
    let aligned = Constraints::new()
        .align_phase(limits.align, limits.phase)
        .expect("a power of two and a phase below it")
        .lowest(limits.lowest)
        .highest(limits.highest);
    match limits.boundary {
        Some(bytes) => aligned.boundary(bytes).expect("a power of two"),
        None => aligned,
    }
}

impl Rule {
    /// Whether the algorithm may choose any of the places that fit.
    pub(crate) fn is_free(&self) -> bool {
        matches!(
            self.spec,
            Spec::ThreadStart | Spec::SpreadFit | Spec::Constrained(Among::ThreadStart, _)
        )
    }

    pub(crate) fn new(spec: Spec) -> Self {
        Self { spec, next: 0 }
    }

    /// Takes `size` bytes out of the oracle by the rule, or returns the expected error. If there are several errors,
    /// the pool may return any. If the rule allows several places, `chosen` is the one that the pool took, and is
    /// taken if it is valid.
    pub(crate) fn alloc(
        &mut self,
        oracle: &mut Oracle,
        order: u32,
        size: usize,
        chosen: Option<usize>,
    ) -> Result<usize, Vec<AllocError>> {
        if size == 0 {
            return Err(vec![AllocError::ZeroSize]);
        }
        let unsuitable = self.spec.unsuitable(size, order);
        if !unsuitable.is_empty() {
            return Err(unsuitable.into_iter().map(AllocError::Unsuitable).collect());
        }
        let found = match self.spec {
            Spec::FirstFit => oracle.alloc(size, Fit::FirstFit),
            Spec::Align(bytes) => oracle.alloc(size, Fit::FirstFitAlign(bytes)),
            Spec::OrderAlign => oracle.alloc(size, Fit::OrderAlign),
            Spec::BestFit => oracle.alloc(size, Fit::BestFit),
            Spec::FixedOffset(offset) => oracle.alloc(size, Fit::FixedOffset(offset)),
            Spec::FixedAddress(addr) => oracle.alloc_at(addr, size),
            Spec::NextFit | Spec::ThreadStart | Spec::SpreadFit | Spec::Constrained(..) => oracle
                .alloc_where(size, |chunk| {
                    let n = usize::try_from(granules(size, order)).expect("a size in granules");
                    self.choose(chunk, n, chosen)
                }),
        };
        let addr = found.ok_or_else(|| vec![self.refusal(oracle, order, size)])?;
        // The address past the top of the address space wraps to 0, which is in no chunk.
        let bytes = granules(size, order) << order;
        self.next = (addr as u128 + bytes) as usize;
        Ok(addr)
    }

    /// The expected refusal if nothing is found. If there are several reasons why it is impossible, the pool may give
    /// any of them: see [`is_same`].
    fn refusal(&self, oracle: &Oracle, order: u32, size: usize) -> AllocError {
        let n = usize::try_from(granules(size, order)).expect("a size in granules");
        let mut chunks = (0..).map_while(|at| oracle.granules(at));
        let possible = chunks.any(|chunk| self.could(chunk, order, n, size));
        match self.spec {
            _ if !possible => AllocError::Impossible(Impossible::NoChunk),
            Spec::FixedAddress(addr) => AllocError::Taken { addr, size },
            _ => AllocError::Exhausted { size },
        }
    }

    /// Whether the chunk, if it were free, has a place for the request.
    fn could(&self, chunk: Granules<'_>, order: u32, n: usize, size: usize) -> bool {
        let aligned = |align: u128| {
            let mut all = chunk.all();
            all.any(|at| chunk.addr(at).is_multiple_of(align) && chunk.exist(at, n))
        };
        match self.spec {
            Spec::Align(bytes) => aligned(bytes as u128),
            Spec::OrderAlign => aligned((size as u128).next_power_of_two()),
            Spec::FixedOffset(offset) => chunk.exist(offset >> order, n),
            Spec::FixedAddress(addr) => chunk.granule_at(addr).is_some_and(|at| chunk.exist(at, n)),
            Spec::Constrained(_, limits) => chunk.all().any(|at| chunk.meet(at, n, &limits)),
            Spec::FirstFit
            | Spec::BestFit
            | Spec::NextFit
            | Spec::ThreadStart
            | Spec::SpreadFit => chunk.exist(0, n),
        }
    }

    fn choose(&self, chunk: Granules<'_>, n: usize, chosen: Option<usize>) -> Option<usize> {
        let next = || chunk.granule_at(self.next).unwrap_or(0);
        match self.spec {
            Spec::NextFit => around(chunk, next(), n, &Limits::NONE),
            Spec::ThreadStart | Spec::SpreadFit => any(chunk, chosen, n, &Limits::NONE),
            Spec::Constrained(among, limits) => match among {
                Among::FirstFit => around(chunk, 0, n, &limits),
                Among::BestFit => best(chunk, n, &limits),
                Among::NextFit => around(chunk, next(), n, &limits),
                Among::ThreadStart => any(chunk, chosen, n, &limits),
            },
            Spec::FirstFit
            | Spec::Align(_)
            | Spec::OrderAlign
            | Spec::BestFit
            | Spec::FixedOffset(_)
            | Spec::FixedAddress(_) => unreachable!("the oracle knows it"),
        }
    }
}

/// Whether `refused` is a correct answer when `expected` gives the reason.
pub(crate) fn is_same(expected: &AllocError, refused: &AllocError) -> bool {
    let impossible = |error| matches!(error, &AllocError::Impossible(_));
    expected == refused || impossible(expected) && impossible(refused)
}

/// Whether `n` granules from `at` on exist, are free, and meet the limits.
fn fits(chunk: Granules<'_>, at: usize, n: usize, limits: &Limits) -> bool {
    chunk.are_free(at, n) && chunk.meet(at, n, limits)
}

/// The first fit from `from` on, or else the first from the beginning.
fn around(chunk: Granules<'_>, from: usize, n: usize, limits: &Limits) -> Option<usize> {
    let mut places = (from..chunk.all().end).chain(0..from);
    places.find(|&at| fits(chunk, at, n, limits))
}

/// The lowest fit in the smallest free run that has one, and in the lowest of several such runs. A run counts with its
/// whole length, whatever part of it the limits allow.
fn best(chunk: Granules<'_>, n: usize, limits: &Limits) -> Option<usize> {
    let fit_in = |(start, len): (usize, usize)| {
        let fit = (start..start + len).find(|&at| fits(chunk, at, n, limits))?;
        Some((len, fit))
    };
    let fitting = chunk.free_runs().into_iter().filter_map(fit_in);
    fitting.min().map(|(_, fit)| fit)
}

/// The chosen place, if it is in this chunk and fits, or else any fit.
fn any(chunk: Granules<'_>, chosen: Option<usize>, n: usize, limits: &Limits) -> Option<usize> {
    let is_chosen = |&at: &usize| chosen.is_some_and(|addr| chunk.addr(at) == addr as u128);
    chosen
        .and_then(|addr| chunk.granule_at(addr))
        .filter(is_chosen)
        .filter(|&at| fits(chunk, at, n, limits))
        .or_else(|| around(chunk, 0, n, limits))
}

/// The number of granules that hold `size` bytes.
pub(crate) fn granules(size: usize, order: u32) -> u128 {
    (size as u128).div_ceil(1 << order)
}
