//! Texts of a pool: the names of owners where they are texts, and of algorithms as traces have them.

use std::sync::Arc;

use genpool_core::{AlgorithmName, ChunkSpec, Owner, Pool, owner_name};

#[test]
fn owners_that_are_texts_have_names() {
    let pool = Pool::new(12).unwrap();
    let owners: [(Owner, Option<&str>); 3] = [
        (Arc::new(String::from("bank 0")), Some("bank 0")),
        (Arc::new("bank 1"), Some("bank 1")),
        (Arc::new(7_u32), None),
    ];
    let start = |at: usize| 0x1_0000 * (at + 1);
    for (at, (owner, name)) in owners.iter().enumerate() {
        assert_eq!(owner_name(owner), *name);
        let chunk = ChunkSpec::new(start(at), 4096).shared_owner(Arc::clone(owner));
        pool.add_chunk(chunk).unwrap();
    }
    pool.add(start(3), 4096).unwrap();
    let all = || owners.iter().map(|(_, name)| *name).chain([None]);
    for (at, name) in all().enumerate() {
        let chunk = pool.chunks().find(|chunk| chunk.start() == start(at));
        assert_eq!(chunk.unwrap().owner_name(), name);
        _ = pool.alloc(1).unwrap().into_raw();
    }
    let mut held = pool.destroy().held;
    held.sort_by_key(|held| held.addr);
    assert!(held.iter().map(|held| held.owner_name()).eq(all()));
}

#[test]
fn algorithms_are_named_as_in_traces() {
    for (name, text) in [
        (AlgorithmName::new("first-fit"), "first-fit"),
        (AlgorithmName::with("fixed", 32), "fixed:0x20"),
    ] {
        assert_eq!(name.to_string(), text);
    }
}
