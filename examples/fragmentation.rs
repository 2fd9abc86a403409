//! How each algorithm fragments the free space. Each runs the same random allocations and frees on a pool that is kept
//! at the same occupancy; the table shows what is left at the end. It is part of `genpool::guide::choosing`.

use genpool::{Algorithm, Allocation, BestFit, FirstFit, NextFit, OrderAlign, Pool, ThreadStart};

const GRANULES: usize = 16_384;
const STEPS: usize = 60_000;
/// Requests have 1 to this many granules, each with the same probability.
const LONGEST: usize = 16;

/// What is left after the load.
struct Left {
    free_runs: usize,
    longest_run: usize,
    refused: usize,
}

/// A generator from Knuth, so that every run of this program prints the same.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// Allocates while less than `full` percent are taken. Otherwise, and if there is no room, frees a random allocation.
fn load(algorithm: &dyn Algorithm, full: usize) -> Result<Left, Box<dyn std::error::Error>> {
    let pool = Pool::new(0)?;
    pool.add(0, GRANULES)?;
    let mut random = Random(1);
    let mut held: Vec<Allocation<'_>> = Vec::new();
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..STEPS {
        if taken * 100 < GRANULES * full {
            if let Ok(new) = pool.alloc_with(1 + random.below(LONGEST), algorithm) {
                taken += new.size();
                held.push(new);
                continue;
            }
            refused += 1;
        }
        let old = held.swap_remove(random.below(held.len()));
        taken -= old.size();
    }
    let cut_up = pool.fragmentation();
    Ok(Left {
        free_runs: cut_up.free_runs,
        longest_run: cut_up.largest_run,
        refused,
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let next_fit = NextFit::new();
    let algorithms: [(&str, &dyn Algorithm); 5] = [
        ("first fit", &FirstFit),
        ("best fit", &BestFit),
        ("next fit", &next_fit),
        ("thread start", &ThreadStart),
        ("order align", &OrderAlign),
    ];
    println!("{GRANULES} granules, {STEPS} steps, requests of 1 to {LONGEST} granules");
    println!("kept full  algorithm     free runs  longest  refused");
    for full in [50, 70, 90] {
        let mut longest = Vec::new();
        for (name, algorithm) in algorithms {
            let left = load(algorithm, full)?;
            println!(
                "{full:>7} %  {name:<12}  {:>9}  {:>7}  {:>7}",
                left.free_runs, left.longest_run, left.refused
            );
            longest.push(left.longest_run);
        }
        // Algorithms that keep to the bottom leave long runs; those that move through the chunk leave none.
        assert!(longest[1] >= longest[0] && longest[0] > longest[2] && longest[0] > longest[3]);
    }
    Ok(())
}
