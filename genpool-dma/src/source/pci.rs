//! A PCI device's memory, through sysfs.

use core::num::NonZeroUsize;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mm::MapFlags;

use super::error::SourceError;
use super::mapping::{Backing, Mapping};
use super::sysfs;
use crate::addr::PhysAddr;
use crate::kind::Device;
use crate::region::Region;

/// A PCI device in sysfs.
///
/// ```no_run
/// use genpool::dma::source::PciDevice;
///
/// let device = PciDevice::at("0000:00:04.0")?;
/// assert_eq!(device.folder(), PciDevice::in_folder("/sys/bus/pci/devices/0000:00:04.0")?.folder());
/// let bar = device.bar(2)?;
/// println!("{} bytes at {}", bar.size(), bar.phys());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PciDevice {
    folder: PathBuf,
}

/// A base address register (BAR) that is memory.
///
/// ```no_run
/// use genpool::Pool;
/// use genpool::dma::source::PciDevice;
/// use genpool::dma::{MemoryPool, Width};
///
/// let bar = PciDevice::at("0000:00:04.0")?.bar(2)?;
/// let region = match bar.is_prefetchable() {
///     true => bar.map_write_combining()?,
///     false => bar.map()?,
/// };
/// let pool = MemoryPool::of_device(Pool::builder().order(8), Width::Four)?;
/// pool.add(region)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bar {
    file: PathBuf,
    phys: PhysAddr,
    size: NonZeroUsize,
    prefetchable: bool,
}

impl PciDevice {
    /// Returns the device at an address such as `0000:00:04.0`: domain, bus, device and function.
    ///
    /// ```
    /// use genpool::dma::source::{PciDevice, SourceError};
    ///
    /// // A text that is not an address never becomes part of a path.
    /// let refused = PciDevice::at("../../block/sda").unwrap_err();
    /// assert!(matches!(&refused, SourceError::PciAddress { address } if address == "../../block/sda"));
    /// println!("{refused}");
    /// ```
    ///
    /// # Errors
    ///
    /// [`SourceError::PciAddress`] if the text is not such an address, [`SourceError::NotThere`] if there is no such
    /// device.
    pub fn at(address: &str) -> Result<Self, SourceError> {
        if !is_address(address) {
            let address = address.to_owned();
            return Err(SourceError::PciAddress { address });
        }
        Self::in_folder(Path::new("/sys/bus/pci/devices").join(address))
    }

    /// Returns the device of this sysfs folder.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotThere`] if the folder is not a PCI device's.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Result<Self, SourceError> {
        let folder = folder.into();
        if !folder.join("resource").exists() {
            let what = "PCI device";
            return Err(SourceError::NotThere { path: folder, what });
        }
        Ok(Self { folder })
    }

    /// Returns the device's folder in sysfs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns BAR `index`, 0 to 5.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotMemory`] if the BAR does not exist or consists of I/O ports.
    pub fn bar(&self, index: u8) -> Result<Bar, SourceError> {
        /// `IORESOURCE_MEM` and `IORESOURCE_PREFETCH` of the kernel's table.
        const MEMORY: u64 = 0x200;
        const PREFETCHABLE: u64 = 0x2000;

        let table = self.folder.join("resource");
        let text = sysfs::text(&table, "table of a device's resources")?;
        let line = text.lines().nth(index.into()).filter(|_| index < 6);
        let line = line.ok_or(SourceError::NotMemory { bar: index })?;
        let numbers: Option<Vec<u64>> = line.split_whitespace().map(sysfs::hex).collect();
        let Some([first, last, flags]) = numbers.as_deref() else {
            let text = line.to_owned();
            return Err(SourceError::Format { path: table, text });
        };
        let size = last
            .checked_sub(*first)
            .and_then(|more| more.checked_add(1));
        let size = size
            .filter(|_| *first != 0 && flags & MEMORY != 0)
            .and_then(|size| NonZeroUsize::new(size.try_into().ok()?))
            .ok_or(SourceError::NotMemory { bar: index })?;
        Ok(Bar {
            file: self.folder.join(format!("resource{index}")),
            phys: PhysAddr::new(*first),
            size,
            prefetchable: flags & PREFETCHABLE != 0,
        })
    }
}

/// Whether the text has the form of a device name in sysfs: at least four hexadecimal digits of the domain, two of
/// the bus, two of the device, one of the function.
fn is_address(text: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mut parts = text.split(':');
    let (Some(domain), Some(bus), Some(rest), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let Some((device, function)) = rest.split_once('.') else {
        return false;
    };
    (4..=8).contains(&domain.len())
        && [bus.len(), device.len(), function.len()] == [2, 2, 1]
        && [domain, bus, device, function].into_iter().all(hex)
}

impl Bar {
    /// Returns the physical address. Other devices on the bus see the BAR at the same address.
    #[must_use]
    pub fn phys(&self) -> PhysAddr {
        self.phys
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> NonZeroUsize {
        self.size
    }

    /// Whether reads have no side effects. Such a BAR may be mapped write-combining.
    #[must_use]
    pub fn is_prefetchable(&self) -> bool {
        self.prefetchable
    }

    /// Maps the whole BAR uncached: every access goes to the device separately.
    ///
    /// # Errors
    ///
    /// [`SourceError`], among others [`SourceError::NoPrivilege`] unless the process is root, and
    /// [`SourceError::Busy`] while a kernel driver is bound to the device.
    pub fn map(&self) -> Result<Region<Device>, SourceError> {
        self.map_file(&self.file)
    }

    /// Maps the whole BAR write-combining: stores may be merged and leave the processor in bursts.
    ///
    /// # Errors
    ///
    /// As for [`map`](Self::map), and [`SourceError::NotThere`] if the kernel does not offer it, for instance because
    /// the BAR is not prefetchable.
    pub fn map_write_combining(&self) -> Result<Region<Device>, SourceError> {
        let mut file = self.file.clone().into_os_string();
        file.push("_wc");
        self.map_file(Path::new(&file))
    }

    fn map_file(&self, path: &Path) -> Result<Region<Device>, SourceError> {
        // The kernel maps whole pages, and a BAR smaller than a page may begin inside one.
        let skip = (self.phys.get() % rustix::param::page_size() as u64) as usize;
        let region = map_device(path, 0, self.size.saturating_add(skip), skip, self.size)?;
        // SAFETY: this is the kernel's own number, and a BAR keeps its address while it is mapped.
        Ok(unsafe { region.physically_at(self.phys) })
    }
}

/// Maps `len` bytes of a device's file from `offset` on. The region is the `size` bytes from `skip` on. The file is
/// opened with `O_SYNC`, which for `/dev/mem` asks for an uncached mapping.
pub(super) fn map_device(
    path: &Path,
    offset: u64,
    len: NonZeroUsize,
    skip: usize,
    size: NonZeroUsize,
) -> Result<Region<Device>, SourceError> {
    let what = "memory of a device";
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_SYNC);
    let file = options.open(path);
    let file = file.map_err(SourceError::file(path, what, "root"))?;
    let backing = Backing::File(file.as_fd(), offset);
    let mapping = Mapping::new(len, backing, MapFlags::empty());
    let mapping = mapping.map_err(|errno| match errno {
        // The kernel's answer for memory that one of its drivers has claimed.
        Errno::INVAL => SourceError::Busy {
            path: path.to_owned(),
        },
        errno => SourceError::system("mmap of a device's memory")(errno),
    })?;
    // SAFETY: the caller promises that the part lies in the mapping, so it is not past its end.
    let start = unsafe { mapping.start().cast().byte_add(skip) };
    // SAFETY: a fresh mapping of a device's memory accepts volatile accesses and is unmapped when it is dropped.
    // Others may map the same memory, and the device may write it; volatile accesses allow that.
    Ok(unsafe { Region::from_raw(start, size, mapping) })
}
