//! A custom algorithm: allocations grow from both ends of a chunk, large ones from the bottom and small ones from the
//! top, so that short-lived small ones do not fragment the space for large ones.
//!
//! The trait has one required method. The pool claims the place that it proposes, and asks again if another thread was faster,
//! so an algorithm cannot cause a race.

use genpool::{Algorithm, AllocError, ChunkView, FirstFit, Granule, Pool, Request};

/// Requests of fewer bytes than this go to the highest free place, all others to the lowest.
struct TwoEnds {
    large: usize,
}

impl Algorithm for TwoEnds {
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        if request.size() >= self.large {
            return FirstFit.propose(chunk, request);
        }
        let highest = chunk.runs(Granule(0), request.granules()).last()?;
        Some(Granule(highest.start.0 + highest.len - request.granules()))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::builder()
        .order(12)
        .algorithm(TwoEnds { large: 64 << 10 })
        .build()?;
    pool.add(0x10_0000, 0x10_0000)?;

    let mut held = Vec::new();
    for size in [4096, 200_000, 10_000, 300_000, 1] {
        let allocation = pool.alloc(size)?;
        println!("{size:>7} bytes at {:#x}", allocation.addr());
        held.push(allocation);
    }

    // Large and small allocations have not met: the free space is one run.
    let free = pool.fragmentation();
    println!("{} bytes free in {} run", free.free, free.free_runs);
    assert_eq!(free.free_runs, 1);

    match pool.alloc(1 << 20) {
        Err(AllocError::Exhausted { size }) => println!("{size} bytes do not fit"),
        other => return Err(format!("{other:?}").into()),
    }

    held.clear();
    assert_eq!(pool.avail(), pool.size());
    println!("all given back");
    Ok(())
}
