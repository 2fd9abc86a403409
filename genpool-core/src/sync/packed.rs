//! Atomics of small states that are not words, as words: for models, and for processors without compare-and-swap.

use core::marker::PhantomData;

use super::{AtomicUsize, Ordering};

/// `atomic::Atomic`, for values of at most a word.
#[derive(Debug)]
pub struct Atomic<T> {
    bits: AtomicUsize,
    value: PhantomData<T>,
}

impl<T> Atomic<T> {
    /// True: a word is.
    #[must_use]
    pub const fn is_lock_free() -> bool {
        true
    }
}

impl<T: bytemuck::NoUninit + bytemuck::CheckedBitPattern> Atomic<T> {
    const fn pack(value: T) -> usize {
        #[repr(C)]
        union Word<T: Copy> {
            bits: usize,
            value: T,
        }
        const { assert!(size_of::<T>() <= size_of::<usize>()) };
        let mut word = Word { bits: 0 };
        word.value = value;
        // SAFETY: the value has no uninitialised bytes, and the others were written before.
        unsafe { word.bits }
    }

    fn unpack(bits: usize) -> T {
        bytemuck::checked::pod_read_unaligned(&bits.to_ne_bytes()[..size_of::<T>()])
    }

    super::const_fn! {
        /// Creates an atomic with this value.
        pub fn new(value: T) -> Self {
            Self {
                bits: AtomicUsize::new(Self::pack(value)),
                value: PhantomData,
            }
        }
    }

    /// Like the method of `atomic::Atomic`.
    pub fn load(&self, order: Ordering) -> T {
        Self::unpack(self.bits.load(order))
    }

    /// Like the method of `atomic::Atomic`.
    pub fn store(&self, value: T, order: Ordering) {
        self.bits.store(Self::pack(value), order);
    }

    /// Like the method of `atomic::Atomic`.
    pub fn compare_exchange(
        &self,
        current: T,
        new: T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<T, T> {
        self.bits
            .compare_exchange(Self::pack(current), Self::pack(new), success, failure)
            .map(Self::unpack)
            .map_err(Self::unpack)
    }
}
