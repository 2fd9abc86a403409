//! Several observers of one pool.

use genpool_core::{Event, FirstPanic, Observer};

/// Several observers, notified one after the other in the order in which they were added. If one panics, the others are
/// still notified; of several panics the first is passed on. They are also dropped in that order, each of them even if
/// the destructor of another panics. [Signal-safe](genpool_core#signal-safety) if all of them are.
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
    /// Returns an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an observer after the present ones.
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
        let mut panics = FirstPanic::default();
        for observer in &self.list {
            panics.run(|| observer.event(number, event));
        }
        panics.resume();
    }
}

impl Drop for Observers {
    fn drop(&mut self) {
        let mut panics = FirstPanic::default();
        for observer in self.list.drain(..) {
            panics.run(|| drop(observer));
        }
        panics.resume();
    }
}

impl std::fmt::Debug for Observers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observers")
            .field("count", &self.list.len())
            .finish()
    }
}
