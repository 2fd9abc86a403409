use alloc::vec::Vec;
use core::convert::Infallible;

use super::*;
use crate::algorithm::FirstFit;

fn shelf() -> Shelf {
    Shelf::new(Arc::new(FirstFit), Route::FirstFit)
}

/// Replaces the current snapshot by one that differs in nothing but its version.
fn replace(shelf: &Shelf) {
    let algorithm: Arc<dyn Algorithm> = Arc::new(FirstFit);
    let edit = |list: &Snapshot| Ok(Some(list.with_algorithm(&algorithm, Route::FirstFit)));
    shelf.change().publish::<Infallible>(edit).unwrap();
}

#[test]
fn any_number_of_pins_keep_a_snapshot() {
    for most in [1, 2, SLOTS, SLOTS + 1, SLOTS + 3] {
        let shelf = shelf();
        let old = Arc::downgrade(&shelf.snapshot());
        let mut pins: Vec<_> = (0..most).map(|_| shelf.pin()).collect();
        let in_slots = pins.iter().filter(|pin| pin.slot.is_some()).count();
        assert_eq!(in_slots, most.min(SLOTS));
        assert!(pins.iter().all(|pin| shelf.is_current(pin)));
        replace(&shelf);
        let new = Arc::downgrade(&shelf.snapshot());
        while let Some(pin) = pins.pop() {
            assert!(!shelf.is_current(&pin) && pin.version == 0);
            shelf.reclaim();
            assert_eq!(old.strong_count(), 1, "{most}: it is still pinned");
        }
        assert!(shelf.is_current(&shelf.pin()) && shelf.pin().version == 1);
        shelf.reclaim();
        assert_eq!((old.strong_count(), new.strong_count()), (0, 2));
        drop(pins);
        drop(shelf);
        assert_eq!(new.strong_count(), 0);
    }
}

#[test]
fn another_snapshot_is_kept_by_no_pin_on_a_later_one() {
    let shelf = shelf();
    let old = Arc::downgrade(&shelf.snapshot());
    replace(&shelf);
    let pin = shelf.pin();
    replace(&shelf);
    assert_eq!((old.strong_count(), pin.version), (0, 1));
}

#[test]
fn a_change_that_another_thread_brings_to_the_readers_is_there_when_it_returns() {
    let shelf = shelf();
    let chunk = Chunk::new(&ChunkSpec::new(64, 64), 0, 0, true, false, None).unwrap();
    let seen = shelf.snapshots.load_full();
    let listed = seen.with_chunk(&Arc::new(chunk)).unwrap();
    let algorithm: Arc<dyn Algorithm> = Arc::new(FirstFit);
    let next = Arc::new(listed.with_algorithm(&algorithm, Route::Other));
    assert!(shelf.snapshots.replace(&seen, Arc::clone(&next)));
    // Another thread that saw it was stopped after the first step.
    let raw = Arc::into_raw(Arc::clone(&next)).cast_mut();
    shelf.retire(shelf.current.swap(raw, Ordering::SeqCst));
    assert!(shelf.newest().is_none() && shelf.default() == Route::FirstFit);
    shelf.advance(&next);
    assert_eq!(shelf.newest().map(Chunk::start), Some(64));
    assert_eq!(shelf.default(), Route::Other);
}
