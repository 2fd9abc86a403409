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

/// A PCI device as sysfs shows it.
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

/// A base address register that is memory.
///
/// ```no_run
/// use genpool::dma::source::PciDevice;
/// use genpool::dma::{MemoryPool, Width};
///
/// let bar = PciDevice::at("0000:00:04.0")?.bar(2)?;
/// let region = match bar.is_prefetchable() {
///     true => bar.map_write_combining()?,
///     false => bar.map()?,
/// };
/// let pool = MemoryPool::of_device(8, Width::Four)?;
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
    /// The device at an address such as `0000:00:04.0`: domain, bus, device and function.
    ///
    /// ```
    /// use genpool::dma::source::{PciDevice, SourceError};
    ///
    /// // What is no address is never made part of a path.
    /// let refused = PciDevice::at("../../block/sda").unwrap_err();
    /// assert!(matches!(&refused, SourceError::PciAddress { address } if address == "../../block/sda"));
    /// println!("{refused}");
    /// ```
    ///
    /// # Errors
    ///
    /// [`SourceError::PciAddress`] if it does not read so, [`SourceError::NotThere`] if there is no such device.
    pub fn at(address: &str) -> Result<Self, SourceError> {
        if !is_address(address) {
            let address = address.to_owned();
            return Err(SourceError::PciAddress { address });
        }
        Self::in_folder(Path::new("/sys/bus/pci/devices").join(address))
    }

    /// The device that this folder of sysfs is about.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotThere`].
    pub fn in_folder(folder: impl Into<PathBuf>) -> Result<Self, SourceError> {
        let folder = folder.into();
        if !folder.join("resource").exists() {
            let what = "PCI device";
            return Err(SourceError::NotThere { path: folder, what });
        }
        Ok(Self { folder })
    }

    /// Its folder in sysfs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// BAR `index`, 0 to 5.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotMemory`] if it does not exist or is of I/O ports.
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

/// Whether it reads as sysfs names devices: four digits of the domain, or more, two of the bus, two of the
/// device, one of the function.
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
    /// The physical address, which other devices on the bus see it at as well.
    #[must_use]
    pub fn phys(&self) -> PhysAddr {
        self.phys
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> NonZeroUsize {
        self.size
    }

    /// Whether reading it has no side effects: such a BAR may be mapped write-combining.
    #[must_use]
    pub fn is_prefetchable(&self) -> bool {
        self.prefetchable
    }

    /// Maps all of it, uncached: every access goes to the device by itself.
    ///
    /// # Errors
    ///
    /// [`SourceError`]; [`SourceError::NoPrivilege`] for who is not root, [`SourceError::Busy`] while a
    /// driver of the kernel is bound to the device.
    pub fn map(&self) -> Result<Region<Device>, SourceError> {
        self.map_file(&self.file)
    }

    /// Maps all of it, write-combining: stores may be collected, and leave the processor in bursts.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map), and [`SourceError::NotThere`] where the kernel does not offer it, as for
    /// BARs that are not prefetchable.
    pub fn map_write_combining(&self) -> Result<Region<Device>, SourceError> {
        let mut file = self.file.clone().into_os_string();
        file.push("_wc");
        self.map_file(Path::new(&file))
    }

    fn map_file(&self, path: &Path) -> Result<Region<Device>, SourceError> {
        // One that is smaller than a page begins somewhere in one, and the kernel maps whole pages.
        let skip = (self.phys.get() % rustix::param::page_size() as u64) as usize;
        let region = map_device(path, 0, self.size.saturating_add(skip), skip, self.size)?;
        // SAFETY: the kernel says so, and BARs stay where they are while somebody maps them.
        Ok(unsafe { region.physically_at(self.phys) })
    }
}

/// Maps `len` bytes of a device's file from `offset` on, of which the region is `size` from `skip` on.
/// The file is opened synchronously: of `/dev/mem`, that asks for a mapping that is not cached.
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
        // What the kernel answers for memory that one of its drivers has claimed.
        Errno::INVAL => SourceError::Busy {
            path: path.to_owned(),
        },
        errno => SourceError::system("mmap of a device's memory")(errno),
    })?;
    // SAFETY: the caller says that the part lies in the mapping, so it is not past its end.
    let start = unsafe { mapping.start().cast().byte_add(skip) };
    // SAFETY: a fresh mapping of a device's memory, which takes volatile accesses and is unmapped when
    // it is dropped. That others may map the same, as the device may write it, is what volatile is for.
    Ok(unsafe { Region::from_raw(start, size, mapping) })
}
