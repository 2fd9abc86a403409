//! `genpool show`: a pool's snapshot as a picture, and an error for anything else.

mod common;

use common::{file, genpool};
use genpool::observe::Snapshot;
use genpool::{ChunkSpec, FixedOffset, Pool};
use genpool_cli::show;
use proptest::prelude::*;
use serde_json::{Value, json};

const PAGE: usize = 4096;

/// A pool with everything that can be shown.
fn snapshot() -> Snapshot {
    let name = "rx\u{1b}[31m ring";
    let builder = Pool::builder().order(12).name(name).boundary_tracking();
    let pool = builder.build().unwrap();
    let owner = "x".repeat(200);
    let bank = ChunkSpec::new(0x10_0000, 96 * PAGE).phys(7).owner(owner);
    pool.add_chunk(bank).unwrap();
    pool.add(usize::MAX - (4 * PAGE - 1), 4 * PAGE).unwrap();
    for (offset, pages) in [(0, 10), (40, 1)] {
        let at = FixedOffset::new(offset * PAGE);
        let held = pool.alloc_with(pages * PAGE, &at).unwrap();
        held.set_tag(pages);
        let _ = held.into_raw();
    }
    let _ = pool.alloc(2 * PAGE).unwrap().into_raw();
    let _drain = pool.remove(usize::MAX - (4 * PAGE - 1)).unwrap();
    assert!(pool.alloc(97 * PAGE).is_err());
    Snapshot::of(&pool)
}

#[test]
fn a_pool_is_drawn() {
    let json = serde_json::to_vec(&snapshot()).unwrap();
    let path = file("pool.json", &json);
    let path = path.to_str().unwrap();
    let output = genpool(&["show", path, path]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with("pool      "), "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    for says in [
        "pool      rx\u{fffd}[31m ring\n",
        "granule   4 KiB, boundaries tracked\n",
        "used                           44 KiB  11.5 %\n",
        "largest free run              220 KiB  64.7 %\n",
        "unsuitable requests                 1",
        "chunk     0x100000 to 0x15ffff, 384 KiB, 11.5 % taken in 2 runs\nphys      0x7\n",
        "▕██████████······························█·······",
        "chunk     0xffffffffffffc000 to 0xffffffffffffffff, 16 KiB, 50.0 % taken in 1 run, being removed\n",
        "0x128000             4 KiB  0x1",
        "live      3 allocations\n\npool      rx",
    ] {
        assert!(text.contains(says), "{says:?} is not in\n{text}");
    }
}

/// The error must be one line, without a panic.
fn refused(name: &str, content: &[u8], says: &str) {
    let path = file(&format!("bad-{name}.json"), content);
    let output = genpool(&["show", path.to_str().unwrap()]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{name}: {text}");
    assert_eq!(text.lines().count(), 1, "{name}: {text}");
    assert!(!text.contains("panicked") && text.contains(says), "{text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let good = serde_json::to_value(snapshot()).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut value = good.clone();
        change(&mut value);
        serde_json::to_vec(&value).unwrap()
    };
    refused("empty", b"", "no snapshot");
    refused("text", b"# genpool trace v1\npool order=4\n", "no snapshot");
    refused("binary", &[0xff; 64], "no snapshot");
    refused("list", b"[]", "no snapshot");
    refused("deep", "[".repeat(100_000).as_bytes(), "no snapshot");
    refused("object", b"{}", "missing field");
    let json = serde_json::to_vec(&good).unwrap();
    refused("half", &json[..json.len() / 2], "no snapshot");
    let version = with(&|value| value["version"] = json!(2));
    refused("version", &version, "version 1 is known");
    let negative = with(&|value| value["order"] = json!(-1));
    refused("negative", &negative, "no snapshot");
    let order = with(&|value| value["order"] = json!(64));
    refused("order", &order, "at most 63");
    let phys = with(&|value| value["chunks"][0]["phys"] = json!(u64::MAX - 4096));
    refused(
        "phys",
        &phys,
        "physical addresses of the chunk at 0x100000 wrap",
    );
    for (name, start, size) in [
        ("none", 0x10_0000_u64, 0_u64),
        ("part", 0x10_0000, 100),
        ("off", 1, 4096),
        ("wraps", u64::MAX - 4095, 8192),
        ("past", u64::MAX - 4095, 4096),
    ] {
        let chunk = with(&|value| {
            value["chunks"][0]["start"] = json!(start);
            value["chunks"][0]["size"] = json!(size);
        });
        refused(name, &chunk, "not after the one before it");
    }
    for run in [[0, 0], [95, 2], [97, 1], [u64::MAX, 1], [1, u64::MAX]] {
        let runs = with(&|value| value["chunks"][0]["taken"] = json!([run]));
        refused("run", &runs, "leaves the chunk");
    }
    let twice = with(&|value| value["chunks"][0]["taken"] = json!([[3, 2], [4, 1]]));
    refused("twice", &twice, "not after");
    let output = genpool(&["show", "/no/such/file"]);
    assert_eq!(output.status.code(), Some(2));
    let output = genpool(&["show", "/"]);
    assert_eq!(output.status.code(), Some(2));
}

/// Totals that contradict the chunks are named, with both values.
#[test]
fn totals_that_contradict_the_chunks_are_refused() {
    let good = serde_json::to_value(snapshot()).unwrap();
    for (part, name, wrong) in [
        ("stats", "chunks", 2),
        ("stats", "size", 0x10_0000),
        ("stats", "used", 0),
        ("stats", "free", 0x10_0000),
        ("stats", "draining", 0),
        ("stats", "draining_used", 4096),
        ("stats", "cached", 0x10_0000),
        ("fragmentation", "free", 0),
        ("fragmentation", "free_runs", 7),
        ("fragmentation", "largest_run", 0x10_0000),
    ] {
        let mut value = good.clone();
        value[part][name] = json!(wrong);
        let says = format!("`{part}.{name}` is {wrong}, where the rest ");
        refused(name, &serde_json::to_vec(&value).unwrap(), &says);
    }
    let mut value = good.clone();
    value["chunks"][0]["taken"] = json!([[0, 10], [40, 2]]);
    let grown = serde_json::to_vec(&value).unwrap();
    refused(
        "grown",
        &grown,
        "`stats.used` is 45056, where the rest comes to 49152",
    );
    let mut value = good.clone();
    value["live"][0]["addr"] = json!(0x10_0000 + 50 * PAGE);
    refused("free", &serde_json::to_vec(&value).unwrap(), "is not taken");
    let mut value = good.clone();
    value["live"] = Value::Null;
    refused(
        "no-live",
        &serde_json::to_vec(&value).unwrap(),
        "no list of live allocations",
    );
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..64_u64, Just(4096), Just(1 << 40), any::<u64>()]
}

/// A chunk: its start, its size in bytes, and its taken runs.
type Chunk = (u64, u64, Vec<(u64, u64)>);

/// Returns a snapshot of these chunks and allocations. Its totals are those of the chunks if `agrees`.
fn drawn(
    order: u64,
    figures: &[u64],
    chunks: &[Chunk],
    live: &[(u64, u64, u64)],
    agrees: bool,
) -> Value {
    let mut value = serde_json::to_value(snapshot()).unwrap();
    value["order"] = json!(order);
    let align = !0u64 << order.min(63);
    let aligned = |&(start, size, ref taken): &Chunk| (start & align, size & align, taken.clone());
    let chunks: Vec<_> = chunks.iter().map(aligned).collect();
    let mut totals = figures.to_vec();
    if agrees {
        let size = chunks
            .iter()
            .fold(0, |sum: u64, chunk| sum.saturating_add(chunk.1));
        let shift = |n: u64| n.checked_shl(order as u32).unwrap_or(0);
        let (mut used, mut runs, mut largest) = (0u64, 0, 0);
        for (_, size, taken) in &chunks {
            let mut at = 0;
            for &(first, len) in taken
                .iter()
                .chain([&(size.checked_shr(order as u32).unwrap_or(0), 0)])
            {
                let free = shift(first.saturating_sub(at));
                (runs, largest) = (runs + u64::from(free > 0), free.max(largest));
                used = used.saturating_add(shift(len));
                at = first.saturating_add(len);
            }
        }
        let free = size.saturating_sub(used);
        totals = vec![
            chunks.len() as u64,
            size,
            used,
            free,
            0,
            0,
            0,
            figures[7],
            free,
            runs,
            largest,
        ];
    }
    let names = [
        "chunks",
        "size",
        "used",
        "free",
        "draining",
        "draining_used",
        "cached",
        "exhausted",
    ];
    for (name, total) in names.iter().zip(&totals) {
        value["stats"][name] = json!(total);
    }
    for (name, total) in ["free", "free_runs", "largest_run"]
        .iter()
        .zip(&totals[8..])
    {
        value["fragmentation"][name] = json!(total);
    }
    value["live"] = live
        .iter()
        .map(|(addr, size, tag)| json!({"addr": addr, "size": size, "tag": tag}))
        .collect();
    value["chunks"] = chunks.iter().map(|(start, size, taken)| {
        json!({"start": start, "size": size, "phys": null, "owner": null, "draining": false, "taken": taken})
    }).collect();
    value
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever it contains, it is drawn or refused.
    #[test]
    fn any_numbers(
        order in 0..70_u64,
        figures in prop::collection::vec(number(), 11),
        chunks in prop::collection::vec((number(), number(), prop::collection::vec((number(), number()), 0..4)), 0..4),
        live in prop::collection::vec((number(), number(), number()), 0..2),
        agrees: bool,
    ) {
        let value = drawn(order, &figures, &chunks, &live, agrees);
        if let Ok(snapshot) = show::parse(&serde_json::to_vec(&value).unwrap()) {
            let text = show::text::pool(&snapshot);
            prop_assert!(text.lines().all(|line| line.chars().count() <= 100), "{}", text);
        }
    }

    /// Chunks in order, with runs in order, are drawn, however large.
    #[test]
    fn any_chunks(
        order in 0..12_u64,
        chunks in prop::collection::vec((1..1u64 << 40, prop::collection::vec((0..100_u64, 1..100_u64), 0..4)), 1..4),
    ) {
        let mut list = Vec::new();
        for (n, (size, runs)) in chunks.into_iter().enumerate() {
            let size = (size + 1000) << order;
            let mut free = 0;
            let runs = runs.into_iter().map(|(gap, len)| {
                let first = free + gap;
                free = first + len + 1;
                (first, len)
            });
            list.push(((n as u64) << 60, size, runs.collect()));
        }
        let value = drawn(order, &[0; 11], &list, &[], true);
        let snapshot = show::parse(&serde_json::to_vec(&value).unwrap());
        let text = show::text::pool(&snapshot.map_err(|error| TestCaseError::fail(error.to_string()))?);
        prop_assert!(text.lines().all(|line| line.chars().count() <= 100), "{}", text);
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        show::parse(&bytes).unwrap_err();
    }
}
