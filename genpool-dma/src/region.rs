//! Memory that a pool can hand out: where it is, who sees it where, and what keeps it there.

use core::fmt;
use core::marker::PhantomData;
use core::num::NonZeroUsize;
use core::ptr::NonNull;
use std::sync::Arc;

use genpool_core::contained;

use crate::addr::{DmaAddr, PhysAddr, VirtAddr};
use crate::kind::{Kind, Ram};
use crate::window::{Translation, Untranslated, Window};

/// By what way a device comes to memory: DMA addresses of two buses are no more comparable than
/// virtual addresses of two processes.
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use genpool::dma::{source::RamSource, MemoryPool, PhysAddr, VirtAddr};
/// # let region = RamSource::new(1 << 16).align(1 << 13).map()?;
/// # // SAFETY: no device is told anything, so the address may be made up.
/// # let region = unsafe { region.physically_at(PhysAddr::new(0x8000_0000)) };
/// # let pool = MemoryPool::new(12)?;
/// # pool.add(region)?;
/// # let _ = pool;
/// use genpool::dma::{Bus, Region};
///
/// fn describe(region: &Region) -> &'static str {
///     match region.bus() {
///         None => "no device sees it",
///         Some(Bus::Physical) => "devices are told physical addresses",
///         Some(Bus::Iommu(_)) => "devices are told IOVAs",
///     }
/// }
/// let region = genpool::dma::source::RamSource::new(4096).map()?;
/// assert_eq!(describe(&region), "no device sees it");
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bus {
    /// No IOMMU translates: DMA addresses are physical addresses.
    Physical,
    /// This IOMMU address space translates.
    Iommu(AddressSpace),
}

/// One IOMMU address space; a clone is the same one.
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
    /// One that is unlike all others.
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

/// Memory of this process, owned: dropping it gives it back to where it came from.
///
/// The sources of [`source`](crate::source) make regions, a [`MemoryPool`](crate::MemoryPool) takes
/// them. Memory from elsewhere comes in by [`from_raw`](Self::from_raw).
///
/// ```
/// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use genpool::dma::VirtAddr;
/// use genpool::dma::source::RamSource;
///
/// let region = RamSource::new(10_000).map()?;
/// assert_eq!(region.size().get(), 12_288); // whole pages
/// assert_eq!(region.start(), VirtAddr::of(region.as_ptr().as_ptr()));
/// assert!(region.windows().is_empty()); // no device has been told of it
/// assert!(region.dma(region.start(), 1).is_err());
/// # Ok(()) }
/// # #[cfg(not(all(target_os = "linux", not(miri))))] fn main() {}
/// ```
///
/// # Invariants
///
/// The range is mapped, of this kind, and used by nobody else until `keep` is dropped. Every window
/// lies in it.
pub struct Region<K: Kind = Ram> {
    start: NonNull<u8>,
    len: NonZeroUsize,
    seen: Option<Seen>,
    /// Never looked at, only dropped.
    #[allow(dead_code, reason = "its drop is what it is for")]
    keep: Keep,
    kind: PhantomData<K>,
}

/// What keeps memory: a user's value. If its destructor panics in a thread that panics already, that ends here,
/// for it would abort the process.
pub(crate) struct Keep(Option<Box<dyn Send + Sync>>);

impl Keep {
    fn new(keep: impl Send + Sync + 'static) -> Self {
        Self(Some(Box::new(keep)))
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        contained(|| drop(self.0.take()));
    }
}

/// What devices see of a region.
#[derive(Clone)]
struct Seen {
    bus: Bus,
    translation: Translation,
}

// SAFETY: a region is the only owner of its memory, and what keeps it is `Send`.
unsafe impl<K: Kind> Send for Region<K> {}
// SAFETY: a shared region tells addresses and touches nothing; what keeps it is `Sync`.
unsafe impl<K: Kind> Sync for Region<K> {}

impl<K: Kind> Region<K> {
    /// Memory that the caller brings: `len` bytes at `start`. `keep` is dropped when the memory is no
    /// longer used, and gives it back. No device sees it yet: [`seen_at`](Self::seen_at).
    ///
    /// A pool that drops a region, in any of its calls or at its end, does not pass on a panic of `keep`'s
    /// destructor: the panic hook reports it, and the call goes on.
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    /// use std::ptr::NonNull;
    ///
    /// use genpool::dma::{MemoryPool, Region};
    ///
    /// /// Memory of one's own, here of the heap.
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
    /// Until `keep` is dropped, all of this holds:
    ///
    /// - `start` is valid for reads and writes of `len` bytes, at most `isize::MAX`, which do not wrap
    ///   around. For [`Ram`] that means ordinary memory and any access; for [`Device`](crate::Device)
    ///   volatile accesses of aligned words of all widths, which find initialised bytes.
    /// - Nobody else accesses the range, but for devices as far as the owners of allocations tell them
    ///   to. The range is not unmapped, remapped or protected.
    pub unsafe fn from_raw(
        start: NonNull<u8>,
        len: NonZeroUsize,
        keep: impl Send + Sync + 'static,
    ) -> Self {
        // Pools and devices know addresses, no pointers.
        start.as_ptr().expose_provenance();
        Self {
            start,
            len,
            seen: None,
            keep: Keep::new(keep),
            kind: PhantomData,
        }
    }

    /// Says what the devices on `bus` see of the region. What no window covers is not handed out.
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
    /// // SAFETY: no device is told anything here. A driver takes the addresses from whoever made them.
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
    /// As long as the region's memory is kept, devices on `bus` that access a DMA address of
    /// `translation` access the byte at its virtual address. A device that is told a wrong address
    /// overwrites what belongs to somebody else.
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

    /// As [`seen_at`](Self::seen_at), for memory that is physically contiguous and begins at `phys`,
    /// where no IOMMU translates.
    ///
    /// # Panics
    ///
    /// If the physical range wraps around.
    ///
    /// # Safety
    ///
    /// As [`seen_at`](Self::seen_at).
    #[must_use]
    pub unsafe fn physically_at(self, phys: PhysAddr) -> Self {
        let window = Window::new(self.start(), DmaAddr::untranslated(phys), self.len.get());
        let window = window.expect("a physical range that does not wrap around");
        let translation = Translation::new([window]).expect("one window overlaps no other");
        // SAFETY: that is what the caller promises.
        unsafe { self.seen_at(Bus::Physical, translation) }
    }

    /// The same memory, kept by what `wrap` makes of what kept it until now.
    #[cfg(all(target_os = "linux", feature = "vfio"))]
    pub(crate) fn kept_by<G: Send + Sync + 'static>(self, wrap: impl FnOnce(Keep) -> G) -> Self {
        Self {
            keep: Keep::new(wrap(self.keep)),
            ..self
        }
    }

    /// The address of the first byte.
    #[must_use]
    pub fn start(&self) -> VirtAddr {
        VirtAddr::of(self.start.as_ptr())
    }

    /// The first byte. Whether it may be accessed is another question.
    #[must_use]
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.start
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> NonZeroUsize {
        self.len
    }

    /// The way by which devices see it, if they do.
    #[must_use]
    pub fn bus(&self) -> Option<&Bus> {
        self.seen.as_ref().map(|seen| &seen.bus)
    }

    /// The parts that devices see in one piece, upwards; none if they see nothing.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        match &self.seen {
            Some(seen) => seen.translation.windows(),
            None => &[],
        }
    }

    /// What devices see `len` bytes at `virt` at, exact for every byte.
    ///
    /// ```
    /// # #[cfg(all(target_os = "linux", not(miri)))] fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use genpool::dma::source::RamSource;
    /// use genpool::dma::{DmaAddr, PhysAddr, VirtAddr};
    ///
    /// let region = RamSource::new(0x2000).map()?;
    /// // SAFETY: no device is told anything here.
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
    /// [`Untranslated`] unless they see all of them in one piece.
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

    /// How far into the region a range lies, if it does.
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
