//! Two kinds of memory, by what the processor may do with it.

use core::fmt;
use core::mem::MaybeUninit;

use crate::allocation::DmaAllocation;
use crate::buffer::CpuBuffer;
use crate::io::IoBuffer;
use crate::volatile::Width;

/// A kind of memory: [`Ram`] or [`Device`].
pub trait Kind: Copy + fmt::Debug + Send + Sync + sealed::Sealed + 'static {
    /// What an allocation is to its holder.
    type Buffer<'p>;
    /// The same, zeroed.
    type Zeroed<'p>;

    #[doc(hidden)]
    fn buffer(self, allocation: DmaAllocation<'_>, _: sealed::Token) -> Self::Buffer<'_>;

    #[doc(hidden)]
    fn zeroed(buffer: Self::Buffer<'_>, _: sealed::Token) -> Self::Zeroed<'_>;
}

/// Ordinary memory, which may be accessed in any way: slices, `memcpy`, atomics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ram;

/// Memory of a device: accessed by volatile words, never by slices; zeroed and copied by words of one
/// width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    pub(crate) width: Width,
}

impl Kind for Ram {
    type Buffer<'p> = CpuBuffer<'p, MaybeUninit<u8>>;
    type Zeroed<'p> = CpuBuffer<'p>;

    fn buffer(self, allocation: DmaAllocation<'_>, _: sealed::Token) -> Self::Buffer<'_> {
        CpuBuffer::new(allocation)
    }

    fn zeroed(buffer: Self::Buffer<'_>, _: sealed::Token) -> Self::Zeroed<'_> {
        buffer.zeroed()
    }
}

impl Kind for Device {
    type Buffer<'p> = IoBuffer<'p>;
    type Zeroed<'p> = IoBuffer<'p>;

    fn buffer(self, allocation: DmaAllocation<'_>, _: sealed::Token) -> Self::Buffer<'_> {
        IoBuffer::new(allocation, self.width)
    }

    fn zeroed(mut buffer: Self::Buffer<'_>, _: sealed::Token) -> Self::Zeroed<'_> {
        buffer.zero();
        buffer
    }
}

pub(crate) mod sealed {
    /// Only this crate's kinds of memory are known to be what they say.
    pub trait Sealed {}

    /// Only this crate makes buffers of allocations.
    #[derive(Clone, Copy, Debug)]
    pub struct Token;

    impl Sealed for super::Ram {}
    impl Sealed for super::Device {}
}
