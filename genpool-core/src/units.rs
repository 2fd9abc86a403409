//! Units of position in a chunk: granules, words of granules, and lines of words.
//!
//! Positions are numbered from 0, the chunk's first. Lengths are plain numbers of granules.

/// Granules in a word. Two in small models, so that a few granules cross words.
pub(crate) const WORD_BITS: usize = if cfg!(genpool_small) {
    2
} else {
    usize::BITS as usize
};

/// Words in a line: a cache line on 64-bit machines. A look for one length goes through it in the time of two
/// locked instructions (2026-11). Two in small models, so that a few words are several lines.
pub(crate) const LINE_WORDS: usize = if cfg!(genpool_small) { 2 } else { 8 };

/// Granules in a line.
pub(crate) const LINE_GRANULES: usize = LINE_WORDS * WORD_BITS;

/// The index of a granule in its chunk: 0 is the chunk's first.
///
/// ```
/// use genpool::{Algorithm, ChunkView, Granule, Pool, Request};
///
/// /// Always the chunk's fourth granule.
/// struct Fourth;
///
/// impl Algorithm for Fourth {
///     fn propose(&self, chunk: &ChunkView<'_>, request: &Request) -> Option<Granule> {
///         chunk.is_free(Granule(3), request.granules()).then_some(Granule(3))
///     }
/// }
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// assert_eq!(pool.alloc_with(1, &Fourth)?.addr(), 0x4000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Granule(pub usize);

impl Granule {
    /// Returns the granule that is `n` further up.
    #[inline(always)]
    pub(crate) const fn plus(self, n: usize) -> Self {
        Self(self.0 + n)
    }

    /// Returns the word that holds it.
    #[inline(always)]
    pub(crate) const fn word(self) -> WordIndex {
        WordIndex(self.0 / WORD_BITS)
    }

    /// Returns its bit in that word.
    #[inline(always)]
    pub(crate) const fn bit(self) -> usize {
        self.0 % WORD_BITS
    }

    /// Returns the line that holds it.
    #[inline(always)]
    pub(crate) const fn line(self) -> LineIndex {
        LineIndex(self.0 / LINE_GRANULES)
    }
}

/// A run: `len` granules from `start` on.
///
/// ```
/// use genpool::{Granule, Pool, Run};
///
/// let pool = Pool::new(12)?;
/// pool.add(0x1000, 0x4000)?;
/// let _held = pool.alloc(1)?;
/// let chunk = pool.chunks().next().expect("there is one");
/// let free: Vec<Run> = chunk.free_runs().collect();
/// assert_eq!(free, [Run { start: Granule(1), len: 3 }]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first granule.
    pub start: Granule,
    /// The number of granules.
    pub len: usize,
}

/// The index of a word in its bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub(crate) struct WordIndex(pub(crate) usize);

impl WordIndex {
    /// Returns the granule of this bit. [`WORD_BITS`] is the first bit of the next word.
    #[inline(always)]
    pub(crate) const fn granule(self, bit: usize) -> Granule {
        Granule(self.0 * WORD_BITS + bit)
    }

    /// Returns the first granule past the word.
    #[inline(always)]
    pub(crate) const fn end(self) -> Granule {
        self.next().granule(0)
    }

    /// Returns the line that holds it.
    #[inline(always)]
    pub(crate) const fn line(self) -> LineIndex {
        LineIndex(self.0 / LINE_WORDS)
    }

    #[inline(always)]
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The index of a line in its bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub(crate) struct LineIndex(pub(crate) usize);

impl LineIndex {
    #[inline(always)]
    pub(crate) const fn first_word(self) -> WordIndex {
        WordIndex(self.0 * LINE_WORDS)
    }

    #[inline(always)]
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
