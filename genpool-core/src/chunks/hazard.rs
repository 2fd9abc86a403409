//! Hazard pointers: a value that is replaced as a whole and read without waiting.
//!
//! `current` is the value as a plain pointer. A reader writes this pointer into a free *hazard slot*, checks that it is
//! still current, and may use the value until it clears the slot. It checks again only if the value was replaced in
//! between. So a pin costs one read-modify-write and one store. A replaced value is *retired*. A later call of
//! [`reclaim`](HazardCell::reclaim) drops it once no slot names it.
//!
//! There are only a few slots. A reader that finds all of them taken counts itself as an *unslotted reader* instead.
//! While there is an unslotted reader, no retired value is dropped.
//!
//! A thread that is stopped with a hazard slot keeps one value from being dropped. A thread that is stopped as an
//! unslotted reader keeps every retired value. Neither holds up another thread.
//!
//! # Orderings
//!
//! "Slot written, then `current` read" against "`current` replaced, then the slots read" is store-to-load order:
//! `SeqCst` on both sides (model: `pin vs replace`). A slot is cleared with `Release`, so everything that the reader
//! did with the value happens before the value is dropped.

use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::{self, NonNull};

use crossbeam_utils::CachePadded;

use crate::sync::{
    Arc, AtomicPtr, AtomicUsize, Fault, Life, Ordering, model_fence, seeded, thread_index,
};
use crate::unwind::FirstPanic;

/// The number of hazard slots. Further threads that are inside a pinned call at the same time are unslotted readers.
/// That takes more cores than this, or stopped threads (2026-11).
const HAZARD_SLOTS: usize = if cfg!(genpool_small) { 2 } else { 8 };

/// A value that a [`HazardCell`] can hold: with the link of the list of retired values.
pub(crate) struct Protected<T> {
    value: T,
    next_retired: AtomicPtr<Protected<T>>,
    life: Life,
}

impl<T> Protected<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            value,
            next_retired: AtomicPtr::new(ptr::null_mut()),
            life: Life::new(),
        }
    }
}

impl<T> Deref for Protected<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

/// The current value, and the values that it replaced and that readers may still use.
///
/// # Invariants
///
/// - `current` is never null. It and every retired value came from `Arc::into_raw` and own one count each.
/// - A value that was `current` is dropped only by `reclaim` or with the cell.
pub(super) struct HazardCell<T> {
    current: AtomicPtr<Protected<T>>,
    retired: AtomicPtr<Protected<T>>,
    slots: [CachePadded<AtomicPtr<Protected<T>>>; HAZARD_SLOTS],
    unslotted: AtomicUsize,
    owns: PhantomData<Arc<Protected<T>>>,
}

impl<T> HazardCell<T> {
    pub(super) fn new(first: Arc<Protected<T>>) -> Self {
        Self {
            current: AtomicPtr::new(Arc::into_raw(first).cast_mut()),
            retired: AtomicPtr::new(ptr::null_mut()),
            slots: core::array::from_fn(|_| CachePadded::new(AtomicPtr::new(ptr::null_mut()))),
            unslotted: AtomicUsize::new(0),
            owns: PhantomData,
        }
    }

    // ---- readers ----

    /// Pins the current value: it is not dropped before the pin is. Signal-safe.
    pub(super) fn pin(&self) -> Pin<'_, T> {
        // Relaxed: `current` is read again before the value is used.
        let mut value = self.current.load(Ordering::Relaxed);
        let first = thread_index();
        for slot in (0..HAZARD_SLOTS).map(|at| &self.slots[(first + at) % HAZARD_SLOTS]) {
            // Relaxed: only a hint whether the exchange is worth trying.
            if !slot.load(Ordering::Relaxed).is_null() {
                continue;
            }
            let free = ptr::null_mut();
            // SeqCst: the slot is written before `current` is read again (pairs with `is_pinned`).
            let exchanged = slot.compare_exchange(free, value, Ordering::SeqCst, Ordering::Relaxed);
            if exchanged.is_err() {
                continue;
            }
            if seeded(Fault::UncheckedPin) {
                return Pin::new(self, value, Some(slot));
            }
            loop {
                model_fence();
                let now = self.current.load(Ordering::SeqCst);
                if now == value {
                    // `now`, not `value`: `value` may be the pointer to an earlier value at the same address, which was
                    // dropped since. Only the later pointer may be followed.
                    return Pin::new(self, now, Some(slot));
                }
                value = now;
                // A plain store suffices: what the slot's last user did happens before our exchange above.
                slot.store(value, Ordering::SeqCst);
            }
        }
        // SeqCst: counted before `current` is read (pairs with `is_pinned`).
        if !seeded(Fault::UncountedReader) {
            self.unslotted.fetch_add(1, Ordering::SeqCst);
        }
        model_fence();
        Pin::new(self, self.current.load(Ordering::SeqCst), None)
    }

    /// Returns the current value with a reference count of its own.
    #[cfg(any(not(feature = "std"), genpool_own_list))]
    pub(super) fn load(&self) -> Arc<Protected<T>> {
        let pin = self.pin();
        let value = pin.value.as_ptr();
        // SAFETY: the pointer came from `Arc::into_raw`. It owns a count, and the pin keeps that from being dropped.
        unsafe { Arc::increment_strong_count(value) };
        // SAFETY: the count is the one that was just added.
        unsafe { Arc::from_raw(value) }
    }

    /// Returns true if the pinned value has not been replaced.
    pub(super) fn is_current(&self, pin: &Pin<'_, T>) -> bool {
        ptr::eq(self.current.load(Ordering::SeqCst), pin.value.as_ptr())
    }

    /// Returns true if the current value was just seen to be this one. Orders nothing.
    pub(super) fn names(&self, value: &Arc<Protected<T>>) -> bool {
        let current = self.current.load(Ordering::Relaxed).cast_const();
        ptr::eq(current, Arc::as_ptr(value))
    }

    // ---- writers ----

    /// Replaces the pinned value by `next` and retires it, unless another value came first. Returns true if it did.
    pub(super) fn replace(&self, pin: Pin<'_, T>, next: &Arc<Protected<T>>) -> bool {
        let raw = Arc::into_raw(Arc::clone(next)).cast_mut();
        // AcqRel and SeqCst: the contents of `next` are published, and the value is replaced before the slots are read
        // (pairs with `pin`). The pin keeps the old address from being reused.
        let old = pin.value.as_ptr();
        let pin = (!seeded(Fault::UnpinnedAdvance)).then_some(pin);
        let exchanged =
            self.current
                .compare_exchange(old, raw, Ordering::SeqCst, Ordering::Relaxed);
        if exchanged.is_err() {
            // SAFETY: the count that `into_raw` gave out above was not published.
            drop(unsafe { Arc::from_raw(raw) });
            return false;
        }
        drop(pin);
        self.retire(old);
        true
    }

    /// Retires a value that is no longer `current`, and takes over its count.
    fn retire(&self, value: *mut Protected<T>) {
        // SAFETY: the caller holds the value's count, so it is alive.
        let node = unsafe { &*value };
        let mut head = self.retired.load(Ordering::Relaxed);
        loop {
            node.next_retired.store(head, Ordering::Relaxed);
            node.life.used();
            // Release: hands the link and the value over to the thread that takes the retired values.
            match self.retired.compare_exchange_weak(
                head,
                value,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Drops the retired values that no reader has pinned. This may run user code.
    pub(super) fn reclaim(&self) {
        // Acquire: pairs with every `retire`, since all writes of `retired` are read-modify-writes. All retired values
        // are taken at once, so there is no ABA problem.
        let mut next = self.retired.swap(ptr::null_mut(), Ordering::Acquire);
        let mut panics = FirstPanic::default();
        while let Some(retired) = NonNull::new(next) {
            // SAFETY: `retired` owned a count of each value that was linked to it, and all of them are ours now.
            next = unsafe { retired.as_ref() }
                .next_retired
                .load(Ordering::Relaxed);
            model_fence();
            if self.is_pinned(retired.as_ptr()) {
                self.retire(retired.as_ptr());
            } else {
                panics.run(|| end(retired));
            }
        }
        panics.resume();
    }

    /// Returns true if a reader may be using `value`, which is no longer `current`.
    fn is_pinned(&self, value: *mut Protected<T>) -> bool {
        // SeqCst: after the replacement (pairs with `pin`); Acquire pairs with `Pin::drop`.
        self.unslotted.load(Ordering::SeqCst) != 0
            || self
                .slots
                .iter()
                .any(|slot| ptr::eq(slot.load(Ordering::SeqCst), value))
    }
}

/// Drops the count that the pointer owns, which the caller hands over.
fn end<T>(value: NonNull<Protected<T>>) {
    // SAFETY: the caller hands over a count, so the value is alive.
    let stays = unsafe { value.as_ref() }.life.end();
    if !stays {
        // SAFETY: by the cell's invariant the pointer owns one count, which ends here.
        drop(unsafe { Arc::from_raw(value.as_ptr()) });
    }
}

impl<T> Drop for HazardCell<T> {
    fn drop(&mut self) {
        let mut panics = FirstPanic::default();
        // There are no pins: a pin borrows the cell.
        panics.run(|| self.reclaim());
        // Relaxed: no other thread has access.
        if let Some(current) = NonNull::new(self.current.load(Ordering::Relaxed)) {
            panics.run(|| end(current));
        }
        panics.resume();
    }
}

/// A value in use, protected by a hazard pointer.
///
/// # Invariants
///
/// The value is alive until the pin is dropped. Since before `current` was last seen to be this value, `slot` has named
/// it, or the pin has been counted as an unslotted reader.
pub(crate) struct Pin<'s, T> {
    cell: &'s HazardCell<T>,
    value: NonNull<Protected<T>>,
    slot: Option<&'s AtomicPtr<Protected<T>>>,
}

impl<'s, T> Pin<'s, T> {
    fn new(
        cell: &'s HazardCell<T>,
        value: *mut Protected<T>,
        slot: Option<&'s AtomicPtr<Protected<T>>>,
    ) -> Self {
        // SAFETY: `current` is never null.
        let value = unsafe { NonNull::new_unchecked(value) };
        Self { cell, value, slot }
    }
}

impl<T> Pin<'_, T> {
    /// Returns true if the pinned value is this one, on which the caller holds a count.
    #[cfg(any(not(feature = "std"), genpool_own_list))]
    pub(super) fn is(&self, value: &Arc<Protected<T>>) -> bool {
        ptr::eq(self.value.as_ptr(), Arc::as_ptr(value))
    }
}

impl<T> Deref for Pin<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: by the pin's invariant the value is alive.
        let protected = unsafe { self.value.as_ref() };
        protected.life.used();
        protected
    }
}

impl<T> Drop for Pin<'_, T> {
    fn drop(&mut self) {
        // SAFETY: by the pin's invariant the value is alive.
        let protected = unsafe { self.value.as_ref() };
        protected.life.used();
        protected.life.done();
        // Release: our reads of the value happen before its drop (pairs with `is_pinned`).
        match self.slot {
            Some(slot) => slot.store(ptr::null_mut(), Ordering::Release),
            None if seeded(Fault::UncountedReader) => {}
            None => {
                self.cell.unslotted.fetch_sub(1, Ordering::Release);
            }
        }
    }
}

#[cfg(all(test, not(genpool_loom)))]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::sync::Weak;

    type Watch = Weak<Protected<usize>>;

    /// Returns a cell, and a handle on its first value that does not keep the value alive.
    fn watched() -> (HazardCell<usize>, Watch) {
        let first = Arc::new(Protected::new(0));
        let watch = Arc::downgrade(&first);
        (HazardCell::new(first), watch)
    }

    /// Replaces the current value by one that is greater by one. Returns a handle on the new one.
    fn replace(cell: &HazardCell<usize>) -> Watch {
        let pin = cell.pin();
        let next = Arc::new(Protected::new(*pin + 1));
        assert!(cell.replace(pin, &next));
        Arc::downgrade(&next)
    }

    #[test]
    fn any_number_of_pins_keep_a_value() {
        for most in [1, 2, HAZARD_SLOTS, HAZARD_SLOTS + 1, HAZARD_SLOTS + 3] {
            let (cell, old) = watched();
            let mut pins: Vec<_> = (0..most).map(|_| cell.pin()).collect();
            let in_slots = pins.iter().filter(|pin| pin.slot.is_some()).count();
            assert_eq!(in_slots, most.min(HAZARD_SLOTS));
            assert!(pins.iter().all(|pin| cell.is_current(pin)));
            let new = replace(&cell);
            while let Some(pin) = pins.pop() {
                assert!(!cell.is_current(&pin) && *pin == 0);
                cell.reclaim();
                assert_eq!(old.strong_count(), 1, "{most}: it is still pinned");
            }
            assert!(cell.is_current(&cell.pin()) && *cell.pin() == 1);
            cell.reclaim();
            assert_eq!((old.strong_count(), new.strong_count()), (0, 1));
            drop(pins);
            drop(cell);
            assert_eq!(new.strong_count(), 0);
        }
    }

    #[test]
    fn a_value_is_kept_by_no_pin_on_a_later_one() {
        let (cell, old) = watched();
        replace(&cell);
        let pin = cell.pin();
        replace(&cell);
        cell.reclaim();
        assert_eq!((old.strong_count(), *pin), (0, 1));
    }
}
