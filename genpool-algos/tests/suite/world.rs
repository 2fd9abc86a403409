//! A pool and the oracle together: every operation runs on both, and every result is compared.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use genpool_core::{AllocError, Allocation, Drain, FirstFit, OwnedAllocation, Pool, ResizeError};
use genpool_plain::Oracle;

use crate::ops::{Keep, Op, Script, Size};
use crate::spec::{Chooser, Rule, Shared, Spec, granules, is_same};

/// A chunk as it was added.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) start: usize,
    pub(crate) size: usize,
    pub(crate) phys: Option<u64>,
    /// Its owner.
    pub(crate) number: Arc<u32>,
    /// Whether its bookkeeping goes with it.
    pub(crate) goes: bool,
}

/// A chunk that is being removed, in an oracle of its own. When everything in that oracle is free, the chunk is
/// drained and gone.
pub(crate) struct Leaving {
    pub(crate) known: Known,
    pub(crate) oracle: Oracle,
    pub(crate) drain: Drain,
    /// How often the callback was called.
    pub(crate) notified: Arc<AtomicUsize>,
}

/// What holds a range on the pool's side.
pub(crate) enum Hold<'p> {
    Scoped(Allocation<'p>),
    Owned(OwnedAllocation),
    Raw,
}

/// A range that is held.
pub(crate) struct Live<'p> {
    pub(crate) addr: usize,
    pub(crate) n: usize,
    pub(crate) tag: usize,
    pub(crate) hold: Hold<'p>,
}

pub(crate) struct World<'p> {
    pub(crate) pool: &'p Pool,
    pub(crate) order: u32,
    pub(crate) tracked: bool,
    /// The chunks that are not being removed, oldest first, at the same indices as in `oracle`.
    pub(crate) chunks: Vec<Known>,
    pub(crate) oracle: Oracle,
    pub(crate) leaving: Vec<Leaving>,
    pub(crate) live: Vec<Live<'p>>,
    /// Allocations whose range was freed by address (only with tracking).
    pub(crate) stale: Vec<Live<'p>>,
    choosers: Vec<Chooser>,
    default: Rule,
    pub(crate) numbers: u32,
    /// Whether any chunk was ever removed.
    pub(crate) removed: bool,
    pub(crate) exhausted: usize,
    pub(crate) refused_frees: usize,
}

/// The initial pool of a script.
pub(crate) fn pool(script: &Script) -> Pool {
    let mut builder = Pool::builder().order(script.order);
    if script.tracked {
        builder = builder.boundary_tracking();
    }
    if script
        .specs
        .iter()
        .any(|spec| matches!(spec, Spec::SpreadFit))
    {
        builder = builder.unit_index();
    }
    if let Some(spec) = default_of(script) {
        builder = match spec {
            Spec::FirstFit => builder.algorithm(FirstFit),
            other => builder.algorithm(Shared(other.real())),
        };
    }
    let pool = builder.build().unwrap();
    if script.removed_before {
        pool.add(0, pool.granule()).unwrap();
        pool.remove(0).unwrap().finish().unwrap();
    }
    pool
}

fn default_of(script: &Script) -> Option<Spec> {
    let place = script.built_with? % script.specs.len();
    Some(script.specs[place])
}

/// Plays a script, compares after every step, and compares again with everything given back.
pub(crate) fn play(script: &Script) {
    let pool = pool(script);
    let mut world = World::new(&pool, script);
    for &chunk in &script.chunks {
        world.add(chunk);
        world.check();
    }
    for op in &script.ops {
        world.step(op);
        world.check();
    }
    world.end();
}

impl<'p> World<'p> {
    fn new(pool: &'p Pool, script: &Script) -> Self {
        Self {
            pool,
            order: script.order,
            tracked: script.tracked,
            chunks: Vec::new(),
            oracle: Oracle::new(script.order),
            leaving: Vec::new(),
            live: Vec::new(),
            stale: Vec::new(),
            choosers: script.specs.iter().copied().map(Chooser::new).collect(),
            default: Rule::new(default_of(script).unwrap_or(Spec::FirstFit)),
            numbers: 0,
            removed: script.removed_before,
            exhausted: 0,
            refused_frees: 0,
        }
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Add(chunk) => self.add(chunk),
            Op::Alloc(by, size, keep) => {
                let size = self.size(size);
                self.alloc(by, size, keep);
            }
            Op::Punch(addr, n) => self.punch(addr, n),
            Op::Comb { chunk, gap, len } => self.comb(chunk, gap, len),
            Op::Drop(pick) => {
                if let Some(live) = take(&mut self.live, pick) {
                    self.give_back(live);
                }
            }
            Op::Thin(step) => {
                for at in (0..self.live.len()).rev().filter(|at| at % step == 0) {
                    let live = self.live.swap_remove(at);
                    self.give_back(live);
                }
            }
            Op::Free(pick, aim) => self.free_aimed(pick, aim),
            Op::FreeRange(addr, size) => {
                let size = self.size(size);
                self.free(addr, Some(size));
            }
            Op::FreeAddr(addr) => self.free(addr, None),
            Op::DropStale(pick) => {
                if let Some(stale) = take(&mut self.stale, pick) {
                    self.drop_stale(stale);
                }
            }
            Op::ResizeStale(pick, size) => self.resize_stale(pick, size),
            Op::Resize(pick, size) => self.resize(pick, size),
            Op::Many(ref sizes) => self.many(sizes),
            Op::SetAlgorithm(pick) => self.set_algorithm(pick),
            Op::Remove(pick) => {
                if !self.chunks.is_empty() {
                    let start = self.chunks[pick % self.chunks.len()].start;
                    self.remove(start);
                }
            }
            Op::RemoveAt(addr) => self.remove(addr),
            Op::Finish(pick) => self.finish(pick),
            Op::Probe(addr, size) => {
                let size = self.size(size);
                self.probe(addr, size);
            }
        }
    }

    pub(crate) fn bytes(&self, n: usize) -> usize {
        n << self.order
    }

    pub(crate) fn size(&self, size: Size) -> usize {
        match size {
            Size::Bytes(bytes) => bytes,
            Size::OfChunk(pick, more) if !self.chunks.is_empty() => {
                let chunk = &self.chunks[pick % self.chunks.len()];
                chunk.size.saturating_add_signed(more << self.order)
            }
            Size::OfChunk(..) => self.bytes(1),
        }
    }

    /// The part of the model that contains `addr`: a chunk that serves, or one that is leaving but not yet gone.
    pub(crate) fn chunk_of(&mut self, addr: usize) -> Option<(Known, &mut Oracle)> {
        let inside = |known: &Known| {
            addr.checked_sub(known.start)
                .is_some_and(|at| at < known.size)
        };
        if let Some(known) = self.chunks.iter().find(|known| inside(known)) {
            return Some((known.clone(), &mut self.oracle));
        }
        let gone = |leaving: &Leaving| leaving.oracle.avail() == leaving.oracle.size();
        self.leaving
            .iter_mut()
            .find(|leaving| inside(&leaving.known) && !gone(leaving))
            .map(|leaving| (leaving.known.clone(), &mut leaving.oracle))
    }

    // ---- allocations ----

    fn alloc(&mut self, by: Option<usize>, size: usize, keep: Keep) {
        let pool = self.pool;
        let count = self.choosers.len();
        let (expected, outcome) = match by {
            Some(pick) => {
                let chooser = &mut self.choosers[pick % count];
                let outcome = match keep {
                    Keep::Owned => pool.alloc_owned_with(size, &*chooser.real).map(Hold::Owned),
                    // The one algorithm that a pool recognises by its type.
                    _ if matches!(chooser.spec, Spec::FirstFit) => {
                        pool.alloc_with(size, &FirstFit).map(Hold::Scoped)
                    }
                    _ => pool.alloc_with(size, &*chooser.real).map(Hold::Scoped),
                };
                let chosen = outcome.as_ref().ok().map(Hold::addr);
                let rule = &mut chooser.rule;
                let expected = rule.alloc(&mut self.oracle, self.order, size, chosen);
                (expected, outcome)
            }
            None => {
                let outcome = match keep {
                    Keep::Owned => pool.alloc_owned(size).map(Hold::Owned),
                    _ => pool.alloc(size).map(Hold::Scoped),
                };
                let chosen = outcome.as_ref().ok().map(Hold::addr);
                let rule = &mut self.default;
                let expected = rule.alloc(&mut self.oracle, self.order, size, chosen);
                (expected, outcome)
            }
        };
        self.compare(size, expected, outcome, keep);
    }

    fn punch(&mut self, addr: usize, n: usize) {
        let mut at = Chooser::new(Spec::FixedAddress(addr));
        let size = self.bytes(n);
        let expected = at.rule.alloc(&mut self.oracle, self.order, size, None);
        let outcome = self.pool.alloc_with(size, &*at.real).map(Hold::Scoped);
        self.compare(size, expected, outcome, Keep::Raw);
    }

    fn comb(&mut self, pick: usize, gap: usize, len: usize) {
        if self.chunks.is_empty() {
            return;
        }
        let most = if cfg!(miri) { 4 } else { 100 };
        let known = self.chunks[pick % self.chunks.len()].clone();
        for at in (gap..known.size >> self.order)
            .step_by(gap + len)
            .take(most)
        {
            self.punch(known.start + self.bytes(at), len);
        }
    }

    fn compare(
        &mut self,
        size: usize,
        expected: Result<usize, Vec<AllocError>>,
        outcome: Result<Hold<'p>, AllocError>,
        keep: Keep,
    ) {
        match (expected, outcome) {
            (Ok(addr), Ok(hold)) => {
                let n = usize::try_from(granules(size, self.order)).expect("it fits a chunk");
                self.keep(addr, n, hold, keep);
            }
            (Err(reasons), Err(refused)) => {
                let expected = reasons.iter().any(|reason| is_same(reason, &refused));
                assert!(expected, "{refused} not of {reasons:?}");
                self.exhausted += usize::from(is_exhausted(&refused));
            }
            (expected, outcome) => {
                let outcome = outcome.map(|hold| hold.addr());
                panic!("{size:#x} bytes: {outcome:x?}, the oracle says {expected:x?}");
            }
        }
    }

    /// Records an allocation after its place was compared with the expected one.
    fn keep(&mut self, addr: usize, n: usize, hold: Hold<'p>, keep: Keep) {
        let (known, _) = self.chunk_of(addr).expect("in a chunk");
        let tag = self.live.len() + 1;
        {
            let allocation = hold.allocation().expect("not raw yet");
            assert_eq!(
                (allocation.addr(), allocation.size()),
                (addr, self.bytes(n)),
                "{addr:#x}"
            );
            let phys = known.phys.map(|phys| phys + (addr - known.start) as u64);
            assert_eq!(allocation.phys(), phys);
            assert_eq!(allocation.owner_as::<u32>(), Some(*known.number));
            allocation.set_tag(tag);
        }
        assert!(self.pool.contains(addr, self.bytes(n)));
        let hold = match (hold, keep) {
            (Hold::Scoped(scoped), Keep::Raw) => {
                let range = scoped.into_raw();
                assert_eq!((range.addr, range.size), (addr, self.bytes(n)));
                Hold::Raw
            }
            (hold, _) => hold,
        };
        self.live.push(Live { addr, n, tag, hold });
    }

    fn many(&mut self, sizes: &[Size]) {
        let sizes: Vec<usize> = sizes.iter().map(|&size| self.size(size)).collect();
        let before = self.oracle.clone();
        let mut expected = Ok(Vec::new());
        let outcome = self.pool.alloc_many(&sizes);
        if let Err(refused) = &outcome
            && self.default.is_free()
        {
            // It is unknown where the earlier ones were placed, and how much room that left.
            self.exhausted += usize::from(is_exhausted(refused));
            return;
        }
        for (at, &size) in sizes.iter().enumerate() {
            let chosen = outcome.as_ref().ok().map(|list| list[at].addr());
            match (
                self.default
                    .alloc(&mut self.oracle, self.order, size, chosen),
                &mut expected,
            ) {
                (Ok(addr), Ok(list)) => list.push(addr),
                (Err(reasons), _) => {
                    expected = Err(reasons);
                    break;
                }
                (Ok(_), Err(_)) => unreachable!("the first error ends it"),
            }
        }
        match (expected, outcome) {
            (Ok(addrs), Ok(list)) => {
                assert_eq!(list.len(), sizes.len());
                for ((addr, scoped), size) in addrs.into_iter().zip(list).zip(sizes) {
                    let n = usize::try_from(granules(size, self.order)).expect("it fits a chunk");
                    self.keep(addr, n, Hold::Scoped(scoped), Keep::Scoped);
                }
            }
            (Err(reasons), Err(refused)) => {
                let expected = reasons.iter().any(|reason| is_same(reason, &refused));
                assert!(expected, "{refused} not of {reasons:?}");
                self.exhausted += usize::from(is_exhausted(&refused));
                self.oracle = before;
            }
            (expected, outcome) => panic!("{outcome:?}, the oracle says {expected:x?}"),
        }
    }

    fn set_algorithm(&mut self, pick: usize) {
        let spec = self.choosers[pick % self.choosers.len()].spec;
        match spec {
            Spec::FirstFit => self.pool.set_algorithm(FirstFit),
            other => self.pool.set_algorithm(Shared(other.real())),
        }
        self.default = Rule::new(spec);
    }

    fn resize(&mut self, pick: usize, size: Size) {
        let Some(mut live) = take(&mut self.live, pick) else {
            return;
        };
        let size = self.size(size);
        let order = self.order;
        let old = live.n;
        let draining = !self.chunks.iter().any(|known| {
            live.addr
                .checked_sub(known.start)
                .is_some_and(|at| at < known.size)
        });
        let (known, oracle) = self.chunk_of(live.addr).expect("it is held");
        let room = (known.size - (live.addr - known.start)) >> order;
        let wanted = granules(size, order);
        let tail = live.addr.wrapping_add(old << order);
        let Some(outcome) = live.hold.resize(size) else {
            self.live.push(live);
            return;
        };
        if size == 0 {
            assert_eq!(outcome, Err(ResizeError::ZeroSize));
        } else if wanted > room as u128 {
            assert_eq!(outcome, Err(ResizeError::PastChunk));
        } else {
            let wanted = usize::try_from(wanted).expect("it fits the chunk");
            if wanted <= old {
                assert_eq!(outcome, Ok(()));
                if wanted < old {
                    let tail = live.addr + (wanted << order);
                    oracle
                        .free(tail, (old - wanted) << order)
                        .expect("it was held");
                }
                live.n = wanted;
            } else if oracle.alloc_at(tail, (wanted - old) << order).is_none() {
                let taken = Err(ResizeError::Neighbour);
                assert!(outcome == taken || draining && outcome == Err(ResizeError::Draining));
            } else if draining {
                assert_eq!(outcome, Err(ResizeError::Draining));
                oracle
                    .free(tail, (wanted - old) << order)
                    .expect("it was claimed");
            } else {
                assert_eq!(outcome, Ok(()));
                live.n = wanted;
            }
        }
        self.live.push(live);
    }

    // ---- giving back ----

    /// By drop, or by address if no value holds it.
    fn give_back(&mut self, live: Live<'p>) {
        let size = self.bytes(live.n);
        match live.hold {
            Hold::Raw => self.pool.free(live.addr, size).unwrap(),
            hold => drop(hold),
        }
        self.forget(live.addr, live.n);
    }

    /// Removes the range from the model's bits.
    pub(crate) fn forget(&mut self, addr: usize, n: usize) {
        let size = self.bytes(n);
        let (_, oracle) = self.chunk_of(addr).expect("it was held");
        oracle.free(addr, size).expect("it was held");
    }

    /// Dropping an allocation whose range was freed by address does nothing.
    pub(crate) fn drop_stale(&mut self, stale: Live<'p>) {
        if !matches!(stale.hold, Hold::Raw) {
            drop(stale.hold);
            self.refused_frees += 1;
        }
    }

    fn resize_stale(&mut self, pick: usize, size: Size) {
        let size = self.size(size);
        let order = self.order;
        let Some(mut stale) = take(&mut self.stale, pick) else {
            return;
        };
        if granules(size, order) != stale.n as u128
            && let Some(outcome) = stale.hold.resize(size)
        {
            // It does not matter which of its errors comes first.
            assert!(outcome.is_err(), "resized what was freed");
        }
        self.stale.push(stale);
    }

    /// Gives everything back, and checks that all of it is there.
    fn end(mut self) {
        while let Some(live) = self.live.pop() {
            self.give_back(live);
            if self.live.len().is_multiple_of(8) {
                self.check();
            }
        }
        while let Some(stale) = self.stale.pop() {
            self.drop_stale(stale);
        }
        self.check();
        while !self.leaving.is_empty() {
            let before = self.leaving.len();
            self.finish(0);
            assert!(self.leaving.len() < before, "a chunk did not drain");
        }
        self.check();
        let pool = self.pool;
        assert_eq!(pool.avail(), pool.size());
        // All of it can be allocated again, at once.
        let all: Vec<_> = self
            .chunks
            .iter()
            .map(|known| {
                let there = Spec::FixedAddress(known.start).real();
                pool.alloc_with(known.size, &*there).unwrap()
            })
            .collect();
        assert_eq!(pool.avail(), 0);
        drop(all);
        assert_eq!(pool.avail(), pool.size());
        assert!(pool.is_sound());
        for known in &self.chunks {
            pool.remove(known.start).unwrap().finish().unwrap();
        }
        assert_eq!((pool.size(), pool.chunks().len()), (0, 0));
    }
}

impl<'p> Hold<'p> {
    pub(crate) fn allocation(&self) -> Option<&Allocation<'_>> {
        match self {
            Self::Scoped(scoped) => Some(scoped),
            Self::Owned(owned) => Some(owned),
            Self::Raw => None,
        }
    }

    fn addr(&self) -> usize {
        self.allocation().map_or(0, Allocation::addr)
    }

    /// None if there is nothing to resize.
    fn resize(&mut self, size: usize) -> Option<Result<(), ResizeError>> {
        match self {
            Self::Scoped(scoped) => Some(scoped.resize(size)),
            Self::Owned(owned) => Some(owned.resize(size)),
            Self::Raw => None,
        }
    }
}

/// Takes an item of the list, by a number that was drawn without knowing the list's length.
pub(crate) fn take<T>(list: &mut Vec<T>, pick: usize) -> Option<T> {
    (!list.is_empty()).then(|| list.swap_remove(pick % list.len()))
}

/// Whether the request was refused because everything that could serve it is taken.
fn is_exhausted(refused: &AllocError) -> bool {
    matches!(
        refused,
        AllocError::Exhausted { .. } | AllocError::Taken { .. }
    )
}
