//! Algorithms by name, in the syntax of traces and of `--algorithm`.

use std::fmt;
use std::str::FromStr;

use genpool::{
    Algorithm, BestFit, ConstraintError, FirstFit, FirstFitAlign, FixedAddress, FixedOffset,
    NextFit, OrderAlign, SpreadFit, ThreadStart,
};
use thiserror::Error;

use crate::size::{NumberError, parse_number};

/// An algorithm with its parameters.
///
/// Parsing and [`Display`](fmt::Display) are inverse to each other:
///
/// ```
/// use genpool_cli::algorithm::AlgorithmSpec;
///
/// let spec: AlgorithmSpec = "first-fit-align:0x100".parse()?;
/// assert_eq!(spec, AlgorithmSpec::FirstFitAlign(256));
/// assert_eq!(spec.to_string(), "first-fit-align:0x100");
/// # Ok::<(), genpool_cli::algorithm::SpecError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AlgorithmSpec {
    /// `first-fit`
    #[default]
    FirstFit,
    /// `first-fit-align:BYTES`, a power of two.
    FirstFitAlign(usize),
    /// `order-align`
    OrderAlign,
    /// `best-fit`
    BestFit,
    /// `fixed:OFFSET`, bytes from the start of a chunk.
    FixedOffset(usize),
    /// `fixed-address:ADDRESS`
    FixedAddress(usize),
    /// `next-fit`
    NextFit,
    /// `thread-start`
    ThreadStart,
    /// `spread-fit`
    SpreadFit,
}

impl AlgorithmSpec {
    /// Builds the algorithm.
    ///
    /// # Errors
    ///
    /// [`SpecError`] for an alignment that is not a power of two.
    pub fn build(self) -> Result<Box<dyn Algorithm>, SpecError> {
        Ok(match self {
            Self::FirstFit => Box::new(FirstFit),
            Self::FirstFitAlign(bytes) => Box::new(FirstFitAlign::new(bytes)?),
            Self::OrderAlign => Box::new(OrderAlign),
            Self::BestFit => Box::new(BestFit),
            Self::FixedOffset(offset) => Box::new(FixedOffset::new(offset)),
            Self::FixedAddress(addr) => Box::new(FixedAddress::new(addr)),
            Self::NextFit => Box::new(NextFit::new()),
            Self::ThreadStart => Box::new(ThreadStart),
            Self::SpreadFit => Box::new(SpreadFit),
        })
    }
}

impl FromStr for AlgorithmSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (name, data) = match text.split_once(':') {
            Some((name, data)) => (name, Some(data)),
            None => (text, None),
        };
        let number = |name, of| {
            let text = data.ok_or(SpecError::NoNumber { name, of })?;
            parse_number(text)
                .and_then(|number| usize::try_from(number).map_err(|_| NumberError::TooLarge))
                .map_err(|reason| SpecError::Number { name, of, reason })
        };
        let spec = match name {
            "first-fit" => Self::FirstFit,
            "first-fit-align" => {
                let bytes = number("first-fit-align", "bytes")?;
                FirstFitAlign::new(bytes)?;
                return Ok(Self::FirstFitAlign(bytes));
            }
            "order-align" => Self::OrderAlign,
            "best-fit" => Self::BestFit,
            "fixed" => return Ok(Self::FixedOffset(number("fixed", "offset")?)),
            "fixed-address" => return Ok(Self::FixedAddress(number("fixed-address", "address")?)),
            "next-fit" => Self::NextFit,
            "thread-start" => Self::ThreadStart,
            "spread-fit" => Self::SpreadFit,
            _ => return Err(SpecError::Unknown),
        };
        match data {
            None => Ok(spec),
            Some(_) => Err(SpecError::UnwantedNumber(spec)),
        }
    }
}

impl fmt::Display for AlgorithmSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstFit => f.write_str("first-fit"),
            Self::FirstFitAlign(bytes) => write!(f, "first-fit-align:{bytes:#x}"),
            Self::OrderAlign => f.write_str("order-align"),
            Self::BestFit => f.write_str("best-fit"),
            Self::FixedOffset(offset) => write!(f, "fixed:{offset:#x}"),
            Self::FixedAddress(addr) => write!(f, "fixed-address:{addr:#x}"),
            Self::NextFit => f.write_str("next-fit"),
            Self::ThreadStart => f.write_str("thread-start"),
            Self::SpreadFit => f.write_str("spread-fit"),
        }
    }
}

/// A text that names no algorithm, or one that cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpecError {
    /// No algorithm has this name.
    #[error(
        "unknown algorithm; known are first-fit, first-fit-align:BYTES, order-align, best-fit, fixed:OFFSET, \
         fixed-address:ADDRESS, next-fit, thread-start and spread-fit"
    )]
    Unknown,
    /// The algorithm needs a number.
    #[error("`{name}` needs {of}: `{name}:{}`", of.to_uppercase())]
    NoNumber {
        /// The algorithm.
        name: &'static str,
        /// What the number is.
        of: &'static str,
    },
    /// The algorithm needs another number than that.
    #[error("the {of} of `{name}` is {reason}")]
    Number {
        /// The algorithm.
        name: &'static str,
        /// What the number is.
        of: &'static str,
        /// What is wrong with it.
        reason: NumberError,
    },
    /// The algorithm takes no number.
    #[error("`{0}` takes no number")]
    UnwantedNumber(AlgorithmSpec),
    /// The alignment is not a power of two.
    #[error(transparent)]
    Align(#[from] ConstraintError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back_and_builds() {
        for spec in [
            AlgorithmSpec::FirstFit,
            AlgorithmSpec::FirstFitAlign(0x40),
            AlgorithmSpec::OrderAlign,
            AlgorithmSpec::BestFit,
            AlgorithmSpec::FixedOffset(0x1000),
            AlgorithmSpec::FixedAddress(0x1000),
            AlgorithmSpec::NextFit,
            AlgorithmSpec::ThreadStart,
            AlgorithmSpec::SpreadFit,
        ] {
            assert_eq!(spec.to_string().parse(), Ok(spec));
            let name = spec.build().unwrap().name().unwrap();
            assert_eq!(name.to_string(), spec.to_string());
        }
    }

    #[test]
    fn refused_names() {
        for (text, says) in [
            ("", "unknown algorithm"),
            ("worst-fit", "unknown algorithm"),
            ("first-fit-align", "needs bytes"),
            ("first-fit-align:", "not a number"),
            ("first-fit-align:0", "not a power of two"),
            ("first-fit-align:48", "not a power of two"),
            ("fixed", "needs offset"),
            ("fixed-address", "needs address"),
            ("fixed:-1", "not a number"),
            (
                "fixed:18446744073709551616",
                "the offset of `fixed` is too large",
            ),
            ("best-fit:3", "takes no number"),
        ] {
            let error = text.parse::<AlgorithmSpec>().unwrap_err().to_string();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
