//! What the operations need of a pool.

use crate::activity::Activity;
use crate::chunk::{Chunk, Extent};
use crate::counters::Counters;
use crate::sync::{Fault, model_fence, seeded};
use crate::units::Granule;

/// A pool, whether its chunks are in a list that changes or there is one for good. The operations are written once, for
/// every kind.
pub(crate) trait PoolState {
    /// Keeps a list of chunks, and the chunks, in place.
    type Pin<'p>
    where
        Self: 'p;

    /// An allocation, in the form in which it passes through few instructions.
    type Found<'p>
    where
        Self: 'p;

    /// Whether there is one chunk for good. Then no code is needed for what several chunks say together.
    const HAS_ONE_CHUNK: bool = false;

    fn order(&self) -> u32;

    fn activity(&self) -> &Activity;

    fn counters(&self) -> &Counters;

    /// Returns the chunk that is tried first, if it can be reached without a pin.
    fn newest(&self) -> Option<&Chunk>;

    /// Pins the current list: it is not dropped before the pin is.
    fn pin(&self) -> Self::Pin<'_>;

    /// Returns true if the pinned list has not been replaced.
    fn is_current(&self, pin: &Self::Pin<'_>) -> bool;

    /// Returns the chunks of the pinned list that are not drained, newest first.
    fn chunks<'a, 'p: 'a>(pin: &'a Self::Pin<'p>) -> impl Iterator<Item = &'a Chunk>
    where
        Self: 'p;

    /// Returns the allocation of a run that was claimed in a chunk of the pinned list.
    fn found<'p>(
        &'p self,
        pin: &Self::Pin<'p>,
        chunk: &Chunk,
        granule: Granule,
        extent: Extent,
    ) -> Self::Found<'p>;

    /// Calls `with` on the chunk that contains `addr`, if there is one. The chunk must not be used after
    /// the call.
    fn in_chunk<R>(&self, addr: usize, with: impl FnOnce(&Chunk) -> R) -> Option<R>;

    /// Notifies the probers, and returns `answer`, which was read from bitmaps or from the chunk list. The answer may
    /// reveal a change whose author has not notified the probers yet.
    fn reveal<T>(&self, answer: T) -> T {
        if !seeded(Fault::UnnotifiedAnswer) {
            // "Bits read, now the probers" takes `SeqCst` loads, as everywhere in the protocol.
            model_fence();
            self.activity().notify();
        }
        answer
    }
}
