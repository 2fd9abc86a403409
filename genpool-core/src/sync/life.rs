//! The end of what readers use without a count of their own.

pub use self::imp::Life;

/// loom's: what ends stays, marked, so that a reader that comes too late is caught, and one that nothing
/// orders before the end.
#[cfg(all(genpool_loom, not(any(genpool_machine, genpool_shuttle))))]
mod imp {
    use loom::sync::atomic::{AtomicBool, Ordering};

    /// Whether a thing lives.
    #[derive(Debug)]
    pub struct Life(AtomicBool);

    impl Default for Life {
        fn default() -> Self {
            Self::new()
        }
    }

    impl Life {
        /// A thing that lives.
        pub fn new() -> Self {
            Self(AtomicBool::new(true))
        }

        /// The thing ends. Answers whether it stays all the same.
        #[must_use]
        pub fn end(&self) -> bool {
            self.0.store(false, Ordering::Relaxed);
            !super::super::model::recycles()
        }

        /// A reader uses the thing.
        pub fn used(&self) {
            // A second panic would end all models.
            if !std::thread::panicking() {
                // SAFETY: loom reports it if somebody stores meanwhile.
                assert!(unsafe { self.0.unsync_load() }, "used after its end");
            }
        }

        /// A reader is done with the thing: a step of its own, which loom tries the end before.
        pub fn done(&self) {
            if !std::thread::panicking() {
                assert!(self.0.load(Ordering::Relaxed), "ended in use");
            }
        }
    }
}

#[cfg(not(all(genpool_loom, not(any(genpool_machine, genpool_shuttle)))))]
mod imp {
    /// Nothing; in loom's models, whether a thing lives.
    #[derive(Debug, Default)]
    pub struct Life;

    impl Life {
        /// A thing that lives.
        #[inline(always)]
        pub fn new() -> Self {
            Self
        }

        /// The thing ends. Answers whether it stays all the same: only in the model.
        #[inline(always)]
        #[must_use]
        pub fn end(&self) -> bool {
            false
        }

        /// A reader uses the thing.
        #[inline(always)]
        pub fn used(&self) {}

        /// A reader is done with the thing.
        #[inline(always)]
        pub fn done(&self) {}
    }
}
