//! Step 1b: the same BAR as a map of a UIO device.

use std::error::Error;

use genpool::dma::source::{Bar, SourceError, UioMap};
use genpool::dma::{Device, MemoryPool, Width};
use genpool::{FixedOffset, Pool};

use super::PAGE;
use super::bar;
use crate::bar_file::Written;
use crate::machine::{find_pci, introduce, rebind, unbind};
use crate::table::{Outcome, Table, wrong};

const STEP: &str = "1b UIO";

/// A driver that binds any device, and whose map is BAR 2. It clears a word of it when it is bound and unbound.
const DRIVER: &str = "netx";
const DRIVERS_WORD: Written = Written {
    offset: 0xfff0,
    len: 4,
    seed: 0,
};

/// What is written through the map.
const WRITTEN: Written = Written {
    offset: 3 << 20,
    len: PAGE,
    seed: 77,
};

pub(super) fn run(table: &mut Table) {
    table.check(STEP, "written by a pool over the map", write);
    table.check(STEP, "the BAR is refused meanwhile", || {
        match bar()?.map() {
            Err(error @ SourceError::Busy { .. }) => Ok(error.to_string()),
            Err(other) => Err(other.into()),
            Ok(_) => wrong("it was given"),
        }
    });
    table.check(STEP, "read by a pool over the BAR", || {
        unbind(&find_pci(bar::VENDOR, bar::DEVICE)?)?;
        read(0)
    });
    table.control(STEP, "read a page further up", || read(PAGE));
    // For the step without privileges.
    table.check(STEP, "the driver takes the device again", || {
        rebind(DRIVER, &find_pci(bar::VENDOR, bar::DEVICE)?)?;
        Ok(format!("{:?}", UioMap::open(0, 0)?.phys()))
    });
}

fn bar() -> Result<Bar, Box<dyn Error>> {
    Ok(find_pci(bar::VENDOR, bar::DEVICE)?.bar(bar::MEMORY)?)
}

fn write() -> Outcome {
    introduce(DRIVER, bar::VENDOR, bar::DEVICE)?;
    DRIVERS_WORD.print();
    let map = UioMap::open(0, 0)?;
    let bar = bar()?;
    if (map.phys(), map.size()) != (bar.phys(), bar.size()) {
        return wrong("the map is not the BAR");
    }
    let pool = MemoryPool::<Device>::of_device(Pool::builder().order(12), Width::Four)?;
    pool.add(map.map()?)?;
    let mut buffer = pool.dma_zalloc_with(PAGE, &FixedOffset::new(WRITTEN.offset))?;
    buffer.copy_from_slice(0, &WRITTEN.bytes())?;
    WRITTEN.print();
    Ok(format!("{PAGE} bytes at {}", buffer.dma()))
}

fn read(off: usize) -> Outcome {
    let bar = bar()?;
    let pool = MemoryPool::<Device>::of_device(Pool::builder().order(12), Width::Four)?;
    pool.add(bar.map()?)?;
    let buffer = pool.dma_alloc_with(PAGE, &FixedOffset::new(WRITTEN.offset + off))?;
    let mut bytes = vec![0; PAGE];
    buffer.copy_to_slice(0, &mut bytes)?;
    match bytes == WRITTEN.bytes() {
        true => Ok(format!("the same {PAGE} bytes")),
        false => wrong(format!("other bytes are at {}", buffer.dma())),
    }
}
