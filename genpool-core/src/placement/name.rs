//! The names of algorithms.

use core::fmt;

/// The name of an algorithm, and its parameter if it has one. `Display` writes both as `name` or `name:0x...`, as
/// after `algo=` in a trace.
///
/// ```
/// use genpool::{Algorithm, AlgorithmName, FirstFit, FirstFitAlign};
///
/// assert_eq!(FirstFit.name(), Some(AlgorithmName::new("first-fit")));
/// let aligned = FirstFitAlign::new(4096)?;
/// assert_eq!(aligned.name(), Some(AlgorithmName::with("first-fit-align", 4096)));
/// assert_eq!(aligned.name().map(|name| name.to_string()).as_deref(), Some("first-fit-align:0x1000"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AlgorithmName {
    name: &'static str,
    parameter: Option<usize>,
}

impl AlgorithmName {
    /// Returns the name of an algorithm without a parameter.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        let parameter = None;
        Self { name, parameter }
    }

    /// Returns the name of an algorithm with its parameter.
    #[must_use]
    pub const fn with(name: &'static str, parameter: usize) -> Self {
        let parameter = Some(parameter);
        Self { name, parameter }
    }

    /// Returns the name without the parameter.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the parameter.
    #[must_use]
    pub const fn parameter(&self) -> Option<usize> {
        self.parameter
    }
}

impl fmt::Display for AlgorithmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parameter {
            None => f.write_str(self.name),
            Some(parameter) => write!(f, "{}:{parameter:#x}", self.name),
        }
    }
}
