//! An error with its sources, on one line.

use std::error::Error;
use std::fmt::{self, Display};
use std::iter;

/// Displays an error and its sources, separated by colons.
///
/// ```
/// use genpool_cli::chain::Chain;
/// use genpool_cli::show;
///
/// let error = show::load("/no/such/file".as_ref()).unwrap_err();
/// println!("{}", Chain(&error));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a dyn Error);

impl Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        iter::successors(self.0.source(), |&error| error.source())
            .try_for_each(|source| write!(f, ": {source}"))
    }
}
