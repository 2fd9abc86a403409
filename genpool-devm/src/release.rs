//! The end of a device: its resources are released in reverse order.
//!
//! In the kernel, a device that ends while something in its pool is allocated stops the machine. Here, all pools are
//! sealed first. A sealed pool accepts no chunk, and each of its chunks is removed, so the protocol of removal
//! decides every race with an alloc. Then the stack is released from the top. A pool in which something is still
//! allocated stops that: the resources under it, such as the mapping of its memory, must stay. The rest of the stack
//! is handed to the callbacks of the pool's chunks. Each callback runs when the last allocation of its chunk is given
//! back, and the last of them continues the release. The callbacks are created when the pool is sealed, so giving the
//! last allocation back needs no memory.
//!
//! So memory is released by the thread that gives back the last allocation in it, or together with the pool's
//! bookkeeping if nobody ever does. No thread waits, and there is no list of devices to be released.
//!
//! A resource is a closure. A value is an action that drops it. A pool is the only resource that can hold up others.
//!
//! Actions, values, owners of chunks, algorithms, observers and subscribers of `tracing` are user code. Each runs or
//! is dropped by itself, and its panic goes into the report. The others still follow. The report also gets panics
//! that happen after it was made.

use std::any::Any;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use genpool_core::sync::{AtomicBool, Counted, Mutex, Ordering, Seed, seeded};
use genpool_core::{Drain, FirstPanic, discard_panic};

use crate::error::Name;
use crate::outstanding::Outstanding;
use crate::pool::ManagedPool;

/// The pause between two looks at a release that is not complete, as that of [`Drain::wait`] (2026-11).
const NAP: Duration = Duration::from_millis(1);

/// The faults of a release that a model can seed.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The resources under a device's pool are released without waiting for what is held.
    HastyRelease,
}

impl Seed for Fault {}

/// A closure to run: an action, the drop of a value, or a callback.
type Action = Box<dyn FnOnce() + Send>;

/// A resource that ends with its device.
pub(crate) enum Resource {
    Action(Action),
    Pool(ManagedPool),
}

/// The report on the end of a device.
///
/// ```
/// use genpool::devm::Device;
/// use genpool::{ChunkSpec, Pool};
///
/// let device = Device::new("video");
/// device.on_release(|| println!("unmapped"))?;
/// let pool = device.create_pool(Pool::builder())?;
/// pool.add_chunk(ChunkSpec::new(0, 16))?;
/// let held = pool.alloc_owned(1)?;
///
/// let released = device.release()?;
/// assert_eq!((released.outstanding.len(), released.panics().len()), (1, 0));
/// assert!(!released.is_complete()); // what lies under the pool stays
/// released.on_complete(|| println!("the last allocation is back"));
/// drop(held);
/// assert!(released.wait(None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "says what was still held"]
#[non_exhaustive]
pub struct Released {
    /// The allocations that were live when the pools were sealed, pool by pool in the order in which the pools end.
    /// They stay valid until they are given back. Runs kept by a [`Cache`](genpool_core::Cache) hold up the release
    /// too. With boundary tracking they are not listed, because nobody holds them.
    pub outstanding: Vec<Outstanding>,
    progress: Arc<Progress>,
}

/// The state of a release, which may change after the report.
struct Progress {
    /// Set under the lock of `on_complete`.
    complete: AtomicBool,
    /// The callback; none once it was called.
    on_complete: Mutex<Option<Action>>,
    panics: Mutex<Vec<String>>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("complete", &self.complete)
            .field("panics", &self.panics)
            .finish_non_exhaustive()
    }
}

impl Released {
    /// Whether everything is released. False as long as an allocation is live whose memory lies under it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        // Acquire: pairs with `Stack::take_down`; the effects of the releases happen before this answer.
        self.progress.complete.load(Ordering::Acquire)
    }

    /// Waits until everything is released, or until `timeout` is over if one is given. Returns true if everything is
    /// released.
    ///
    /// The thread sleeps for a millisecond between looks. A caller that holds one of the outstanding allocations waits
    /// for itself. Not [signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use std::thread;
    /// use std::time::Duration;
    ///
    /// use genpool::devm::Device;
    /// use genpool::{ChunkSpec, Pool};
    ///
    /// let device = Device::new("video");
    /// let pool = device.create_pool(Pool::builder())?;
    /// pool.add_chunk(ChunkSpec::new(0, 16))?;
    /// let held = pool.alloc_owned(1)?;
    /// let released = device.release()?;
    /// assert!(!released.wait(Some(Duration::from_millis(1))));
    /// thread::spawn(move || drop(held));
    /// assert!(released.wait(Some(Duration::from_secs(60))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let begin = Instant::now();
        while !self.is_complete() {
            if timeout.is_some_and(|timeout| begin.elapsed() >= timeout) {
                return false;
            }
            thread::sleep(NAP);
        }
        true
    }

    /// Sets a callback that is called once when everything is released, so after the last allocation was given back.
    /// If everything is released already, the callback is called now. Otherwise it is called by the thread that
    /// completes the release: the one that gives back the last allocation. It is called even if all reports on the
    /// release were dropped. An earlier callback that was not called yet is dropped.
    ///
    /// If the thread that completes the release calls it and it panics, its message is in [`panics`](Self::panics).
    /// Called now, it panics to the caller.
    ///
    /// The call itself allocates memory, aborts the process if there is none, and is not
    /// [signal-safe](crate#signal-safety).
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// use genpool::devm::Device;
    /// use genpool::{ChunkSpec, Pool};
    ///
    /// let device = Device::new("video");
    /// let pool = device.create_pool(Pool::builder())?;
    /// pool.add_chunk(ChunkSpec::new(0, 16))?;
    /// let held = pool.alloc_owned(1)?;
    /// let (sender, complete) = mpsc::channel();
    /// device.release()?.on_complete(move || sender.send("power off").expect("somebody listens"));
    /// assert!(complete.try_recv().is_err());
    /// drop(held);
    /// assert_eq!(complete.recv(), Ok("power off"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_complete(&self, callback: impl FnOnce() + Send + 'static) {
        let mut waiting = self.progress.on_complete.lock();
        if self.is_complete() {
            drop(waiting);
            return callback();
        }
        let earlier = waiting.replace(Box::new(callback));
        // The drop of what it captures is user code.
        drop(waiting);
        drop(earlier);
    }

    /// Returns the messages of resources that panicked so far, in the order of their release, then that of the
    /// callback. The other resources were still released. More messages may follow until the release is complete and
    /// the callback has returned. Each is also reported through `tracing`.
    #[must_use]
    pub fn panics(&self) -> Vec<String> {
        self.progress.panics.lock().clone()
    }

    /// Reports the outstanding allocations through `tracing`, where no caller gets the report, and drops the report.
    /// Panics are collected in `panics`.
    pub(crate) fn report(self, device: &str, panics: &mut FirstPanic) {
        for held in &self.outstanding {
            panics.run(|| {
                tracing::warn!(
                    device,
                    pool = held.pool.as_deref(),
                    addr = format_args!("{:#x}", held.addr),
                    size = held.size,
                    tag = held.tag.filter(|&tag| tag != 0),
                    owner = held.owner_name(),
                    "held when its device ended"
                );
            });
        }
        panics.run(|| drop(self));
    }
}

/// Releases all `resources`, the last first.
pub(crate) fn release(device: &Name, resources: Vec<Resource>) -> Released {
    let progress = Arc::new(Progress {
        complete: AtomicBool::new(false),
        on_complete: Mutex::new(None),
        panics: Mutex::new(Vec::new()),
    });
    let mut outstanding = Vec::new();
    let mut stack = Stack {
        device: Arc::clone(device),
        steps: Vec::with_capacity(resources.len()),
        progress: Arc::clone(&progress),
    };
    for resource in resources.into_iter().rev() {
        let step = match resource {
            Resource::Action(action) => Step::Action(action),
            Resource::Pool(pool) => {
                let drains = pool.seal(|step| stack.run(step));
                outstanding.extend(pool.outstanding(|step| stack.run(step)));
                Step::Pool(Sealed::new(pool, drains))
            }
        };
        stack.steps.push(step);
    }
    stack.steps.reverse();
    stack.take_down();
    Released {
        outstanding,
        progress,
    }
}

enum Step {
    Action(Action),
    Pool(Sealed),
}

/// A sealed pool and the drains of its chunks.
struct Sealed {
    pool: ManagedPool,
    drains: Vec<Drain>,
    /// Shared with the callback of each chunk that was not yet drained.
    rest: Counted<Rest>,
}

impl Sealed {
    fn new(pool: ManagedPool, drains: Vec<Drain>) -> Self {
        let rest = Counted::new(Rest(Mutex::new(None)));
        for drain in drains.iter().filter(|drain| !drain.is_drained()) {
            let rest = Counted::clone(&rest);
            drain.on_drained(move || drop(rest));
        }
        Self { pool, drains, rest }
    }

    fn is_empty(&self) -> bool {
        self.drains.iter().all(Drain::is_drained)
    }
}

/// The steps that are still to be done. The next step is the last item.
struct Stack {
    device: Name,
    steps: Vec<Step>,
    progress: Arc<Progress>,
}

impl Stack {
    /// Releases step by step until something is still allocated.
    fn take_down(mut self) {
        while let Some(step) = self.steps.pop() {
            match step {
                Step::Action(action) => _ = self.run(action),
                Step::Pool(pool) if pool.is_empty() || seeded(Fault::HastyRelease) => {
                    self.let_go(pool.pool, pool.drains);
                }
                Step::Pool(pool) => return self.leave_to(pool),
            }
        }
        let callback = {
            let mut callback = self.progress.on_complete.lock();
            // Release: pairs with `Released::is_complete`.
            self.progress.complete.store(true, Ordering::Release);
            callback.take()
        };
        if let Some(callback) = callback {
            self.run(callback);
        }
    }

    /// Leaves the rest to the thread that gives back the last allocation in this pool.
    fn leave_to(self, pool: Sealed) {
        let own = Self {
            device: Arc::clone(&self.device),
            steps: Vec::new(),
            progress: Arc::clone(&self.progress),
        };
        *pool.rest.0.lock() = Some(self);
        // The pool's own bookkeeping stays as long as something can be given back.
        own.let_go(pool.pool, pool.drains);
        // If everything has been given back by now, this continues the release.
        drop(pool.rest);
    }

    /// Drops a pool and its drains. Owners, algorithms and the observer may be dropped with them.
    fn let_go(&self, pool: ManagedPool, drains: Vec<Drain>) {
        for drain in drains {
            self.run(|| drop(drain));
        }
        self.run(|| drop(pool));
    }

    /// Runs user code and reports its panic.
    fn run<R>(&self, step: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(step)) {
            Ok(done) => Some(done),
            Err(panic) => {
                let text = text_of(panic);
                let device = &*self.device;
                let report = || tracing::error!(device, panic = text, "a release panicked");
                let failed = catch_unwind(AssertUnwindSafe(report))
                    .map_err(text_of)
                    .err();
                self.progress
                    .panics
                    .lock()
                    .extend([text].into_iter().chain(failed));
                None
            }
        }
    }
}

/// The rest of the stack. It is released when the last holder drops it. Holders are the callbacks of drained chunks,
/// or the chunks themselves if the pool's bookkeeping is dropped with ranges that nobody ever gives back. Empty until
/// the release reaches its pool.
struct Rest(Mutex<Option<Stack>>);

impl Drop for Rest {
    fn drop(&mut self) {
        let stack = mem::take(&mut *self.0.lock());
        if let Some(stack) = stack {
            let device = &*stack.device;
            stack.run(|| tracing::debug!(device, "all is back, the release goes on"));
            stack.take_down();
        }
    }
}

fn text_of(panic: Box<dyn Any + Send>) -> String {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        return (*text).to_owned();
    }
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => {
            discard_panic(panic);
            "a value that is no text".to_owned()
        }
    }
}
