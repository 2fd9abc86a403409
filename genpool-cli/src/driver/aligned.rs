//! Algorithms that keep the alignment named by a trace, whichever algorithm plays it. The alignment is a need of the
//! program; the algorithm that provided it was a choice.

use genpool::{Algorithm, ChunkView, Constrained, Constraints, Granule, Request, Unsuitable};

use crate::algorithm::AlgorithmSpec;

/// The multiples at which an allocation may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alignment {
    /// Multiples of a power of two, in bytes.
    Bytes(usize),
    /// Multiples of the requested size, rounded up to a power of two.
    OfSize,
}

impl Alignment {
    /// Returns the alignment of allocations that name this algorithm; `None` if it gives them none.
    pub(crate) fn named_by(spec: AlgorithmSpec) -> Option<Self> {
        match spec {
            AlgorithmSpec::FirstFitAlign(bytes) => Some(Self::Bytes(bytes)),
            AlgorithmSpec::OrderAlign => Some(Self::OfSize),
            AlgorithmSpec::FirstFit
            | AlgorithmSpec::BestFit
            | AlgorithmSpec::FixedOffset(_)
            | AlgorithmSpec::FixedAddress(_)
            | AlgorithmSpec::NextFit
            | AlgorithmSpec::ThreadStart
            | AlgorithmSpec::SpreadFit => None,
        }
    }

    /// Returns true if each granule of a pool of this order already has this alignment.
    pub(crate) fn is_free_at(self, order: u32) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes <= 1 << order)
    }

    /// Returns the alignment in bytes for an allocation of `size`. `None` for more than half of all addresses.
    fn bytes(self, size: usize) -> Option<usize> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::OfSize => size.checked_next_power_of_two(),
        }
    }
}

/// An algorithm that is restricted to aligned places.
pub(crate) struct Aligned(pub(crate) Box<dyn Algorithm>, pub(crate) Alignment);

impl Aligned {
    /// Returns none if no address but 0 is a multiple of the alignment.
    fn constrained(&self, request: &Request) -> Option<Constrained<&dyn Algorithm>> {
        let constraints = Constraints::new().align(self.1.bytes(request.size())?);
        Some(Constrained::new(&*self.0, constraints.ok()?))
    }
}

impl Algorithm for Aligned {
    fn check(&self, request: &Request) -> Result<(), Unsuitable> {
        self.0.check(request)
    }

    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        self.constrained(request)?.propose(chunk, request)
    }
}

#[cfg(test)]
mod tests {
    use genpool::{AllocError, Pool};

    use super::*;

    #[test]
    fn every_algorithm_keeps_it() {
        for name in [
            "first-fit",
            "first-fit-align:0x20",
            "first-fit-align:0x80",
            "order-align",
            "best-fit",
            "next-fit",
            "thread-start",
            "spread-fit",
        ] {
            let spec: AlgorithmSpec = name.parse().unwrap();
            for (wanted, size, bytes) in [
                (Alignment::Bytes(0x40), 0x10, 0x40),
                (Alignment::OfSize, 0x21, 0x40),
                (Alignment::OfSize, 0x90, 0x100),
            ] {
                let algorithm = Aligned(spec.build().unwrap(), wanted);
                let pool = Pool::new(4).unwrap();
                pool.add(0x1010, 0xff0).unwrap();
                for _ in 0..4 {
                    let held = pool.alloc_with(size, &algorithm).unwrap().into_raw();
                    assert!(held.addr.is_multiple_of(bytes), "{name} {wanted:?}");
                    let own = Alignment::named_by(spec).and_then(|own| own.bytes(size));
                    assert!(held.addr.is_multiple_of(own.unwrap_or(1)), "{name}");
                }
            }
        }
    }

    #[test]
    fn granules_of_at_least_the_alignment_have_it() {
        for (order, is_free) in [(5, false), (6, true), (7, true)] {
            assert_eq!(Alignment::Bytes(0x40).is_free_at(order), is_free, "{order}");
            assert!(!Alignment::OfSize.is_free_at(order));
        }
    }

    /// The algorithm's own reason is kept.
    #[test]
    fn a_place_inside_a_granule_is_unsuitable() {
        let pool = Pool::new(4).unwrap();
        pool.add(0x1000, 0x100).unwrap();
        let spec: AlgorithmSpec = "fixed-address:0x1008".parse().unwrap();
        let algorithm = Aligned(spec.build().unwrap(), Alignment::Bytes(0x40));
        let error = pool.alloc_with(1, &algorithm).unwrap_err();
        assert!(matches!(error, AllocError::Unsuitable(_)), "{error}");
    }

    #[test]
    fn a_fixed_place_is_taken_only_where_it_is_aligned() {
        let pool = Pool::new(4).unwrap();
        pool.add(0x1000, 0x100).unwrap();
        for (name, is_served) in [
            ("fixed:0x40", true),
            ("fixed:0x50", false),
            ("fixed-address:0x1080", true),
            ("fixed-address:0x1090", false),
        ] {
            let spec: AlgorithmSpec = name.parse().unwrap();
            let algorithm = Aligned(spec.build().unwrap(), Alignment::Bytes(0x40));
            assert_eq!(pool.alloc_with(1, &algorithm).is_ok(), is_served, "{name}");
        }
    }

    #[test]
    fn more_than_half_of_all_addresses_is_refused() {
        let best_fit = AlgorithmSpec::BestFit.build().unwrap();
        let algorithm = Aligned(best_fit, Alignment::OfSize);
        let pool = Pool::new(63).unwrap();
        pool.add(0, 1 << 63).unwrap();
        assert!(pool.alloc_with(usize::MAX, &algorithm).is_err());
    }
}
