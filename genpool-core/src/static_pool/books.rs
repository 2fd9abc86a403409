//! The bookkeeping of a static pool: what changes, and the tables that the chunk borrows.

use crate::activity::Activity;
use crate::bitmap::{AtomicWord, Bitmap};
use crate::chunk::BoundaryTag;
use crate::counters::Counters;
use crate::memory::TableMemory;
use crate::sync::AtomicUsize;

/// The bookkeeping of a [`StaticPool`](super::StaticPool). [`static_pool!`](crate::static_pool!) makes it, with the right sizes;
/// [`StaticPool::new`](super::StaticPool::new) shows how to place it in a section.
///
/// ```
/// use genpool::{StaticBooks, StaticPool};
///
/// const SIZES: [usize; 4] = StaticPool::sizes(6, 0x1000, false);
/// static BOOKS: StaticBooks<{ SIZES[1] }, { SIZES[2] }, { SIZES[3] }> = StaticBooks::new(SIZES[0]);
/// assert!(StaticPool::new(&BOOKS, 6, 0x3000_0000, None).is_ok());
/// ```
#[derive(Debug)]
pub struct StaticBooks<const WORDS: usize, const CELLS: usize, const TAGS: usize> {
    pub(super) activity: Activity,
    pub(super) counters: Counters,
    pub(super) words: TableMemory<AtomicWord, WORDS>,
    pub(super) cells: TableMemory<AtomicUsize, CELLS>,
    pub(super) tags: TableMemory<BoundaryTag, TAGS>,
    pub(super) granules: usize,
}

impl<const WORDS: usize, const CELLS: usize, const TAGS: usize> StaticBooks<WORDS, CELLS, TAGS> {
    /// Creates the bookkeeping of a pool of so many granules, all of them free. The sizes must be those that
    /// [`StaticPool::sizes`](super::StaticPool::sizes) returns, or [`StaticPool::new`](super::StaticPool::new) refuses it.
    ///
    /// ```
    /// use genpool::{BuildError, StaticBooks, StaticPool};
    ///
    /// static TOO_SHORT: StaticBooks<1, 1, 0> = StaticBooks::new(1000);
    /// let refused = StaticPool::new(&TOO_SHORT, 6, 0, None).unwrap_err();
    /// assert_eq!(refused, BuildError::Books { granules: 1000 });
    /// ```
    #[must_use]
    pub const fn new(granules: usize) -> Self {
        // Zeroes but for the last word, and for the last cell of each level.
        let mut words = [const { AtomicWord::new(0) }; WORDS];
        if let Some(last) = WORDS.checked_sub(1) {
            words[last] = AtomicWord::new(Bitmap::fresh_word(granules, last));
        }
        let mut cells = [const { AtomicUsize::new(0) }; CELLS];
        let mut level = 0;
        while let Some((last, cell)) = Bitmap::fresh_cell(granules, level) {
            if last < CELLS {
                cells[last] = AtomicUsize::new(cell);
            }
            level += 1;
        }
        Self {
            activity: Activity::new(),
            counters: Counters::new(),
            words: TableMemory::new(words),
            cells: TableMemory::new(cells),
            tags: TableMemory::new([const { BoundaryTag::fresh() }; TAGS]),
            granules,
        }
    }
}

/// Creates a [`StaticPool`](super::StaticPool) and, in a `static` of its own, its bookkeeping. The values are constants. If they make no
/// valid pool, the program does not compile.
///
/// - `order`: a granule is `1 << order` bytes.
/// - `start`, `size`: the range of addresses, multiples of a granule. Nothing is read or written there, and nothing checks
///   that the linker places nothing there.
/// - `phys`: the physical address of the first byte, if it has one.
/// - `tracked`: whether the pool keeps boundary tags, for frees by address alone and with the wrong size. Two words for
///   each granule. False if it is left out.
///
/// A granule takes 1.2 bits on 64-bit machines and 1.4 on 32-bit machines, and the pool some 1.5 KiB besides on x86-64,
/// of which most keeps cores apart, and 0.4 KiB on Cortex-M. This is initialised data: it is in the program's file.
///
/// Each place in the source makes one pool. If it is evaluated several times, as in a function or an array, the values
/// that come of it are the same pool.
///
/// ```
/// use genpool::{StaticPool, static_pool};
///
/// /// The buffers of the network device, in its own memory.
/// static BUFFERS: StaticPool = static_pool!(order: 6, start: 0x3000_0000, size: 0x1_0000);
/// static TRACKED: StaticPool = static_pool!(order: 4, start: 0, size: 0x1000, phys: 1 << 40, tracked: true);
///
/// let buffer = BUFFERS.alloc(1500)?;
/// assert_eq!((buffer.addr(), buffer.size()), (0x3000_0000, 1536));
/// let held = TRACKED.alloc(100)?;
/// assert_eq!(held.phys(), Some(1 << 40));
/// TRACKED.free_addr(held.into_raw().addr)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A size that is no multiple of the granule:
///
/// ```compile_fail,E0080
/// # use genpool::{StaticPool, static_pool};
/// static ODD: StaticPool = static_pool!(order: 6, start: 0x3000_0000, size: 0x1_0001);
/// ```
#[macro_export]
macro_rules! static_pool {
    (
        order: $order:expr,
        start: $start:expr,
        size: $size:expr
        $(, phys: $phys:expr)?
        $(, tracked: $tracked:expr)?
        $(,)?
    ) => {{
        const __GENPOOL_TRACKED: bool = [$($tracked,)? false][0];
        const __GENPOOL_PHYS: ::core::option::Option<u64> =
            [$(::core::option::Option::Some($phys),)? ::core::option::Option::None][0];
        // Evaluated when the program is compiled, wherever the pool is made.
        const __GENPOOL_SIZES: [usize; 4] = {
            $crate::StaticPool::check($order, $start, $size, __GENPOOL_PHYS, __GENPOOL_TRACKED);
            $crate::StaticPool::sizes($order, $size, __GENPOOL_TRACKED)
        };
        static __GENPOOL_BOOKS: $crate::StaticBooks<{ __GENPOOL_SIZES[1] }, { __GENPOOL_SIZES[2] }, { __GENPOOL_SIZES[3] }> =
            $crate::StaticBooks::new(__GENPOOL_SIZES[0]);
        match $crate::StaticPool::new(&__GENPOOL_BOOKS, $order, $start, __GENPOOL_PHYS) {
            ::core::result::Result::Ok(pool) => pool,
            ::core::result::Result::Err(_) => ::core::panic!("the values were checked"),
        }
    }};
}
