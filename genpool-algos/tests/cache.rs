//! The algorithms for which a cache may keep runs: those that do not restrict where a run may lie.

#![forbid(unsafe_code)]

use genpool_algos::{
    BestFit, FirstFitAlign, FixedAddress, FixedOffset, NextFit, OrderAlign, SpreadFit, ThreadStart,
};
use genpool_core::{Algorithm, FirstFit, Pool};
use genpool_core::{Constrained, Constraints};

const PAGE: usize = 4096;

/// Whether a cache of a pool with this default algorithm keeps what is freed into it.
fn is_kept(algorithm: impl Algorithm + 'static) -> bool {
    let pool = Pool::new(12).unwrap();
    pool.add(0, 64 * PAGE).unwrap();
    pool.set_algorithm(algorithm);
    let mut cache = pool.cache();
    let page = cache.alloc(PAGE).unwrap();
    cache.free(page);
    cache.held() > 0
}

#[test]
fn runs_are_kept_where_any_place_will_do() {
    assert!(is_kept(FirstFit));
    assert!(is_kept(BestFit));
    assert!(is_kept(NextFit::new()));
    assert!(is_kept(ThreadStart));
    assert!(is_kept(SpreadFit));
}

#[test]
fn rules_are_kept_instead_of_runs() {
    assert!(!is_kept(FirstFitAlign::new(2 * PAGE).unwrap()));
    assert!(!is_kept(OrderAlign));
    assert!(!is_kept(FixedOffset::new(PAGE)));
    assert!(!is_kept(FixedAddress::new(PAGE)));
    let low = Constraints::new().highest(8 * PAGE - 1);
    assert!(!is_kept(Constrained::new(BestFit, low)));
}
