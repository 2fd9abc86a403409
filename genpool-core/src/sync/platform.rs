//! What the crates ask of a platform without an operating system: which thread or core runs, and what a pause is.
//!
//! Both are about contention, not correctness. Without an answer every thread is thread 0, and all share what threads
//! have apart otherwise: hazard slots, stripes, start positions. So an answer may be wrong at times, as where a thread
//! moves to another core. With the feature `std` threads are numbered by themselves, and nothing here is asked.
//!
//! ```
//! use genpool::platform;
//!
//! /// Returns the number of this core, from 0 up. A real one reads a variable of the core, as in GS on x86.
//! fn core_index() -> usize {
//!     0
//! }
//!
//! platform::set_thread_index(core_index);
//! platform::set_pause(core::hint::spin_loop);
//! ```

#[cfg(not(feature = "std"))]
use core::cell::Cell;
use core::mem::transmute;
use core::ptr;
// Loads and stores are there on every machine. Nothing is ordered by them, so models use the machine's too.
use core::sync::atomic::{AtomicPtr, Ordering};

/// Null, or a `fn() -> usize`.
static THREAD_INDEX: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
/// Null, or a `fn()`.
static PAUSE: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Sets how a thread, or a core, learns its number, from 0 up. Small numbers that threads do not share are best. The
/// function is called by most operations, in interrupt handlers too, and must not panic. Constant time. May be called at
/// any time, from any thread; the last call counts. With the feature `std` it has no effect.
pub fn set_thread_index(function: fn() -> usize) {
    THREAD_INDEX.store(function as *mut (), Ordering::Relaxed);
}

/// Sets what a thread does while it waits a moment for others, after it lost a claim: [`core::hint::spin_loop`] at
/// first. As [`set_thread_index`] otherwise.
pub fn set_pause(function: fn()) {
    PAUSE.store(function as *mut (), Ordering::Relaxed);
}

/// For the workspace's crates. Returns the number of this thread or core, or 0 if the platform has not said how it is found.
#[doc(hidden)]
#[must_use]
pub fn thread_index() -> usize {
    let function = THREAD_INDEX.load(Ordering::Relaxed);
    if function.is_null() {
        return 0;
    }
    // SAFETY: only `set_thread_index` stores here.
    let function = unsafe { transmute::<*mut (), fn() -> usize>(function) };
    // As the numbers of threads with `std`: the next ones are numbers too.
    function() & (usize::MAX >> 1)
}

/// Pauses a moment. For the workspace's crates.
#[doc(hidden)]
pub fn pause() {
    let function = PAUSE.load(Ordering::Relaxed);
    if function.is_null() {
        return core::hint::spin_loop();
    }
    // SAFETY: only `set_pause` stores here.
    let function = unsafe { transmute::<*mut (), fn()>(function) };
    function();
}

/// The most pauses in a row, as a power of two: as many as `crossbeam-utils` makes.
#[cfg(not(feature = "std"))]
const MOST_PAUSES: u32 = 6;

/// Longer and longer pauses of a thread that keeps losing claims.
#[cfg(not(feature = "std"))]
pub(crate) struct Backoff(Cell<u32>);

#[cfg(not(feature = "std"))]
impl Backoff {
    pub(crate) fn new() -> Self {
        Self(Cell::new(0))
    }

    pub(crate) fn spin(&self) {
        let step = self.0.get();
        for _ in 0..1 << step {
            pause();
        }
        self.0.set((step + 1).min(MOST_PAUSES));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicUsize;

    #[test]
    fn what_was_set_last_is_called() {
        static PAUSES: AtomicUsize = AtomicUsize::new(0);
        assert_eq!(thread_index(), 0);
        pause();
        set_thread_index(|| 3);
        set_thread_index(|| 7);
        set_pause(|| {
            PAUSES.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(thread_index(), 7);
        pause();
        assert_eq!(PAUSES.load(Ordering::Relaxed), 1);
    }
}
