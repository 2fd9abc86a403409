//! A `Vec` and a `HashMap` in a pool over huge pages, or over ordinary pages if there are no huge ones.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use allocator_api2::vec::Vec;
    use genpool_dma::source::{PageSize, RamSource};
    use genpool_dma::{MemoryPool, SharedPool};
    use hashbrown::HashMap;

    let source = RamSource::new(16 << 20);
    let region = source.pages(PageSize::Huge2M).map().or_else(|missing| {
        println!("in ordinary pages: {missing}");
        source.prefault().map()
    })?;
    let pool = MemoryPool::new(6)?; // granules of a cache line
    pool.add(region)?;

    let mut samples = Vec::new_in(&pool);
    samples.extend((0..100_000_u64).map(|number| number * number % 1009));
    println!("a Vec of {}, at {:p}", samples.len(), samples.as_ptr());
    assert!(pool.contains(samples.as_ptr().addr(), 800_000));
    drop(samples);

    // A shared pool can be used by values that outlive this function.
    let pool = SharedPool::new(pool);
    let mut counts: HashMap<u64, u32, _, SharedPool> = HashMap::new_in(pool.clone());
    for number in 0..100_000_u64 {
        *counts.entry(number * number % 1009).or_default() += 1;
    }
    println!("a HashMap of {}", counts.len());
    assert_eq!(counts.values().sum::<u32>(), 100_000);
    println!("{} of {} bytes are free", pool.avail(), pool.size());
    drop(counts);
    assert_eq!(pool.avail(), pool.size());
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("huge pages are had on Linux only");
}
