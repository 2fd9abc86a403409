//! Random numbers: small, fast, and the same in every run.

/// Marsaglia's xorshift64 with a multiplied output.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// Makes the sequence number `seed`.
    pub fn new(seed: u64) -> Self {
        // Similar seeds must not give similar sequences, and the state must not be 0.
        Self((seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1)
    }

    /// Returns the next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns the next number, reduced below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Puts `items` into random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}
