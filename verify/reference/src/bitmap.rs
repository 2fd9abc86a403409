//! A plain bitmap and its searches, a word at a time. A set bit is an allocated granule.

use alloc::vec::Vec;

const BITS: usize = u64::BITS as usize;

/// One bit a granule. The bits past the last granule are set for good, so that no search finds them.
#[derive(Debug, Clone)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    /// Makes a bitmap of `len` clear bits. Returns `None` if there is no memory for them.
    pub(crate) fn new(len: usize) -> Option<Self> {
        let mut words = Vec::new();
        words.try_reserve_exact(len.div_ceil(BITS)).ok()?;
        words.resize(len.div_ceil(BITS), 0);
        if !len.is_multiple_of(BITS) {
            *words.last_mut()? = u64::MAX << (len % BITS);
        }
        Some(Self { words, len })
    }

    /// Returns the start of the lowest run of `len` clear bits whose start, counted from `base`, is a multiple of
    /// `align`, a power of two.
    pub(crate) fn first_fit(&self, len: usize, base: usize, align: usize) -> Option<usize> {
        let enough = len.saturating_add(align - 1);
        self.runs(enough).find_map(|(start, end)| {
            let pad = base.wrapping_add(start).wrapping_neg() & (align - 1);
            (end - start >= len.saturating_add(pad)).then(|| start + pad)
        })
    }

    /// Returns the start of the shortest run of at least `len` clear bits, the lowest of equals.
    pub(crate) fn best_fit(&self, len: usize) -> Option<usize> {
        let mut best: Option<(usize, usize)> = None;
        for (start, end) in self.runs(usize::MAX) {
            let run = end - start;
            if run == len {
                return Some(start);
            }
            if run > len && best.is_none_or(|(_, shortest)| run < shortest) {
                best = Some((start, run));
            }
        }
        best.map(|(start, _)| start)
    }

    /// Returns whether `len` bits from `at` exist and are clear.
    pub(crate) fn is_clear(&self, at: usize, len: usize) -> bool {
        let inside = at.checked_add(len).is_some_and(|end| end <= self.len);
        inside && parts(at, len).all(|(word, mask)| self.words[word] & mask == 0)
    }

    /// Returns whether all bits of `at..at + len` are set. The bits must exist.
    pub(crate) fn is_set(&self, at: usize, len: usize) -> bool {
        parts(at, len).all(|(word, mask)| self.words[word] & mask == mask)
    }

    pub(crate) fn set(&mut self, at: usize, len: usize) {
        parts(at, len).for_each(|(word, mask)| self.words[word] |= mask);
    }

    pub(crate) fn clear(&mut self, at: usize, len: usize) {
        parts(at, len).for_each(|(word, mask)| self.words[word] &= !mask);
    }

    /// Iterates over the runs of clear bits, lowest first. A run of `enough` bits or more may be cut short there; the
    /// iterator must not be used after it.
    fn runs(&self, enough: usize) -> Runs<'_> {
        Runs {
            words: &self.words,
            index: 0,
            clear: self.words.first().map_or(0, |word| !word),
            enough,
        }
    }
}

/// Runs of clear bits, as the first bit and the one after the last.
struct Runs<'a> {
    words: &'a [u64],
    index: usize,
    /// The rest of the current word: 1 where the bitmap has a clear bit.
    clear: u64,
    enough: usize,
}

impl Iterator for Runs<'_> {
    type Item = (usize, usize);

    #[inline]
    fn next(&mut self) -> Option<(usize, usize)> {
        while self.clear == 0 {
            self.index += 1;
            self.clear = !*self.words.get(self.index)?;
        }
        let start = self.index * BITS + self.clear.trailing_zeros() as usize;
        // Adding the lowest bit carries through the lowest run and sets the bit after it.
        let carried = self
            .clear
            .wrapping_add(self.clear & self.clear.wrapping_neg());
        self.clear &= carried;
        if carried != 0 {
            return Some((start, self.index * BITS + carried.trailing_zeros() as usize));
        }
        let mut end = (self.index + 1) * BITS;
        while end - start < self.enough {
            self.index += 1;
            let Some(&word) = self.words.get(self.index) else {
                break;
            };
            end += word.trailing_zeros() as usize;
            if word != 0 {
                self.clear = !word & (u64::MAX << word.trailing_zeros());
                break;
            }
        }
        Some((start, end))
    }
}

/// Returns the words that `at..at + len` covers, each with the mask of its part. `len` is not 0.
fn parts(at: usize, len: usize) -> impl Iterator<Item = (usize, u64)> {
    let end = at + len;
    (at / BITS..end.div_ceil(BITS)).map(move |word| {
        let low = at.saturating_sub(word * BITS);
        let high = (end - word * BITS).min(BITS);
        (word, (u64::MAX >> (BITS - (high - low))) << low)
    })
}
