//! The owner of the current chunk list: changes start from what it holds.
//!
//! With the feature `std` this is `arc_swap`, which has every change before readers have it. `arc_swap` needs an
//! operating system for the state that it keeps for each thread. Without `std`, and under `--cfg genpool_own_list`, the
//! hazard cell that readers pin owns the list itself: there is no second place, and a change is one exchange of the
//! cell's pointer.

pub(super) use self::imp::ListOwner;

#[cfg(all(feature = "std", not(genpool_own_list)))]
mod imp {
    use crate::chunks::hazard::{HazardCell, Protected};
    use crate::chunks::list::ChunkList;
    use crate::sync::{Arc, Published};

    /// `arc_swap`, or what stands in for it in models.
    pub(in crate::chunks) struct ListOwner(Published<Protected<ChunkList>>);

    impl ListOwner {
        pub(in crate::chunks) fn new(first: &Arc<Protected<ChunkList>>) -> Self {
            Self(Published::new(Arc::clone(first)))
        }

        /// Puts a list on the heap, to be published.
        pub(in crate::chunks) fn allocate(&self, list: ChunkList) -> Arc<Protected<ChunkList>> {
            self.0.allocate(Protected::new(list))
        }

        /// Returns the current list with a reference count of its own. Readers may not have it yet.
        pub(in crate::chunks) fn load(
            &self,
            _current: &HazardCell<ChunkList>,
        ) -> Arc<Protected<ChunkList>> {
            self.0.load_full()
        }

        /// Replaces `seen` by `next`, unless another list came first. Returns true if it did.
        pub(in crate::chunks) fn replace(
            &self,
            _current: &HazardCell<ChunkList>,
            seen: &Arc<Protected<ChunkList>>,
            next: &Arc<Protected<ChunkList>>,
        ) -> bool {
            self.0.replace(seen, Arc::clone(next))
        }
    }
}

#[cfg(not(all(feature = "std", not(genpool_own_list))))]
mod imp {
    use crate::chunks::hazard::{HazardCell, Protected};
    use crate::chunks::list::ChunkList;
    use crate::sync::{Arc, Fault, seeded};

    /// The hazard cell that readers pin.
    pub(in crate::chunks) struct ListOwner;

    impl ListOwner {
        pub(in crate::chunks) fn new(_first: &Arc<Protected<ChunkList>>) -> Self {
            Self
        }

        /// Puts a list on the heap, to be published.
        pub(in crate::chunks) fn allocate(&self, list: ChunkList) -> Arc<Protected<ChunkList>> {
            Arc::new(Protected::new(list))
        }

        /// Returns the current list with a reference count of its own.
        pub(in crate::chunks) fn load(
            &self,
            current: &HazardCell<ChunkList>,
        ) -> Arc<Protected<ChunkList>> {
            current.load()
        }

        /// Replaces `seen` by `next`, unless another list came first. Returns true if it did.
        pub(in crate::chunks) fn replace(
            &self,
            current: &HazardCell<ChunkList>,
            seen: &Arc<Protected<ChunkList>>,
            next: &Arc<Protected<ChunkList>>,
        ) -> bool {
            let pin = current.pin();
            // The caller's count keeps the address of `seen` from being reused.
            (pin.is(seen) || seeded(Fault::LostUpdate)) && current.replace(pin, next)
        }
    }
}
