//! The feature `dma` brings the module `dma`.
#![cfg(feature = "dma")]

use genpool::Pool;
use genpool::dma::{DmaAddr, DmaAlloc};

#[test]
fn dma() {
    let pool = Pool::new(12).unwrap();
    pool.add_virt(0x1000, 0x10_0000, 0x1000).unwrap();
    assert_eq!(pool.dma_alloc(1).unwrap().dma(), DmaAddr::new(0x10_0000));
}
