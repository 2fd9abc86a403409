//! The devices that there are.

use std::sync::Arc;

use genpool_core::sync::Mutex;
use thiserror::Error;

use crate::device::Device;
use crate::error::{GetError, Gone};
use crate::path::NodePath;
use crate::pool::ManagedPool;
use crate::release::Released;

/// Devices, found by their node or by their name. Probing, looking up and removing may go on at once.
///
/// ```
/// use genpool_core::{ChunkSpec, Pool};
/// use genpool_devm::{Device, NodePath, Registry};
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
    /// In the order in which they came. Held for looks and changes only.
    devices: Mutex<Vec<Arc<Device>>>,
}

impl Registry {
    /// A registry without devices.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers `device`, runs `probe` on it and binds it. Others find the device meanwhile; a pool
    /// that it has not got is not there yet. If `probe` fails or panics, the device is released and
    /// taken off again.
    ///
    /// # Errors
    ///
    /// [`RegisterError`].
    pub fn probe<E>(
        &self,
        device: Device,
        probe: impl FnOnce(&Device) -> Result<(), E>,
    ) -> Result<Arc<Device>, RegisterError<E>> {
        let device = Arc::new(device);
        {
            let mut devices = self.devices.lock();
            let same = |known: &&Arc<Device>| {
                known.name() == device.name()
                    || (known.node().is_some() && known.node() == device.node())
            };
            if let Some(known) = devices.iter().find(same) {
                return Err(RegisterError::Occupied {
                    device: Arc::from(device.name()),
                    by: Arc::from(known.name()),
                });
            }
            devices.push(Arc::clone(&device));
        }
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
    /// # Errors
    ///
    /// [`RegisterError::Occupied`].
    pub fn add(
        &self,
        device: Device,
    ) -> Result<Arc<Device>, RegisterError<std::convert::Infallible>> {
        self.probe(device, |_| Ok(()))
    }

    /// The device of a node. While it is being removed it is still found, and is gone.
    #[must_use]
    pub fn find(&self, node: &NodePath) -> Option<Arc<Device>> {
        self.look(|device| device.node() == Some(node))
    }

    /// The device of that name.
    #[must_use]
    pub fn find_named(&self, name: &str) -> Option<Arc<Device>> {
        self.look(|device| device.name() == name)
    }

    fn look(&self, is_it: impl Fn(&Device) -> bool) -> Option<Arc<Device>> {
        let devices = self.devices.lock();
        devices.iter().find(|device| is_it(device)).cloned()
    }

    /// The pool `name` of the device `device`; without a name its unnamed pool.
    ///
    /// # Errors
    ///
    /// [`GetError`].
    pub fn pool(&self, device: &str, name: Option<&str>) -> Result<ManagedPool, GetError> {
        self.find_named(device)
            .ok_or_else(|| GetError::NoDevice {
                device: Arc::from(device),
            })?
            .pool(name)
    }

    /// All devices, in the order in which they came.
    #[must_use]
    pub fn devices(&self) -> Vec<Arc<Device>> {
        self.devices.lock().clone()
    }

    /// Ends the device of that name, as [`Device::release`], and takes it off. Its name and its node
    /// are free again when this returns.
    ///
    /// # Errors
    ///
    /// [`RemoveError`].
    pub fn remove(&self, name: &str) -> Result<Released, RemoveError> {
        let device = self.find_named(name).ok_or_else(|| RemoveError::NoDevice {
            device: Arc::from(name),
        })?;
        let released = device.release();
        self.take_off(&device);
        Ok(released?)
    }

    fn take_off(&self, device: &Arc<Device>) {
        let mut devices = self.devices.lock();
        let at = devices.iter().position(|known| Arc::ptr_eq(known, device));
        let taken = at.map(|at| devices.remove(at));
        // What the device's end runs is code of others.
        drop(devices);
        drop(taken);
    }
}

impl Drop for Registry {
    /// Ends what nobody else holds, the last first.
    fn drop(&mut self) {
        let mut devices = std::mem::take(&mut *self.devices.lock());
        while let Some(device) = devices.pop() {
            drop(device);
        }
    }
}

/// A device on its way into the registry; off again, unless it is kept.
struct Entry<'a> {
    registry: &'a Registry,
    device: &'a Arc<Device>,
    keep: bool,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if !self.keep {
            // A probe that panicked has not released it, and its caller hears of the panic only.
            if let Ok(released) = self.device.release() {
                released.tell(self.device.name());
            }
            self.registry.take_off(self.device);
        }
    }
}

/// Why a device was not registered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegisterError<E> {
    /// Another device has its name or its node.
    #[error("device {device}: its name or its node is that of device {by}")]
    Occupied {
        /// The name of the device.
        device: Arc<str>,
        /// The name of the other.
        by: Arc<str>,
    },
    /// Its probe failed.
    #[error("{error}")]
    Probe {
        /// What the probe answered.
        error: E,
        /// What was found when its resources were released, unless the probe had released the
        /// device itself.
        released: Option<Released>,
    },
}

/// Why a device was not removed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// There is no such device.
    #[error("there is no device {device}")]
    NoDevice {
        /// The name given.
        device: Arc<str>,
    },
    /// Somebody else has released it.
    #[error(transparent)]
    Gone(#[from] Gone),
}
