//! The end of a device: its resources are released in reverse order.
//!
//! All pools are sealed first. Then the stack is taken down from the top. A pool in which something
//! is still held stops that: what lies under it, such as the mapping of its memory, must stay. The
//! rest of the stack then belongs to the callbacks of the pool's chunks, each of which is called
//! when the last allocation of its chunk is back, and the last of them goes on.

use std::any::Any;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use genpool_core::sync::{AtomicBool, Counted, Fault, Mutex, Ordering, seeded};
use genpool_core::{Drain, Held, Owner, owner_name};

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
/// use genpool_core::{ChunkSpec, Pool};
/// use genpool_devm::Device;
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
/// use genpool_core::{ChunkSpec, Pool};
/// use genpool_devm::Device;
///
/// let device = Device::new("video");
/// device.on_release(|| println!("unmapped"))?;
/// let pool = device.create_pool(Pool::builder())?;
/// pool.add_chunk(ChunkSpec::new(0, 16))?;
/// let held = pool.alloc_owned(1)?;
///
/// let released = device.release()?;
/// assert_eq!((released.outstanding.len(), released.panics.len()), (1, 0));
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
    /// What resources said that panicked; the others were released all the same. Those that are
    /// released after this report say it through `tracing` only.
    pub panics: Vec<String>,
    complete: Arc<AtomicBool>,
}

impl Released {
    /// Whether everything is released: not while something is held whose memory lies under it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        // Acquire: what the releases did happens before this answer.
        self.complete.load(Ordering::Acquire)
    }

    /// Says what was held through `tracing`, where there is no caller to hear of it.
    pub(crate) fn tell(&self, device: &str) {
        for held in &self.outstanding {
            tracing::warn!(
                device,
                pool = held.pool.as_deref(),
                addr = format_args!("{:#x}", held.addr),
                size = held.size,
                tag = held.tag,
                owner = held.owner_name(),
                "held when its device ended"
            );
        }
    }
}

/// Ends all that `resources` says, the last first.
pub(crate) fn release(device: &Name, resources: Vec<Resource>) -> Released {
    let mut outstanding = Vec::new();
    let mut steps: Vec<Step> = resources
        .into_iter()
        .rev()
        .map(|resource| match resource {
            Resource::Action(action) => Step::Action(action),
            Resource::Pool(pool) => {
                let drains = pool.seal();
                outstanding.extend(pool.outstanding());
                Step::Pool(pool, drains)
            }
        })
        .collect();
    steps.reverse();
    let complete = Arc::new(AtomicBool::new(false));
    let stack = Stack {
        device: Arc::clone(device),
        steps,
        complete: Arc::clone(&complete),
    };
    Released {
        outstanding,
        panics: stack.take_down(),
        complete,
    }
}

enum Step {
    Action(Box<dyn FnOnce() + Send>),
    /// A sealed pool and its chunks.
    Pool(ManagedPool, Vec<Drain>),
}

/// What is still to be released; the last step comes first.
struct Stack {
    device: Name,
    steps: Vec<Step>,
    complete: Arc<AtomicBool>,
}

impl Stack {
    /// Releases step by step, as far as nothing is held. Answers what panicked.
    fn take_down(mut self) -> Vec<String> {
        let mut panics = Vec::new();
        while let Some(step) = self.steps.pop() {
            if let Step::Pool(_, drains) = &step
                && drains.iter().any(|drain| !drain.is_drained())
                && !seeded(Fault::HastyRelease)
            {
                let device = Arc::clone(&self.device);
                self.leave_to(drains);
                // The pool's own bookkeeping stays as long as who can give something back.
                panics.extend(end(&device, step));
                return panics;
            }
            panics.extend(end(&self.device, step));
        }
        // Release: see `Released::is_complete`.
        self.complete.store(true, Ordering::Release);
        panics
    }

    /// Leaves the rest to whoever gives back the last allocation in these chunks.
    fn leave_to(self, drains: &[Drain]) {
        let rest = Counted::new(Rest(Mutex::new(Some(self))));
        for drain in drains {
            let rest = Counted::clone(&rest);
            drain.on_drained(move || drop(rest));
        }
    }
}

/// Runs an action, or lets go of a pool: owners' values may go with it, and are code of others too.
/// Answers what it said if it panicked.
fn end(device: &Name, step: Step) -> Option<String> {
    let ended = catch_unwind(AssertUnwindSafe(|| match step {
        Step::Action(action) => action(),
        Step::Pool(pool, drains) => drop((drains, pool)),
    }));
    let text = text_of(ended.err()?);
    tracing::error!(device = &**device, panic = text, "a release panicked");
    Some(text)
}

/// Taken down when the last of those who hold it lets go: the callbacks of drained chunks, or the
/// chunks themselves, should a pool's bookkeeping go with ranges that nobody ever gives back.
struct Rest(Mutex<Option<Stack>>);

impl Drop for Rest {
    fn drop(&mut self) {
        let stack = mem::take(&mut *self.0.lock());
        if let Some(stack) = stack {
            tracing::debug!(device = &*stack.device, "all is back, the release goes on");
            stack.take_down();
        }
    }
}

fn text_of(panic: Box<dyn Any + Send>) -> String {
    let panic = match panic.downcast::<String>() {
        Ok(text) => return *text,
        Err(panic) => panic,
    };
    match panic.downcast::<&'static str>() {
        Ok(text) => (*text).to_owned(),
        Err(panic) => {
            // Its drop is code of others, which may panic once more.
            mem::forget(panic);
            "a value that is no text".to_owned()
        }
    }
}
