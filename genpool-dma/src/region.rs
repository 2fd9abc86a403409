//! Memory that a pool can hand out: where it is, which addresses devices use for it, and what keeps it
//! mapped.
//!
//! A region owns its memory through the value that gives the memory back when it is dropped: its *guard*.
//! So one type serves all sources. A later step such as mapping into an IOMMU wraps the guard, and the
//! drop order is that of the wrapping: the IOMMU unmaps the range, the process unmaps it, then its IOVAs
//! are free again.
//!
//! There is no trait for sources: each implementation would have to promise in `unsafe` what a region
//! promises once.

use core::fmt;
use core::marker::PhantomData;
use core::num::NonZeroUsize;
use core::ptr::NonNull;
use std::sync::Arc;

use genpool_core::contained;

use crate::addr::{DmaAddr, PhysAddr, VirtAddr};
use crate::kind::{Kind, Ram};
use crate::window::{Translation, Untranslated, Window};

/// How devices reach memory. DMA addresses of two buses are no more comparable than virtual addresses of
/// two processes.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use genpool::dma::{source::RamSource, MemoryPool, PhysAddr, VirtAddr};
/// # let region = RamSource::new(1 << 16).align(1 << 13).map()?;
/// # // SAFETY: no device is given the address, so it may be made up.
/// # let region = unsafe { region.physically_at(PhysAddr::new(0x8000_0000)) };
/// # let pool = MemoryPool::new(12)?;
/// # pool.add(region)?;
/// # let _ = pool;
/// use genpool::dma::{Bus, Region};
///
/// fn describe(region: &Region) -> &'static str {
///     match region.bus() {
///         None => "no device sees it",
///         Some(Bus::Physical) => "devices use physical addresses",
///         Some(Bus::Iommu(_)) => "devices use IOVAs",
///     }
/// }
/// let region = genpool::dma::source::RamSource::new(4096).map()?;
/// assert_eq!(describe(&region), "no device sees it");
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bus {
    /// No IOMMU translates. DMA addresses are physical addresses.
    Physical,
    /// The IOMMU translates in this address space.
    Iommu(AddressSpace),
}

/// An IOMMU address space. A clone stands for the same address space.
///
/// ```
/// use genpool::dma::{AddressSpace, Bus};
///
/// let (first, second) = (AddressSpace::new(), AddressSpace::new());
/// assert_eq!(Bus::Iommu(first.clone()), Bus::Iommu(first.clone()));
/// assert_ne!(Bus::Iommu(first), Bus::Iommu(second));
/// ```
#[derive(Clone, Debug)]
pub struct AddressSpace(Arc<u8>);

impl AddressSpace {
    /// Returns an address space that differs from all others.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        Self(Arc::new(0))
    }
}

impl PartialEq for AddressSpace {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for AddressSpace {}

/// Owned memory of this process. Dropping a region gives the memory back to its source.
///
/// The functions of [`source`](crate::source) make regions, and a [`MemoryPool`](crate::MemoryPool) takes
/// them. [`from_raw`](Self::from_raw) makes a region of any other memory.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use genpool::dma::VirtAddr;
/// use genpool::dma::source::RamSource;
///
/// let region = RamSource::new(10_000).map()?;
/// assert_eq!(region.size().get(), 12_288); // whole pages
/// assert_eq!(region.start(), VirtAddr::of(region.as_ptr().as_ptr()));
/// assert!(region.windows().is_empty()); // no device sees it yet
/// assert!(region.dma(region.start(), 1).is_err());
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
///
/// # Invariants
///
/// The range is mapped, is memory of this kind, and is used by nobody else until `guard` is dropped. Every
/// window lies in the range.
pub struct Region<K: Kind = Ram> {
    start: NonNull<u8>,
    len: NonZeroUsize,
    seen: Option<Seen>,
    /// Never read, only dropped.
    #[allow(dead_code, reason = "its drop is what it is for")]
    guard: Guard,
    kind: PhantomData<K>,
}

/// The guard of a region's memory: a user's value that gives the memory back when it is dropped. If its
/// destructor panics while the thread is already panicking, that second panic is contained, because it would
/// abort the process.
pub(crate) struct Guard(Option<Box<dyn Send + Sync>>);

impl Guard {
    fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Some(Box::new(guard)))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        contained(|| drop(self.0.take()));
    }
}

/// How devices see a region.
#[derive(Clone)]
struct Seen {
    bus: Bus,
    translation: Translation,
}

// SAFETY: a region is the only owner of its memory, and its guard is `Send`.
unsafe impl<K: Kind> Send for Region<K> {}
// SAFETY: a shared region only returns addresses and accesses no memory; its guard is `Sync`.
unsafe impl<K: Kind> Sync for Region<K> {}

impl<K: Kind> Region<K> {
    /// Makes a region of `len` bytes at `start` that the caller supplies. `guard` is dropped when the memory is
    /// no longer used; its destructor gives the memory back. No device sees the region before
    /// [`seen_at`](Self::seen_at).
    ///
    /// A pool may drop a region in any of its calls or when it is itself dropped. It does not pass on a
    /// panic of `guard`'s destructor: the panic hook reports the panic, and the call goes on.
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    /// use std::ptr::NonNull;
    ///
    /// use genpool::dma::{MemoryPool, Region};
    ///
    /// /// Memory from elsewhere, here from the heap.
    /// #[repr(align(4096))]
    /// struct Pages([u8; 8192]);
    ///
    /// let pages = Box::new(Pages([0; 8192]));
    /// let start = NonNull::from(Box::leak(pages)).cast();
    /// let size = NonZeroUsize::new(8192).ok_or("no bytes")?;
    /// // SAFETY: the memory was leaked, so it stays, and nobody else has its address.
    /// let region = unsafe { Region::from_raw(start, size, ()) };
    /// let pool = MemoryPool::new(12)?;
    /// pool.add(region)?;
    /// assert_eq!(pool.size(), 8192);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    ///
    /// Until `guard` is dropped, all of this holds:
    ///
    /// - `start` is valid for reads and writes of `len` bytes, which are at most `isize::MAX` and do not
    ///   wrap around. For [`Ram`] the range is ordinary memory and any access is valid. For
    ///   [`Device`](crate::Device) volatile accesses of aligned words of all widths are valid, and the
    ///   bytes are initialised.
    /// - Nobody else accesses the range, except devices to which the owners of allocations gave it. The
    ///   range is not unmapped, remapped or protected.
    pub unsafe fn from_raw(
        start: NonNull<u8>,
        len: NonZeroUsize,
        guard: impl Send + Sync + 'static,
    ) -> Self {
        // Pools and devices know addresses, not pointers.
        start.as_ptr().expose_provenance();
        Self {
            start,
            len,
            seen: None,
            guard: Guard::new(guard),
            kind: PhantomData,
        }
    }

    /// Sets the DMA addresses at which devices on `bus` see the region. Parts that no window covers are not
    /// handed out.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use genpool::dma::source::RamSource;
    /// use genpool::dma::{Bus, DmaAddr, Translation, VirtAddr, Window};
    ///
    /// let region = RamSource::new(0x2000).map()?;
    /// let second = VirtAddr::new(region.start().get() + 0x1000);
    /// let pages = [
    ///     Window::new(region.start(), DmaAddr::new(0x9000), 0x1000).ok_or("it wraps")?,
    ///     Window::new(second, DmaAddr::new(0x4000), 0x1000).ok_or("it wraps")?,
    /// ];
    /// // SAFETY: no device is given an address here. A driver gets the addresses from whatever assigned them.
    /// let region = unsafe { region.seen_at(Bus::Physical, Translation::new(pages)?) };
    /// assert_eq!(region.windows().len(), 2);
    /// assert_eq!(region.dma(second, 16)?, DmaAddr::new(0x4000));
    /// # Ok(()) }
    /// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
    /// ```
    ///
    /// # Panics
    ///
    /// If a window does not lie in the region.
    ///
    /// # Safety
    ///
    /// As long as the region's memory is kept, a device on `bus` that accesses a DMA address of
    /// `translation` accesses the byte at the corresponding virtual address. A device that is given a wrong
    /// address overwrites memory of somebody else.
    #[must_use]
    pub unsafe fn seen_at(mut self, bus: Bus, translation: Translation) -> Self {
        let inside = |window: &Window| self.offset_of(window.virt(), window.size().get()).is_some();
        assert!(
            translation.windows().iter().all(inside),
            "a window outside of its region"
        );
        self.seen = Some(Seen { bus, translation });
        self
    }

    /// Like [`seen_at`](Self::seen_at), for memory that is physically contiguous from `phys` on and for
    /// which no IOMMU translates.
    ///
    /// # Panics
    ///
    /// If the physical range wraps around.
    ///
    /// # Safety
    ///
    /// As for [`seen_at`](Self::seen_at).
    #[must_use]
    pub unsafe fn physically_at(self, phys: PhysAddr) -> Self {
        let window = Window::new(self.start(), DmaAddr::untranslated(phys), self.len.get());
        let window = window.expect("a physical range that does not wrap around");
        let translation = Translation::new([window]).expect("one window overlaps no other");
        // SAFETY: the caller promises this.
        unsafe { self.seen_at(Bus::Physical, translation) }
    }

    /// Returns the same memory with `wrap(guard)` in place of its guard.
    #[cfg(all(target_os = "linux", feature = "vfio"))]
    pub(crate) fn guarded_by<G: Send + Sync + 'static>(
        self,
        wrap: impl FnOnce(Guard) -> G,
    ) -> Self {
        Self {
            guard: Guard::new(wrap(self.guard)),
            ..self
        }
    }

    /// Returns the address of the first byte.
    #[must_use]
    pub fn start(&self) -> VirtAddr {
        VirtAddr::of(self.start.as_ptr())
    }

    /// Returns a pointer to the first byte. Whether it may be accessed depends on what the region is used
    /// for.
    #[must_use]
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.start
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> NonZeroUsize {
        self.len
    }

    /// Returns the bus through which devices see the region, if they see it.
    #[must_use]
    pub fn bus(&self) -> Option<&Bus> {
        self.seen.as_ref().map(|seen| &seen.bus)
    }

    /// Returns the windows: the parts that devices see in one piece, in ascending order. Empty if no device
    /// sees the region.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        match &self.seen {
            Some(seen) => seen.translation.windows(),
            None => &[],
        }
    }

    /// Returns the DMA address of the `len` bytes at `virt`, exact for every byte.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use genpool::dma::source::RamSource;
    /// use genpool::dma::{DmaAddr, PhysAddr, VirtAddr};
    ///
    /// let region = RamSource::new(0x2000).map()?;
    /// // SAFETY: no device is given an address here.
    /// let region = unsafe { region.physically_at(PhysAddr::new(0x8000_0000)) };
    /// let inside = VirtAddr::new(region.start().get() + 0x1234);
    /// assert_eq!(region.dma(inside, 16)?, DmaAddr::new(0x8000_1234));
    /// assert!(region.dma(inside, 0x1000).is_err()); // goes past the end
    /// # Ok(()) }
    /// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// [`Untranslated`] unless devices see all the bytes in one piece.
    pub fn dma(&self, virt: VirtAddr, len: usize) -> Result<DmaAddr, Untranslated> {
        match &self.seen {
            Some(seen) => seen.translation.dma(virt, len),
            None => Err(Untranslated {
                virt,
                len,
                at: virt,
            }),
        }
    }

    /// The offset of a range within the region, if the range lies in it.
    fn offset_of(&self, virt: VirtAddr, len: usize) -> Option<usize> {
        let offset = virt.checked_sub(self.start())?;
        (offset.checked_add(len)? <= self.len.get()).then_some(offset)
    }
}

impl<K: Kind> fmt::Debug for Region<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("start", &self.start())
            .field("size", &format_args!("{:#x}", self.len))
            .field("bus", &self.bus())
            .field("windows", &self.windows().len())
            .finish()
    }
}
