//! A device and the resources that it manages.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::Arc;

use genpool_core::sync::Mutex;
use genpool_core::{Builder, FirstPanic};
use thiserror::Error;

use crate::error::{CreateError, GetError, Gone, Name, Rejected};
use crate::path::NodePath;
use crate::pool::ManagedPool;
use crate::release::{Released, Resource, release};

/// A device: a name, perhaps a node of a device tree, and a stack of managed resources. The resources are released in
/// reverse order when the device ends, by [`release`](Self::release) or by drop. Finding a pool by its name takes
/// constant time on average. None of its calls is [signal-safe](crate#signal-safety).
///
/// ```
/// use genpool::devm::Device;
/// use genpool::{ChunkSpec, Pool};
///
/// let device = Device::new("video");
/// device.on_release(|| println!("unmapped, after the pool is empty"))?;
/// let pool = device.create_pool(Pool::builder().order(5))?;
/// pool.add_chunk(ChunkSpec::new(0x1000, 0x1000))?;
/// device.bind();
///
/// let buffer = device.pool(None)?.alloc_owned(100)?;
/// let released = device.release()?;
/// assert_eq!(released.outstanding[0].addr, buffer.addr());
/// assert!(!released.is_complete());
/// drop(buffer); // the last one back releases what lay under the pool
/// assert!(released.is_complete());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Device {
    name: Name,
    node: Option<NodePath>,
    /// Locked for look-ups and changes only, never while user code runs.
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// In the order in which they were added.
    resources: Vec<Resource>,
    /// The indices of the pools among the resources.
    unnamed: Option<usize>,
    named: HashMap<Box<str>, usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Probing,
    Bound,
    Gone,
}

impl State {
    fn find(&self, name: Option<&str>) -> Option<&ManagedPool> {
        let at = match name {
            Some(name) => self.named.get(name).copied(),
            None => self.unnamed,
        };
        match self.resources.get(at?)? {
            Resource::Pool(pool) => Some(pool),
            Resource::Action(_) => None,
        }
    }

    fn add(&mut self, pool: ManagedPool) {
        let at = self.resources.len();
        match pool.name() {
            Some(name) => drop(self.named.insert(name.into(), at)),
            None => self.unnamed = Some(at),
        }
        self.resources.push(Resource::Pool(pool));
    }
}

impl Device {
    /// Makes a device in the state of being probed. Until [`bind`](Self::bind), a pool that it does not have is
    /// reported as not there *yet*.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            node: None,
            state: Mutex::new(State {
                phase: Phase::Probing,
                resources: Vec::new(),
                unnamed: None,
                named: HashMap::new(),
            }),
        }
    }

    /// Sets the device's node in the device tree.
    ///
    /// ```
    /// use genpool::devm::{Device, NodePath};
    ///
    /// let device = Device::new("sram").at(NodePath::new("/soc/sram@0"));
    /// assert_eq!(device.node().map(NodePath::as_str), Some("/soc/sram@0"));
    /// ```
    #[must_use]
    pub fn at(mut self, node: NodePath) -> Self {
        self.node = Some(node);
        self
    }

    /// Runs `probe` and binds the device if it succeeds. If it fails or panics, the resources that it had added are
    /// released in reverse order.
    ///
    /// ```
    /// use genpool::Pool;
    /// use genpool::devm::Device;
    ///
    /// let device = Device::new("video").probe(|device| {
    ///     device.create_pool(Pool::builder().order(5))?;
    ///     Ok::<_, Box<dyn std::error::Error>>(())
    /// })?;
    /// assert!(device.pool(None).is_ok());
    ///
    /// let failed = Device::new("audio").probe(|_| Err("no clock")).unwrap_err();
    /// assert_eq!(failed.error, "no clock");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ProbeError`] with the error of `probe`.
    pub fn probe<E>(
        self,
        probe: impl FnOnce(&Self) -> Result<(), E>,
    ) -> Result<Self, ProbeError<E>> {
        match probe(&self) {
            Ok(()) => {
                self.bind();
                Ok(self)
            }
            Err(error) => Err(ProbeError {
                error,
                released: self.release().ok(),
            }),
        }
    }

    /// Ends probing: the device has all the pools that it will have.
    pub fn bind(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Probing {
            state.phase = Phase::Bound;
        }
    }

    /// Returns the device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the device's node in the device tree.
    #[must_use]
    pub fn node(&self) -> Option<&NodePath> {
        self.node.as_ref()
    }

    /// Whether the device has been released.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.state.lock().phase == Phase::Gone
    }

    fn gone(&self) -> Gone {
        Gone {
            device: Arc::clone(&self.name),
        }
    }

    /// Keeps `value` until the device ends. It is then dropped, after everything that was added later.
    ///
    /// ```
    /// use genpool::devm::Device;
    ///
    /// let device = Device::new("video");
    /// let clock = std::sync::Arc::new(());
    /// device.manage(std::sync::Arc::clone(&clock))?;
    /// assert_eq!(std::sync::Arc::strong_count(&clock), 2);
    /// drop(device); // the handle is dropped with it
    /// assert_eq!(std::sync::Arc::strong_count(&clock), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Rejected`] with the value, if the device is gone.
    pub fn manage<T: Send + 'static>(&self, value: T) -> Result<(), Rejected<T>> {
        let mut state = self.state.lock();
        if state.phase == Phase::Gone {
            let gone = self.gone();
            return Err(Rejected { gone, value });
        }
        let drop_it = Box::new(move || drop(value));
        state.resources.push(Resource::Action(drop_it));
        Ok(())
    }

    /// Runs `action` when the device ends, before everything that was added earlier is released. If memory of a pool
    /// that was added later is still allocated then, the thread that gives back the last of it runs the action.
    ///
    /// # Errors
    ///
    /// [`Rejected`] with the action, if the device is gone. Where errors must be `Sync` and the action is not,
    /// `map_err(Gone::from)` leaves the action out.
    pub fn on_release<F: FnOnce() + Send + 'static>(&self, action: F) -> Result<(), Rejected<F>> {
        let mut state = self.state.lock();
        if state.phase == Phase::Gone {
            let (gone, value) = (self.gone(), action);
            return Err(Rejected { gone, value });
        }
        state.resources.push(Resource::Action(Box::new(action)));
        Ok(())
    }

    /// Builds a pool that ends with the device. The device knows it by the name that the builder gave it. If two
    /// callers use the same name, one of them succeeds.
    ///
    /// # Errors
    ///
    /// [`CreateError`]; the device is unchanged then.
    pub fn create_pool(&self, builder: Builder) -> Result<ManagedPool, CreateError> {
        let pool = builder.build().map_err(|source| CreateError::Build {
            device: Arc::clone(&self.name),
            source,
        })?;
        let pool = ManagedPool::new(pool);
        let refused = {
            let mut state = self.state.lock();
            if state.phase == Phase::Gone {
                self.gone().into()
            } else if state.find(pool.name()).is_some() {
                CreateError::Exists {
                    device: Arc::clone(&self.name),
                    name: pool.name().map(str::to_owned),
                }
            } else {
                state.add(pool.clone());
                return Ok(pool);
            }
        };
        // Dropped first: if this panics, a value that is already returned would be lost.
        drop(pool);
        Err(refused)
    }

    /// Returns the pool of that name. Without a name, returns the unnamed pool and no other.
    ///
    /// ```
    /// use genpool::Pool;
    /// use genpool::devm::{Device, GetError};
    ///
    /// let device = Device::new("video");
    /// device.create_pool(Pool::builder().name("rx"))?;
    /// assert!(device.pool(Some("rx")).is_ok());
    /// assert!(matches!(device.pool(None), Err(GetError::NotYet { .. }))); // it is being probed
    /// device.bind();
    /// assert!(matches!(device.pool(None), Err(GetError::NoPool { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`GetError`], but never [`NoDevice`](GetError::NoDevice).
    pub fn pool(&self, name: Option<&str>) -> Result<ManagedPool, GetError> {
        let state = self.state.lock();
        if state.phase == Phase::Gone {
            return Err(self.gone().into());
        }
        state.find(name).cloned().ok_or_else(|| {
            let (device, name) = (Arc::clone(&self.name), name.map(str::to_owned));
            match state.phase {
                Phase::Probing => GetError::NotYet { device, name },
                _ => GetError::NoPool { device, name },
            }
        })
    }

    /// Returns the device's pools in the order in which they were created. Empty once the device is gone.
    #[must_use]
    pub fn pools(&self) -> Vec<ManagedPool> {
        let state = self.state.lock();
        let pools = state
            .resources
            .iter()
            .filter_map(|resource| match resource {
                Resource::Pool(pool) => Some(pool.clone()),
                Resource::Action(_) => None,
            });
        pools.collect()
    }

    /// Ends the device. Its pools refuse new allocations, then its resources are released in reverse order. Live
    /// allocations stay valid and are listed in the result. Their pool, and the resources added before that pool, are
    /// released by the thread that gives back the last of them, which needs no memory. From now on, giving back is
    /// not [signal-safe](crate#signal-safety). A panic does not stop the release: see [`Released::panics`].
    ///
    /// A range that is known only by its address ([`into_raw`](genpool_core::Allocation::into_raw)) is listed too. It
    /// keeps the resources under it only as long as somebody holds the pool, by a [`ManagedPool`] or by an allocation
    /// that outlives it. Otherwise nobody could give the range back, so it is given up, as by
    /// [`Pool::destroy`](genpool_core::Pool::destroy). Make sure first that no hardware still uses such an address.
    ///
    /// # Errors
    ///
    /// [`Gone`], if the device has already been released.
    pub fn release(&self) -> Result<Released, Gone> {
        let resources = {
            let mut state = self.state.lock();
            if state.phase == Phase::Gone {
                return Err(self.gone());
            }
            state.phase = Phase::Gone;
            mem::take(&mut state.resources)
        };
        Ok(release(&self.name, resources))
    }
}

impl Drop for Device {
    /// Like [`release`](Self::release). Live allocations are reported through `tracing`. The first panic of user code
    /// that is dropped with the report is resumed when all is done.
    fn drop(&mut self) {
        if let Ok(released) = self.release() {
            let mut panics = FirstPanic::default();
            released.report(&self.name, &mut panics);
            panics.resume();
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("name", &self.name)
            .field("node", &self.node)
            .field("gone", &self.is_gone())
            .finish_non_exhaustive()
    }
}

/// The probe of a device failed.
///
/// ```
/// use genpool::devm::Device;
///
/// let failed = Device::new("audio")
///     .probe(|device| {
///         device.on_release(|| println!("the clock is off again")).expect("it is there");
///         Err("no codec")
///     })
///     .unwrap_err();
/// assert_eq!(failed.error, "no codec");
/// assert!(failed.released.is_some_and(|released| released.is_complete()));
/// ```
#[derive(Debug, Error)]
#[error("{error}")]
pub struct ProbeError<E> {
    /// The error of the probe.
    pub error: E,
    /// The report on the release of its resources. None if the probe had released the device itself.
    pub released: Option<Released>,
}
