//! Volatile accesses, one word at a time: they happen exactly as they are written.
//!
//! Zeroing is volatile for both kinds of memory, by eight bytes a store where the memory accepts any width. `memset`
//! is faster in the cache, but it needs a proof that the compiler cannot find the memory dead. A volatile store needs
//! none.

use core::sync::atomic::{Ordering, fence};

use thiserror::Error;

/// The width of the accesses that a device's memory accepts.
///
/// ```
/// use genpool::dma::Width;
///
/// assert_eq!([Width::One, Width::Two, Width::Four, Width::Eight].map(Width::bytes), [1, 2, 4, 8]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// A byte.
    One,
    /// Two bytes.
    Two,
    /// Four bytes, which nearly every device accepts.
    Four,
    /// Eight bytes.
    Eight,
}

impl Width {
    /// Returns the width in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        1 << self.log2()
    }

    /// A word is `1 << log2` bytes.
    pub(crate) const fn log2(self) -> u32 {
        match self {
            Self::One => 0,
            Self::Two => 1,
            Self::Four => 2,
            Self::Eight => 3,
        }
    }
}

/// A word that is read or written in one access: `u8`, `u16`, `u32`, `u64`.
///
/// ```
/// use genpool::dma::{AccessError, IoBuffer, Word};
///
/// /// Writes the same word everywhere.
/// fn fill<W: Word>(queue: &mut IoBuffer<'_>, word: W) -> Result<(), AccessError> {
///     for offset in (0..queue.size()).step_by(size_of::<W>()) {
///         queue.write(offset, word)?;
///     }
///     Ok(())
/// }
/// ```
pub trait Word: Copy + sealed::Sealed {
    #[doc(hidden)]
    const ZERO: Self;
    #[doc(hidden)]
    fn from_bytes(bytes: &[u8]) -> Self;
    #[doc(hidden)]
    fn to_bytes(self, bytes: &mut [u8]);
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! words {
    ($($word:ty),+) => {
        $(impl sealed::Sealed for $word {}

        impl Word for $word {
            const ZERO: Self = 0;

            fn from_bytes(bytes: &[u8]) -> Self {
                let mut word = [0; size_of::<Self>()];
                word.copy_from_slice(bytes);
                Self::from_ne_bytes(word)
            }

            fn to_bytes(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_ne_bytes());
            }
        })+
    };
}

words!(u8, u16, u32, u64);

/// An access is not inside the memory, or does not consist of aligned words.
///
/// ```
/// use genpool::Pool;
/// use genpool::dma::{AccessError, MemoryPool, PhysAddr, Region, Width};
///
/// #[repr(align(4096))]
/// struct Bar([u8; 4096]);
/// let start = std::ptr::NonNull::from(Box::leak(Box::new(Bar([0; 4096])))).cast();
/// let size = std::num::NonZeroUsize::new(4096).ok_or("no bytes")?;
/// // SAFETY: the memory was leaked, and nobody else has its address.
/// let region = unsafe { Region::from_raw(start, size, ()) };
/// // SAFETY: no device is given the address, so it may be made up.
/// let region = unsafe { region.physically_at(PhysAddr::new(0xe000_0000)) };
/// let pool = MemoryPool::of_device(Pool::builder().order(8), Width::Four)?;
/// pool.add(region)?;
/// let queue = pool.dma_alloc(256)?;
/// let refused = queue.read::<u32>(254).unwrap_err();
/// assert_eq!(refused, AccessError { offset: 254, len: 4, word: 4, size: 256 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{len:#x} bytes at offset {offset:#x} are not whole words of {word} inside {size:#x} bytes"
)]
pub struct AccessError {
    /// Where the access begins, in bytes.
    pub offset: usize,
    /// The bytes of the access.
    pub len: usize,
    /// The bytes of a word.
    pub word: usize,
    /// The bytes of the memory.
    pub size: usize,
}

/// Memory that is accessed by volatile words.
///
/// # Invariants
///
/// `start` is valid for volatile reads and writes of `size` bytes as long as this value is used.
#[derive(Clone, Copy)]
pub(crate) struct Cells {
    start: *mut u8,
    size: usize,
}

impl Cells {
    /// # Safety
    ///
    /// `start` is valid for volatile reads and writes of `size` bytes as long as the value is used.
    pub(crate) unsafe fn new(start: *mut u8, size: usize) -> Self {
        Self { start, size }
    }

    fn check(&self, offset: usize, len: usize, word: usize) -> Result<(), AccessError> {
        let whole = (self.start.addr().wrapping_add(offset) | len).is_multiple_of(word);
        match offset.checked_add(len) {
            Some(end) if end <= self.size && whole => Ok(()),
            _ => Err(AccessError {
                offset,
                len,
                word,
                size: self.size,
            }),
        }
    }

    pub(crate) fn read<W: Word>(&self, offset: usize) -> Result<W, AccessError> {
        self.check(offset, size_of::<W>(), size_of::<W>())?;
        let word = self.start.wrapping_add(offset).cast::<W>();
        // SAFETY: after the check, an aligned word of the memory.
        Ok(unsafe { word.read_volatile() })
    }

    pub(crate) fn write<W: Word>(&self, offset: usize, value: W) -> Result<(), AccessError> {
        self.check(offset, size_of::<W>(), size_of::<W>())?;
        let word = self.start.wrapping_add(offset).cast::<W>();
        // SAFETY: after the check, an aligned word of the memory.
        unsafe { word.write_volatile(value) };
        Ok(())
    }

    pub(crate) fn copy_in<W: Word>(&self, offset: usize, from: &[u8]) -> Result<(), AccessError> {
        self.check(offset, from.len(), size_of::<W>())?;
        let offsets = (offset..).step_by(size_of::<W>());
        offsets
            .zip(from.chunks_exact(size_of::<W>()))
            .try_for_each(|(at, bytes)| self.write(at, W::from_bytes(bytes)))
    }

    pub(crate) fn copy_out<W: Word>(
        &self,
        offset: usize,
        to: &mut [u8],
    ) -> Result<(), AccessError> {
        self.check(offset, to.len(), size_of::<W>())?;
        let offsets = (offset..).step_by(size_of::<W>());
        offsets
            .zip(to.chunks_exact_mut(size_of::<W>()))
            .try_for_each(|(at, bytes)| self.read::<W>(at).map(|word| word.to_bytes(bytes)))
    }

    /// Zeroes the memory by stores of one width. Bytes at either end that do not fill an aligned word are zeroed
    /// singly. A volatile store is a side effect, so the compiler keeps every one even if nothing in the program
    /// reads the memory afterwards.
    pub(crate) fn zero(&self, width: Width) {
        match width {
            Width::One => self.zero_by::<u8>(),
            Width::Two => self.zero_by::<u16>(),
            Width::Four => self.zero_by::<u32>(),
            Width::Eight => self.zero_by::<u64>(),
        }
        // Stores to write-combining memory leave the processor before whatever comes next.
        // Not caught: the other side is a device, and no model has one.
        fence(Ordering::SeqCst);
    }

    fn zero_by<W: Word>(&self) {
        let head = self.start.align_offset(size_of::<W>()).min(self.size);
        let words = (self.size - head) / size_of::<W>();
        let tail = head + words * size_of::<W>();
        for at in (0..head).chain(tail..self.size) {
            // SAFETY: a byte of the memory.
            unsafe { self.start.wrapping_add(at).write_volatile(0) };
        }
        let first = self.start.wrapping_add(head).cast::<W>();
        for at in 0..words {
            // SAFETY: an aligned word of the memory: `head` bytes up is aligned, and `words` fit.
            unsafe { first.wrapping_add(at).write_volatile(W::ZERO) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_covers_everything_and_nothing_else() {
        let (starts, lens) = if cfg!(miri) { (3, 12) } else { (9, 40) };
        for width in [Width::One, Width::Two, Width::Four, Width::Eight] {
            for start in 0..starts {
                for len in 0..lens {
                    let mut memory = [0xff_u8; 64];
                    // SAFETY: the array is live and used by nobody else meanwhile.
                    let cells = unsafe { Cells::new(memory.as_mut_ptr().wrapping_add(start), len) };
                    cells.zero(width);
                    for (at, byte) in memory.iter().enumerate() {
                        let zeroed = (start..start + len).contains(&at);
                        assert_eq!(*byte == 0, zeroed, "{width:?} {start} {len} {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn accesses_are_checked() {
        let mut memory = [0_u64; 2];
        // SAFETY: as above.
        let cells = unsafe { Cells::new(memory.as_mut_ptr().cast(), 16) };
        assert_eq!(cells.write(8, 0x0102_0304_u32), Ok(()));
        assert_eq!(cells.read(8), Ok(0x0102_0304_u32));
        for offset in [1, 2, 13, 16, usize::MAX - 3, usize::MAX] {
            let refused = cells.read::<u32>(offset).unwrap_err();
            assert_eq!((refused.offset, refused.len, refused.size), (offset, 4, 16));
        }
        assert!(cells.copy_in::<u32>(0, &[0; 3]).is_err());
        assert!(cells.copy_in::<u32>(2, &[0; 2]).is_err());
        assert!(cells.copy_out::<u32>(8, &mut [0; 12]).is_err());
        let mut back = [0; 8];
        cells.copy_in::<u32>(4, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        cells.copy_out::<u16>(4, &mut back).unwrap();
        assert_eq!(back, [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
