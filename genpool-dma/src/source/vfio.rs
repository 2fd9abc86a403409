//! Memory that devices see through an IOMMU, by VFIO.
//!
//! Mapping a region wraps its guard. So when the region is dropped, the IOMMU unmaps it first, then the process
//! unmaps it, then its IOVAs are free again.

use core::error::Error;
use core::fmt;
use core::mem;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use genpool_core::{AllocError, Constrained, Constraints, FirstFit, OwnedAllocation, Pool};
use vfio_ioctls::{VfioContainer, VfioDevice, VfioError, VfioOps};

use super::error::SourceError;
use super::mapping::lock_limit;
use super::sysfs;
use crate::addr::{AddressMask, DmaAddr};
use crate::kind::Ram;
use crate::region::{AddressSpace, Bus, Guard, Region};
use crate::window::{Translation, Window};

/// An IOMMU address space of this process and the IOVAs that are free in it.
///
/// A [mapped](Self::map) region is pinned: no page of it moves or is swapped while the device sees it. It counts
/// against the process's limit of locked memory.
///
/// ```no_run
/// // features = ["vfio"]
/// use std::path::Path;
///
/// use genpool::dma::source::{Iommu, RamSource};
/// use genpool::dma::{AddressMask, MemoryPool};
///
/// let folder = Path::new("/sys/bus/pci/devices/0000:00:04.0");
/// let (iommu, device) = Iommu::open(folder, AddressMask::bits(39)?)?;
/// let region = iommu.map(RamSource::new(4 << 20).map()?)?; // pinned, and seen at IOVAs
/// let pool = MemoryPool::new(12)?;
/// pool.add(region)?;
/// let ring = pool.dma_zalloc(4096)?.share();
/// println!("the device gets {}; {} bytes of IOVAs are free", ring.dma(), iommu.avail());
/// # drop(device);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Iommu {
    ops: Arc<dyn VfioOps>,
    /// Keeps the device open. Without a device, the kernel destroys the address space.
    attached: Arc<dyn Send + Sync>,
    /// Its chunks are the IOVAs that lie within the mask and are not reserved.
    iovas: Pool,
    space: AddressSpace,
}

impl Iommu {
    /// Opens `/dev/vfio/vfio` and adds the group of the device in `folder`, which is a sysfs folder such as
    /// `/sys/bus/pci/devices/0000:00:04.0`. A VFIO driver must be bound to the device. The IOVAs are those that the
    /// device can reach and the kernel has not reserved. The device is returned as a type of `vfio-ioctls` and stays
    /// open as long as something is mapped.
    ///
    /// # Errors
    ///
    /// [`SourceError`], which says what is missing.
    pub fn open(folder: &Path, mask: AddressMask) -> Result<(Self, Arc<VfioDevice>), SourceError> {
        let container = Arc::new(VfioContainer::new(None).map_err(explain)?);
        Self::with_ops(folder, mask, container)
    }

    /// Like [`open`](Self::open), through the device's own file in `/dev/vfio/devices` and through `/dev/iommu`.
    ///
    /// # Errors
    ///
    /// [`SourceError`], which says what is missing.
    #[cfg(feature = "vfio-cdev")]
    pub fn open_cdev(
        folder: &Path,
        mask: AddressMask,
    ) -> Result<(Self, Arc<VfioDevice>), SourceError> {
        let iommufd = iommufd_ioctls::IommuFd::new().map_err(|error| match error {
            iommufd_ioctls::IommufdError::OpenIommufd(source) => unopened("/dev/iommu", source),
            other => explain(VfioError::NewVfioIommufd(other)),
        })?;
        let ops = vfio_ioctls::VfioIommufd::new(Arc::new(iommufd), None, None);
        Self::with_ops(folder, mask, Arc::new(ops.map_err(explain)?))
    }

    fn with_ops(
        folder: &Path,
        mask: AddressMask,
        ops: Arc<dyn VfioOps>,
    ) -> Result<(Self, Arc<VfioDevice>), SourceError> {
        // First, because it shows whether there is an IOMMU at all.
        let reserved = reserved(folder)?;
        let iovas = free_iovas(mask, &reserved).map_err(|error| SourceError::System {
            call: "bookkeeping of IOVAs",
            source: std::io::Error::other(error),
        })?;
        // Attaching the device creates the address space of the IOMMU.
        let device = VfioDevice::new(folder, Arc::clone(&ops), true).map_err(explain)?;
        let device = Arc::new(device);
        let iommu = Self {
            ops,
            attached: device.clone(),
            iovas,
            space: AddressSpace::new(),
        };
        Ok((iommu, device))
    }

    /// Returns the bytes of IOVAs that are free.
    #[must_use]
    pub fn avail(&self) -> usize {
        self.iovas.avail()
    }

    /// Returns the bus of the devices in this address space.
    #[must_use]
    pub fn bus(&self) -> Bus {
        Bus::Iommu(self.space.clone())
    }

    /// Maps a region at free IOVAs, in one piece. From then on devices see the region, and no other memory of the
    /// process. The mapping and the memory are one object: when the region is dropped, the IOMMU unmaps it first,
    /// then the process unmaps it, then its IOVAs are free again. If the IOMMU refuses to unmap it, neither the
    /// memory nor the IOVAs are used again.
    ///
    /// # Errors
    ///
    /// [`MapError`], which returns the region.
    pub fn map(&self, region: Region<Ram>) -> Result<Region<Ram>, MapError> {
        let (start, size) = (region.start(), region.size());
        let lease = match self.lease(&region) {
            Ok(lease) => lease,
            Err(error) => return Err(MapError::new(MapRefused::NoIova(error), region)),
        };
        let iova = DmaAddr::new(lease.addr() as u64);
        let Some(window) = Window::new(start, iova, size.get()) else {
            let refused = AllocError::Exhausted { size: size.get() };
            return Err(MapError::new(MapRefused::NoIova(refused), region));
        };
        // SAFETY: the region owns its memory, which is unmapped only after `vfio_dma_unmap`. A device accesses it at
        // any time to the extent that its driver allows, and the driver holds a `DeviceBuffer`, of which there is no
        // reference.
        let mapped = unsafe {
            self.ops
                .vfio_dma_map(iova.get(), size.get(), region.as_ptr().as_ptr())
        };
        if let Err(error) = mapped {
            return Err(MapError::new(MapRefused::of(error, size.get()), region));
        }
        let region = region.guarded_by(|memory| Mapped {
            ops: Arc::clone(&self.ops),
            _attached: Arc::clone(&self.attached),
            size: size.get(),
            memory: Some(memory),
            lease: Some(lease),
        });
        let translation = Translation::new([window]).expect("one window overlaps no other");
        // SAFETY: the IOMMU was just given this mapping.
        Ok(unsafe { region.seen_at(self.bus(), translation) })
    }

    /// Claims IOVAs for a region. If possible they have the same offset within a huge page as the memory, so that the
    /// IOMMU can use its large pages.
    fn lease(&self, region: &Region<Ram>) -> Result<OwnedAllocation, AllocError> {
        const LARGE: usize = 2 << 20;

        let size = region.size().get();
        if size >= LARGE
            && let Ok(alike) = Constraints::new().align_phase(LARGE, region.start().get() % LARGE)
            && let Ok(lease) = self
                .iovas
                .alloc_owned_with(size, &Constrained::new(FirstFit, alike))
        {
            return Ok(lease);
        }
        self.iovas.alloc_owned(size)
    }
}

impl fmt::Debug for Iommu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iommu")
            .field("avail", &format_args!("{:#x}", self.avail()))
            .finish_non_exhaustive()
    }
}

/// Memory that is mapped in the IOMMU. Its fields are dropped in this order, each even if the one before panics.
struct Mapped {
    ops: Arc<dyn VfioOps>,
    size: usize,
    /// Present until the drop.
    memory: Option<Guard>,
    /// Present until the drop. Dropped after the memory, so its IOVAs are not reused before.
    lease: Option<OwnedAllocation>,
    _attached: Arc<dyn Send + Sync>,
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let Some(lease) = &self.lease else { return };
        let unmapped = self.ops.vfio_dma_unmap(lease.addr() as u64, self.size);
        if unmapped.is_err() {
            // The device may still see the memory, so neither is used again.
            mem::forget((self.memory.take(), self.lease.take()));
        }
    }
}

/// Returns the ranges that the kernel reserves in the device's group, as first and last address.
fn reserved(folder: &Path) -> Result<Vec<(u64, u64)>, SourceError> {
    let path = folder.join("iommu_group/reserved_regions");
    let what = "IOMMU group of the device (the machine has no IOMMU, or it is switched off)";
    let text = fs::read_to_string(&path).map_err(SourceError::file(&path, what, "root"))?;
    text.lines()
        .map(|line| {
            let mut words = line.split_whitespace().map(sysfs::hex);
            match (words.next().flatten(), words.next().flatten()) {
                (Some(first), Some(last)) if first <= last => Ok((first, last)),
                _ => Err(SourceError::Format {
                    path: path.clone(),
                    text: line.to_owned(),
                }),
            }
        })
        .collect()
}

/// Makes a pool of the unreserved IOVAs within the mask. The first page is left out, because devices and drivers use
/// 0 for "none". The top of all 64 bits is left out, because no pool can count it.
fn free_iovas(
    mask: AddressMask,
    reserved: &[(u64, u64)],
) -> Result<Pool, Box<dyn Error + Send + Sync>> {
    /// Half of what can be counted is more than any IOMMU has, and the bitmap is allocated in full: 2^39 pages of 4
    /// KiB would take 64 GiB of it. 64 GiB of IOVAs take 2 MiB (2026-11).
    const MOST: u64 = 64 << 30;

    let page = rustix::param::page_size() as u64;
    let pool = Pool::new(page.ilog2())?;
    let end = mask.highest().get().saturating_add(1).min(MOST);
    let mut holes = reserved.to_vec();
    holes.sort_unstable();
    let mut next = page;
    for (first, last) in holes.into_iter().chain([(end, end)]) {
        let first = first.min(end) / page * page;
        if first > next {
            pool.add(next.try_into()?, (first - next).try_into()?)?;
        }
        let after = last.saturating_add(1).min(end);
        next = next.max(after.next_multiple_of(page));
    }
    Ok(pool)
}

fn explain(error: VfioError) -> SourceError {
    match error {
        VfioError::OpenContainer(source) => unopened("/dev/vfio/vfio", source),
        VfioError::OpenGroup(source, group) => unopened(&format!("/dev/vfio/{group}"), source),
        #[cfg(feature = "vfio-cdev")]
        VfioError::OpenDeviceCdev(source) => unopened("/dev/vfio/devices", source),
        other => SourceError::System {
            call: "vfio",
            source: std::io::Error::other(other),
        },
    }
}

fn unopened(path: &str, source: std::io::Error) -> SourceError {
    let needs = "the file to be yours, or root";
    let what = "file of VFIO (its modules are not loaded, or no VFIO driver has the device)";
    SourceError::file(Path::new(path), what, needs)(source)
}

/// A region was not mapped into the IOMMU.
///
/// ```no_run
/// // features = ["vfio"]
/// use genpool::dma::source::{Iommu, RamSource};
///
/// fn map(iommu: &Iommu) -> Result<(), Box<dyn std::error::Error>> {
///     if let Err(refused) = iommu.map(RamSource::new(1 << 30).map()?) {
///         println!("{}", refused.reason);
///         let region = refused.region; // it comes back unchanged
///         assert!(region.windows().is_empty());
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct MapError {
    /// The reason.
    pub reason: MapRefused,
    /// The region as it was given.
    pub region: Box<Region<Ram>>,
}

impl MapError {
    fn new(reason: MapRefused, region: Region<Ram>) -> Self {
        Self {
            reason,
            region: Box::new(region),
        }
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

// By hand: `#[error(transparent)]` takes a single field.
impl Error for MapError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason.source()
    }
}

/// The reason why a region was not mapped into the IOMMU.
///
/// ```no_run
/// // features = ["vfio"]
/// use genpool::dma::source::{Iommu, MapRefused, RamSource};
///
/// fn map(iommu: &Iommu) -> Result<(), Box<dyn std::error::Error>> {
///     match iommu.map(RamSource::new(1 << 30).map()?).map_err(|refused| refused.reason) {
///         Ok(region) => println!("seen at {}", region.windows()[0].dma()),
///         Err(MapRefused::NoIova(_)) => println!("unmap something first"),
///         Err(refused) => println!("{refused}"),
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapRefused {
    /// No range of free IOVAs is long enough.
    #[error("no IOVAs are free")]
    NoIova(#[source] AllocError),
    /// The process may not pin this much memory.
    #[error("{size:#x} bytes cannot be pinned: {}", Pinnable(*limit))]
    PinLimit {
        /// The bytes to pin.
        size: usize,
        /// How many bytes the process may lock in total (`RLIMIT_MEMLOCK`), or none if there is no limit.
        limit: Option<u64>,
    },
    /// The IOMMU refused.
    #[error(transparent)]
    Refused(VfioError),
}

/// Formats why the process cannot pin more memory.
struct Pinnable(Option<u64>);

impl fmt::Display for Pinnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(limit) => write!(
                f,
                "the process may lock {limit:#x} in all; raise RLIMIT_MEMLOCK (`ulimit -l`)"
            ),
            None => f.write_str("there is no memory left"),
        }
    }
}

impl MapRefused {
    fn of(error: VfioError, size: usize) -> Self {
        match error {
            VfioError::IommuDmaMap(errno) if errno.errno() == libc::ENOMEM => Self::PinLimit {
                size,
                limit: lock_limit(),
            },
            other => Self::Refused(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::num::NonZeroUsize;
    use core::ptr::NonNull;

    use super::*;

    #[test]
    fn reserved_iovas_are_left_out() {
        let mask = AddressMask::bits(28).unwrap();
        let reserved = [
            (0xfee_0000, 0xfee_ffff),
            (0x5800, 0x5fff),
            (1 << 40, u64::MAX),
        ];
        let pool = free_iovas(mask, &reserved).unwrap();
        let mut chunks: Vec<_> = pool.chunks().map(|c| (c.start(), c.last())).collect();
        chunks.sort_unstable();
        assert_eq!(
            chunks,
            [
                (0x1000, 0x4fff),
                (0x6000, 0xfed_ffff),
                (0xfef_0000, 0xfff_ffff)
            ]
        );
        let all = free_iovas(AddressMask::ALL, &[(0, 0xffff), (0x8000, u64::MAX)]).unwrap();
        assert_eq!(all.size(), 0);
        assert_eq!(
            free_iovas(AddressMask::ALL, &[]).unwrap().size(),
            (64 << 30) - 0x1000
        );
    }

    #[test]
    fn reserved_regions_are_read_line_by_line() {
        let device = tempfile::tempdir().unwrap();
        let missing = reserved(device.path()).unwrap_err();
        assert!(matches!(missing, SourceError::NotThere { .. }), "{missing}");
        let group = device.path().join("iommu_group");
        fs::create_dir(&group).unwrap();
        let read = |text: &str| {
            fs::write(group.join("reserved_regions"), text).unwrap();
            reserved(device.path())
        };
        let text = "0x00000000fee00000 0x00000000feefffff msi\n0x7 0x7 direct\n";
        assert_eq!(read(text).unwrap(), [(0xfee0_0000, 0xfeef_ffff), (7, 7)]);
        assert_eq!(read("").unwrap(), []);
        for line in ["0x8 0x7 direct", "0x8", "first last", ""] {
            let refused = read(&format!("0x1 0x2 msi\n{line}\n")).unwrap_err();
            assert!(
                matches!(&refused, SourceError::Format { text, .. } if text == line),
                "{refused}"
            );
        }
    }

    #[test]
    fn an_iommu_without_memory_says_what_may_be_pinned() {
        let of = |code| {
            let errno = std::io::Error::from_raw_os_error(code).into();
            MapRefused::of(VfioError::IommuDmaMap(errno), 0x2000)
        };
        let pin = of(libc::ENOMEM);
        assert!(
            matches!(pin, MapRefused::PinLimit { size: 0x2000, .. }),
            "{pin}"
        );
        let other = of(libc::EEXIST);
        assert!(matches!(other, MapRefused::Refused(_)), "{other}");
        let limit = |limit| MapRefused::PinLimit {
            size: 0x2000,
            limit,
        };
        let texts = [
            (
                limit(Some(0x1000)),
                "0x2000 bytes cannot be pinned: the process may lock 0x1000 in all; \
                 raise RLIMIT_MEMLOCK (`ulimit -l`)",
            ),
            (
                limit(None),
                "0x2000 bytes cannot be pinned: there is no memory left",
            ),
        ];
        for (refused, text) in texts {
            assert_eq!(refused.to_string(), text);
        }
        let refused = MapRefused::NoIova(AllocError::ZeroSize);
        let text = "no IOVAs are free";
        assert_eq!(refused.to_string(), text);
        // SAFETY: no memory is accessed, and no device receives an address.
        let region = unsafe { Region::from_raw(NonNull::dangling(), NonZeroUsize::MIN, ()) };
        let error = MapError::new(refused, region);
        assert_eq!(error.to_string(), text);
        let source = error.source().map(ToString::to_string);
        assert_eq!(source, Some(AllocError::ZeroSize.to_string()));
    }

    /// An IOMMU that records its calls.
    #[derive(Default)]
    struct Notes {
        calls: std::sync::Mutex<Vec<(&'static str, u64, usize)>>,
        stubborn: bool,
    }

    impl VfioOps for Notes {
        unsafe fn vfio_dma_map(&self, iova: u64, size: usize, _: *mut u8) -> Result<(), VfioError> {
            self.calls.lock().unwrap().push(("map", iova, size));
            Ok(())
        }

        fn vfio_dma_unmap(&self, iova: u64, size: usize) -> Result<(), VfioError> {
            self.calls.lock().unwrap().push(("unmap", iova, size));
            if self.stubborn {
                return Err(VfioError::InvalidDmaUnmapSize);
            }
            Ok(())
        }
    }

    fn iommu(stubborn: bool) -> (Iommu, Arc<Notes>) {
        let notes = Arc::new(Notes {
            stubborn,
            ..Notes::default()
        });
        let iommu = Iommu {
            ops: notes.clone(),
            attached: Arc::new(()),
            iovas: free_iovas(AddressMask::bits(24).unwrap(), &[]).unwrap(),
            space: AddressSpace::new(),
        };
        (iommu, notes)
    }

    #[test]
    fn mapping_and_memory_are_one_object() {
        use super::super::RamSource;

        let (iommu, notes) = iommu(false);
        let free = iommu.avail();
        let region = iommu.map(RamSource::new(3 << 20).map().unwrap()).unwrap();
        assert_eq!(region.bus(), Some(&iommu.bus()));
        let iova = region.windows()[0].dma().get();
        assert_eq!(iova % (2 << 20), (region.start().get() % (2 << 20)) as u64);
        assert_eq!(iommu.avail(), free - (3 << 20));
        let too_large = iommu.map(RamSource::new(32 << 20).map().unwrap());
        let too_large = too_large.unwrap_err();
        assert!(
            matches!(too_large.reason, MapRefused::NoIova(_)),
            "{too_large}"
        );
        drop(region);
        assert_eq!(iommu.avail(), free);
        let calls = [("map", iova, 3 << 20), ("unmap", iova, 3 << 20)];
        assert_eq!(*notes.calls.lock().unwrap(), calls);
    }

    /// A guard that panics when it is dropped.
    struct Panics {
        _kept: Arc<()>,
    }

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("the guard panics");
        }
    }

    #[test]
    fn a_guard_that_panics_keeps_no_iovas() {
        let (iommu, notes) = iommu(false);
        let (free, kept) = (iommu.avail(), Arc::new(()));
        let start = NonNull::<u8>::dangling();
        let guard = Panics {
            _kept: Arc::clone(&kept),
        };
        // SAFETY: nothing is accessed, and no device is given the address.
        let region = unsafe { Region::from_raw(start, NonZeroUsize::MIN, guard) };
        let region = iommu.map(region).unwrap();
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(region)));
        assert!(dropped.is_err(), "nobody else would hear of it");
        assert_eq!((iommu.avail(), Arc::strong_count(&kept)), (free, 1));
        assert_eq!(notes.calls.lock().unwrap().len(), 2);
        assert_eq!(Arc::strong_count(&iommu.attached), 1);
    }

    #[test]
    fn what_the_iommu_does_not_forget_is_never_used_again() {
        use super::super::RamSource;

        let (iommu, _notes) = iommu(true);
        let free = iommu.avail();
        let region = iommu.map(RamSource::new(1 << 20).map().unwrap()).unwrap();
        let start = region.as_ptr();
        drop(region);
        assert_eq!(iommu.avail(), free - (1 << 20));
        // SAFETY: the memory was not unmapped, which is what the test checks.
        unsafe { start.write_volatile(1) };
    }
}
