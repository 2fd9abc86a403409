use super::*;
use crate::bitmap::MAX_GRANULES;
use crate::units::{Granule, WORD_BITS};

#[test]
fn a_chunk_has_as_many_granules_as_can_be_counted() {
    for (tracked, most) in [(false, MAX_GRANULES), (true, MAX_TRACKED)] {
        assert_eq!(check_spec(&ChunkSpec::new(0, most), 0, tracked), Ok(()));
        let refused = check_spec(&ChunkSpec::new(0, most + 1), 0, tracked);
        assert_eq!(refused, Err(AddRefused::TooManyGranules { most }));
    }
}

#[test]
fn a_batch_that_is_claimed_too_late_goes_back() {
    let (spec, activity) = (ChunkSpec::new(0, WORD_BITS), Activity::new());
    let chunk = Chunk::new(&spec, 0, 0, true, false, None).unwrap();
    chunk.claim(Granule(0), 1, &activity).unwrap();
    assert!(chunk.seal());
    assert!(chunk.claim_batch(Granule(0), 1, 4, &activity).is_none());
    assert_eq!(chunk.bitmap().taken(), 1);
    chunk.give_back(Granule(0), 1, &activity).unwrap();
    assert!(chunk.is_drained());
}
