//! The README's first example.

use genpool::{FirstFitAlign, Pool};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(12)?; // granules of 1 << 12 bytes
    pool.add_virt(0x4000_0000, 0x1_0000_0000, 16 << 20)?; // 16 MiB and their physical address

    let buffer = pool.alloc(10_000)?; // first fit, three granules
    let table = pool.alloc_with(4096, &FirstFitAlign::new(64 << 10)?)?;
    println!("buffer of {} bytes at {:#x}", buffer.size(), buffer.addr());
    assert_eq!(table.phys(), Some(0x1_0001_0000)); // the address for the device

    drop(buffer); // given back, as is `table` at the end
    println!("{} of {} bytes are free", pool.avail(), pool.size());
    Ok(())
}
