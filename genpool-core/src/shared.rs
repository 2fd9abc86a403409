//! The state that all handles on one pool share.

use crate::sync::Arc;
use alloc::string::String;

use crate::activity::Activity;
use crate::cache::slots::CacheSlots;
use crate::chunk::Chunk;
use crate::chunks::{ChunkSet, DefaultAlgorithm, DefaultVersion};
use crate::counters::Counters;
use crate::memory::Node;
#[cfg(feature = "observe")]
use crate::observe::Notifier;
use crate::placement::{Algorithm, FirstFit};

use crate::sync::AtomicBool;

/// The state that all handles on one pool share.
pub(crate) struct Shared {
    pub(crate) order: u32,
    pub(crate) chunk_set: ChunkSet,
    pub(crate) activity: Activity,
    pub(crate) counters: Counters,
    pub(crate) slots: CacheSlots,
    /// The algorithm that the pool was built with. It lives as long as the pool, so `alloc` reaches it without a pin.
    pub(crate) built_with: Arc<dyn Algorithm>,
    /// Whether a chunk was ever removed. Chunks that are added after that are not permanent (see `chunks/mod.rs`).
    pub(crate) removals: AtomicBool,
    pub(crate) tracked: bool,
    /// Whether chunks keep what spread first fit needs.
    pub(crate) spread: bool,
    pub(crate) node: Option<Node>,
    pub(crate) name: Option<String>,
    #[cfg(feature = "observe")]
    pub(crate) notifier: Option<Arc<Notifier>>,
}

impl Shared {
    /// Creates the state of a pool without chunks.
    pub(crate) fn new(
        order: u32,
        algorithm: Arc<dyn Algorithm>,
        default: DefaultAlgorithm,
        tracked: bool,
        node: Option<Node>,
        name: Option<String>,
        #[cfg(feature = "observe")] notifier: Option<Arc<Notifier>>,
    ) -> Self {
        Self {
            order,
            chunk_set: ChunkSet::new(Arc::clone(&algorithm), default),
            activity: Activity::new(),
            counters: Counters::new(),
            slots: CacheSlots::new(),
            built_with: algorithm,
            removals: AtomicBool::new(false),
            tracked,
            spread: false,
            node,
            name,
            #[cfg(feature = "observe")]
            notifier,
        }
    }

    pub(crate) fn observer_panics(&self) -> usize {
        #[cfg(feature = "observe")]
        if let Some(notifier) = self.notifier() {
            return notifier.panics();
        }
        0
    }

    /// Returns true if every place is equally good to the default algorithm of this tag, or of a later one.
    pub(crate) fn any_place(&self, tag: DefaultVersion) -> bool {
        self.with_default(tag, |algorithm| algorithm.any_place())
    }

    /// Calls `ask` on the default algorithm of this tag, or of a later one.
    pub(crate) fn with_default<R>(
        &self,
        tag: DefaultVersion,
        ask: impl FnOnce(&dyn Algorithm) -> R,
    ) -> R {
        if tag.is(DefaultAlgorithm::FirstFit) {
            ask(&FirstFit)
        } else if tag.is(DefaultAlgorithm::BuiltWith) {
            ask(&*self.built_with)
        } else {
            ask(self.chunk_set.pin().algorithm())
        }
    }

    /// Calls `with` as `PoolState::in_chunk` does, but only if the chunk is of this generation.
    pub(crate) fn in_generation<R>(
        &self,
        addr: usize,
        generation: usize,
        with: impl FnOnce(&Chunk) -> R,
    ) -> Option<R> {
        let pin = self.chunk_set.pin();
        pin.find(addr)
            .filter(|chunk| chunk.generation() == generation)
            .map(|chunk| with(chunk))
    }
}
