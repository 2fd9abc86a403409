//! The README and the guide match the code.

const README: &str = include_str!("../README.md");
const COMING_FROM_GENALLOC: &str = include_str!("../src/guide/genalloc.rs");

/// Every call of genalloc, as its kernel documentation names them.
const CALLS: &[&str] = &[
    "gen_pool_create",
    "gen_pool_add",
    "gen_pool_add_virt",
    "gen_pool_add_owner",
    "gen_pool_alloc",
    "gen_pool_alloc_algo",
    "gen_pool_alloc_owner",
    "gen_pool_alloc_algo_owner",
    "gen_pool_free",
    "gen_pool_free_owner",
    "gen_pool_dma_alloc",
    "gen_pool_dma_alloc_algo",
    "gen_pool_dma_alloc_align",
    "gen_pool_dma_zalloc",
    "gen_pool_dma_zalloc_algo",
    "gen_pool_dma_zalloc_align",
    "gen_pool_virt_to_phys",
    "gen_pool_for_each_chunk",
    "gen_pool_has_addr",
    "gen_pool_avail",
    "gen_pool_size",
    "gen_pool_set_algo",
    "gen_pool_first_fit",
    "gen_pool_first_fit_align",
    "gen_pool_first_fit_order_align",
    "gen_pool_best_fit",
    "gen_pool_fixed_alloc",
    "genpool_algo_t",
    "gen_pool_destroy",
    "devm_gen_pool_create",
    "gen_pool_get",
    "of_gen_pool_get",
];

#[test]
fn the_example_is_the_quickstart() {
    let quickstart = include_str!("../examples/quickstart.rs");
    let (_, code) = quickstart.split_once("\n\n").unwrap();
    assert!(README.contains(&format!("```rust\n{code}```")));
}

#[test]
fn the_guide_has_a_row_for_every_call() {
    let mut left: Vec<&str> = COMING_FROM_GENALLOC
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "))
        .filter_map(|row| row.split(" | ").next())
        .collect();
    left.retain(|cell| cell.contains("gen_pool_") || cell.contains("genpool_algo_t"));
    for call in CALLS {
        let named = |cell: &&str| {
            cell.split(|c: char| c != '_' && !c.is_ascii_alphanumeric())
                .any(|word| word == *call)
        };
        assert_eq!(left.iter().filter(|cell| named(cell)).count(), 1, "{call}");
    }
}
