//! A pool over a PCI BAR: queues in a device's own memory. Without arguments it lists the BARs of this machine. With
//! a device and the number of a BAR (`0000:00:03.0 2`) it allocates in that BAR, which needs root. It writes nothing
//! unless the argument `zero` is given too.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use genpool_core::Pool;
    use genpool_dma::source::PciDevice;
    use genpool_dma::{Device, MemoryPool, Width};

    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, number, rest @ ..] = args.as_slice() else {
        return list();
    };
    let bar = PciDevice::at(address)?.bar(number.parse()?)?;
    let region = match bar.is_prefetchable() {
        true => bar.map_write_combining()?,
        false => bar.map()?,
    };
    let pool = MemoryPool::<Device>::of_device(Pool::builder().order(8), Width::Four)?;
    pool.add(region)?;
    let mut queue = pool.dma_alloc_align(1024, 1024)?;
    println!("1024 bytes at {}, {} on the bus", queue.virt(), queue.dma());
    if rest == ["zero"] {
        queue.zero();
        println!("the first word is {:#x} now", queue.read::<u32>(0)?);
    }
    drop(queue);
    println!("{} of {} bytes are free", pool.avail(), pool.size());
    Ok(())
}

#[cfg(target_os = "linux")]
fn list() -> Result<(), Box<dyn std::error::Error>> {
    use genpool_dma::source::PciDevice;

    let Ok(devices) = std::fs::read_dir("/sys/bus/pci/devices") else {
        println!("this machine has no PCI devices");
        return Ok(());
    };
    for entry in devices {
        let device = PciDevice::in_folder(entry?.path())?;
        for number in 0..6 {
            if let Ok(bar) = device.bar(number) {
                let (name, size) = (device.folder().display(), bar.size());
                println!("{name} BAR {number}: {size:#x} bytes at {}", bar.phys());
            }
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("BARs are had on Linux only");
}
