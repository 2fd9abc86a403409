//! Every algorithm twice: the real one, and its rule by brute force over one `bool` per granule.

use genpool_algos::{
    BestFit, Constrained, Constraints, FirstFitAlign, FixedAddress, FixedOffset, NextFit,
    OrderAlign, ThreadStart,
};
use genpool_core::{Algorithm, AllocError, FirstFit, Impossible, Unsuitable};
use genpool_plain::{Fit, Oracle};

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

/// The contents of `Constraints`. `align` and `boundary` are powers of two, and `phase` is below `align`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) align: usize,
    pub(crate) phase: usize,
    pub(crate) lowest: usize,
    pub(crate) highest: usize,
    pub(crate) boundary: Option<usize>,
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

    fn place(&self) -> Option<usize> {
        self.0.place()
    }

    fn propose(
        &self,
        chunk: &genpool_core::ChunkView<'_>,
        request: &genpool_core::Request,
    ) -> Option<genpool_core::Granule> {
        self.0.propose(chunk, request)
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
            Self::Constrained(among, limits) => {
                let limits = limits.real();
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

impl Limits {
    fn real(self) -> Constraints {
        let aligned = Constraints::new()
            .align_phase(self.align, self.phase)
            .expect("a power of two and a phase below it")
            .lowest(self.lowest)
            .highest(self.highest);
        match self.boundary {
            Some(bytes) => aligned.boundary(bytes).expect("a power of two"),
            None => aligned,
        }
    }

    /// Whether a run from `addr` to `last` meets the limits, by their definition.
    fn allow(&self, addr: u128, last: u128) -> bool {
        addr % self.align as u128 == self.phase as u128
            && self.lowest as u128 <= addr
            && last <= self.highest as u128
            && self
                .boundary
                .is_none_or(|bytes| addr / bytes as u128 == last / bytes as u128)
    }
}

impl Rule {
    /// Whether the algorithm may choose any of the places that fit.
    pub(crate) fn is_free(&self) -> bool {
        matches!(
            self.spec,
            Spec::ThreadStart | Spec::Constrained(Among::ThreadStart, _)
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
            Spec::FixedAddress(_) | Spec::NextFit | Spec::ThreadStart | Spec::Constrained(..) => {
                oracle.alloc_where(size, |start, bits| {
                    let n = usize::try_from(granules(size, order)).expect("a size in granules");
                    self.choose(&Map { start, bits, order }, n, chosen)
                })
            }
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
        let mut possible = false;
        oracle.clone().alloc_where(size, |start, bits| {
            let bits = &*vec![false; bits.len()];
            possible |= self.could(&Map { start, bits, order }, n, size);
            None
        });
        match self.spec {
            _ if !possible => AllocError::Impossible(Impossible::NoChunk),
            Spec::FixedAddress(addr) => AllocError::Taken { addr, size },
            _ => AllocError::Exhausted { size },
        }
    }

    /// Whether the chunk, if it were free, has a place for the request.
    fn could(&self, map: &Map<'_>, n: usize, size: usize) -> bool {
        let aligned = |align: u128| {
            (0..map.bits.len())
                .any(|at| map.addr(at).is_multiple_of(align) && map.fits(at, n, &ANYWHERE))
        };
        match self.spec {
            Spec::Align(bytes) => aligned(bytes as u128),
            Spec::OrderAlign => aligned((size as u128).next_power_of_two()),
            Spec::FixedOffset(offset) => map.fits(offset >> map.order, n, &ANYWHERE),
            Spec::FixedAddress(addr) => map
                .granule_at(addr)
                .is_some_and(|at| map.fits(at, n, &ANYWHERE)),
            Spec::Constrained(_, limits) => map.around(0, n, &limits).is_some(),
            Spec::FirstFit | Spec::BestFit | Spec::NextFit | Spec::ThreadStart => {
                map.fits(0, n, &ANYWHERE)
            }
        }
    }

    fn choose(&self, map: &Map<'_>, n: usize, chosen: Option<usize>) -> Option<usize> {
        match self.spec {
            Spec::FixedAddress(addr) => map.granule_at(addr),
            Spec::NextFit => map.around(map.granule_at(self.next).unwrap_or(0), n, &ANYWHERE),
            Spec::ThreadStart => map.any(chosen, n, &ANYWHERE),
            Spec::Constrained(among, limits) => match among {
                Among::FirstFit => map.around(0, n, &limits),
                Among::BestFit => map.best(n, &limits),
                Among::NextFit => map.around(map.granule_at(self.next).unwrap_or(0), n, &limits),
                Among::ThreadStart => map.any(chosen, n, &limits),
            },
            _ => unreachable!("the oracle knows it"),
        }
    }
}

/// Whether `refused` is a correct answer when `expected` gives the reason.
pub(crate) fn is_same(expected: &AllocError, refused: &AllocError) -> bool {
    let impossible = |error| matches!(error, &AllocError::Impossible(_));
    expected == refused || impossible(expected) && impossible(refused)
}

/// No limits.
const ANYWHERE: Limits = Limits {
    align: 1,
    phase: 0,
    lowest: 0,
    highest: usize::MAX,
    boundary: None,
};

/// A chunk in the oracle.
struct Map<'m> {
    start: usize,
    bits: &'m [bool],
    order: u32,
}

impl Map<'_> {
    fn addr(&self, at: usize) -> u128 {
        self.start as u128 + ((at as u128) << self.order)
    }

    fn granule_at(&self, addr: usize) -> Option<usize> {
        let inside = self.start <= addr && (addr as u128) < self.addr(self.bits.len());
        inside.then(|| (addr - self.start) >> self.order)
    }

    /// Whether `n` granules from `at` on exist, are free, and meet the limits.
    fn fits(&self, at: usize, n: usize, limits: &Limits) -> bool {
        let run = at.checked_add(n).and_then(|end| self.bits.get(at..end));
        run.is_some_and(|run| run.iter().all(|&taken| !taken))
            && limits.allow(self.addr(at), self.addr(at + n) - 1)
    }

    /// The first fit from `from` on, or else the first from the beginning.
    fn around(&self, from: usize, n: usize, limits: &Limits) -> Option<usize> {
        let len = self.bits.len();
        (from..len)
            .chain(0..from)
            .find(|&at| self.fits(at, n, limits))
    }

    /// The lowest fit in the smallest free run that has one, and in the lowest of several such runs. A run counts
    /// with its whole length, whatever part of it the limits allow.
    fn best(&self, n: usize, limits: &Limits) -> Option<usize> {
        let mut best: Option<(usize, usize)> = None;
        let mut at = 0;
        while at < self.bits.len() {
            let len = self.bits[at..].iter().take_while(|&&taken| !taken).count();
            let fit = (at..at + len).find(|&at| self.fits(at, n, limits));
            if let Some(fit) = fit
                && best.is_none_or(|(least, _)| len < least)
            {
                best = Some((len, fit));
            }
            at += len.max(1);
        }
        best.map(|(_, at)| at)
    }

    /// The chosen place, if it is in this chunk and fits, or else any fit.
    fn any(&self, chosen: Option<usize>, n: usize, limits: &Limits) -> Option<usize> {
        chosen
            .and_then(|addr| self.granule_at(addr))
            .filter(|&at| self.addr(at) == chosen.unwrap_or(0) as u128 && self.fits(at, n, limits))
            .or_else(|| self.around(0, n, limits))
    }
}

/// The number of granules that hold `size` bytes.
pub(crate) fn granules(size: usize, order: u32) -> u128 {
    (size as u128).div_ceil(1 << order)
}
