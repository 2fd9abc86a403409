//! Step 3: the same device behind an IOMMU, by VFIO.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use genpool::FirstFit;
use genpool::dma::source::{Iommu, PageSize, RamSource};
use genpool::dma::{DmaAddr, MemoryPool};
use vfio_ioctls::VfioDevice;

use super::{LENGTHS, PAGE, arrived, fill, round_trip};
use crate::edu::{self, Edu, MOST, mask};
use crate::machine::{find_pci, introduce, kernel_log};
use crate::table::{Outcome, Table, wrong};

const STEP: &str = "3 VFIO and IOMMU";

pub(super) fn run(table: &mut Table) {
    let mut world = match World::new() {
        Ok(world) => world,
        Err(error) => return table.check(STEP, "device and address space", || Err(error)),
    };
    table.check(STEP, "round trips by IOVAs", || world.trips());
    table.control(STEP, "the device reads a page further up", || {
        world.trip_with_offset((PAGE as u64, 0))
    });
    table.control(STEP, "the device writes a page further up", || {
        world.trip_with_offset((0, PAGE as u64))
    });
    table.check(STEP, "DMA after unmapping faults and harms nobody", || {
        world.after_unmapping(true)
    });
    table.control(STEP, "the same without unmapping", || {
        world.after_unmapping(false)
    });
    table.check(STEP, "all IOVAs came back", || {
        match world.iommu.avail() == world.free {
            true => Ok(format!("{:#x} bytes", world.free)),
            false => wrong("some are missing"),
        }
    });
}

struct World {
    iommu: Iommu,
    edu: Edu<Arc<VfioDevice>>,
    free: usize,
}

impl World {
    fn new() -> Result<Self, Box<dyn Error>> {
        introduce("vfio-pci", edu::VENDOR, edu::DEVICE)?;
        let device = find_pci(edu::VENDOR, edu::DEVICE)?;
        let (iommu, device) = Iommu::open(device.folder(), mask())?;
        Ok(Self {
            free: iommu.avail(),
            edu: Edu::by_vfio(device)?,
            iommu,
        })
    }

    /// Makes a pool over huge pages and one over ordinary pages, which are contiguous only for the device.
    fn pool(&self, pages: PageSize) -> Result<MemoryPool, Box<dyn Error>> {
        let pool = MemoryPool::new(6)?;
        let source = RamSource::new(4 << 20).pages(pages);
        pool.add(self.iommu.map(source.map()?)?)?;
        Ok(pool)
    }

    fn trips(&mut self) -> Outcome {
        let mut trips = 0;
        for pages in [PageSize::Ordinary, PageSize::Huge2M] {
            let pool = self.pool(pages)?;
            let _first = pool.dma_alloc(64)?;
            for (seed, len) in LENGTHS.into_iter().enumerate() {
                let mut from = pool.dma_zalloc(len)?;
                fill(&mut from, seed);
                if pool.virt_to_phys(from.virt()).is_some() {
                    return wrong("an IOVA was taken for a physical address");
                }
                let to = pool.dma_zalloc(len)?;
                round_trip(&mut self.edu, from, to, len, (0, 0))?;
                trips += 1;
            }
        }
        Ok(format!("{trips} trips, from ordinary and from huge pages"))
    }

    fn trip_with_offset(&mut self, off: (u64, u64)) -> Outcome {
        let pool = self.pool(PageSize::Ordinary)?;
        let mut from = pool.dma_zalloc(4 * PAGE)?;
        fill(&mut from, 1);
        let to = pool.dma_zalloc(4 * PAGE)?;
        arrived(round_trip(&mut self.edu, from, to, MOST, off))
    }

    /// Makes the device write to memory that has been unmapped from it. The memory is a memfd's, so that it can be
    /// checked after the region is gone.
    fn after_unmapping(&mut self, unmap: bool) -> Outcome {
        let (region, file) = RamSource::new(PAGE).map_memfd("looked at")?;
        let pool = MemoryPool::new(12)?;
        let start = region.start();
        pool.add(self.iommu.map(region)?)?;
        let buffer = pool.dma_zalloc_with(PAGE, &FirstFit)?;
        let iova = buffer.dma();
        // SAFETY: the file is read while the device is at rest.
        let file = File::from(unsafe { file.into_file() });
        drop(buffer);
        let drain = pool.remove(start)?;
        let region = drain.finish().map_err(|_| "something is held")?;
        let faults = faults_at(iova)?;
        let kept = if unmap {
            drop(region);
            None
        } else {
            Some(region)
        };
        self.device_has(0x5a)?;
        self.edu.store(iova, MOST)?;
        let mut bytes = vec![0xff; PAGE];
        file.read_exact_at(&mut bytes, 0)?;
        drop(kept);
        if bytes.iter().any(|&byte| byte != 0) {
            return wrong(format!("the device wrote to {iova}"));
        }
        match faults_at(iova)? - faults {
            0 => wrong("no fault was reported"),
            _ => Ok(format!("at {iova}; the memory is as it was")),
        }
    }

    /// Fills the device's own buffer with `byte`.
    fn device_has(&mut self, byte: u8) -> Result<(), Box<dyn Error>> {
        let pool = self.pool(PageSize::Ordinary)?;
        let mut buffer = pool.dma_zalloc(PAGE)?;
        buffer.fill(byte);
        let shared = buffer.share();
        self.edu.load(shared.dma(), MOST)
    }
}

/// Returns how often the kernel reported that the IOMMU refused this address.
fn faults_at(addr: DmaAddr) -> Result<usize, Box<dyn Error>> {
    let address = format!("fault addr {addr}");
    let log = kernel_log()?;
    let is_fault = |line: &&str| line.contains("DMAR") && line.contains(&address);
    Ok(log.lines().filter(is_fault).count())
}
