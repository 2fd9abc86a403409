//! Where an allocation may lie, by definition.

/// Limits on the addresses of an allocation, as `genpool`'s constraints state them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The first address is `phase` past a multiple of this, which is not 0.
    pub align: usize,
    /// Less than `align`.
    pub phase: usize,
    /// No address is lower.
    pub lowest: usize,
    /// No address is higher.
    pub highest: usize,
    /// No multiple of this lies between the first address and the last.
    pub boundary: Option<usize>,
}

impl Limits {
    /// No limits.
    pub const NONE: Self = Self {
        align: 1,
        phase: 0,
        lowest: 0,
        highest: usize::MAX,
        boundary: None,
    };

    /// Returns whether an allocation may have this first and this last address.
    pub fn allow(&self, first: u128, last: u128) -> bool {
        let crosses = |bytes: usize| first / bytes as u128 != last / bytes as u128;
        first % self.align as u128 == self.phase as u128
            && self.lowest as u128 <= first
            && last <= self.highest as u128
            && !self.boundary.is_some_and(crosses)
    }
}
