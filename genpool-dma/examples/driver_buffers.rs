//! The buffers of a user-space network driver: huge pages, a descriptor ring, and frames that the device fills. Run
//! it as root on a machine with huge pages (`sysctl vm.nr_hugepages=4`); otherwise it says what is missing.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use genpool_core::FirstFit;
    use genpool_core::{Constrained, Constraints};
    use genpool_dma::source::{PageMap, PageSize, RamSource};
    use genpool_dma::{AddressMask, DeviceBuffer, MemoryPool};

    const FRAME: usize = 2048;
    const FRAMES: usize = 64;
    const DESCRIPTOR: usize = 16;

    let source = RamSource::new(4 << 20).pages(PageSize::Huge2M);
    let region = match source.map() {
        Ok(region) => region,
        Err(missing) => {
            println!("no huge pages: {missing}");
            return Ok(());
        }
    };
    // With an IOMMU this line would be `iommu.map(region)`, and nothing else would change.
    let region = match PageMap::open()?.resolve(region) {
        Ok(region) => region,
        Err(refused) => {
            println!("no physical addresses: {refused}");
            return Ok(());
        }
    };
    let pool = MemoryPool::new(11)?; // granules of a frame
    pool.add(region)?;

    // The needs of this device: addresses of 39 bits, a ring aligned to 4 KiB that does not cross 64 KiB, and frames
    // that do not cross 4 KiB.
    let reached = AddressMask::bits(39)?.constrain(Constraints::new());
    let for_ring = Constrained::new(FirstFit, reached.dma_align(4096)?.dma_boundary(64 << 10)?);
    let for_frames = Constrained::new(FirstFit, reached.dma_boundary(4096)?);

    let mut ring = pool
        .dma_zalloc_with(FRAMES * DESCRIPTOR, &for_ring)?
        .share();
    let frames: Vec<DeviceBuffer<'_>> = (0..FRAMES)
        .map(|_| Ok(pool.dma_zalloc_with(FRAME, &for_frames)?.share()))
        .collect::<Result<_, genpool_dma::DmaError>>()?;
    for (number, frame) in frames.iter().enumerate() {
        ring.write(number * DESCRIPTOR, frame.dma().get().to_le())?;
        ring.write(number * DESCRIPTOR + 8, (FRAME as u32).to_le())?;
    }
    println!("the device gets a ring of {FRAMES} at {}", ring.dma());
    println!("the first frame is at {}", frames[0].dma());

    // A driver would now start the device and finally stop it. Once the device has confirmed that it is at rest:
    for frame in frames {
        // SAFETY: no device was given an address.
        let frame = unsafe { frame.reclaim() };
        assert_eq!(frame.len(), FRAME);
    }
    println!("{} of {} bytes are free", pool.avail(), pool.size());
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("huge pages are had on Linux only");
}
