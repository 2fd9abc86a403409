//! What an algorithm sees of a chunk: a read-only view of its bitmap.

use crate::bitmap::{Anywhere, Every, Look};
use crate::chunk::Chunk;

/// The place of a granule in its chunk: 0 is the chunk's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Granule(pub usize);

/// A free run: `len` granules from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its first granule.
    pub start: Granule,
    /// Granules.
    pub len: usize,
}

/// One chunk, as an algorithm sees it while others allocate and free.
///
/// What it tells was true when it was read. The pool claims what the algorithm proposes by
/// compare-and-swap, so acting on stale news costs a retry, nothing else. All of it is
/// signal-safe.
#[derive(Clone, Copy, Debug)]
pub struct ChunkView<'c> {
    chunk: &'c Chunk,
    look: Look,
}

impl<'c> ChunkView<'c> {
    pub(crate) fn new(chunk: &'c Chunk, look: Look) -> Self {
        Self { chunk, look }
    }

    /// A number that no other chunk has, of whatever pool, as long as this one exists. For notes that an
    /// algorithm keeps on chunks; it may be given to another chunk later.
    #[must_use]
    #[inline]
    pub fn id(&self) -> usize {
        core::ptr::from_ref(self.chunk).addr()
    }

    /// The address of the chunk's first byte.
    #[must_use]
    pub fn start(&self) -> usize {
        self.chunk.start()
    }

    /// The address of the chunk's last byte.
    #[must_use]
    pub fn last(&self) -> usize {
        self.chunk.last()
    }

    /// The physical address of the chunk's first byte, if it was given one.
    #[must_use]
    pub fn phys(&self) -> Option<u64> {
        self.chunk.phys_of(self.chunk.start())
    }

    /// A granule is `1 << order` bytes.
    #[must_use]
    pub fn order(&self) -> u32 {
        self.chunk.order()
    }

    /// The chunk's size in granules.
    #[must_use]
    pub fn granules(&self) -> usize {
        self.chunk.bitmap().len()
    }

    /// The address of a granule of this chunk. A granule outside has an address of no meaning.
    #[must_use]
    pub fn addr_of(&self, granule: Granule) -> usize {
        let offset = granule.0.wrapping_shl(self.order());
        self.start().wrapping_add(offset)
    }

    /// The granule that `addr` lies in; none if that is outside the chunk.
    #[must_use]
    pub fn granule_at(&self, addr: usize) -> Option<Granule> {
        self.chunk
            .contains(addr)
            .then(|| Granule(self.chunk.granule_of(addr)))
    }

    /// Where number `number` of several that keep apart may begin: the first at the chunk's beginning,
    /// then in the middle, then at a quarter, and so on, so that any few of them are spread well.
    #[must_use]
    pub fn start_apart(&self, number: usize) -> Granule {
        Granule(self.chunk.bitmap().start_apart(number))
    }

    /// Whether all `n` granules from `start` on are in the chunk and free. O(n / 64).
    #[must_use]
    pub fn is_free(&self, start: Granule, n: usize) -> bool {
        self.chunk.bitmap().is_free(start.0, n)
    }

    /// The lowest start in `from..limit` at which `n` granules are free. Skips words that cannot
    /// serve; at worst linear in the size of the chunk. None where `n` is zero.
    #[must_use]
    #[inline(always)]
    pub fn find_run(&self, from: Granule, limit: Granule, n: usize) -> Option<Granule> {
        if n == 0 {
            return None;
        }
        let bitmap = self.chunk.bitmap();
        bitmap
            .find_run(from.0, limit.0, n, Anywhere, self.look)
            .map(Granule)
    }

    /// Some free `n` granules not far behind `from`, or none although there are some: for who goes on
    /// where it found something last, and looks with [`find_run`](Self::find_run) if this finds
    /// nothing. Begins with the word of the bitmap that `from` lies in (64 granules on 64-bit
    /// machines). None while a failure is being proved.
    #[must_use]
    #[inline(always)]
    pub fn find_nearby(&self, from: Granule, n: usize) -> Option<Granule> {
        if n == 0 || self.look == Look::Exact {
            return None;
        }
        self.chunk.bitmap().find_nearby(from.0, n).map(Granule)
    }

    /// As [`find_run`](Self::find_run), among the granules whose address leaves the remainder
    /// `phase` when divided by `align` (bytes). None where `align` is not a power of two. An
    /// alignment below the granule asks for nothing; a phase counts as rounded down to a granule.
    #[must_use]
    pub fn find_aligned(
        &self,
        from: Granule,
        limit: Granule,
        n: usize,
        align: usize,
        phase: usize,
    ) -> Option<Granule> {
        if n == 0 || !align.is_power_of_two() {
            return None;
        }
        let places = Every {
            mask: (align - 1) >> self.order(),
            shift: (self.start() >> self.order()).wrapping_sub(phase >> self.order()),
        };
        if places.mask == 0 {
            return self.find_run(from, limit, n);
        }
        let bitmap = self.chunk.bitmap();
        bitmap
            .find_run(from.0, limit.0, n, places, self.look)
            .map(Granule)
    }

    /// The start of the shortest free run of at least `n` granules, the lowest of equals: best fit.
    /// Skips words that cannot serve and ends at the first run of exactly `n`; at worst linear in the
    /// size of the chunk. None where `n` is zero.
    #[must_use]
    pub fn find_tightest(&self, n: usize) -> Option<Granule> {
        if n == 0 {
            return None;
        }
        let bitmap = self.chunk.bitmap();
        bitmap.find_tightest(n, self.look).map(Granule)
    }

    /// The free runs of at least `min` granules (at least one), upwards from `from`; a run that
    /// begins before is cut there. Linear in the chunk, words that cannot serve left out.
    pub fn runs(&self, from: Granule, min: usize) -> impl Iterator<Item = Run> + use<'c> {
        let runs = self.chunk.bitmap().free_runs(from.0, min.max(1), self.look);
        runs.map(|(start, len)| Run {
            start: Granule(start),
            len,
        })
    }
}
