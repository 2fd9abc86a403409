//! Step 1: a pool over the BAR of `ivshmem-plain`, which is a file of the host.

use genpool::dma::{Device, MemoryPool, Width};
use genpool::{FixedOffset, Pool};

use crate::bar_file::Written;
use crate::machine::find_pci;
use crate::table::{Outcome, Table, wrong};

pub(super) const VENDOR: u16 = 0x1af4;
pub(super) const DEVICE: u16 = 0x1110;
/// The BAR that is memory.
pub(super) const MEMORY: u8 = 2;

const STEP: &str = "1 device memory";

pub(super) fn run(table: &mut Table) {
    table.check(STEP, "allocate, zero, write, free in a BAR", || work(false));
    table.check(STEP, "the same, mapped write-combining", || work(true));
}

fn work(combining: bool) -> Outcome {
    let bar = find_pci(VENDOR, DEVICE)?.bar(MEMORY)?;
    let region = match combining {
        true => bar.map_write_combining()?,
        false => bar.map()?,
    };
    let pool = MemoryPool::<Device>::of_device(Pool::builder().order(8), Width::Four)?;
    pool.add(region)?;
    let base = bar.phys().get();
    // A quarter of the BAR each, after the part that a driver touches in step 1b.
    let first = if combining { 2 << 20 } else { 1 << 20 };
    let (mut bytes, mut held) = (0, Vec::new());
    for (number, len) in [4_usize, 256, 1020, 4096, 70_000].into_iter().enumerate() {
        let at = FixedOffset::new(first + number * 0x2_0000 + number * 256);
        let mut buffer = pool.dma_zalloc_with(len, &at)?;
        let offset = (buffer.dma().get() - base) as usize;
        if pool.virt_to_phys(buffer.virt()).map(|phys| phys.get()) != Some(buffer.dma().get()) {
            return wrong("a BAR's DMA address is its physical one");
        }
        let zeroed = Written {
            offset,
            len: buffer.size(),
            seed: 0,
        };
        let written = Written {
            offset,
            len,
            seed: 1 + number as u8 + 16 * u8::from(combining),
        };
        buffer.copy_from_slice(0, &written.bytes())?;
        let mut back = vec![0; len];
        buffer.copy_to_slice(0, &mut back)?;
        if back != written.bytes() {
            return wrong("the BAR does not hold what was written");
        }
        zeroed.print();
        written.print();
        bytes += buffer.size();
        held.push(buffer);
    }
    drop(held);
    match pool.avail() == pool.size() {
        true => Ok(format!("{bytes} bytes at {base:#x}, all given back")),
        false => wrong("something was not given back"),
    }
}
