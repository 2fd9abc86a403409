use super::*;
use crate::chunk::ChunkSpec;
use crate::placement::FirstFit;

#[test]
fn a_change_that_another_thread_brings_to_the_readers_is_there_when_it_returns() {
    let chunk_set = ChunkSet::new(Arc::new(FirstFit), DefaultAlgorithm::FirstFit);
    let chunk = Chunk::new(&ChunkSpec::new(64, 64), 0, 0, true, false, None).unwrap();
    let seen = chunk_set.owner.load(&chunk_set.current);
    let mut next = seen.next();
    next.add(&Arc::new(chunk)).unwrap();
    let algorithm: Arc<dyn Algorithm> = Arc::new(FirstFit);
    next.set_algorithm(&algorithm, DefaultAlgorithm::Other);
    let next = Arc::new(Protected::new(next));
    assert!(chunk_set.owner.replace(&chunk_set.current, &seen, &next));
    // Another thread that saw the list was stopped after the first step of `advance`.
    assert!(chunk_set.current.replace(chunk_set.pin(), &next));
    assert!(chunk_set.newest().is_none() && chunk_set.tag().is(DefaultAlgorithm::FirstFit));
    chunk_set.advance(&next);
    assert_eq!(chunk_set.newest().map(Chunk::start), Some(64));
    assert!(chunk_set.tag().is(DefaultAlgorithm::Other));
}
