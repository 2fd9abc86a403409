//! The options of a pool, checked once when it is built.

use crate::sync::Arc;
use alloc::boxed::Box;
use alloc::string::String;

use super::{Pool, PoolView, Report, as_default};
use crate::chunks::DefaultAlgorithm;
use crate::error::BuildError;
use crate::memory::Node;
#[cfg(feature = "observe")]
use crate::observe::{Event, Notifier, Observer, SilentDrop};
use crate::placement::{Algorithm, FirstFit};
use crate::shared::Shared;
use crate::stats::Destroyed;
use crate::unwind::Guarded;

/// Builds a [`Pool`]. Its calls take constant time, allocate memory, and are
/// not [signal-safe](crate#signal-safety).
///
/// ```
/// use genpool::Pool;
///
/// let pool = Pool::builder().order(5).name("sram").boundary_tracking().build()?;
/// pool.add(0, 4096)?;
/// let range = pool.alloc(100)?.into_raw();
/// assert_eq!(pool.free_addr(range.addr), Ok(128));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct Builder {
    order: u32,
    name: Option<String>,
    node: Option<u32>,
    algorithm: (Arc<dyn Algorithm>, DefaultAlgorithm),
    tracked: bool,
    spread: bool,
    on_leak: Option<Report>,
    #[cfg(feature = "observe")]
    observer: Option<SilentDrop>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            order: 0,
            name: None,
            node: None,
            algorithm: as_default(FirstFit),
            tracked: false,
            spread: false,
            on_leak: None,
            #[cfg(feature = "observe")]
            observer: None,
        }
    }

    /// Sets the order: a granule is `1 << order` bytes. The default is 0: single bytes, or whatever unit is counted.
    pub fn order(mut self, order: u32) -> Self {
        self.order = order;
        self
    }

    /// Returns the order set so far.
    #[must_use]
    pub fn get_order(&self) -> u32 {
        self.order
    }

    /// Sets a name, which appears in reports.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the NUMA node whose memory holds the bookkeeping of each chunk: bitmap, hints and ownership words. Linux
    /// only. Each table then takes whole pages. Without a node, the bookkeeping is on the heap.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use genpool::{BuildError, Pool};
    ///
    /// match Pool::builder().order(12).node(0).build() {
    ///     Ok(pool) => assert_eq!(pool.node(), Some(0)),
    ///     Err(BuildError::NodeRefused { errno, .. }) => println!("a sandbox: error {errno}"),
    ///     Err(error) => println!("{error}"),
    /// }
    /// # }
    /// ```
    pub fn node(mut self, node: u32) -> Self {
        self.node = Some(node);
        self
    }

    /// Sets the default algorithm, with its data. It is [`FirstFit`] unless set.
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
    /// let pool = Pool::builder().order(12).algorithm(LastFit).build()?;
    /// pool.add(0x1000, 0x4000)?;
    /// assert_eq!(pool.alloc(1)?.addr(), 0x4000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn algorithm<A: Algorithm + 'static>(mut self, algorithm: A) -> Self {
        self.algorithm = as_default(algorithm);
        self
    }

    /// Records where each allocation starts and ends, at two words per granule. A free with a wrong size, or at an
    /// address inside an allocation, is then refused; a free by address alone works; and the live allocations can be
    /// listed.
    pub fn boundary_tracking(mut self) -> Self {
        self.tracked = true;
        self
    }

    /// Lets [`SpreadFit`](https://docs.rs/genpool/latest/genpool/struct.SpreadFit.html) spread in this pool, although
    /// it is not the default: chunks keep an index of which thread allocates where, at up to 2.5 bits per granule. A
    /// pool whose default is `SpreadFit` keeps it anyway. A free costs a little more.
    ///
    /// ```
    /// use genpool::{Pool, SpreadFit};
    ///
    /// let pool = Pool::builder().order(12).unit_index().build()?;
    /// pool.add(0, 64 << 20)?;
    /// let low = pool.alloc(4096)?; // first fit, the default
    /// let own = pool.alloc_with(4096, &SpreadFit)?;
    /// # drop((low, own));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unit_index(mut self) -> Self {
        self.spread = true;
        self
    }

    /// Sets a callback for a pool that is dropped, rather than destroyed, while something is still held.
    ///
    /// ```
    /// use genpool::Pool;
    ///
    /// let pool = Pool::builder().order(12).on_leak(|report| eprintln!("{report}")).build()?;
    /// pool.add(0x1000, 0x4000)?;
    /// let _ = pool.alloc(1)?.into_raw(); // never given back
    /// drop(pool); // "pool unnamed: 4096 bytes still held in 1 range", and where
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_leak(mut self, report: impl FnOnce(Destroyed) + Send + Sync + 'static) -> Self {
        self.on_leak = Some(Guarded::new(Box::new(report)));
        self
    }

    /// Sets the observer that is notified of what the pool does. A later call replaces an earlier observer. An `Arc`
    /// of an observer is an observer too, so the caller can keep a handle on it. Requires the feature `observe`.
    ///
    /// ```
    /// // features = ["observe"]
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use genpool::{Event, Observer, Pool};
    ///
    /// #[derive(Default)]
    /// struct Calls(AtomicUsize);
    ///
    /// impl Observer for Calls {
    ///     fn event(&self, _number: usize, _event: &Event<'_>) {
    ///         self.0.fetch_add(1, Ordering::Relaxed);
    ///     }
    /// }
    ///
    /// let calls = Arc::new(Calls::default());
    /// let pool = Pool::builder().order(12).observer(Arc::clone(&calls)).build()?;
    /// pool.add(0x1000, 0x4000)?;
    /// drop(pool.alloc(1)?);
    /// assert_eq!(calls.0.load(Ordering::Relaxed), 4); // built, a chunk, an allocation, its free
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "observe")]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Some(SilentDrop::new(observer));
        self
    }

    /// Builds the pool, without chunks.
    ///
    /// # Errors
    ///
    /// [`BuildError`] names the invalid value.
    pub fn build(self) -> Result<Pool, BuildError> {
        let order = self.order;
        if order >= usize::BITS {
            return Err(BuildError::Order { order });
        }
        let (algorithm, default) = self.algorithm;
        let spread = self.spread || algorithm.spreads();
        let default = match default {
            DefaultAlgorithm::FirstFit => DefaultAlgorithm::FirstFit,
            _ => DefaultAlgorithm::BuiltWith,
        };
        let probe = |node| Node::probe(node).map_err(|error| BuildError::of_node(node, error));
        let node = self.node.map(probe).transpose()?;
        #[cfg(feature = "observe")]
        let notifier = self.observer.map(|observer| {
            let notifier = Arc::new(Notifier::new(observer));
            notifier.notify(&Event::Built {
                name: self.name.as_deref(),
                order,
                tracked: self.tracked,
            });
            notifier
        });
        let mut shared = Shared::new(
            order,
            algorithm,
            default,
            self.tracked,
            node,
            self.name,
            #[cfg(feature = "observe")]
            notifier,
        );
        shared.spread = spread;
        Ok(Pool {
            view: PoolView {
                shared: Arc::new(shared),
            },
            on_leak: self.on_leak,
        })
    }
}
