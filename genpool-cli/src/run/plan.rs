//! The arguments of a run, validated once.

use std::time::Duration;

use thiserror::Error;

use crate::size::Bytes;

/// The most threads.
pub const MAX_THREADS: usize = 1024;

/// The highest order, for granules of 1 GiB.
pub const MAX_ORDER: u32 = 30;

/// The most chunks.
pub const MAX_CHUNKS: usize = 4096;

/// The most granules. Two pools track them at one bit each, and some algorithms walk over all of them.
pub const MAX_GRANULES: usize = 1 << 30;

/// The longest run: a day.
pub const MAX_SECONDS: f64 = 86_400.0;

/// The largest allocation, in granules.
pub const LARGEST: usize = 16;

/// The part of the pool that is kept allocated, in percent.
pub const FULL_PERCENT: usize = 70;

/// The requested run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wish {
    /// The length of the run.
    pub seconds: f64,
    /// The number of threads.
    pub threads: usize,
    /// The size of the memory in bytes.
    pub size: usize,
    /// The order: a granule is `1 << order` bytes.
    pub order: u32,
    /// The number of chunks that the memory is split into.
    pub chunks: usize,
}

impl Default for Wish {
    /// 20 seconds, a thread for each processor, 16 MiB in granules of 64 bytes and 4 chunks.
    fn default() -> Self {
        Self {
            seconds: 20.0,
            threads: super::machine::parallelism().min(MAX_THREADS),
            size: 16 << 20,
            order: 6,
            chunks: 4,
        }
    }
}

/// A run that is possible.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    time: Duration,
    threads: usize,
    order: u32,
    chunks: usize,
    /// Granules in each chunk; the last one has `rest` more.
    chunk_granules: usize,
    rest: usize,
}

impl Plan {
    /// Validates a wish. A size that is not a multiple of the granule is rounded down.
    ///
    /// # Errors
    ///
    /// [`PlanError`] with the first value that is out of range.
    pub fn new(wish: &Wish) -> Result<Self, PlanError> {
        let Wish {
            seconds,
            threads,
            size,
            order,
            chunks,
        } = *wish;
        if !(seconds > 0.0 && seconds <= MAX_SECONDS) {
            return Err(PlanError::Seconds(seconds));
        }
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(PlanError::Threads(threads));
        }
        if order > MAX_ORDER {
            return Err(PlanError::Order(order));
        }
        if !(1..=MAX_CHUNKS).contains(&chunks) {
            return Err(PlanError::Chunks(chunks));
        }
        let granule = 1usize << order;
        let granules = size >> order;
        if granules < chunks {
            return Err(PlanError::TooSmall {
                size,
                chunks,
                granule,
            });
        }
        if granules > MAX_GRANULES {
            return Err(PlanError::TooLarge {
                size,
                granules,
                granule,
            });
        }
        Ok(Self {
            time: Duration::from_secs_f64(seconds),
            threads,
            order,
            chunks,
            chunk_granules: granules / chunks,
            rest: granules % chunks,
        })
    }

    /// Returns the length of the run.
    pub fn time(&self) -> Duration {
        self.time
    }

    /// Returns the number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Returns the same plan with 1, 2, 4 and so on threads, and finally with all of them.
    pub fn by_threads(&self) -> Vec<Self> {
        let doubled = std::iter::successors(Some(1), |threads| Some(threads * 2));
        doubled
            .take_while(|&threads| threads < self.threads)
            .chain([self.threads])
            .map(|threads| Self { threads, ..*self })
            .collect()
    }

    /// Returns the order of the pool.
    pub fn order(&self) -> u32 {
        self.order
    }

    /// Returns the bytes of a granule.
    pub fn granule(&self) -> usize {
        1 << self.order
    }

    /// Returns the granules in all chunks.
    pub fn granules(&self) -> usize {
        self.chunks * self.chunk_granules + self.rest
    }

    /// Returns the bytes in all chunks.
    pub fn size(&self) -> usize {
        self.granules() << self.order
    }

    /// Returns the number of chunks.
    pub fn chunk_count(&self) -> usize {
        self.chunks
    }

    /// Returns the offset and the size of each chunk in bytes. They are contiguous.
    pub fn chunks(&self) -> impl Iterator<Item = (usize, usize)> {
        let (each, rest, order, chunks) = (self.chunk_granules, self.rest, self.order, self.chunks);
        (0..chunks).map(move |i| {
            let more = if i + 1 == chunks { rest } else { 0 };
            ((i * each) << order, (each + more) << order)
        })
    }

    /// Returns the largest allocation in granules: [`LARGEST`], or a chunk if that is smaller.
    pub fn largest(&self) -> usize {
        LARGEST.min(self.chunk_granules)
    }
}

/// An impossible run; the text names the argument.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The time is not positive, or too long.
    #[error("--seconds {0}: must be more than 0 and at most {MAX_SECONDS}")]
    Seconds(f64),
    /// There are no threads, or too many.
    #[error("--threads {0}: must be 1 to {MAX_THREADS}")]
    Threads(usize),
    /// The order is too high.
    #[error("--order {0}: must be 0 to {MAX_ORDER}")]
    Order(u32),
    /// There are no chunks, or too many.
    #[error("--chunks {0}: must be 1 to {MAX_CHUNKS}")]
    Chunks(usize),
    /// A chunk would have no granule.
    #[error(
        "--size {size}: {} in {chunks} chunks leaves less than a granule ({}) a chunk",
        Bytes(*size),
        Bytes(*granule)
    )]
    TooSmall {
        /// The bytes in all chunks.
        size: usize,
        /// The number of chunks.
        chunks: usize,
        /// The bytes of a granule.
        granule: usize,
    },
    /// The pool would have too many granules.
    #[error(
        "--size {size}: {} are {granules} granules of {}, and at most {MAX_GRANULES} can be run; a higher --order \
         makes fewer",
        Bytes(*size),
        Bytes(*granule)
    )]
    TooLarge {
        /// The bytes in all chunks.
        size: usize,
        /// The granules in them.
        granules: usize,
        /// The bytes of a granule.
        granule: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        Wish {
            seconds: 1.0,
            threads: 2,
            size: 1 << 20,
            order: 6,
            chunks: 4,
        }
    }

    #[test]
    fn chunks_cover_the_size() {
        let plan = Plan::new(&Wish {
            size: 1000,
            order: 3,
            chunks: 3,
            ..wish()
        })
        .unwrap();
        assert_eq!(plan.granules(), 125);
        assert_eq!(plan.size(), 1000);
        assert_eq!(
            plan.chunks().collect::<Vec<_>>(),
            [(0, 328), (328, 328), (656, 344)]
        );
        let plan = Plan::new(&Wish {
            size: 1023,
            order: 9,
            chunks: 1,
            ..wish()
        })
        .unwrap();
        assert_eq!((plan.size(), plan.largest()), (512, 1));
    }

    #[test]
    fn threads_double_up_to_all() {
        for (threads, expected) in [(1, &[1][..]), (2, &[1, 2]), (6, &[1, 2, 4, 6])] {
            let plan = Plan::new(&Wish { threads, ..wish() }).unwrap();
            let plans = plan.by_threads();
            assert!(plans.iter().map(Plan::threads).eq(expected.iter().copied()));
            assert!(plans.iter().all(|other| other.size() == plan.size()));
        }
    }

    #[test]
    fn values_out_of_range() {
        for (wish, argument) in [
            (
                Wish {
                    seconds: 0.0,
                    ..wish()
                },
                "--seconds",
            ),
            (
                Wish {
                    seconds: -1.0,
                    ..wish()
                },
                "--seconds",
            ),
            (
                Wish {
                    seconds: f64::NAN,
                    ..wish()
                },
                "--seconds",
            ),
            (
                Wish {
                    seconds: f64::INFINITY,
                    ..wish()
                },
                "--seconds",
            ),
            (
                Wish {
                    threads: 0,
                    ..wish()
                },
                "--threads",
            ),
            (
                Wish {
                    threads: usize::MAX,
                    ..wish()
                },
                "--threads",
            ),
            (
                Wish {
                    order: 31,
                    ..wish()
                },
                "--order",
            ),
            (
                Wish {
                    order: u32::MAX,
                    ..wish()
                },
                "--order",
            ),
            (
                Wish {
                    chunks: 0,
                    ..wish()
                },
                "--chunks",
            ),
            (
                Wish {
                    chunks: usize::MAX,
                    ..wish()
                },
                "--chunks",
            ),
            (Wish { size: 0, ..wish() }, "--size"),
            (
                Wish {
                    size: 255,
                    ..wish()
                },
                "--size",
            ),
            (
                Wish {
                    size: usize::MAX,
                    ..wish()
                },
                "--size",
            ),
        ] {
            let error = Plan::new(&wish).unwrap_err().to_string();
            assert!(error.starts_with(argument), "{wish:?}: {error}");
        }
    }
}
