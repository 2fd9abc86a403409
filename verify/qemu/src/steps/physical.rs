//! Step 2: huge pages, physical addresses, and a device that reaches only 28 bits of them.

use std::error::Error;

use genpool::dma::source::{PageMap, PageSize, RamSource};
use genpool::dma::{CpuBuffer, IoBuffer, MemoryPool};
use genpool::{BestFit, Constrained, Constraints, FirstFit};

use super::{LENGTHS, PAGE, arrived, fill, round_trip};
use crate::edu::{self, Edu, MOST, mask};
use crate::machine::find_pci;
use crate::table::{Outcome, Table, wrong};

const STEP: &str = "2 huge pages";
/// Bytes of huge pages on each node.
const EACH: usize = 32 << 20;

struct World {
    pool: MemoryPool,
    edu: Edu<IoBuffer<'static>>,
}

pub(super) fn run(table: &mut Table) {
    let mut world = match World::new() {
        Ok(world) => world,
        Err(error) => return table.check(STEP, "pool and device", || Err(error)),
    };
    table.check(STEP, "a chunk is a physically contiguous run", || {
        world.chunks()
    });
    table.check(STEP, "a page of 1 GiB is one chunk", gigantic);
    table.check(STEP, "round trips through the device", || world.trips());
    table.control(STEP, "the device reads a page further up", || {
        world.trip_with_offset((PAGE as u64, 0))
    });
    table.control(STEP, "the device writes a page further up", || {
        world.trip_with_offset((0, PAGE as u64))
    });
    table.check(STEP, "nothing above the mask is handed out", || {
        world.all_below()
    });
    table.control(STEP, "without the mask", || world.trip_above());
    table.check(
        STEP,
        "alignment and borders of the device's address",
        || world.aligned(),
    );
}

fn gigantic() -> Outcome {
    let region = RamSource::new(1 << 30).pages(PageSize::Huge1G).map()?;
    let region = PageMap::open()?.resolve(region)?;
    match region.windows() {
        [window] if window.dma().is_aligned(1 << 30) => Ok(format!("at {}", window.dma())),
        windows => wrong(format!("{} windows", windows.len())),
    }
}

impl World {
    fn new() -> Result<Self, Box<dyn Error>> {
        let pool = MemoryPool::new(6)?;
        let map = PageMap::open()?;
        // The second node's memory lies above the first's, and is tried first.
        for node in [0, 1] {
            let source = RamSource::new(EACH).pages(PageSize::Huge2M).node(node);
            pool.add(map.resolve(source.map()?)?)?;
        }
        let edu = Edu::by_sysfs(&find_pci(edu::VENDOR, edu::DEVICE)?)?;
        Ok(Self { pool, edu })
    }

    fn chunks(&self) -> Outcome {
        const HUGE: usize = 2 << 20;
        let map = PageMap::open()?;
        let mut count = 0;
        for chunk in self.pool.chunks() {
            count += 1;
            for at in (0..chunk.size()).step_by(PAGE) {
                let virt = genpool::dma::VirtAddr::new(chunk.start() + at);
                if self.pool.virt_to_phys(virt) != Some(map.phys(virt)?) {
                    return wrong(format!("{virt} is elsewhere"));
                }
            }
            let start = chunk.phys().ok_or("a chunk without a physical address")?;
            if !start.is_multiple_of(HUGE as u64) || !chunk.size().is_multiple_of(HUGE) {
                return wrong("a chunk is not of whole huge pages");
            }
        }
        Ok(format!("{} bytes in {count}", self.pool.size()))
    }

    /// Returns two zeroed buffers below the mask, with the first filled.
    fn pair(
        &self,
        len: usize,
        seed: usize,
    ) -> Result<(CpuBuffer<'_>, CpuBuffer<'_>), Box<dyn Error>> {
        let low = Constrained::new(FirstFit, mask().constrain(Constraints::new()));
        let mut from = self.pool.dma_zalloc_with(len, &low)?;
        fill(&mut from, seed);
        Ok((from, self.pool.dma_zalloc_with(len, &low)?))
    }

    fn trips(&mut self) -> Outcome {
        let mut trips = 0;
        let low = mask().constrain(Constraints::new());
        for align in [64, 1024, 64 << 10] {
            let aligned = Constrained::new(FirstFit, low.dma_align(align)?);
            for (seed, len) in LENGTHS.into_iter().enumerate() {
                // At a different distance from a page's border each time.
                let tight = Constrained::new(BestFit, low);
                let _shift = self.pool.dma_alloc_with(64 * (1 + 7 * seed), &tight)?;
                let mut from = self.pool.dma_zalloc_with(len, &aligned)?;
                fill(&mut from, seed);
                let to = self.pool.dma_zalloc_with(len, &aligned)?;
                if !from.dma().is_aligned(align) || !mask().covers(to.dma(), len) {
                    return wrong(format!("{} or {} is not as asked", from.dma(), to.dma()));
                }
                round_trip(&mut self.edu, from, to, len, (0, 0))?;
                trips += 1;
            }
        }
        Ok(format!(
            "{trips} trips of 1 to {MOST} bytes, aligned to 64 bytes to 64 KiB"
        ))
    }

    fn trip_with_offset(&mut self, off: (u64, u64)) -> Outcome {
        // The page above belongs to these two as well, so no harm is done.
        let low = Constrained::new(FirstFit, mask().constrain(Constraints::new()));
        let mut from = self.pool.dma_zalloc_with(4 * PAGE, &low)?;
        fill(&mut from, 1);
        let to = self.pool.dma_zalloc_with(4 * PAGE, &low)?;
        arrived(round_trip(&mut self.edu, from, to, MOST, off))
    }

    /// Allocates everything that the device can reach, and compares that with what exists.
    fn all_below(&self) -> Outcome {
        const PIECE: usize = 64 << 10;
        let low = Constrained::new(FirstFit, mask().constrain(Constraints::new()));
        let (mut held, mut highest) = (Vec::new(), 0);
        while let Ok(piece) = self.pool.dma_alloc_with(PIECE, &low) {
            if !mask().covers(piece.dma(), PIECE) {
                return wrong(format!("{} is above the mask", piece.dma()));
            }
            highest = highest.max(piece.dma().get() + PIECE as u64 - 1);
            held.push(piece);
        }
        let below: usize = (self.pool.chunks())
            .filter_map(|chunk| {
                let room = (mask().highest().get() + 1).checked_sub(chunk.phys()?)?;
                Some(chunk.size().min(room as usize))
            })
            .sum();
        let above = self.pool.size() - below;
        if held.len() * PIECE != below || below == 0 || above == 0 {
            return wrong(format!(
                "{} of {below} bytes handed out, {above} are above",
                held.len() * PIECE
            ));
        }
        Ok(format!(
            "{below} bytes up to {highest:#x}; {above} above stay"
        ))
    }

    /// The device cuts an address off at 28 bits and reads from the wrong place. The test does not make it write there.
    fn trip_above(&mut self) -> Outcome {
        let mut from = self.pool.dma_zalloc(PAGE)?;
        if mask().covers(from.dma(), PAGE) {
            return Ok("the first fit is below the mask: nothing is shown".to_owned());
        }
        fill(&mut from, 3);
        let low = Constrained::new(FirstFit, mask().constrain(Constraints::new()));
        let to = self.pool.dma_zalloc_with(PAGE, &low)?;
        arrived(round_trip(&mut self.edu, from, to, MOST, (0, 0)))
    }

    fn aligned(&self) -> Outcome {
        let low = mask().constrain(Constraints::new());
        let (_a, _b) = self.pair(100, 0)?;
        for align in [PAGE as u64, 64 << 10, 1 << 20] {
            let asked = low.dma_align(align)?.dma_boundary(1 << 21)?;
            let buffer = self
                .pool
                .dma_alloc_with(3 * PAGE, &Constrained::new(FirstFit, asked))?;
            if !buffer.dma().is_aligned(align) {
                return wrong(format!("{} is not aligned to {align:#x}", buffer.dma()));
            }
        }
        let asked = low.dma_boundary(64 << 10)?;
        let mut held = Vec::new();
        for _ in 0..8 {
            let buffer = self
                .pool
                .dma_alloc_with(5 * 8192, &Constrained::new(FirstFit, asked))?;
            let (first, last) = (buffer.dma().get(), buffer.dma().get() + 5 * 8192 - 1);
            if first >> 16 != last >> 16 {
                return wrong(format!("{first:#x} to {last:#x} crosses 64 KiB"));
            }
            held.push(buffer);
        }
        Ok("of 4 KiB to 1 MiB, and not over 64 KiB and 2 MiB".to_owned())
    }
}
