//! Errors of allocating, from the pool and from algorithms.

use thiserror::Error;

/// Why nothing was allocated.
///
/// ```
/// use genpool::{AllocError, Pool};
///
/// let pool = Pool::new(12)?;
/// pool.add(0, 0x4000)?;
/// match pool.alloc(0x5000) {
///     Ok(buffer) => println!("{buffer:?}"),
///     Err(AllocError::Exhausted { .. }) => println!("wait for a free, or add a chunk"),
///     Err(AllocError::Contended { .. }) => println!("try again soon"),
///     Err(AllocError::Impossible(reason)) => println!("no use to wait: {reason}"),
///     Err(error) => println!("a mistake of the caller: {error}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllocError {
    /// At some instant between call and return, there was no fit for this request under its algorithm and
    /// constraints. This is proved, not guessed.
    #[error("{size:#x} bytes: no room")]
    Exhausted {
        /// The bytes requested.
        size: usize,
    },
    /// As [`Exhausted`](Self::Exhausted), for an algorithm that allocates at one address only: at some instant, part
    /// of the range was taken.
    #[error("{size:#x} bytes at {addr:#x} are taken in part")]
    Taken {
        /// The address requested.
        addr: usize,
        /// The bytes requested.
        size: usize,
    },
    /// At some instant between call and return, no chunk of the pool could have served the request, even if all of it
    /// had been free. A free does not help; adding a chunk may.
    #[error(transparent)]
    Impossible(Impossible),
    /// No fit was found, and a bounded number of attempts could not prove that there was none. Either other threads
    /// kept allocating and freeing, or one was always in the middle of a step over several words or of an
    /// `alloc_many`. Trying again may succeed: sleep briefly first, and give up at a deadline.
    ///
    /// **In a signal handler, treat this as a refusal**, like [`Exhausted`](Self::Exhausted): the interrupted thread
    /// may be the cause, and it cannot go on before the handler returns. The same holds for a real-time thread that
    /// spins or yields, which keeps a thread of lower priority from running. See [signal
    /// safety](crate#signal-safety).
    #[error("{size:#x} bytes: no room found while other threads allocated and freed; try again")]
    Contended {
        /// The bytes requested.
        size: usize,
    },
    /// The size is zero.
    #[error("an allocation has at least one byte")]
    ZeroSize,
    /// The algorithm cannot serve such a request, whatever chunks the pool has.
    #[error(transparent)]
    Unsuitable(Unsuitable),
    /// The algorithm proposed a place that is taken or not wholly inside the chunk. Nothing was claimed.
    #[error(
        "granule {granule} of a chunk of {granules}, proposed by the algorithm, is taken or outside"
    )]
    BadProposal {
        /// The granule of the chunk that it proposed.
        granule: usize,
        /// The number of granules of the chunk.
        granules: usize,
    },
    /// There is no memory for the list of results (`alloc_many` only).
    #[error("a list of {count} allocations: no memory is left for it")]
    NoMemory {
        /// The number of results.
        count: usize,
    },
}

/// Why no chunk of a pool could serve a request, even if all of it were free. Chunks that are being removed do not
/// count.
///
/// ```
/// use genpool::{AllocError, Impossible, Pool};
///
/// let pool = Pool::new(12)?;
/// assert_eq!(pool.alloc(1).unwrap_err(), AllocError::Impossible(Impossible::NoChunk));
/// pool.add(0x1000, 0x4000)?;
/// let refused = pool.alloc(0x5000).unwrap_err();
/// let too_long = Impossible::TooLong { size: 0x5000, longest: 0x4000 };
/// assert_eq!(refused, AllocError::Impossible(too_long));
/// assert_eq!(refused.to_string(), "0x5000 bytes are more than the longest chunk has: 0x4000");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Impossible {
    /// The pool has no chunk, or only chunks that are being removed.
    #[error("the pool has no chunk, or only chunks that are being removed")]
    NoChunk,
    /// The request is longer than every chunk.
    #[error("{size:#x} bytes are more than the longest chunk has: {longest:#x}")]
    TooLong {
        /// The bytes requested.
        size: usize,
        /// The bytes of the longest chunk.
        longest: usize,
    },
    /// The requested address lies in no chunk.
    #[error("{addr:#x} lies in no chunk")]
    Outside {
        /// The address requested.
        addr: usize,
    },
    /// The requested range begins in a chunk and goes past its end.
    #[error("{size:#x} bytes at {addr:#x} go past the chunk's last address {last:#x}")]
    PastChunk {
        /// The address requested.
        addr: usize,
        /// The bytes requested.
        size: usize,
        /// The last address of the chunk.
        last: usize,
    },
    /// The requested range goes past the end of every chunk.
    #[error(
        "{size:#x} bytes at offset {offset:#x} go past the end of every chunk; the longest has {longest:#x} bytes"
    )]
    PastChunks {
        /// The requested offset in a chunk.
        offset: usize,
        /// The bytes requested.
        size: usize,
        /// The bytes of the longest chunk.
        longest: usize,
    },
    /// In every chunk, each place goes past the highest allowed address. The addresses are the device's if the limit
    /// applies to those.
    #[error("highest address {highest:#x} leaves no room: the lowest chunk starts at {start:#x}")]
    TooHigh {
        /// The highest allowed address.
        highest: u64,
        /// The first address of the lowest chunk.
        start: u64,
    },
    /// In every chunk, each place begins below the lowest allowed address. The addresses are the device's if the
    /// limit applies to those.
    #[error("lowest address {lowest:#x} leaves no room: the highest chunk ends at {last:#x}")]
    TooLow {
        /// The lowest allowed address.
        lowest: u64,
        /// The last address of the highest chunk.
        last: u64,
    },
    /// A device address is requested, and no chunk has a physical address.
    #[error("no chunk has a physical address")]
    NoPhys,
    /// No chunk has a place with the requested alignment.
    #[error("alignment {align:#x}, phase {phase:#x}: no chunk has such a place")]
    Unaligned {
        /// The alignment in bytes.
        align: u64,
        /// The remainder of the address when divided by `align`.
        phase: u64,
    },
    /// Every place crosses a boundary that it must not cross.
    #[error("boundary of {boundary:#x} bytes: every place crosses one")]
    CrossesBoundary {
        /// The distance between boundaries in bytes.
        boundary: u64,
    },
    /// No chunk has a place where the algorithm and its constraints allow one. The reasons differ from chunk to chunk,
    /// or apply only in combination.
    #[error(
        "{size:#x} bytes: no chunk has a place where the algorithm and its constraints allow one"
    )]
    NoPlace {
        /// The bytes requested.
        size: usize,
    },
    /// A reason given by a user's algorithm.
    #[error("{0}")]
    Other(&'static str),
}

impl Impossible {
    /// Combines the reasons of several chunks: this one for some, `other` for the rest.
    pub(crate) fn and(self, other: Self, size: usize) -> Self {
        match (self, other) {
            (reason, Self::NoChunk) | (Self::NoChunk, reason) => reason,
            // The other chunks do not contain the address.
            (past @ Self::PastChunk { .. }, _) | (_, past @ Self::PastChunk { .. }) => past,
            (Self::TooLong { longest: a, .. }, Self::TooLong { longest: b, .. }) => {
                let longest = a.max(b);
                Self::TooLong { size, longest }
            }
            (
                Self::PastChunks {
                    offset, longest: a, ..
                },
                Self::PastChunks { longest: b, .. },
            ) => {
                let longest = a.max(b);
                Self::PastChunks {
                    offset,
                    size,
                    longest,
                }
            }
            (
                Self::TooHigh { highest, start: a },
                Self::TooHigh {
                    highest: same,
                    start: b,
                },
            ) if highest == same => Self::TooHigh {
                highest,
                start: a.min(b),
            },
            (
                Self::TooLow { lowest, last: a },
                Self::TooLow {
                    lowest: same,
                    last: b,
                },
            ) if lowest == same => Self::TooLow {
                lowest,
                last: a.max(b),
            },
            (a, b) if a == b => a,
            _ => Self::NoPlace { size },
        }
    }
}

/// Why an algorithm cannot serve a request in any pool, whatever its chunks.
///
/// ```
/// use genpool::{Algorithm, AllocError, ChunkView, FirstFit, Granule, Pool, Request, Unsuitable};
///
/// /// First fit for a device whose descriptors have 16 bits for the length.
/// struct Short;
///
/// impl Algorithm for Short {
///     fn check(&self, request: &Request) -> Result<(), Unsuitable> {
///         match request.size() {
///             0..=0xffff => Ok(()),
///             _ => Err(Unsuitable::Other("a descriptor holds at most 65535 bytes")),
///         }
///     }
///
///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
///         FirstFit.propose(chunk, request)
///     }
/// }
///
/// let pool = Pool::builder().order(12).algorithm(Short).build()?;
/// let refused = pool.alloc(0x1_0000).unwrap_err();
/// assert!(matches!(refused, AllocError::Unsuitable(Unsuitable::Other(_))));
/// assert_eq!(refused.to_string(), "a descriptor holds at most 65535 bytes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unsuitable {
    /// The requested place is not a multiple of the granule.
    #[error("{place:#x} is not a multiple of the granule of {granule:#x} bytes")]
    MisalignedPlace {
        /// The place: an address, or an offset in a chunk.
        place: usize,
        /// The granule in bytes.
        granule: usize,
    },
    /// The run is longer than the distance between boundaries that it must not cross.
    #[error(
        "{size:#x} bytes are longer than the boundary of {boundary:#x} that they must not cross"
    )]
    LongerThanBoundary {
        /// The bytes of the run.
        size: usize,
        /// The distance between boundaries in bytes.
        boundary: u64,
    },
    /// The run is longer than the range between the lowest and the highest allowed address.
    #[error("{size:#x} bytes do not fit between {lowest:#x} and {highest:#x}")]
    LongerThanRange {
        /// The bytes of the run.
        size: usize,
        /// The lowest allowed address.
        lowest: u64,
        /// The highest allowed address.
        highest: u64,
    },
    /// No granule of the pool can ever start at the requested phase.
    #[error("phase {phase:#x}: no granule of {granule:#x} bytes starts there")]
    Phase {
        /// The phase in bytes.
        phase: usize,
        /// The granule in bytes.
        granule: usize,
    },
    /// A reason given by a user's algorithm.
    #[error("{0}")]
    Other(&'static str),
}
