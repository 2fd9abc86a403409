//! Errors, one small type for each operation.
//!
//! [`GetError`] distinguishes the reasons for "no pool". A device is being probed, is bound, or is gone, and the
//! registry says whether there is a device at all. A device that is being removed is found until its release is over,
//! and reports that it is gone.

use std::fmt;
use std::sync::Arc;

use genpool_core::{AddError, BuildError, ChunkSpec};
use thiserror::Error;

/// A device's name, as it appears in messages.
pub(crate) type Name = Arc<str>;

/// Formats a pool's name for a message.
struct Pool<'a>(&'a Option<String>);

impl fmt::Display for Pool<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "pool {name:?}"),
            None => f.write_str("unnamed pool"),
        }
    }
}

/// The device has been released.
///
/// ```
/// use genpool::devm::{Device, Gone};
///
/// let device = Device::new("video");
/// drop(device.release()?);
/// assert_eq!(device.release().err(), Some(Gone { device: "video".into() }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("device {device} is gone")]
pub struct Gone {
    /// The device's name.
    pub device: Arc<str>,
}

/// A value was not put under a device's management, because the device is gone. The value is returned. Without it the
/// error is a [`Gone`], into which it converts.
///
/// ```
/// use genpool::devm::Device;
///
/// let device = Device::new("video");
/// drop(device.release()?);
/// let rejected = device.manage(String::from("a mapping")).unwrap_err();
/// assert_eq!(rejected.value, "a mapping"); // it comes back
/// assert_eq!(rejected.to_string(), "device video is gone");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With a value that is not `Sync`, such as a closure that captures a `Cell`, it is no `Box<dyn Error + Send + Sync>`:
///
/// ```
/// use std::cell::Cell;
/// use std::error::Error;
///
/// use genpool::devm::{Device, Gone};
///
/// fn probe(device: &Device) -> Result<(), Box<dyn Error + Send + Sync>> {
///     let clock = Cell::new(true);
///     device.on_release(move || clock.set(false)).map_err(Gone::from)?;
///     Ok(())
/// }
/// # probe(&Device::new("video")).map_err(|error| error.to_string())?;
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Error)]
#[error("{gone}")]
pub struct Rejected<T> {
    /// The device.
    pub gone: Gone,
    /// The value to be managed.
    pub value: T,
}

/// Drops the value.
impl<T> From<Rejected<T>> for Gone {
    fn from(rejected: Rejected<T>) -> Self {
        rejected.gone
    }
}

impl<T> fmt::Debug for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("gone", &self.gone)
            .finish_non_exhaustive()
    }
}

/// The reason why a pool was not created on a device.
///
/// ```
/// use genpool::Pool;
/// use genpool::devm::{CreateError, Device};
///
/// let device = Device::new("video");
/// device.create_pool(Pool::builder().name("rx"))?;
/// let refused = device.create_pool(Pool::builder().name("rx")).err();
/// assert!(matches!(refused, Some(CreateError::Exists { name: Some(name), .. }) if name == "rx"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The device already has a pool of that name, or an unnamed one.
    #[error("device {device} has its {} already", Pool(name))]
    Exists {
        /// The device's name.
        device: Arc<str>,
        /// The pool's name.
        name: Option<String>,
    },
    /// The device has been released.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The pool itself could not be built.
    #[error("device {device}: its pool could not be built")]
    Build {
        /// The device's name.
        device: Arc<str>,
        /// The reason.
        source: BuildError,
    },
}

/// The reason why a caller got no pool.
///
/// ```
/// use genpool::devm::{GetError, Registry};
///
/// match Registry::new().pool("video", None) {
///     Ok(pool) => println!("{} bytes", pool.size()),
///     Err(GetError::NoDevice { .. } | GetError::NotYet { .. }) => println!("later, perhaps"),
///     Err(error) => println!("never: {error}"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GetError {
    /// No such device is registered. It may be registered later; one that was removed must be probed again.
    #[error("device {device} is not registered")]
    NoDevice {
        /// The name that was looked up.
        device: Arc<str>,
    },
    /// The device has been released.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The device exists and has no such pool.
    #[error("device {device} has no {}", Pool(name))]
    NoPool {
        /// The device's name.
        device: Arc<str>,
        /// The pool's name.
        name: Option<String>,
    },
    /// The device is being probed. The pool may still be created, so asking again later makes sense.
    #[error("device {device} is being probed and has no {} yet", Pool(name))]
    NotYet {
        /// The device's name.
        device: Arc<str>,
        /// The pool's name.
        name: Option<String>,
    },
}

/// The reason why memory was not added to a device's pool. The chunk is returned.
///
/// ```
/// use genpool::devm::{AddChunkError, Device};
/// use genpool::{ChunkSpec, Pool};
///
/// let device = Device::new("video");
/// let pool = device.create_pool(Pool::builder().order(5))?;
/// drop(device.release()?);
/// let refused = pool.add_chunk(ChunkSpec::new(0x1000, 0x1000)).unwrap_err();
/// assert!(matches!(refused, AddChunkError::Sealed(chunk) if chunk.start() == 0x1000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AddChunkError {
    /// The pool's device has been released.
    #[error("the pool's device is gone")]
    Sealed(ChunkSpec),
    /// The pool refused the chunk.
    #[error(transparent)]
    Refused(#[from] AddError),
}
