use alloc::vec::Vec;
use core::convert::Infallible;

use super::*;
use crate::placement::FirstFit;

fn chunk_set() -> ChunkSet {
    ChunkSet::new(Arc::new(FirstFit), DefaultAlgorithm::FirstFit)
}

/// Replaces the current list by one that differs only in its version.
fn replace(chunk_set: &ChunkSet) {
    let algorithm: Arc<dyn Algorithm> = Arc::new(FirstFit);
    let edit = |list: &ChunkList| {
        Ok(Some(
            list.with_algorithm(&algorithm, DefaultAlgorithm::FirstFit),
        ))
    };
    chunk_set.change().publish::<Infallible>(edit).unwrap();
}

#[test]
fn any_number_of_pins_keep_a_list() {
    for most in [1, 2, HAZARD_SLOTS, HAZARD_SLOTS + 1, HAZARD_SLOTS + 3] {
        let chunk_set = chunk_set();
        let old = Arc::downgrade(&chunk_set.load());
        let mut pins: Vec<_> = (0..most).map(|_| chunk_set.pin()).collect();
        let in_slots = pins.iter().filter(|pin| pin.slot.is_some()).count();
        assert_eq!(in_slots, most.min(HAZARD_SLOTS));
        assert!(pins.iter().all(|pin| chunk_set.is_current(pin)));
        replace(&chunk_set);
        let new = Arc::downgrade(&chunk_set.load());
        while let Some(pin) = pins.pop() {
            assert!(!chunk_set.is_current(&pin) && pin.version == 0);
            chunk_set.reclaim();
            assert_eq!(old.strong_count(), 1, "{most}: it is still pinned");
        }
        assert!(chunk_set.is_current(&chunk_set.pin()) && chunk_set.pin().version == 1);
        chunk_set.reclaim();
        assert_eq!((old.strong_count(), new.strong_count()), (0, 2));
        drop(pins);
        drop(chunk_set);
        assert_eq!(new.strong_count(), 0);
    }
}

#[test]
fn a_list_is_kept_by_no_pin_on_a_later_one() {
    let chunk_set = chunk_set();
    let old = Arc::downgrade(&chunk_set.load());
    replace(&chunk_set);
    let pin = chunk_set.pin();
    replace(&chunk_set);
    assert_eq!((old.strong_count(), pin.version), (0, 1));
}

#[test]
fn a_change_that_another_thread_brings_to_the_readers_is_there_when_it_returns() {
    let chunk_set = chunk_set();
    let chunk = Chunk::new(&ChunkSpec::new(64, 64), 0, 0, true, false, None).unwrap();
    let seen = chunk_set.published.load_full();
    let listed = seen.with_chunk(&Arc::new(chunk)).unwrap();
    let algorithm: Arc<dyn Algorithm> = Arc::new(FirstFit);
    let next = Arc::new(listed.with_algorithm(&algorithm, DefaultAlgorithm::Other));
    assert!(chunk_set.published.replace(&seen, Arc::clone(&next)));
    // Another thread that saw the list was stopped after the first step of `advance`.
    let raw = Arc::into_raw(Arc::clone(&next)).cast_mut();
    chunk_set.retire(chunk_set.current.swap(raw, Ordering::SeqCst));
    assert!(chunk_set.newest().is_none() && chunk_set.default() == DefaultAlgorithm::FirstFit);
    chunk_set.advance(&next);
    assert_eq!(chunk_set.newest().map(Chunk::start), Some(64));
    assert_eq!(chunk_set.default(), DefaultAlgorithm::Other);
}
