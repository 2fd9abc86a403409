//! Where in a chunk an allocation goes: the trait, and first fit.

use core::fmt;

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::chunk::granules_for;
use crate::error::{Impossible, Unsuitable};
use crate::unwind::Guarded;
use crate::view::{ChunkView, Granule};

/// What is asked for. Its calls take constant time and are [signal-safe](crate#signal-safety).
///
/// ```
/// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
///
/// /// Refuses nothing, and says what it is asked.
/// struct Told;
///
/// impl Algorithm for Told {
///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
///         assert_eq!((request.size(), request.granules(), request.granule()), (5000, 2, 4096));
///         chunk.find_run(Granule(0), Granule(usize::MAX), request.granules())
///     }
/// }
///
/// let pool = Pool::new(12)?;
/// pool.add(0, 0x4000)?;
/// assert_eq!(pool.alloc_with(5000, &Told)?.size(), 8192);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    size: usize,
    order: u32,
}

impl Request {
    /// None where the size is zero.
    pub(crate) fn new(size: usize, order: u32) -> Option<Self> {
        (size > 0).then_some(Self { size, order })
    }

    /// The bytes that the caller asked for, at least one.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The granules that hold them.
    #[must_use]
    #[inline]
    pub fn granules(&self) -> usize {
        granules_for(self.size, self.order)
    }

    /// A granule in bytes.
    #[must_use]
    pub fn granule(&self) -> usize {
        1 << self.order
    }
}

/// The algorithms that a trace can name, each with its data. `Display` writes what stands behind
/// `algo=` there.
///
/// ```
/// use genpool::{Algorithm, FirstFit, Notation};
///
/// assert_eq!(FirstFit.notation(), Some(Notation::FirstFit));
/// assert_eq!(Notation::FirstFitAlign { bytes: 4096 }.to_string(), "first-fit-align:0x1000");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Notation {
    /// `first-fit`
    FirstFit,
    /// `first-fit-align:BYTES`
    FirstFitAlign {
        /// A power of two.
        bytes: usize,
    },
    /// `order-align`
    OrderAlign,
    /// `best-fit`
    BestFit,
    /// `fixed:OFFSET`
    FixedOffset {
        /// Bytes from the start of a chunk.
        offset: usize,
    },
    /// `fixed-address:ADDRESS`
    FixedAddress {
        /// The address.
        addr: usize,
    },
    /// `next-fit`
    NextFit,
    /// `thread-start`
    ThreadStart,
}

impl fmt::Display for Notation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstFit => f.write_str("first-fit"),
            Self::FirstFitAlign { bytes } => write!(f, "first-fit-align:{bytes:#x}"),
            Self::OrderAlign => f.write_str("order-align"),
            Self::BestFit => f.write_str("best-fit"),
            Self::FixedOffset { offset } => write!(f, "fixed:{offset:#x}"),
            Self::FixedAddress { addr } => write!(f, "fixed-address:{addr:#x}"),
            Self::NextFit => f.write_str("next-fit"),
            Self::ThreadStart => f.write_str("thread-start"),
        }
    }
}

/// Chooses where in one chunk an allocation goes.
///
/// The pool asks chunk by chunk, newest first, and claims what the algorithm proposes. If somebody
/// else was faster it asks again. An algorithm may propose nonsense: a place that is taken or
/// outside the chunk is refused, never handed out. It may also panic: whatever is held while it
/// runs (the earlier ones of an `alloc_many`) is given back as the panic passes.
///
/// An algorithm and its data are one value. It must be `Sync`, because any number of threads run
/// it at once; if it is to serve in signal handlers it must be [signal-safe](crate#signal-safety) itself.
///
/// # Failing honestly
///
/// Before the pool answers [`Exhausted`](crate::AllocError::Exhausted) it asks every chunk again
/// while it watches that nothing moves. For that to be a proof, `propose` must find a place in a
/// chunk that does not change whenever there is one under its own rules, and an answer of none
/// must follow from one pass over the chunk that looks at each granule once: of an earlier,
/// partial pass nothing may be remembered. What it saw it keeps to itself: another thread that acted
/// on it would know of changes before the pool does.
///
/// # Example
///
/// Last fit, the highest place that is free:
///
/// ```
/// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
///
/// struct LastFit;
///
/// impl Algorithm for LastFit {
///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
///         let n = request.granules();
///         let last = chunk.runs(Granule(0), n).last()?;
///         Some(Granule(last.start.0 + last.len - n))
///     }
/// }
///
/// let pool = Pool::new(12)?;
/// pool.add(0x10_0000, 0x10_0000)?;
/// assert_eq!(pool.alloc_with(8192, &LastFit)?.addr(), 0x1f_e000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Algorithm: Send + Sync {
    /// Says, before any chunk is looked at, that a request cannot be served whatever chunks there are. Asked
    /// again where a first look found nothing.
    ///
    /// # Errors
    ///
    /// The reason, which the caller of `alloc` gets as
    /// [`AllocError::Unsuitable`](crate::AllocError::Unsuitable).
    #[inline]
    fn check(&self, request: &Request) -> Result<(), Unsuitable> {
        let _ = request;
        Ok(())
    }

    /// Whether every free run of the right length is as good to it as any other, so that a
    /// [`Cache`](crate::Cache) may take several at once, from where they are near. An algorithm that
    /// has rules for where a run may lie says no, and so does one that says nothing: a cache then
    /// passes every call on to the pool.
    #[inline]
    fn any_place(&self) -> bool {
        false
    }

    /// How a trace names it, so that who replays the trace can make it again; none unless said.
    #[inline]
    fn notation(&self) -> Option<Notation> {
        None
    }

    /// Why this chunk could not serve the request even if all of it were free; none if it could, or unless
    /// said. Asked only where [`propose`](Self::propose) found nothing. If no chunk could, the caller of `alloc`
    /// gets [`AllocError::Impossible`](crate::AllocError::Impossible) instead of
    /// [`Exhausted`](crate::AllocError::Exhausted). That a request is longer than a chunk the pool sees by
    /// itself. May depend on the chunk's address, physical address and length, and not on what is free.
    ///
    /// ```
    /// use genpool::{
    ///     Algorithm, AllocError, ChunkView, FirstFit, Granule, Impossible, Pool, Request,
    /// };
    ///
    /// /// First fit in chunks that a device reaches.
    /// struct Reached;
    ///
    /// impl Algorithm for Reached {
    ///     fn rules_out(&self, chunk: &ChunkView<'_>, _: &Request) -> Option<Impossible> {
    ///         chunk.phys().is_none().then_some(Impossible::NoPhys)
    ///     }
    ///
    ///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
    ///         chunk.phys().and_then(|_| FirstFit.propose(chunk, request))
    ///     }
    /// }
    ///
    /// let pool = Pool::new(12)?;
    /// pool.add(0x1000, 0x4000)?;
    /// let refused = pool.alloc_with(1, &Reached).unwrap_err();
    /// assert_eq!(refused, AllocError::Impossible(Impossible::NoPhys));
    /// pool.add_virt(0x8000, 0x1_0000, 0x4000)?;
    /// assert!(pool.alloc_with(1, &Reached).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    fn rules_out(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Impossible> {
        let _ = (chunk, request);
        None
    }

    /// The only address at which it ever allocates, if there is just one: then a refusal names it, by
    /// [`AllocError::Taken`](crate::AllocError::Taken).
    #[inline]
    fn place(&self) -> Option<usize> {
        None
    }

    /// The first granule of a free run of [`request.granules()`](Request::granules) in this chunk,
    /// or none if there is no fit in it.
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule>;
}

macro_rules! forward {
    ($($pointer:ty),+) => {
        $(impl<A: Algorithm + ?Sized> Algorithm for $pointer {
            #[inline]
            fn check(&self, request: &Request) -> Result<(), Unsuitable> {
                (**self).check(request)
            }

            #[inline]
            fn any_place(&self) -> bool {
                (**self).any_place()
            }

            #[inline]
            fn rules_out(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Impossible> {
                (**self).rules_out(chunk, request)
            }

            #[inline]
            fn place(&self) -> Option<usize> {
                (**self).place()
            }

            #[inline]
            fn notation(&self) -> Option<Notation> {
                (**self).notation()
            }

            #[inline]
            fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
                (**self).propose(chunk, request)
            }
        })+
    };
}

forward!(&A, Box<A>, Arc<A>, Guarded<A>);

/// First fit, the default: the lowest address in the first chunk that has room. Skips words of the
/// bitmap that cannot serve; at worst linear in the granules of the chunk, 64 at a time.
/// [Signal-safe](crate#signal-safety).
///
/// ```
/// use genpool::{FirstFit, Pool};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// let (first, second) = (pool.alloc(1)?, pool.alloc(1)?);
/// drop(first);
/// assert_eq!(pool.alloc_with(1, &FirstFit)?.addr(), 0x1000);
/// # drop(second);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstFit;

impl Algorithm for FirstFit {
    fn any_place(&self) -> bool {
        true
    }

    fn notation(&self) -> Option<Notation> {
        Some(Notation::FirstFit)
    }

    #[inline(always)]
    fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
        chunk.find_run(Granule(0), Granule(usize::MAX), request.granules())
    }
}
