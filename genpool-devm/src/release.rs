//! The end of a device: its resources are released in reverse order.
//!
//! All pools are sealed first. Then the stack is taken down from the top. A pool in which something
//! is still held stops that: what lies under it, such as the mapping of its memory, must stay. The
//! rest of the stack then belongs to the callbacks of the pool's chunks, each of which is called
//! when the last allocation of its chunk is back, and the last of them goes on. They are made when the pool is
//! sealed, so that giving the last allocation back needs no memory.
//!
//! Actions, values, owners of chunks, algorithms, observers and subscribers of `tracing` are code of others. Each
//! runs or is dropped by itself, and what one of them panics with goes into the report; the others follow all
//! the same.

use std::any::Any;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use genpool_core::sync::{AtomicBool, Counted, Fault, Mutex, Ordering, seeded};
use genpool_core::{Drain, FirstPanic, Held, Owner, contained, discard_panic, owner_name};

use crate::error::Name;
use crate::pool::ManagedPool;

/// Something that ends with its device.
pub(crate) enum Resource {
    /// To be run: an action, or the drop of a value.
    Action(Box<dyn FnOnce() + Send>),
    Pool(ManagedPool),
}

/// An allocation that was held when its device ended.
///
/// ```
/// use genpool::devm::Device;
/// use genpool::{ChunkSpec, Pool};
///
/// let device = Device::new("video");
/// let pool = device.create_pool(Pool::builder().order(5).name("rx").boundary_tracking())?;
/// pool.add_chunk(ChunkSpec::new(0x1000, 0x1000).owner("bank 0"))?;
/// let ring = pool.alloc_owned(100)?;
/// ring.set_tag(7);
///
/// let released = device.release()?;
/// let held = &released.outstanding[0];
/// assert_eq!((held.addr, held.size, held.tag), (0x1000, 128, Some(7)));
/// assert_eq!((held.pool.as_deref(), held.owner_name()), (Some("rx"), Some("bank 0")));
/// assert_eq!(held.to_string(), "0x80 bytes at 0x1000 of rx, tag 0x7, owner bank 0");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Outstanding {
    /// The pool's name.
    pub pool: Option<String>,
    /// The address of the first byte.
    pub addr: usize,
    /// Bytes, whole granules.
    pub size: usize,
    /// The holder's tag. None without boundary tracking: neighbouring allocations then show as one.
    pub tag: Option<usize>,
    /// The owner's value of the chunk.
    pub owner: Option<Owner>,
}

impl Outstanding {
    pub(crate) fn new(pool: Option<&str>, mut held: Held) -> Self {
        Self {
            pool: pool.map(str::to_owned),
            addr: held.addr,
            size: held.size,
            tag: held.tag,
            owner: held.owner.take(),
        }
    }

    /// The owner's value, if it is a text.
    #[must_use]
    pub fn owner_name(&self) -> Option<&str> {
        owner_name(self.owner.as_ref()?)
    }
}

impl Drop for Outstanding {
    /// The owner's value may go with it. Of several whose drops panic in one list, the first panic goes on.
    fn drop(&mut self) {
        contained(|| drop(self.owner.take()));
    }
}

impl fmt::Display for Outstanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pool = self.pool.as_deref().unwrap_or("the unnamed pool");
        write!(f, "{:#x} bytes at {:#x} of {pool}", self.size, self.addr)?;
        if let Some(tag) = self.tag {
            write!(f, ", tag {tag:#x}")?;
        }
        if let Some(owner) = self.owner_name() {
            write!(f, ", owner {owner}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Outstanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outstanding({self})")
    }
}

/// What was found when a device ended.
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
/// drop(held);
/// assert!(released.is_complete());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "says what was still held"]
#[non_exhaustive]
pub struct Released {
    /// What was held when the pools were sealed, pool by pool in the order in which they end. It
    /// stays valid until it is given back. What a [`Cache`](genpool_core::Cache) keeps holds up the
    /// release too; with boundary tracking it is not listed, because nobody has it.
    pub outstanding: Vec<Outstanding>,
    progress: Arc<Progress>,
}

/// What becomes of a release, also after its report.
#[derive(Debug)]
struct Progress {
    complete: AtomicBool,
    panics: Mutex<Vec<String>>,
}

impl Released {
    /// Whether everything is released: not while something is held whose memory lies under it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        // Acquire: what the releases did happens before this answer.
        self.progress.complete.load(Ordering::Acquire)
    }

    /// What resources panicked with so far, in the order of their release; the others were released all the same.
    /// More may come until the release is complete. Each is reported through `tracing` too.
    #[must_use]
    pub fn panics(&self) -> Vec<String> {
        self.progress.panics.lock().clone()
    }

    /// Reports what was held through `tracing`, where there is no caller to hear of it, and ends. Panics go into
    /// `panics`.
    pub(crate) fn tell(self, device: &str, panics: &mut FirstPanic) {
        for held in &self.outstanding {
            panics.run(|| {
                tracing::warn!(
                    device,
                    pool = held.pool.as_deref(),
                    addr = format_args!("{:#x}", held.addr),
                    size = held.size,
                    tag = held.tag,
                    owner = held.owner_name(),
                    "held when its device ended"
                );
            });
        }
        panics.run(|| drop(self));
    }
}

/// Ends all that `resources` says, the last first.
pub(crate) fn release(device: &Name, resources: Vec<Resource>) -> Released {
    let progress = Arc::new(Progress {
        complete: AtomicBool::new(false),
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
    Action(Box<dyn FnOnce() + Send>),
    Pool(Sealed),
}

/// A sealed pool and its chunks.
struct Sealed {
    pool: ManagedPool,
    drains: Vec<Drain>,
    /// Each callback of a chunk that was not drained yet has it too.
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

/// What is still to be released; the last step comes first.
struct Stack {
    device: Name,
    steps: Vec<Step>,
    progress: Arc<Progress>,
}

impl Stack {
    /// Releases step by step, as far as nothing is held.
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
        // Release: see `Released::is_complete`.
        self.progress.complete.store(true, Ordering::Release);
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
        // If all is back by now, this goes on.
        drop(pool.rest);
    }

    /// Owners' values, algorithms and the observer may go with the pool.
    fn let_go(&self, pool: ManagedPool, drains: Vec<Drain>) {
        for drain in drains {
            self.run(|| drop(drain));
        }
        self.run(|| drop(pool));
    }

    /// Does what is code of others, and reports a panic.
    fn run<R>(&self, step: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(step)) {
            Ok(done) => Some(done),
            Err(panic) => {
                let text = text_of(panic);
                let device = &*self.device;
                let told = || tracing::error!(device, panic = text, "a release panicked");
                let untold = catch_unwind(AssertUnwindSafe(told)).map_err(text_of).err();
                self.progress
                    .panics
                    .lock()
                    .extend([text].into_iter().chain(untold));
                None
            }
        }
    }
}

/// Taken down when the last of those who hold it lets go: the callbacks of drained chunks, or the
/// chunks themselves, should a pool's bookkeeping go with ranges that nobody ever gives back. Before the release
/// comes to its pool there is nothing in it.
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
