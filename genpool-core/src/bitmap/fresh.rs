//! Bitmaps of which nothing is taken: on the heap, or over borrowed memory whose content is known when the program is
//! compiled.

#[cfg(not(genpool_loom))]
use super::AtomicWord;
use super::Bitmap;
use super::bits::Bits;
#[cfg(not(genpool_loom))]
use super::bits::padding;
use super::hints::Hints;
use super::run_index::RunIndex;
#[cfg(feature = "alloc")]
use super::unit_index::UnitIndex;
#[cfg(not(genpool_loom))]
use crate::memory::Table;
#[cfg(feature = "alloc")]
use crate::memory::{Box, NoMemory, Node};
#[cfg(not(genpool_loom))]
use crate::sync::AtomicUsize;
#[cfg(not(genpool_loom))]
use crate::units::{WORD_BITS, WordIndex};

impl Bitmap {
    /// Creates a bitmap of `len` free granules in borrowed memory: of as many words as [`words_for`](Self::words_for) says,
    /// each as [`fresh_word`](Self::fresh_word) says, and so on.
    #[cfg(not(genpool_loom))]
    pub(crate) const fn of(
        len: usize,
        words: Table<AtomicWord>,
        cells: Table<AtomicUsize>,
    ) -> Self {
        Self {
            bits: Bits::of(len, words),
            hints: Hints::of(Self::words_for(len), cells),
            units: None,
        }
    }

    /// Returns how many words a bitmap of `len` granules has.
    #[cfg(not(genpool_loom))]
    pub(crate) const fn words_for(len: usize) -> usize {
        len.div_ceil(WORD_BITS)
    }

    /// Returns how many words its summaries have: the hints and the run index.
    #[cfg(not(genpool_loom))]
    pub(crate) const fn cells_for(len: usize) -> usize {
        let words = Self::words_for(len);
        Hints::nodes(words) + RunIndex::cells(words)
    }

    /// Returns word `at` of a bitmap of `len` free granules.
    #[cfg(not(genpool_loom))]
    pub(crate) const fn fresh_word(len: usize, at: usize) -> usize {
        padding(len, WordIndex(at))
    }

    /// Returns where the last word of a level of the summaries of a bitmap of `len` free granules is, and the word. All
    /// other words are zero. None if there is no such level.
    #[cfg(not(genpool_loom))]
    pub(crate) const fn fresh_cell(len: usize, level: usize) -> Option<(usize, usize)> {
        Hints::last_node(Self::words_for(len), level)
    }

    /// Creates a bitmap of `len` free granules, at least one.
    #[cfg(feature = "alloc")]
    pub(crate) fn new(len: usize, node: Option<Node>) -> Result<Self, NoMemory> {
        let bits = Bits::new(len, node)?;
        let words = bits.words().len();
        Ok(Self {
            hints: Hints::new(words, RunIndex::cells(words), node)?,
            bits,
            units: None,
        })
    }

    /// Adds a unit index, before any other thread sees the bitmap. A bitmap that is too small has none.
    #[cfg(feature = "alloc")]
    pub(crate) fn keep_units(&mut self, node: Option<Node>) -> Result<(), NoMemory> {
        self.units = UnitIndex::new(self.bits.words().len(), node)?.map(Box::new);
        Ok(())
    }
}
