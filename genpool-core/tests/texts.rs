//! Texts of a pool: the names of owners where they are texts, the report of what is held, refusals, and the names of
//! algorithms as traces have them.

use std::sync::Arc;

use genpool_core::{AlgorithmName, ChunkSpec, Impossible, Owner, Pool, Unsuitable, owner_name};

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
fn a_report_prints_tags_and_owners_that_there_are() {
    for (tracked, tag) in [(true, ", tag 0x7"), (false, "")] {
        let builder = Pool::builder().order(12);
        let builder = if tracked {
            builder.boundary_tracking()
        } else {
            builder
        };
        let pool = builder.build().unwrap();
        pool.add_chunk(ChunkSpec::new(0x1000, 0x1000).owner("bank 0"))
            .unwrap();
        pool.add_chunk(ChunkSpec::new(0x8000, 0x1000).owner(7_u32))
            .unwrap();
        let held = pool.alloc_many(&[1, 1]).unwrap();
        for held in held {
            if held.addr() == 0x1000 && tracked {
                held.set_tag(7);
            }
            _ = held.into_raw();
        }
        let text = format!(
            "pool unnamed: 8192 bytes still held in 2 ranges\n  0x1000 bytes at 0x1000{tag}, owner bank 0\n  \
             0x1000 bytes at 0x8000"
        );
        assert_eq!(pool.destroy().to_string(), text);
    }
}

#[test]
fn refusals_name_the_constraints() {
    let longer = Unsuitable::LongerThanBoundary {
        size: 0x10400,
        boundary: 0x10000,
    };
    assert_eq!(
        longer.to_string(),
        "0x10400 bytes are longer than the boundary of 0x10000 that they must not cross"
    );
    assert_eq!(
        Impossible::NoPlace { size: 0x40 }.to_string(),
        "0x40 bytes: no chunk has a place where the algorithm and its constraints allow one"
    );
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
