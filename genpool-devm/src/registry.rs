//! The registry of devices.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use genpool_core::FirstPanic;
use genpool_core::sync::Mutex;
use thiserror::Error;

use crate::device::Device;
use crate::error::{GetError, Gone};
use crate::path::NodePath;
use crate::pool::ManagedPool;
use crate::release::Released;

/// Devices, found by their node or their name in time logarithmic in their number. Devices may be probed, looked up
/// and removed concurrently. None of its calls is [signal-safe](crate#signal-safety).
///
/// ```
/// use genpool::devm::{Device, NodePath, Registry};
/// use genpool::{ChunkSpec, Pool};
///
/// let registry = Registry::new();
/// let node = NodePath::new("/soc/sram@0");
/// registry.probe(Device::new("sram").at(node.clone()), |device| {
///     let pool = device.create_pool(Pool::builder().order(5))?;
///     pool.add_chunk(ChunkSpec::new(0, 0x1000))?;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
///
/// let pool = registry.find(&node).expect("it was probed").pool(None)?;
/// assert_eq!(pool.size(), 0x1000);
/// drop(registry.remove("sram")?);
/// assert!(pool.is_sealed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Registry {
    /// Locked for look-ups and changes only.
    devices: Mutex<Devices>,
}

/// Devices under numbers that grow in the order of registration.
#[derive(Debug, Default)]
struct Devices {
    all: BTreeMap<u64, Arc<Device>>,
    by_name: HashMap<Arc<str>, u64>,
    by_node: HashMap<NodePath, u64>,
    came: u64,
}

impl Devices {
    fn at(&self, node: &NodePath) -> Option<&Arc<Device>> {
        self.all.get(self.by_node.get(node)?)
    }

    fn named(&self, name: &str) -> Option<&Arc<Device>> {
        self.all.get(self.by_name.get(name)?)
    }

    /// Inserts a device. If another device has its name or its node, returns the device and that other one.
    fn insert(&mut self, device: Device) -> Result<Arc<Device>, (Box<Device>, Arc<Device>)> {
        let at_node = || self.at(device.node()?);
        if let Some(known) = self.named(device.name()).or_else(at_node) {
            let known = Arc::clone(known);
            return Err((Box::new(device), known));
        }
        self.came += 1;
        self.by_name.insert(Arc::from(device.name()), self.came);
        if let Some(node) = device.node() {
            self.by_node.insert(node.clone(), self.came);
        }
        let device = Arc::new(device);
        self.all.insert(self.came, Arc::clone(&device));
        Ok(device)
    }

    fn take(&mut self, device: &Arc<Device>) -> Option<Arc<Device>> {
        let known = self.named(device.name())?;
        if !Arc::ptr_eq(known, device) {
            return None;
        }
        if let Some(node) = device.node() {
            self.by_node.remove(node);
        }
        let number = self.by_name.remove(device.name())?;
        self.all.remove(&number)
    }
}

impl Registry {
    /// Makes a registry without devices.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers `device`, runs `probe` on it and binds it. Other threads can already find the device while it is
    /// probed; a pool that it does not have is then reported as not there yet. If `probe` fails or panics, the device
    /// is released and unregistered.
    ///
    /// # Errors
    ///
    /// [`RegisterError`], with the device or with the error of `probe`.
    pub fn probe<E>(
        &self,
        device: Device,
        probe: impl FnOnce(&Device) -> Result<(), E>,
    ) -> Result<Arc<Device>, RegisterError<E>> {
        let inserted = self.devices.lock().insert(device);
        let device = inserted.map_err(|(device, known)| RegisterError::Occupied {
            device,
            by: Arc::from(known.name()),
        })?;
        let mut entry = Entry {
            registry: self,
            device: &device,
            keep: false,
        };
        match probe(&device) {
            Ok(()) => {
                device.bind();
                entry.keep = true;
                drop(entry);
                Ok(device)
            }
            Err(error) => Err(RegisterError::Probe {
                error,
                released: device.release().ok(),
            }),
        }
    }

    /// Registers a device without a probe, and binds it.
    ///
    /// ```
    /// use genpool::devm::{Device, Registry};
    ///
    /// let registry = Registry::new();
    /// let device = registry.add(Device::new("video")).expect("the name is free");
    /// assert_eq!(device.name(), "video");
    /// assert!(registry.add(Device::new("video")).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`RegisterError::Occupied`] if another device has its name or its node.
    pub fn add(
        &self,
        device: Device,
    ) -> Result<Arc<Device>, RegisterError<std::convert::Infallible>> {
        self.probe(device, |_| Ok(()))
    }

    /// Returns the device of a node. A device that is being removed is still found, and reports that it is gone.
    #[must_use]
    pub fn find(&self, node: &NodePath) -> Option<Arc<Device>> {
        self.devices.lock().at(node).cloned()
    }

    /// Returns the device of that name.
    ///
    /// ```
    /// use genpool::devm::{Device, Registry};
    ///
    /// let registry = Registry::new();
    /// registry.add(Device::new("video")).expect("the name is free");
    /// assert!(registry.find_named("video").is_some());
    /// assert!(registry.find_named("audio").is_none());
    /// ```
    #[must_use]
    pub fn find_named(&self, name: &str) -> Option<Arc<Device>> {
        self.devices.lock().named(name).cloned()
    }

    /// Returns the pool `name` of the device `device`. Without a name, returns its unnamed pool.
    ///
    /// ```
    /// use genpool::Pool;
    /// use genpool::devm::{Device, Registry};
    ///
    /// let registry = Registry::new();
    /// let probe = |device: &Device| device.create_pool(Pool::builder().name("rx")).map(drop);
    /// registry.probe(Device::new("video"), probe)?;
    /// assert_eq!(registry.pool("video", Some("rx"))?.name(), Some("rx"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`GetError`], which says whether asking again later makes sense.
    pub fn pool(&self, device: &str, name: Option<&str>) -> Result<ManagedPool, GetError> {
        self.find_named(device)
            .ok_or_else(|| GetError::NoDevice {
                device: Arc::from(device),
            })?
            .pool(name)
    }

    /// Returns all devices in the order of registration.
    #[must_use]
    pub fn devices(&self) -> Vec<Arc<Device>> {
        self.devices.lock().all.values().cloned().collect()
    }

    /// Ends the device of that name, as [`Device::release`] does, and unregisters it. Its name and its node are free
    /// again when this returns.
    ///
    /// # Errors
    ///
    /// [`RemoveError`] if there is no such device, or if it has already been released.
    pub fn remove(&self, name: &str) -> Result<Released, RemoveError> {
        let device = self.find_named(name).ok_or_else(|| RemoveError::NoDevice {
            device: Arc::from(name),
        })?;
        let released = device.release();
        self.take_off(&device);
        Ok(released?)
    }

    fn take_off(&self, device: &Arc<Device>) {
        // Dropped after the lock is released: the end of a device runs user code.
        let taken = self.devices.lock().take(device);
        drop(taken);
    }
}

impl Drop for Registry {
    /// Ends the devices that nobody else holds, the last first.
    fn drop(&mut self) {
        let mut devices = std::mem::take(&mut *self.devices.lock());
        let mut panics = FirstPanic::default();
        while let Some((_, device)) = devices.all.pop_last() {
            panics.run(|| drop(device));
        }
        panics.resume();
    }
}

/// The registration of a device that is being probed. Its drop unregisters the device unless `keep` is set.
struct Entry<'a> {
    registry: &'a Registry,
    device: &'a Arc<Device>,
    keep: bool,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if !self.keep {
            // A probe that panicked has not released the device, and its caller gets only the panic.
            let mut panics = FirstPanic::default();
            if let Ok(released) = self.device.release() {
                released.report(self.device.name(), &mut panics);
            }
            self.registry.take_off(self.device);
            panics.resume();
        }
    }
}

/// The reason why a device was not registered.
///
/// ```
/// use genpool::devm::{Device, RegisterError, Registry};
///
/// let registry = Registry::new();
/// registry.probe(Device::new("video"), |_| Ok::<_, String>(()))?;
/// let refused = registry.probe(Device::new("video"), |_| Ok::<_, String>(())).err();
/// assert!(matches!(refused, Some(RegisterError::Occupied { .. })));
/// let refused = registry.probe(Device::new("audio"), |_| Err("no codec")).err();
/// assert!(matches!(refused, Some(RegisterError::Probe { error: "no codec", .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegisterError<E> {
    /// Another device has its name or its node.
    #[error("device {}: its name or its node is that of device {by}", device.name())]
    Occupied {
        /// The device, unchanged.
        device: Box<Device>,
        /// The name of the other device.
        by: Arc<str>,
    },
    /// Its probe failed.
    #[error("{error}")]
    Probe {
        /// The error of the probe.
        error: E,
        /// The report on the release of its resources. None if the probe had released the device itself.
        released: Option<Released>,
    },
}

/// The reason why a device was not removed.
///
/// ```
/// use genpool::devm::{Registry, RemoveError};
///
/// let refused = Registry::new().remove("video").err();
/// assert_eq!(refused, Some(RemoveError::NoDevice { device: "video".into() }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// There is no such device.
    #[error("device {device} is not registered")]
    NoDevice {
        /// The given name.
        device: Arc<str>,
    },
    /// The device has already been released.
    #[error(transparent)]
    Gone(#[from] Gone),
}
