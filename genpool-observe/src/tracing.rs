//! Events of the crate `tracing`.

use std::sync::OnceLock;

use genpool_core::{AllocError, Event, Observer};
use tracing::{debug, info, trace, warn};

/// Emits `tracing` events for what a pool does: an [`Observer`]. The target is `genpool`, and the field `pool` is the
/// pool's name.
///
/// | level | events |
/// |---|---|
/// | info | chunks added, being removed, drained |
/// | warn | requests that found no room, refused frees |
/// | debug | requests, resizes and chunks that were refused for another reason |
/// | trace | allocations, frees, resizes, runs that caches take from the pool and return |
///
/// [Signal-safe](genpool_core#signal-safety) only if the subscriber is, which is rare. An event that no subscriber
/// wants costs a load and a branch.
///
/// ```
/// // features = ["tracing"]
/// use genpool::Pool;
/// use genpool::observe::Traced;
///
/// let pool = Pool::builder().order(12).name("rx").observer(Traced::new()).build()?;
/// # drop(pool);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Traced {
    /// The pool's name, set when the pool is built.
    name: OnceLock<String>,
}

impl Traced {
    /// Returns an observer for one pool.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// An address or a size of a chunk, in hexadecimal.
macro_rules! hex {
    ($number:expr) => {
        format_args!("{:#x}", $number)
    };
}

impl Observer for Traced {
    fn event(&self, _number: usize, event: &Event<'_>) {
        let pool = self.name.get().map(String::as_str);
        match *event {
            Event::Built { name, order, .. } => {
                if let Some(name) = name {
                    // The first pool's name stays, if this observer is given to several.
                    let _ = self.name.set(name.to_owned());
                }
                debug!(target: "genpool", pool = name, order, "pool built");
            }
            Event::Allocated {
                addr,
                asked,
                size,
                cached,
                ..
            } => {
                trace!(target: "genpool", pool, addr = hex!(addr), asked, size, cached, "allocated");
            }
            Event::AllocRefused { asked, error, .. } => match error {
                AllocError::Exhausted { .. }
                | AllocError::Taken { .. }
                | AllocError::Contended { .. } => {
                    warn!(target: "genpool", pool, asked, %error, "no room");
                }
                _ => debug!(target: "genpool", pool, asked, %error, "refused"),
            },
            Event::Freed {
                addr, size, cached, ..
            } => {
                trace!(target: "genpool", pool, addr = hex!(addr), size, cached, "freed");
            }
            Event::CacheFilled { addrs, size, .. } => {
                trace!(target: "genpool", pool, runs = addrs.len(), size, "cache filled");
            }
            Event::CacheEmptied { addrs, size, .. } => {
                trace!(target: "genpool", pool, runs = addrs.len(), size, "cache emptied");
            }
            Event::FreeRefused {
                addr, size, error, ..
            } => {
                let error = error.as_ref().map(tracing::field::display);
                warn!(target: "genpool", pool, addr = hex!(addr), size, error, "free refused");
            }
            Event::Resized { addr, from, to, .. } => {
                trace!(target: "genpool", pool, addr = hex!(addr), from, to, "resized");
            }
            Event::ResizeRefused {
                addr, asked, error, ..
            } => {
                debug!(target: "genpool", pool, addr = hex!(addr), asked, %error, "resize refused");
            }
            Event::ChunkAdded { start, size, .. } => {
                info!(target: "genpool", pool, start = hex!(start), size, "chunk added");
            }
            Event::AddRefused {
                start,
                size,
                reason,
                ..
            } => {
                debug!(target: "genpool", pool, start = hex!(start), size, %reason, "chunk refused");
            }
            Event::Draining {
                start, size, free, ..
            } => {
                info!(target: "genpool", pool, start = hex!(start), size, free, "chunk draining");
            }
            Event::RemoveRefused { start, error, .. } => {
                debug!(target: "genpool", pool, start = hex!(start), %error, "removal refused");
            }
            Event::Drained { start, size, .. } => {
                info!(target: "genpool", pool, start = hex!(start), size, "chunk drained");
            }
            _ => {}
        }
    }
}
