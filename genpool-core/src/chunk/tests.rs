use super::*;

#[test]
fn a_chunk_has_as_many_granules_as_can_be_counted() {
    for (tracked, most) in [(false, MAX_GRANULES), (true, MAX_TRACKED)] {
        assert_eq!(ChunkSpec::new(0, most).check(0, tracked), Ok(()));
        let refused = ChunkSpec::new(0, most + 1).check(0, tracked);
        assert_eq!(refused, Err(AddRefused::TooManyGranules { most }));
    }
}
