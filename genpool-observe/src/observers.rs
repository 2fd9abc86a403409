//! Several observers of one pool.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use genpool_core::{Event, Observer, discard_panic};

/// Observers that are told one after the other, in the order in which they were named. If one panics,
/// the others are told all the same; of several panics the last is passed on.
/// As [signal-safe](genpool_core#signal-safety) as all of them.
///
/// ```
/// use genpool::Pool;
/// use genpool::observe::{Observers, Recorder, Watermarks};
///
/// let (recorder, tap) = Recorder::new(64)?;
/// let marks = Watermarks::new(4096, 8192, |crossing| println!("{crossing:?}"));
/// let pool = Pool::builder().observer(Observers::new().and(tap).and(marks)).build()?;
/// # drop((pool, recorder));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
#[must_use]
pub struct Observers {
    list: Vec<Box<dyn Observer>>,
}

impl Observers {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// These, and then that one.
    pub fn and(mut self, observer: impl Observer + 'static) -> Self {
        self.list.push(Box::new(observer));
        self
    }
}

impl Observer for Observers {
    fn numbered(&self) -> bool {
        self.list.iter().any(|observer| observer.numbered())
    }

    fn event(&self, number: usize, event: &Event<'_>) {
        let mut panicked = None;
        for observer in &self.list {
            let tell = AssertUnwindSafe(|| observer.event(number, event));
            if let Err(payload) = catch_unwind(tell)
                && let Some(earlier) = panicked.replace(payload)
            {
                discard_panic(earlier);
            }
        }
        if let Some(payload) = panicked {
            resume_unwind(payload);
        }
    }
}

impl std::fmt::Debug for Observers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observers")
            .field("count", &self.list.len())
            .finish()
    }
}
