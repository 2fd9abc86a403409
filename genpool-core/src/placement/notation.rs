//! The names of algorithms in a trace.

use core::fmt;

/// The algorithms that a trace can name, each with its data. `Display` writes the text that follows `algo=` in a
/// trace.
///
/// ```
/// use genpool::{Algorithm, FirstFit, Notation};
///
/// assert_eq!(FirstFit.notation(), Some(Notation::FirstFit));
/// assert_eq!(Notation::FirstFitAlign { bytes: 4096 }.to_string(), "first-fit-align:0x1000");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Notation {
    /// `first-fit`
    FirstFit,
    /// `first-fit-align:BYTES`
    FirstFitAlign {
        /// A power of two.
        bytes: usize,
    },
    /// `order-align`
    OrderAlign,
    /// `best-fit`
    BestFit,
    /// `fixed:OFFSET`
    FixedOffset {
        /// Bytes from the start of a chunk.
        offset: usize,
    },
    /// `fixed-address:ADDRESS`
    FixedAddress {
        /// The address.
        addr: usize,
    },
    /// `next-fit`
    NextFit,
    /// `thread-start`
    ThreadStart,
}

impl fmt::Display for Notation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstFit => f.write_str("first-fit"),
            Self::FirstFitAlign { bytes } => write!(f, "first-fit-align:{bytes:#x}"),
            Self::OrderAlign => f.write_str("order-align"),
            Self::BestFit => f.write_str("best-fit"),
            Self::FixedOffset { offset } => write!(f, "fixed:{offset:#x}"),
            Self::FixedAddress { addr } => write!(f, "fixed-address:{addr:#x}"),
            Self::NextFit => f.write_str("next-fit"),
            Self::ThreadStart => f.write_str("thread-start"),
        }
    }
}
