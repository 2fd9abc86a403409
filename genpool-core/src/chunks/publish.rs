//! Changes of the chunk list: read the current list, make the next one, publish it.

use crate::sync::Arc;
use alloc::vec::Vec;

use super::ChunkSet;
use super::hazard::Protected;
use super::list::ChunkList;
use crate::chunk::{Chunk, State};
use crate::sync::{Fault, seeded};
use crate::unwind::FirstPanic;

/// A call that may change the list. The call drops this last, when all of its own work is complete. That drops
/// the replaced lists with their owners and algorithms, whose destructors are user code.
#[must_use = "dropped last"]
pub(crate) struct Change<'s> {
    chunk_set: &'s ChunkSet,
    replaced: bool,
    /// Lists on which the call may hold the last count.
    lists: Vec<Arc<Protected<ChunkList>>>,
    /// Chunks that leave and are drained.
    leaving: Vec<Arc<Chunk>>,
    panics: FirstPanic,
}

impl<'s> Change<'s> {
    pub(super) fn new(chunk_set: &'s ChunkSet) -> Self {
        Self {
            chunk_set,
            replaced: false,
            lists: Vec::new(),
            leaving: Vec::new(),
            panics: FirstPanic::default(),
        }
    }

    /// Publishes what `edit` makes of the next version of the list if it returns true. Lock-free: `edit` is called again
    /// only if another change was published in between.
    pub(crate) fn publish<E>(
        &mut self,
        mut edit: impl FnMut(&mut ChunkList) -> Result<bool, E>,
    ) -> Result<(), E> {
        let chunk_set = self.chunk_set;
        loop {
            let seen = chunk_set.load();
            let (mut next, without) = seen.next_without(&self.leaving);
            match edit(&mut next) {
                Ok(edited) if edited || without => {}
                // The drop of `next` runs no user code: `seen` has the chunks and the algorithm too.
                unchanged => {
                    self.keep(seen);
                    return unchanged.map(drop);
                }
            }
            let next = chunk_set.allocate(next);
            let replaced = chunk_set.replace(&seen, &next);
            self.replaced |= replaced;
            self.keep(seen);
            self.keep(next);
            if replaced {
                return Ok(());
            }
        }
    }

    /// Makes the call take the chunks off the list that leave and are drained, as far as there is memory.
    pub(crate) fn takes_leaving(&mut self) {
        let leaving = &self.chunk_set.leaving;
        for chunk in leaving.take() {
            if chunk.state() == State::Drained && self.leaving.try_reserve(1).is_ok() {
                self.leaving.push(chunk);
            } else if !seeded(Fault::ForgottenLeaving) {
                leaving.push(chunk);
            }
        }
    }

    /// Makes the call drop the lists that others replaced, even if it replaces none itself.
    pub(crate) fn reclaims(&mut self) {
        self.replaced = true;
    }

    fn keep(&mut self, list: Arc<Protected<ChunkList>>) {
        match self.lists.try_reserve(1) {
            Ok(()) => self.lists.push(list),
            Err(_) => {
                self.panics.run(|| drop(list));
            }
        }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut panics = core::mem::take(&mut self.panics);
        if !self.leaving.is_empty() {
            let current = self.chunk_set.load();
            for chunk in self.leaving.drain(..) {
                if current.lists(&chunk) {
                    self.chunk_set.leaving.push(chunk);
                    continue;
                }
                if chunk.is_permanent() {
                    self.chunk_set.forget_address(&chunk);
                }
                panics.run(|| drop(chunk));
            }
            panics.run(|| drop(current));
        }
        for list in self.lists.drain(..) {
            panics.run(|| drop(list));
        }
        if self.replaced {
            panics.run(|| self.chunk_set.reclaim());
        }
        panics.resume();
    }
}
