//! Numbers that are not memory: ports, interrupt vectors, IOVAs. A pool never touches what its addresses stand for, so
//! it can hand out anything that is counted, also to many threads at once.

use std::collections::HashSet;
use std::time::Duration;

use genpool::{
    AllocError, Allocation, ChunkSpec, Constrained, Constraints, FirstFit, FixedAddress, NextFit,
    OrderAlign, Pool,
};

type Failure = Box<dyn std::error::Error>;

/// Takes numbers until none are left. Only `Exhausted` says so; `Contended` is no proof.
fn all_left(pool: &Pool) -> Result<Vec<Allocation<'_>>, AllocError> {
    let mut taken = Vec::new();
    let mut patience = 1000; // milliseconds
    loop {
        match pool.alloc(1) {
            Ok(number) => taken.push(number),
            Err(AllocError::Exhausted { .. }) => return Ok(taken),
            Err(AllocError::Contended { .. }) if patience > 0 => {
                patience -= 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
}

/// The ephemeral ports of RFC 6335. A freed port is reused as late as possible, because packets of the old connection
/// may still be on their way.
fn ports() -> Result<(), Failure> {
    let pool = Pool::builder().algorithm(NextFit::new()).build()?;
    pool.add(49_152, 16_384)?;

    // A service that is configured for exactly this port.
    let fixed = pool.alloc_with(1, &FixedAddress::new(50_000))?;
    let again = pool.alloc_with(1, &FixedAddress::new(50_000));
    let taken = AllocError::Taken {
        addr: 50_000,
        size: 1,
    };
    assert_eq!(again.err(), Some(taken));

    let first = pool.alloc(1)?.addr(); // given back at once
    let second = pool.alloc(1)?.addr();
    assert_eq!((first, second), (49_152, 49_153));

    // Four threads take all ports that are left. Each port is taken once, and none is the fixed one.
    let taken = std::thread::scope(|threads| -> Result<Vec<_>, Failure> {
        let threads: Vec<_> = (0..4).map(|_| threads.spawn(|| all_left(&pool))).collect();
        let mut taken = Vec::new();
        for thread in threads {
            taken.extend(thread.join().map_err(|_| "a thread panicked")??);
        }
        Ok(taken)
    })?;
    let ports: HashSet<usize> = taken.iter().map(Allocation::addr).collect();
    assert_eq!(ports.len(), taken.len());
    assert_eq!((ports.len(), ports.contains(&50_000)), (16_383, false));
    println!(
        "ports     {} taken by four threads, each once; {} is kept",
        ports.len(),
        fixed.addr()
    );

    drop((taken, fixed));
    assert_eq!(pool.avail(), pool.size());
    Ok(())
}

/// Interrupt vectors. Those of an MSI-capable device are a power of two in number and aligned to it, because the device
/// puts the number of the interrupt into the low bits. The owner of a range names the controller of its vectors.
fn interrupts() -> Result<(), Failure> {
    let pool = Pool::builder()
        .name("vectors")
        .boundary_tracking()
        .build()?;
    pool.add_chunk(ChunkSpec::new(0, 32).owner("I/O APIC"))?;
    pool.add_chunk(ChunkSpec::new(32, 224).owner("MSI"))?;

    let timer = pool.alloc_with(1, &FixedAddress::new(2))?;
    let serial = pool.alloc_with(1, &FixedAddress::new(36))?;
    let network = pool.alloc_with(8, &OrderAlign)?;
    let disk = pool.alloc_with(5, &OrderAlign)?; // eight are its block; five are enough
    for (name, vectors) in [
        ("timer", &timer),
        ("serial", &serial),
        ("network", &network),
        ("disk", &disk),
    ] {
        let (first, last) = (vectors.addr(), vectors.addr() + vectors.size() - 1);
        let controller: &str = vectors.owner_as().ok_or("no owner")?;
        println!("vectors   {first:>3} to {last:>3} for {name}, of the {controller}");
    }
    assert_eq!(timer.owner_as(), Some("I/O APIC"));
    assert_eq!((network.addr(), disk.addr()), (40, 48));

    // A driver keeps only the number. With boundary tracking that is enough to give it back.
    let vector = network.into_raw().addr;
    assert_eq!(pool.free_addr(vector)?, 8);
    assert!(pool.free_addr(vector).is_err());

    // The report at the end lists what was not given back.
    disk.set_tag(0x8086);
    let _ = disk.into_raw();
    drop((timer, serial));
    let report = pool.destroy();
    println!("vectors   {report}");
    assert_eq!(report.held.len(), 1);
    Ok(())
}

/// I/O virtual addresses, in pages. An old device takes 32 bits and may not cross 64 MiB. All others are served above
/// that, so that they do not use up what the old device can reach.
fn io_addresses() -> Result<(), Failure> {
    let pool = Pool::new(12)?;
    pool.add(0x10_0000, (1 << 32) - 0x10_0000)?;
    pool.add(1 << 32, 1 << 36)?; // the newest chunk is tried first

    let modern = pool.alloc(3 << 20)?;
    let reached = Constraints::new().highest(0xffff_ffff);
    let old = Constrained::new(FirstFit, reached.align(1 << 20)?.boundary(64 << 20)?);
    let frames = [1, 40, 30].map(|mib| pool.alloc_with(mib << 20, &old));
    for frame in &frames {
        let frame = frame.as_ref().map_err(|error| *error)?;
        println!(
            "IOVAs     {:>4} KiB at {:#x}",
            frame.size() >> 10,
            frame.addr()
        );
        let crosses = frame.addr() / (64 << 20) != (frame.addr() + frame.size() - 1) / (64 << 20);
        assert!(!crosses && frame.addr() + frame.size() <= 1 << 32);
    }
    assert_eq!(modern.addr(), 1 << 32);

    let never = pool.alloc_with(65 << 20, &old);
    println!(
        "IOVAs     {}",
        never.err().ok_or("65 MiB cross every boundary")?
    );
    Ok(())
}

fn main() -> Result<(), Failure> {
    ports()?;
    interrupts()?;
    io_addresses()
}
