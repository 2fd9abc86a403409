//! The operations of the state machine, and the strategies that draw them.
//!
//! Everything is drawn for a known order, so that addresses and sizes fall near the chunks and near the borders of
//! words (64 granules) and lines (512).

use genpool_plain::Limits;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::spec::{Among, Spec};

/// An initial pool, and the operations on it.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) order: u32,
    pub(crate) tracked: bool,
    /// Whether a chunk was removed before the first of `chunks` was added: then none is permanent.
    pub(crate) removed_before: bool,
    pub(crate) specs: Vec<Spec>,
    /// The spec of the algorithm that the pool is built with; first fit if none.
    pub(crate) built_with: Option<usize>,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) ops: Vec<Op>,
}

/// A chunk to add, valid or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    pub(crate) place: Place,
    pub(crate) granules: usize,
    /// Bytes added to the start.
    pub(crate) start_skew: usize,
    /// Bytes added to the size.
    pub(crate) size_skew: usize,
    pub(crate) phys: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// At this granule of the address space.
    Granule(usize),
    /// So that this many granules more would wrap.
    Top(usize),
    /// Right after one of the chunks.
    After(usize),
    /// So high that it wraps.
    Wrapping,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Size {
    Bytes(usize),
    /// The size of one of the chunks, plus or minus this many granules.
    OfChunk(usize, isize),
}

/// How an allocation is held.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    Scoped,
    Owned,
    Raw,
}

/// Which range of an allocation is freed by address, and what is wrong with it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    Exact,
    /// The same granules, with a size that is this many bytes smaller.
    Less(usize),
    /// By address alone.
    Addr,
    Twice,
    Head(usize),
    Tail(usize),
    Over(usize),
    Before(usize),
    Misaligned(usize),
    Interior(usize),
    InteriorAddr(usize),
    PastChunk,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Add(Chunk),
    /// Allocates with one of the specs, or with the default if none.
    Alloc(Option<usize>, Size, Keep),
    /// Allocates at an address.
    Punch(usize, usize),
    /// Takes `len` of every `gap + len` granules of a chunk.
    Comb {
        chunk: usize,
        gap: usize,
        len: usize,
    },
    Drop(usize),
    /// Drops every `step`-th allocation.
    Thin(usize),
    Free(usize, Aim),
    FreeRange(usize, Size),
    FreeAddr(usize),
    DropStale(usize),
    ResizeStale(usize, Size),
    Resize(usize, Size),
    Many(Vec<Size>),
    SetAlgorithm(usize),
    Remove(usize),
    RemoveAt(usize),
    Finish(usize),
    Probe(usize, Size),
}

/// Granules between the places of chunks: more than the largest chunk has.
pub(crate) const PITCH: usize = 4096;

/// So few that most of the drawn addresses lie near a chunk.
const PLACES: usize = 3;

const MOST: usize = if cfg!(miri) { 130 } else { 2100 };

/// Scripts whose algorithms are drawn by `specs` for the order.
pub(crate) fn scripts<S>(specs: fn(u32) -> S) -> impl Strategy<Value = Script>
where
    S: Strategy<Value = Spec> + 'static,
{
    let orders = prop_oneof![Just(0_u32), Just(5), Just(12)];
    let longest = if cfg!(miri) { 8 } else { 60 };
    orders.prop_flat_map(move |order| {
        let specs = vec(specs(order), 1..6);
        let chunks = vec(good_chunk(), 1..4);
        let ops = vec(op(order), 1..longest);
        let built_with = proptest::option::of(0..8_usize);
        (any::<(bool, bool)>(), specs, built_with, chunks, ops).prop_map(
            move |((tracked, removed_before), specs, built_with, chunks, ops)| Script {
                order,
                tracked,
                removed_before,
                specs,
                built_with,
                chunks,
                ops,
            },
        )
    })
}

fn count() -> impl Strategy<Value = usize> {
    let edges = prop::sample::select(vec![
        1_usize, 2, 63, 64, 65, 127, 128, 129, 511, 512, 513, 575, 576, 577, 1023, 1024, 1025,
    ]);
    let all = prop_oneof![2 => 1..9_usize, 3 => edges, 2 => 1..200_usize, 1 => 1..MOST];
    all.prop_map(|n| n.min(MOST))
}

/// How many granules of a chunk an allocation requests: mostly few.
fn wish() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 1..9_usize, 3 => 1..140_usize, 2 => count(), 1 => 1..700_usize]
}

fn chunk_size() -> impl Strategy<Value = usize> {
    prop_oneof![3 => count(), 1 => 1..MOST]
}

fn place() -> impl Strategy<Value = Place> {
    let granule = (0..PLACES, prop_oneof![2 => 0..3_usize, 1 => 0..140_usize]);
    prop_oneof![
        1 => Just(Place::Granule(0)),
        6 => granule.prop_map(|(at, jitter)| Place::Granule(at * PITCH + jitter)),
        1 => Just(Place::Top(0)),
        1 => (0..8_usize).prop_map(Place::After),
    ]
}

fn phys() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(
        prop_oneof![3 => 0..1_u64 << 40, 1 => (1_u64 << 20..1 << 24).prop_map(|up| u64::MAX - up)],
    )
}

fn good_chunk() -> impl Strategy<Value = Chunk> {
    (place(), chunk_size(), phys()).prop_map(|(place, granules, phys)| Chunk {
        place,
        granules,
        start_skew: 0,
        size_skew: 0,
        phys,
    })
}

fn any_chunk() -> impl Strategy<Value = Chunk> {
    let place = prop_oneof![8 => place(), 1 => Just(Place::Wrapping), 1 => (0..3_usize).prop_map(Place::Top)];
    let granules = prop_oneof![8 => chunk_size(), 1 => Just(0_usize)];
    let skew = || prop_oneof![8 => Just(0_usize), 1 => 1..64_usize];
    (place, granules, skew(), skew(), phys()).prop_map(
        |(place, granules, start_skew, size_skew, phys)| Chunk {
            place,
            granules,
            start_skew,
            size_skew,
            phys,
        },
    )
}

fn size(order: u32) -> impl Strategy<Value = Size> {
    let bytes = (wish(), 0..1_usize << order).prop_map(move |(n, less)| (n << order) - less);
    let odd = prop::sample::select(vec![
        0,
        1,
        usize::MAX,
        usize::MAX - 1,
        1 << (usize::BITS - 1),
        (1 << (usize::BITS - 1)) + 1,
    ]);
    prop_oneof![
        16 => bytes.prop_map(Size::Bytes),
        2 => (0..8_usize, -1..2_isize).prop_map(|(chunk, more)| Size::OfChunk(chunk, more)),
        1 => odd.prop_map(Size::Bytes),
    ]
}

/// An address near the places of chunks, mostly of a granule.
pub(crate) fn address(order: u32) -> impl Strategy<Value = usize> {
    let skew = move || prop_oneof![6 => Just(0_usize), 1 => 0..1_usize << order];
    let low = prop_oneof![0..8_usize, 0..200_usize, 0..MOST + 150];
    prop_oneof![
        16 => (0..PLACES, low, skew()).prop_map(move |(at, granule, skew)| {
            ((at * PITCH + granule) << order) + skew
        }),
        2 => (1..MOST, skew()).prop_map(move |(below, skew)| {
            (usize::MAX - (below << order) + 1) + skew
        }),
        1 => any::<usize>(),
    ]
}

fn op(order: u32) -> impl Strategy<Value = Op> {
    let pick = || 0..1000_usize;
    let keep = prop_oneof![3 => Just(Keep::Scoped), 1 => Just(Keep::Owned), 3 => Just(Keep::Raw)];
    let by = prop_oneof![3 => pick().prop_map(Some), 1 => Just(None)];
    let small = || 1..5_usize;
    let aim = prop_oneof![
        3 => Just(Aim::Exact),
        1 => (0..4096_usize).prop_map(Aim::Less),
        2 => Just(Aim::Addr),
        1 => Just(Aim::Twice),
        1 => small().prop_map(Aim::Head),
        1 => small().prop_map(Aim::Tail),
        1 => small().prop_map(Aim::Over),
        1 => small().prop_map(Aim::Before),
        1 => (1..4096_usize).prop_map(Aim::Misaligned),
        1 => small().prop_map(Aim::Interior),
        1 => small().prop_map(Aim::InteriorAddr),
        1 => Just(Aim::PastChunk),
    ];
    let comb = (pick(), 0..12_usize, 1..70_usize);
    let many = vec(size(order), 0..5);
    prop_oneof![
        2 => any_chunk().prop_map(Op::Add),
        20 => (by, size(order), keep).prop_map(|(by, size, keep)| Op::Alloc(by, size, keep)),
        4 => (address(order), wish()).prop_map(|(addr, n)| Op::Punch(addr, n)),
        2 => comb.prop_map(|(chunk, gap, len)| Op::Comb { chunk, gap, len }),
        6 => pick().prop_map(Op::Drop),
        2 => (2..5_usize).prop_map(Op::Thin),
        8 => (pick(), aim).prop_map(|(live, aim)| Op::Free(live, aim)),
        1 => (address(order), size(order)).prop_map(|(addr, size)| Op::FreeRange(addr, size)),
        1 => address(order).prop_map(Op::FreeAddr),
        1 => pick().prop_map(Op::DropStale),
        1 => (pick(), size(order)).prop_map(|(stale, size)| Op::ResizeStale(stale, size)),
        6 => (pick(), size(order)).prop_map(|(live, size)| Op::Resize(live, size)),
        3 => many.prop_map(Op::Many),
        2 => pick().prop_map(Op::SetAlgorithm),
        1 => pick().prop_map(Op::Remove),
        1 => address(order).prop_map(Op::RemoveAt),
        2 => pick().prop_map(Op::Finish),
        2 => (address(order), size(order)).prop_map(|(addr, size)| Op::Probe(addr, size)),
    ]
}

// ---- specs ----

/// Powers of two from below the granule to above the largest chunk, and the greatest.
fn power(order: u32) -> impl Strategy<Value = usize> {
    let greatest = usize::BITS - 1;
    let shift = prop_oneof![16 => 0..order + 12, 1 => Just(greatest * 5 / 8), 1 => Just(greatest)];
    let near = (0..12_u32).prop_map(move |more| order + more);
    prop_oneof![shift, near].prop_map(move |shift| 1 << shift.min(greatest))
}

/// Any algorithm, with any data.
pub(crate) fn any_spec(order: u32) -> impl Strategy<Value = Spec> {
    prop_oneof![
        Just(Spec::FirstFit),
        align(order),
        Just(Spec::OrderAlign),
        Just(Spec::BestFit),
        fixed_offset(order),
        fixed_address(order),
        Just(Spec::NextFit),
        Just(Spec::ThreadStart),
        Just(Spec::SpreadFit),
        constrained(Among::FirstFit, order),
        constrained(Among::BestFit, order),
        constrained(Among::NextFit, order),
        constrained(Among::ThreadStart, order),
    ]
}

pub(crate) fn align(order: u32) -> impl Strategy<Value = Spec> {
    power(order).prop_map(Spec::Align)
}

pub(crate) fn fixed_offset(order: u32) -> impl Strategy<Value = Spec> {
    let near = (0..MOST, 0..9_usize).prop_map(move |(at, odd)| (at << order) + odd / 8);
    let low = (0..70_usize).prop_map(move |at| at << order);
    prop_oneof![4 => near, 4 => low, 1 => any::<usize>()].prop_map(Spec::FixedOffset)
}

pub(crate) fn fixed_address(order: u32) -> impl Strategy<Value = Spec> {
    address(order).prop_map(Spec::FixedAddress)
}

pub(crate) fn constrained(among: Among, order: u32) -> impl Strategy<Value = Spec> {
    let phase = prop_oneof![3 => Just(0_usize), 2 => (0..70_usize).prop_map(move |n| n << order), 1 => any::<usize>()];
    let align = prop_oneof![1 => Just(1_usize), 3 => power(order)];
    let lowest = prop_oneof![1 => Just(0_usize), 1 => address(order)];
    let highest = prop_oneof![1 => Just(usize::MAX), 1 => address(order), 1 => address(order).prop_map(|addr| addr.wrapping_sub(1))];
    let boundary = proptest::option::of(
        prop_oneof![1 => power(order), 3 => (1..11_u32).prop_map(move |more| 1_usize << (order + more))],
    );
    let crossed = prop::bool::weighted(0.1);
    (align, phase, lowest, highest, boundary, crossed).prop_map(
        move |(align, phase, lowest, highest, boundary, crossed)| {
            // If the lowest address is above the highest, nothing is allowed.
            let (lowest, highest) = if lowest > highest && !crossed {
                (highest, lowest)
            } else {
                (lowest, highest)
            };
            let limits = Limits {
                align,
                phase: phase & (align - 1),
                lowest,
                highest,
                boundary,
            };
            Spec::Constrained(among, limits)
        },
    )
}
