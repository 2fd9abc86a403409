//! Several observers of one pool.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use genpool_core::{Event, Observer, discard_panic};

/// Observers that are told one after the other, in the order in which they were named. If one panics,
/// the others are told all the same; of several panics the last is passed on. They are dropped in that order too, each
/// of them even if the destructor of another panics. As signal-safe as all of them.
///
/// ```
/// use genpool_core::Pool;
/// use genpool_observe::{Observers, Recorder, Watermarks};
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
        let list = self.list.iter().map(|observer| &**observer);
        let tell = |observer: &dyn Observer| observer.event(number, event);
        if let Some(payload) = last_panic(list, tell) {
            resume_unwind(payload);
        }
    }
}

impl Drop for Observers {
    fn drop(&mut self) {
        if let Some(payload) = last_panic(self.list.drain(..), drop) {
            match thread::panicking() {
                // A second one would end the process.
                true => discard_panic(payload),
                false => resume_unwind(payload),
            }
        }
    }
}

/// Does something with each of several, whether it panics with others or not; what the last panic carried.
fn last_panic<T>(
    list: impl IntoIterator<Item = T>,
    mut each: impl FnMut(T),
) -> Option<Box<dyn Any + Send>> {
    let mut panicked = None;
    for one in list {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| each(one)))
            && let Some(earlier) = panicked.replace(payload)
        {
            discard_panic(earlier);
        }
    }
    panicked
}

impl std::fmt::Debug for Observers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observers")
            .field("count", &self.list.len())
            .finish()
    }
}
