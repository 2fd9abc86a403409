//! Addresses, a type for each kind.

use core::fmt;

use genpool_core::Constraints;
use thiserror::Error;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($raw);

        impl $name {
            /// Makes an address from its number.
            #[must_use]
            pub const fn new(raw: $raw) -> Self {
                Self(raw)
            }

            /// Returns the address as a number.
            #[must_use]
            pub const fn get(self) -> $raw {
                self.0
            }

            /// Returns the address `bytes` higher, or none if that wraps around.
            #[must_use]
            pub const fn checked_add(self, bytes: $raw) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }

            /// Returns how many bytes the address lies above `other`, or none if it lies below.
            #[must_use]
            pub const fn checked_sub(self, other: Self) -> Option<$raw> {
                self.0.checked_sub(other.0)
            }

            /// Whether the address is a multiple of `bytes`.
            #[must_use]
            pub const fn is_aligned(self, bytes: $raw) -> bool {
                self.0.is_multiple_of(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }
    };
}

address! {
    /// A virtual address of this process.
    ///
    /// ```
    /// use genpool::dma::VirtAddr;
    ///
    /// let addr = VirtAddr::new(0x1000);
    /// assert_eq!(addr.checked_add(0x234), Some(VirtAddr::new(0x1234)));
    /// assert_eq!(addr.checked_add(usize::MAX), None);
    /// assert!(addr.is_aligned(4096) && addr.get() == 0x1000);
    /// ```
    VirtAddr(usize)
}
address! {
    /// A physical address, as the memory controller knows it.
    ///
    /// ```
    /// use genpool::dma::PhysAddr;
    ///
    /// let (start, inside) = (PhysAddr::new(0x8000_0000), PhysAddr::new(0x8000_1234));
    /// assert_eq!(inside.checked_sub(start), Some(0x1234));
    /// assert_eq!(start.checked_sub(inside), None);
    /// ```
    PhysAddr(u64)
}
address! {
    /// A DMA (bus) address: the address that is given to a device. Where no IOMMU translates it is the
    /// physical address, otherwise an IOVA.
    ///
    /// DMA addresses do not mix with other numbers:
    ///
    /// ```compile_fail,E0308
    /// use genpool::dma::{DmaAddr, PhysAddr};
    /// let dma: DmaAddr = PhysAddr::new(0x1000);
    /// ```
    ///
    /// ```
    /// use genpool::dma::{DmaAddr, PhysAddr};
    /// let dma: DmaAddr = DmaAddr::untranslated(PhysAddr::new(0x1000));
    /// # assert_eq!(dma.get(), 0x1000);
    /// ```
    DmaAddr(u64)
}

impl VirtAddr {
    /// Returns the address of a pointer.
    ///
    /// ```
    /// use genpool::dma::VirtAddr;
    ///
    /// let values = [1_u64, 2];
    /// let (first, second) = (VirtAddr::of(&raw const values[0]), VirtAddr::of(&raw const values[1]));
    /// assert_eq!(second.checked_sub(first), Some(8));
    /// ```
    #[must_use]
    pub fn of<T: ?Sized>(pointer: *const T) -> Self {
        Self(pointer.addr())
    }
}

impl DmaAddr {
    /// Returns the DMA address of `phys` for a device without an IOMMU: the same number.
    ///
    /// ```
    /// use genpool::dma::{DmaAddr, PhysAddr};
    ///
    /// assert_eq!(DmaAddr::untranslated(PhysAddr::new(0x1000)), DmaAddr::new(0x1000));
    /// ```
    #[must_use]
    pub const fn untranslated(phys: PhysAddr) -> Self {
        Self(phys.get())
    }
}

/// The addresses that a device can put on the bus: those of a given number of bits.
///
/// ```
/// use genpool::Constraints;
/// use genpool::dma::{AddressMask, DmaAddr};
///
/// let mask = AddressMask::bits(28)?;
/// assert!(mask.covers(DmaAddr::new(0x0fff_f000), 0x1000));
/// assert!(!mask.covers(DmaAddr::new(0x0fff_f000), 0x1001));
/// let low = mask.constrain(Constraints::new());
/// assert_eq!(low, Constraints::new().dma_highest(0x0fff_ffff));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressMask {
    highest: u64,
}

impl AddressMask {
    /// All addresses of 64 bits.
    pub const ALL: Self = Self { highest: u64::MAX };

    /// Returns the mask of the addresses below `1 << bits`.
    ///
    /// # Errors
    ///
    /// [`MaskError`] unless `bits` is 1 to 64.
    pub const fn bits(bits: u32) -> Result<Self, MaskError> {
        match bits {
            1..=64 => Ok(Self {
                highest: u64::MAX >> (64 - bits),
            }),
            _ => Err(MaskError { bits }),
        }
    }

    /// Returns the highest address in the mask.
    #[must_use]
    pub const fn highest(self) -> DmaAddr {
        DmaAddr(self.highest)
    }

    /// Whether the device reaches all `len` bytes at `addr`. True for zero bytes at any address.
    #[must_use]
    pub const fn covers(self, addr: DmaAddr, len: usize) -> bool {
        match (len as u64).checked_sub(1) {
            None => true,
            Some(more) => match addr.checked_add(more) {
                Some(last) => last.0 <= self.highest,
                None => false,
            },
        }
    }

    /// Returns the constraints with the mask as the highest device address, in place of the one that they had.
    #[must_use]
    pub fn constrain(self, constraints: Constraints) -> Constraints {
        constraints.dma_highest(self.highest)
    }
}

/// An address mask was asked for with a number of bits outside 1 to 64.
///
/// ```
/// use genpool::dma::AddressMask;
///
/// assert!(AddressMask::bits(64).is_ok());
/// println!("{}", AddressMask::bits(65).unwrap_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{bits} bits: an address mask has 1 to 64")]
pub struct MaskError {
    bits: u32,
}
