//! The types in the guide's tables are `Send` and `Sync`.

#![cfg(not(miri))] // it reads a text and no memory

use std::collections::BTreeSet;

fn send_and_sync<T: Send + Sync + ?Sized>() {}

/// Has the compiler check that the types are `Send` and `Sync`, and returns their names.
macro_rules! send_and_sync {
    ($($type:ty),+ $(,)?) => {{
        $(send_and_sync::<$type>();)+
        BTreeSet::from([$(name(stringify!($type))),+])
    }};
}

/// Returns the name of a type without `dyn` and parameters.
fn name(text: &str) -> &str {
    let name = text.trim_start_matches("dyn ");
    name.split('<').next().unwrap_or(name)
}

/// Returns the types in the guide's table that follows the first line with `title`.
fn table(title: &str) -> BTreeSet<&'static str> {
    let lines = include_str!("../src/guide/reference.rs").lines();
    let rows = lines
        .skip_while(|line| !line.contains(title))
        .skip_while(|line| !line.starts_with("//! |"))
        .take_while(|line| line.starts_with("//! |"))
        .skip(2);
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn pool() {
    use genpool::*;

    let types = send_and_sync![
        Pool,
        PoolView,
        Builder,
        ChunkSpec,
        Allocation<'static>,
        OwnedAllocation,
        RawRange,
        StaticPool,
        StaticAllocation<'static>,
        StaticBooks<1, 1, 1>,
        HeapMemory<64>,
        StaticHeap,
        Cache<'static>,
        Drain,
        ChunkInfo,
        Chunks,
        FirstFit,
        FirstFitAlign,
        OrderAlign,
        BestFit,
        NextFit,
        FixedAddress,
        FixedOffset,
        Constraints,
        SpreadFit,
        ThreadStart,
        Constrained<FirstFit>,
        dyn Algorithm,
        ChunkView<'static>,
        Claim<'static>,
        Claimed<'static>,
        Request,
        Granule,
        Run,
        AlgorithmName,
        Stats,
        Fragmentation,
        Held,
        Destroyed,
        Owner,
        AllocError,
        Impossible,
        Unsuitable,
        FreeError,
        ResizeError,
        RemoveError,
        AddRefused,
        BuildError,
        ConstraintError,
        NotTracked,
        AddError,
        AddManyError,
    ];
    assert_eq!(table("# Types"), types);
}

#[cfg(feature = "dma")]
#[test]
fn dma() {
    use genpool::dma::*;

    let types = send_and_sync![
        MemoryPool,
        SharedPool,
        CpuBuffer<'static>,
        DeviceBuffer<'static>,
        IoBuffer<'static>,
        DmaAllocation<'static>,
        Region,
        RegionDrain,
    ];
    assert_eq!(table("Of `genpool::dma`"), types);
}

#[cfg(feature = "devm")]
#[test]
fn devm() {
    use genpool::devm::*;

    let types = send_and_sync![ManagedPool, Device, Registry, Released, Tree, Node<'static>];
    assert_eq!(table("Of `genpool::devm`"), types);
}

#[cfg(feature = "observe")]
#[test]
fn observe() {
    use genpool::observe::*;
    use genpool::{Event, Observer};

    let types = send_and_sync![
        dyn Observer,
        Event<'static>,
        Recorder,
        Tap,
        Watermarks<fn(Crossing)>,
        Observers,
        Snapshot,
    ];
    assert_eq!(table("Of `genpool::observe`"), types);
}
