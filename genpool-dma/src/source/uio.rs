//! The memory of a UIO device.

use core::num::NonZeroUsize;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::SourceError;
use super::pci::map_device;
use super::sysfs;
use crate::addr::PhysAddr;
use crate::kind::Device;
use crate::region::Region;

/// Physical addresses have at most 56 bits. If a driver's map is kernel memory instead of a device's
/// (`UIO_MEM_LOGICAL`, `UIO_MEM_VIRTUAL`), it reports the kernel's virtual address, which lies above.
const PHYSICAL_END: u64 = 1 << 56;

/// A map of a UIO device: `/sys/class/uio/uioN/maps/mapM`.
///
/// ```no_run
/// use std::num::NonZeroUsize;
///
/// use genpool::dma::PhysAddr;
/// use genpool::dma::source::UioMap;
///
/// let map = UioMap::open(0, 1)?; // /sys/class/uio/uio0/maps/map1
/// println!("{} bytes at {}", map.size(), map.phys());
///
/// // Or the map of any device that has the range:
/// let (sram, size) = (PhysAddr::new(0x5c00_0000), NonZeroUsize::new(0x4_0000).ok_or("no bytes")?);
/// let map = UioMap::covering(sram, size)?;
/// let skip = map.offset_of(sram, size).ok_or("it covers the range")?;
/// let region = map.map()?;
/// println!("the SRAM begins {skip} bytes into {} bytes", region.size());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct UioMap {
    device: PathBuf,
    number: u32,
    phys: PhysAddr,
    size: NonZeroUsize,
    /// The offset of the map within its first page.
    skip: usize,
}

impl UioMap {
    /// Returns map `map` of the device `uioN`, where N is `device`.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotThere`] if there is no such map, [`SourceError::Format`] also if the driver reports no
    /// physical address.
    pub fn open(device: u32, map: u32) -> Result<Self, SourceError> {
        Self::under(Path::new("/sys/class/uio"), Path::new("/dev"), device, map)
    }

    /// Returns the first map that contains all `size` bytes at a physical address.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotThere`] if there is none. Invalid maps are skipped.
    pub fn covering(phys: PhysAddr, size: NonZeroUsize) -> Result<Self, SourceError> {
        Self::covering_under(Path::new("/sys/class/uio"), Path::new("/dev"), phys, size)
    }

    fn covering_under(
        class: &Path,
        dev: &Path,
        phys: PhysAddr,
        size: NonZeroUsize,
    ) -> Result<Self, SourceError> {
        let covers = |map: &Self| map.offset_of(phys, size).is_some();
        let maps_of = |device| {
            let maps = numbered(&class.join(format!("uio{device}/maps")), "map");
            maps.into_iter()
                .filter_map(move |map| Self::under(class, dev, device, map).ok())
        };
        let found = numbered(class, "uio")
            .into_iter()
            .flat_map(maps_of)
            .find(covers);
        found.ok_or_else(|| SourceError::NotThere {
            path: class.to_owned(),
            what: "UIO map of these physical addresses",
        })
    }

    /// Returns the offset in the map of the `size` bytes at a physical address, if the map contains all of them.
    #[must_use]
    pub fn offset_of(&self, phys: PhysAddr, size: NonZeroUsize) -> Option<usize> {
        let offset = usize::try_from(phys.checked_sub(self.phys)?).ok()?;
        (offset.checked_add(size.get())? <= self.size.get()).then_some(offset)
    }

    /// Like `open`, with other folders for sysfs's class and the device files.
    fn under(class: &Path, dev: &Path, device: u32, map: u32) -> Result<Self, SourceError> {
        let what = "map of a UIO device";
        let folder = class.join(format!("uio{device}/maps/map{map}"));
        let attribute = |name| sysfs::number(&folder.join(name), what);
        let (addr, whole) = (attribute("addr")?, attribute("size")?);
        // A map consists of whole pages. This is where the device's memory begins in the first.
        let offset = attribute("offset")?;
        let size = whole
            .checked_sub(offset)
            .and_then(|size| usize::try_from(size).ok());
        let end = addr.checked_add(whole).filter(|&end| end <= PHYSICAL_END);
        match (end, size.and_then(NonZeroUsize::new)) {
            (Some(_), Some(size)) if whole <= isize::MAX as u64 => Ok(Self {
                device: dev.join(format!("uio{device}")),
                number: map,
                phys: PhysAddr::new(addr + offset),
                size,
                skip: offset as usize,
            }),
            _ => Err(SourceError::Format {
                text: format!("addr {addr:#x}, offset {offset:#x}, size {whole:#x}"),
                path: folder,
            }),
        }
    }

    /// Returns the physical address.
    #[must_use]
    pub fn phys(&self) -> PhysAddr {
        self.phys
    }

    /// Returns the size in bytes, to the end of the last page. The kernel does not say where the device's memory ends
    /// within that page; the bytes after it may belong to another device.
    #[must_use]
    pub fn size(&self) -> NonZeroUsize {
        self.size
    }

    /// Maps the whole map.
    ///
    /// # Errors
    ///
    /// [`SourceError`], among others [`SourceError::NoPrivilege`] if the process may not open the device.
    pub fn map(&self) -> Result<Region<Device>, SourceError> {
        let page = rustix::param::page_size();
        let len = self.size.saturating_add(self.skip);
        let len = NonZeroUsize::new(len.get().next_multiple_of(page)).unwrap_or(len);
        // The offset, in pages, selects the map.
        let offset = u64::from(self.number) * page as u64;
        let region = map_device(&self.device, offset, len, self.skip, self.size)?;
        // SAFETY: this is the kernel's own number, and the driver keeps the device while it is mapped.
        Ok(unsafe { region.physically_at(self.phys) })
    }
}

/// Returns the numbers after `prefix` in the names of a folder's entries, in ascending order.
fn numbered(folder: &Path, prefix: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix(prefix)?.parse().ok()
    };
    let mut numbers: Vec<u32> = entries.filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri lists no folders like these")]
    fn the_map_that_covers_a_range_is_found() {
        let root = tempfile::tempdir().unwrap();
        let put = |map: &str, addr: &str, size: &str| {
            let folder = root.path().join(map);
            fs::create_dir_all(&folder).unwrap();
            for (name, text) in [("addr", addr), ("offset", "0x0"), ("size", size)] {
                fs::write(folder.join(name), text).unwrap();
            }
        };
        put("uio0/maps/map0", "0x1000", "0x1000");
        put("uio2/maps/map0", "nonsense", "0x1000");
        put("uio10/maps/map1", "0x40000000", "0x4000");
        put("unlike/maps/map0", "0x0", "0x100000000");
        let find = |phys, size| {
            let size = NonZeroUsize::new(size).unwrap();
            UioMap::covering_under(root.path(), root.path(), PhysAddr::new(phys), size)
        };
        let size = NonZeroUsize::new(0x2000).unwrap();
        let found = find(0x4000_1000, 0x2000).unwrap();
        let offset = found.offset_of(PhysAddr::new(0x4000_1000), size);
        assert_eq!((found.number, offset), (1, Some(0x1000)));
        assert_eq!(find(0x1000, 0x1000).unwrap().phys().get(), 0x1000);
        for (phys, size) in [
            (0x1000, 0x1001),
            (0xfff, 2),
            (0x4000_3fff, 2),
            (u64::MAX, usize::MAX),
        ] {
            let missing = find(phys, size).unwrap_err();
            assert!(matches!(missing, SourceError::NotThere { .. }), "{missing}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn a_map_is_found_and_mapped_from_its_offset_on() {
        let root = tempfile::tempdir().unwrap();
        let page = rustix::param::page_size();
        let folder = root.path().join("uio3/maps/map1");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("addr"), "0x00000000fe000000\n").unwrap();
        fs::write(folder.join("offset"), "0x100\n").unwrap();
        fs::write(folder.join("size"), "0x0000000000001000\n").unwrap();
        let mut device = vec![0; 2 * page];
        device[page + 0x100] = 7;
        let dev = root.path().join("dev");
        fs::create_dir(&dev).unwrap();
        fs::write(dev.join("uio3"), &device).unwrap();

        let map = UioMap::under(root.path(), &dev, 3, 1).unwrap();
        assert_eq!((map.phys().get(), map.size().get()), (0xfe00_0100, 0xf00));
        let region = map.map().unwrap();
        assert_eq!(region.windows()[0].dma().get(), 0xfe00_0100);
        assert_eq!(region.start().get() % page, 0x100);
        // SAFETY: the region is mapped, and nobody else uses the file.
        assert_eq!(unsafe { region.as_ptr().read_volatile() }, 7);

        let missing = UioMap::under(root.path(), &dev, 3, 2).unwrap_err();
        assert!(matches!(missing, SourceError::NotThere { .. }), "{missing}");
        fs::write(folder.join("size"), "0x0").unwrap();
        let empty = UioMap::under(root.path(), &dev, 3, 1).unwrap_err();
        assert!(matches!(empty, SourceError::Format { .. }), "{empty}");
        // No bus has such addresses: a virtual address of the kernel, and a range that wraps around.
        fs::write(folder.join("size"), "0x2000").unwrap();
        for addr in ["0xffff888000000000", "0xfffffffffffff000"] {
            fs::write(folder.join("addr"), addr).unwrap();
            let refused = UioMap::under(root.path(), &dev, 3, 1).unwrap_err();
            assert!(matches!(refused, SourceError::Format { .. }), "{refused}");
        }
    }
}
