//! Checks in models that nothing is used after its end by readers that hold no count on it.

pub use self::imp::Life;

/// For loom: a thing that ends stays and is marked. So a model catches a reader that comes too late, and one that
/// nothing orders before the end.
#[cfg(all(genpool_loom, not(any(genpool_machine, genpool_shuttle))))]
mod imp {
    use loom::sync::atomic::{AtomicBool, Ordering};

    /// Whether a thing is alive.
    #[derive(Debug)]
    pub struct Life(AtomicBool);

    impl Default for Life {
        fn default() -> Self {
            Self::new()
        }
    }

    impl Life {
        /// Creates a thing that is alive.
        pub fn new() -> Self {
            Self(AtomicBool::new(true))
        }

        /// Ends the thing. Returns true if its memory stays nevertheless.
        #[must_use]
        pub fn end(&self) -> bool {
            self.0.store(false, Ordering::Relaxed);
            !super::super::model::recycles()
        }

        /// Records that a reader uses the thing.
        pub fn used(&self) {
            // A second panic would abort all models.
            if !std::thread::panicking() {
                // SAFETY: loom reports a concurrent store.
                assert!(unsafe { self.0.unsync_load() }, "used after its end");
            }
        }

        /// Records that a reader is done with the thing. This is a step of its own, so that loom also tries the end
        /// before it.
        pub fn done(&self) {
            if !std::thread::panicking() {
                assert!(self.0.load(Ordering::Relaxed), "ended in use");
            }
        }
    }
}

#[cfg(not(all(genpool_loom, not(any(genpool_machine, genpool_shuttle)))))]
mod imp {
    /// Empty; in loom's models, whether a thing is alive.
    #[derive(Debug, Default)]
    pub struct Life;

    impl Life {
        /// Creates a thing that is alive.
        #[inline(always)]
        pub fn new() -> Self {
            Self
        }

        /// Ends the thing. Returns true if its memory stays nevertheless, which it does only in models.
        #[inline(always)]
        #[must_use]
        pub fn end(&self) -> bool {
            false
        }

        /// Records that a reader uses the thing.
        #[inline(always)]
        pub fn used(&self) {}

        /// Records that a reader is done with the thing.
        #[inline(always)]
        pub fn done(&self) {}
    }
}
