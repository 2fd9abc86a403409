//! Changes of the chunk list: read the current list, make the next one, publish it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::ChunkSet;
use super::hazard::Protected;
use super::list::ChunkList;
use crate::unwind::FirstPanic;

/// A call that may change the list. The call drops this last, when all of its own work is complete. That drops
/// the replaced lists with their owners and algorithms, whose destructors are user code.
#[must_use = "dropped last"]
pub(crate) struct Change<'s> {
    chunk_set: &'s ChunkSet,
    replaced: bool,
    /// Lists on which the call may hold the last count.
    lists: Vec<Arc<Protected<ChunkList>>>,
    panics: FirstPanic,
}

impl<'s> Change<'s> {
    pub(super) fn new(chunk_set: &'s ChunkSet) -> Self {
        Self {
            chunk_set,
            replaced: false,
            lists: Vec::new(),
            panics: FirstPanic::default(),
        }
    }

    /// Publishes the list that `edit` makes of the current one, if it makes one. Lock-free: `edit` is called again only
    /// if another change was published in between.
    pub(crate) fn publish<E>(
        &mut self,
        mut edit: impl FnMut(&ChunkList) -> Result<Option<ChunkList>, E>,
    ) -> Result<(), E> {
        let chunk_set = self.chunk_set;
        loop {
            let seen = chunk_set.load();
            let next = match edit(&seen) {
                Ok(Some(next)) => chunk_set.allocate(next),
                unchanged => {
                    self.keep(seen);
                    return unchanged.map(drop);
                }
            };
            let replaced = chunk_set.replace(&seen, &next);
            self.replaced |= replaced;
            self.keep(seen);
            self.keep(next);
            if replaced {
                return Ok(());
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
        for list in self.lists.drain(..) {
            panics.run(|| drop(list));
        }
        if self.replaced {
            panics.run(|| self.chunk_set.reclaim());
        }
        panics.resume();
    }
}
