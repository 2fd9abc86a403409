//! Errors, one small type per operation. Each says what was wrong with which value.

use core::error::Error;
use core::fmt;

use crate::chunk::spec::ChunkSpec;
use crate::memory::{NoMemory, NodeError};

macro_rules! display {
    ($type:ty { $($pattern:pat => $format:literal $(, $value:expr)*;)+ }) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $($pattern => write!(f, $format $(, $value)*),)+
                }
            }
        }

        impl Error for $type {}
    };
}

/// Why a pool was not built.
///
/// ```
/// use genpool::{BuildError, Pool};
///
/// let refused = Pool::new(64).unwrap_err();
/// assert_eq!(refused, BuildError::Order { order: 64 });
/// assert_eq!(refused.to_string(), "order 64: a granule is 1 << order bytes, with order at most 63");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The order is above 63, or above what an address of this machine can hold.
    Order {
        /// The requested order.
        order: u32,
    },
    /// The machine has no such NUMA node, or it has no memory.
    UnknownNode {
        /// The requested node.
        node: u32,
    },
    /// This system has no way to place memory on a node.
    NodeUnsupported {
        /// The requested node.
        node: u32,
    },
    /// The system refused to place memory on the node, as a sandbox may.
    NodeRefused {
        /// The requested node.
        node: u32,
        /// The system's error number.
        errno: i32,
    },
    /// No address space was left for memory on the node.
    NodeMemory {
        /// The requested node.
        node: u32,
        /// The number of bytes requested.
        bytes: usize,
    },
}

display!(BuildError {
    Self::Order { order } => "order {order}: a granule is 1 << order bytes, with order at most {}", usize::BITS - 1;
    Self::UnknownNode { node } => "NUMA node {node} does not exist or has no memory";
    Self::NodeUnsupported { node } => "NUMA node {node}: this system cannot place memory on a node";
    Self::NodeRefused { node, errno } => "NUMA node {node}: the system refused mbind (error {errno})";
    Self::NodeMemory { node, bytes } => "NUMA node {node}: {bytes} bytes of address space could not be had";
});

impl BuildError {
    /// Returns the reason why memory could not be placed on `node`.
    pub(crate) fn of_node(node: u32, error: NodeError) -> Self {
        match error {
            NodeError::Unknown => Self::UnknownNode { node },
            NodeError::NoMemory { bytes } => Self::NodeMemory { node, bytes },
            NodeError::Unsupported => Self::NodeUnsupported { node },
            NodeError::Refused { errno } => Self::NodeRefused { node, errno },
        }
    }
}

/// Why a chunk was not added. The pool is unchanged, and `chunk` returns the chunk with its owner.
///
/// ```
/// use genpool::{AddRefused, ChunkSpec, Pool};
///
/// let pool = Pool::new(12)?;
/// let refused = pool.add_chunk(ChunkSpec::new(0x1800, 0x2000).owner("bank 0")).unwrap_err();
/// assert_eq!(refused.reason, AddRefused::MisalignedStart { granule: 4096 });
/// assert!(refused.chunk.into_owner().is_some()); // nothing is lost
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AddError {
    /// The rule that the chunk breaks.
    pub reason: AddRefused,
    /// The chunk as it was given.
    pub chunk: ChunkSpec,
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, size) = (self.chunk.start(), self.chunk.size());
        write!(f, "chunk of {size:#x} bytes at {start:#x}: {}", self.reason)
    }
}

impl Error for AddError {}

/// The rule that a chunk breaks.
///
/// ```
/// use genpool::{AddRefused, Pool};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// let reason = |start, size| pool.add(start, size).unwrap_err().reason;
/// assert_eq!(reason(0x8000, 0), AddRefused::ZeroSize);
/// assert_eq!(reason(0x4000, 0x1000), AddRefused::Overlaps { start: 0x1000, size: 0x4000 });
/// assert_eq!(reason(usize::MAX & !0xfff, 0x2000), AddRefused::Wraps);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddRefused {
    /// Its size is zero.
    ZeroSize,
    /// Its start is not a multiple of the granule.
    MisalignedStart {
        /// The granule in bytes.
        granule: usize,
    },
    /// Its size is not a multiple of the granule.
    MisalignedSize {
        /// The granule in bytes.
        granule: usize,
    },
    /// It does not end inside the address space.
    Wraps,
    /// Its physical range does not end inside 64 bits.
    PhysWraps {
        /// The physical address of its first byte.
        phys: u64,
    },
    /// It shares addresses with a chunk of the pool.
    Overlaps {
        /// Where that chunk starts.
        start: usize,
        /// The bytes of that chunk.
        size: usize,
    },
    /// The pool would be larger than a `usize` can count.
    TotalSize,
    /// It has more granules than can be counted, or than boundary tracking can record.
    TooManyGranules {
        /// The most granules that a chunk of the pool can have.
        most: usize,
    },
    /// There is no memory for the bookkeeping.
    NoMemory {
        /// The number of bytes needed.
        bytes: usize,
    },
}

display!(AddRefused {
    Self::ZeroSize => "a chunk has at least one granule";
    Self::MisalignedStart { granule } => "the start is not a multiple of the granule of {granule:#x} bytes";
    Self::MisalignedSize { granule } => "the size is not a multiple of the granule of {granule:#x} bytes";
    Self::Wraps => "it wraps around the end of the address space";
    Self::PhysWraps { phys } => "its physical range from {phys:#x} on wraps around the end of 64 bits";
    Self::Overlaps { start, size } => "it overlaps the chunk of {size:#x} bytes at {start:#x}";
    Self::TotalSize => "the pool's total size would not fit in an address";
    Self::TooManyGranules { most } => "a chunk of this pool has at most {most} granules";
    Self::NoMemory { bytes } => "{bytes} bytes of bookkeeping could not be had";
});

impl From<NoMemory> for AddRefused {
    fn from(NoMemory { bytes }: NoMemory) -> Self {
        Self::NoMemory { bytes }
    }
}

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllocError {
    /// At some instant between call and return, there was no fit for this request under its algorithm and
    /// constraints. This is proved, not guessed.
    Exhausted {
        /// The bytes requested.
        size: usize,
    },
    /// As [`Exhausted`](Self::Exhausted), for an algorithm that allocates at one address only: at some instant, part
    /// of the range was taken.
    Taken {
        /// The address requested.
        addr: usize,
        /// The bytes requested.
        size: usize,
    },
    /// At some instant between call and return, no chunk of the pool could have served the request, even if all of it
    /// had been free. A free does not help; adding a chunk may.
    Impossible(Impossible),
    /// No fit was found, and a bounded number of attempts could not prove that there was none. Either other threads
    /// kept allocating and freeing, or one was always in the middle of a step over several words or of an
    /// `alloc_many`. Trying again may succeed: sleep briefly first, and give up at a deadline.
    ///
    /// **In a signal handler, treat this as a refusal**, like [`Exhausted`](Self::Exhausted): the interrupted thread
    /// may be the cause, and it cannot go on before the handler returns. The same holds for a real-time thread that
    /// spins or yields, which keeps a thread of lower priority from running. See [signal
    /// safety](crate#signal-safety).
    Contended {
        /// The bytes requested.
        size: usize,
    },
    /// The size is zero.
    ZeroSize,
    /// The algorithm cannot serve such a request, whatever chunks the pool has.
    Unsuitable(Unsuitable),
    /// The algorithm proposed a place that is taken or not wholly inside the chunk. Nothing was claimed.
    BadProposal {
        /// The granule of the chunk that it proposed.
        granule: usize,
        /// The number of granules of the chunk.
        granules: usize,
    },
    /// There is no memory for the list of results (`alloc_many` only).
    NoMemory {
        /// The number of results.
        count: usize,
    },
}

display!(AllocError {
    Self::Exhausted { size } => "no room for {size} bytes";
    Self::Taken { addr, size } => "a part of the {size:#x} bytes at {addr:#x} is taken";
    Self::Impossible(reason) => "{reason}";
    Self::Contended { size } => "no room found for {size} bytes while others kept moving; try again";
    Self::ZeroSize => "an allocation has at least one byte";
    Self::Unsuitable(reason) => "{reason}";
    Self::BadProposal { granule, granules } => "the algorithm proposed granule {granule} of a chunk of {granules}, which is taken or outside";
    Self::NoMemory { count } => "a list of {count} allocations could not be had";
});

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Impossible {
    /// The pool has no chunk, or only chunks that are being removed.
    NoChunk,
    /// The request is longer than every chunk.
    TooLong {
        /// The bytes requested.
        size: usize,
        /// The bytes of the longest chunk.
        longest: usize,
    },
    /// The requested address lies in no chunk.
    Outside {
        /// The address requested.
        addr: usize,
    },
    /// The requested range begins in a chunk and goes past its end.
    PastChunk {
        /// The address requested.
        addr: usize,
        /// The bytes requested.
        size: usize,
        /// The last address of the chunk.
        last: usize,
    },
    /// The requested range goes past the end of every chunk.
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
    TooHigh {
        /// The highest allowed address.
        highest: u64,
        /// The first address of the lowest chunk.
        start: u64,
    },
    /// In every chunk, each place begins below the lowest allowed address. The addresses are the device's if the
    /// limit applies to those.
    TooLow {
        /// The lowest allowed address.
        lowest: u64,
        /// The last address of the highest chunk.
        last: u64,
    },
    /// A device address is requested, and no chunk has a physical address.
    NoPhys,
    /// No chunk has a place with the requested alignment.
    Unaligned {
        /// The alignment in bytes.
        align: u64,
        /// The remainder of the address when divided by `align`.
        phase: u64,
    },
    /// Every place crosses a boundary that it must not cross.
    CrossesBoundary {
        /// The distance between boundaries in bytes.
        boundary: u64,
    },
    /// No chunk has a place where the algorithm allows one. The reasons differ from chunk to chunk, or apply only in
    /// combination.
    NoPlace {
        /// The bytes requested.
        size: usize,
    },
    /// A reason given by a user's algorithm.
    Other(&'static str),
}

display!(Impossible {
    Self::NoChunk => "the pool has no chunk, or only chunks that are being removed";
    Self::TooLong { size, longest } => "{size:#x} bytes are more than the longest chunk has: {longest:#x}";
    Self::Outside { addr } => "{addr:#x} lies in no chunk";
    Self::PastChunk { addr, size, last } => "{size:#x} bytes at {addr:#x} go past the chunk's last address {last:#x}";
    Self::PastChunks { offset, size, longest } => "{size:#x} bytes at offset {offset:#x} go past the end of every chunk; the longest has {longest:#x} bytes";
    Self::TooHigh { highest, start } => "no chunk has room up to {highest:#x}: the lowest starts at {start:#x}";
    Self::TooLow { lowest, last } => "no chunk has room from {lowest:#x} on: the highest ends at {last:#x}";
    Self::NoPhys => "no chunk has a physical address";
    Self::Unaligned { align, phase } => "no chunk has room at a multiple of {align:#x} and {phase:#x} bytes";
    Self::CrossesBoundary { boundary } => "every place crosses a boundary of {boundary:#x} bytes";
    Self::NoPlace { size } => "no chunk has a place for {size:#x} bytes where the algorithm allows one";
    Self::Other(reason) => "{reason}";
});

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsuitable {
    /// The requested place is not a multiple of the granule.
    MisalignedPlace {
        /// The place: an address, or an offset in a chunk.
        place: usize,
        /// The granule in bytes.
        granule: usize,
    },
    /// The run is longer than the distance between boundaries that it must not cross.
    LongerThanBoundary {
        /// The bytes of the run.
        size: usize,
        /// The distance between boundaries in bytes.
        boundary: u64,
    },
    /// The run is longer than the range between the lowest and the highest allowed address.
    LongerThanRange {
        /// The bytes of the run.
        size: usize,
        /// The lowest allowed address.
        lowest: u64,
        /// The highest allowed address.
        highest: u64,
    },
    /// No granule of the pool can ever start at the requested phase.
    Phase {
        /// The phase in bytes.
        phase: usize,
        /// The granule in bytes.
        granule: usize,
    },
    /// A reason given by a user's algorithm.
    Other(&'static str),
}

display!(Unsuitable {
    Self::MisalignedPlace { place, granule } => "{place:#x} is not a multiple of the granule of {granule:#x} bytes";
    Self::LongerThanBoundary { size, boundary } => "{size:#x} bytes always enter a boundary of {boundary:#x}";
    Self::LongerThanRange { size, lowest, highest } => "{size:#x} bytes do not fit between {lowest:#x} and {highest:#x}";
    Self::Phase { phase, granule } => "no granule of {granule:#x} bytes starts at phase {phase:#x}";
    Self::Other(reason) => "{reason}";
});

/// Why a free was refused. Nothing was changed.
///
/// ```
/// use genpool::{FreeError, Pool};
///
/// let pool = Pool::builder().order(12).boundary_tracking().build()?;
/// pool.add(0x1000, 0x4000)?;
/// let range = pool.alloc(0x2000)?.into_raw();
///
/// assert_eq!(pool.free(0x9000, 1), Err(FreeError::Foreign { addr: 0x9000 }));
/// assert_eq!(pool.free_addr(0x2000), Err(FreeError::Interior { addr: 0x2000, start: 0x1000 }));
/// let wrong = FreeError::WrongSize { addr: 0x1000, size: 0x1000, allocated: 0x2000 };
/// assert_eq!(pool.free(0x1000, 0x1000), Err(wrong));
/// assert_eq!(pool.free(range.addr, range.size), Ok(()));
/// assert_eq!(pool.free(range.addr, range.size), Err(FreeError::NotAllocated { addr: 0x1000 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FreeError {
    /// The size is zero.
    ZeroSize {
        /// The address given.
        addr: usize,
    },
    /// The address lies in no chunk of the pool.
    Foreign {
        /// The address given.
        addr: usize,
    },
    /// The address is not a multiple of the granule.
    Misaligned {
        /// The address given.
        addr: usize,
        /// The granule in bytes.
        granule: usize,
    },
    /// The range starts in a chunk and goes past its end.
    PastChunk {
        /// The address given.
        addr: usize,
        /// The size given.
        size: usize,
        /// The last address of the chunk.
        last: usize,
    },
    /// Part of the range is already free: a double free, or a wrong range.
    NotAllocated {
        /// The address of the first free granule.
        addr: usize,
    },
    /// The allocation at the address has another size. Found by boundary tracking.
    WrongSize {
        /// The address given.
        addr: usize,
        /// The size given.
        size: usize,
        /// The size of the allocation in bytes.
        allocated: usize,
    },
    /// The address is inside an allocation, not at its start. Found by boundary tracking.
    Interior {
        /// The address given.
        addr: usize,
        /// The start of the allocation.
        start: usize,
    },
    /// A free by address alone needs boundary tracking.
    NotTracked,
}

display!(FreeError {
    Self::ZeroSize { addr } => "free of no bytes at {addr:#x}";
    Self::Foreign { addr } => "{addr:#x} lies in no chunk of the pool";
    Self::Misaligned { addr, granule } => "{addr:#x} is not a multiple of the granule of {granule:#x} bytes";
    Self::PastChunk { addr, size, last } => "{size:#x} bytes at {addr:#x} go past the chunk's last address {last:#x}";
    Self::NotAllocated { addr } => "{addr:#x} is not allocated";
    Self::WrongSize { addr, size, allocated } => "{allocated:#x} bytes are allocated at {addr:#x}, not {size:#x}";
    Self::Interior { addr, start } => "{addr:#x} is inside the allocation at {start:#x}";
    Self::NotTracked => "the pool was built without boundary tracking";
});

/// The pool was built without boundary tracking, so it does not know its live allocations.
///
/// ```
/// use genpool::{NotTracked, Pool};
///
/// assert_eq!(Pool::new(12)?.live().err(), Some(NotTracked));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTracked;

display!(NotTracked {
    Self => "the pool was built without boundary tracking";
});

/// Why a chunk was not removed.
///
/// ```
/// use genpool::{Pool, RemoveError};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// assert_eq!(pool.remove(0x2000).unwrap_err(), RemoveError::NoChunk { start: 0x2000 });
/// let _held = pool.alloc(1)?;
/// let _drain = pool.remove(0x1000)?;
/// assert_eq!(pool.remove(0x1000).unwrap_err(), RemoveError::Draining { start: 0x1000 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoveError {
    /// No chunk starts at the address.
    NoChunk {
        /// The address given.
        start: usize,
    },
    /// The chunk is already being removed.
    Draining {
        /// The address given.
        start: usize,
    },
}

display!(RemoveError {
    Self::NoChunk { start } => "no chunk starts at {start:#x}";
    Self::Draining { start } => "the chunk at {start:#x} is being removed already";
});

/// Why an allocation kept its size.
///
/// ```
/// use genpool::{Pool, ResizeError};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x3000)?;
/// let (mut first, second) = (pool.alloc(1)?, pool.alloc(1)?);
/// assert_eq!(first.resize(0x2000), Err(ResizeError::Neighbour));
/// drop(second);
/// assert_eq!(first.resize(0x4000), Err(ResizeError::PastChunk));
/// assert_eq!(first.resize(0x3000), Ok(()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResizeError {
    /// The size is zero: drop the allocation instead.
    ZeroSize,
    /// The granules after the allocation are not all free.
    Neighbour,
    /// The allocation would go past the end of its chunk.
    PastChunk,
    /// The chunk is being removed and hands out nothing more.
    Draining,
    /// The range was freed by address while this allocation held it. Found by boundary tracking.
    Lost,
}

display!(ResizeError {
    Self::ZeroSize => "an allocation has at least one byte";
    Self::Neighbour => "the granules behind the allocation are not all free";
    Self::PastChunk => "the chunk ends before";
    Self::Draining => "the chunk is being removed";
    Self::Lost => "the range was freed by address while it was held";
});
