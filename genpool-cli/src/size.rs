//! Byte sizes and numbers as people write them: parsing and formatting.

use std::fmt;

use thiserror::Error;

/// Parses a decimal number, or a hexadecimal one with `0x`.
///
/// Refuses signs, spaces and separators, which [`u64::from_str_radix`] alone would not do.
///
/// # Errors
///
/// [`NumberError`] if the text is not a number, or one of more than 64 bits.
pub fn parse_number(text: &str) -> Result<u64, NumberError> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(NumberError::NotANumber);
    }
    u64::from_str_radix(digits, radix).map_err(|_| NumberError::TooLarge)
}

/// Parses a size in bytes: a number, or a decimal number with `K`, `M`, `G` or `T` (powers of 1024; `KiB`, `kB` and `k`
/// are the same).
///
/// # Errors
///
/// [`NumberError`] if the text is not a size, or does not fit an address of this machine.
pub fn parse_size(text: &str) -> Result<usize, NumberError> {
    let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    let unit_at = match hexadecimal {
        true => text.len(),
        false => text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    };
    let (number, unit) = text.split_at(unit_at);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(NumberError::NotANumber),
    };
    let bytes = parse_number(number)?
        .checked_mul(1 << shift)
        .ok_or(NumberError::TooLarge)?;
    usize::try_from(bytes).map_err(|_| NumberError::TooLarge)
}

/// The reason that a text is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NumberError {
    /// It contains something other than digits, or nothing.
    #[error("not a number")]
    NotANumber,
    /// It is a number that the field cannot hold.
    #[error("too large")]
    TooLarge,
}

/// A size in bytes, shown in the largest unit that holds it exactly, or with one decimal digit if none does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let bytes = self.0 as u64;
        let step = (bytes.max(1).ilog2() / 10) as usize;
        let unit = 1u64 << (10 * step);
        let name = UNITS[step];
        if bytes.is_multiple_of(unit) {
            write!(f, "{} {name}", bytes / unit)
        } else {
            write!(f, "{:.1} {name}", bytes as f64 / unit as f64)
        }
    }
}

/// A number with its digits in groups of three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grouped(pub u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(parse_number("0"), Ok(0));
        assert_eq!(parse_number("4096"), Ok(4096));
        assert_eq!(parse_number("0xC8"), Ok(200));
        assert_eq!(parse_number("18446744073709551615"), Ok(u64::MAX));
        for bad in [
            "", "0x", "+1", "-1", "1_000", " 1", "1 ", "0x-1", "ten", "1.5", "٣",
        ] {
            assert_eq!(parse_number(bad), Err(NumberError::NotANumber), "{bad:?}");
        }
        for large in ["18446744073709551616", "0x10000000000000000"] {
            assert_eq!(parse_number(large), Err(NumberError::TooLarge), "{large:?}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("64M"), Ok(64 << 20));
        assert_eq!(parse_size("1G"), Ok(1 << 30));
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("0x1000"), Ok(4096));
        assert_eq!(parse_size("0xB"), Ok(11));
        assert_eq!(parse_size("3KiB"), Ok(3072));
        for bad in ["", "M", "64X", "-1M", "1.5G", "0x1M", "64 M"] {
            assert_eq!(parse_size(bad), Err(NumberError::NotANumber), "{bad:?}");
        }
        for large in ["18446744073709551615K", "99999999999999999999", "16777216T"] {
            assert_eq!(parse_size(large), Err(NumberError::TooLarge), "{large:?}");
        }
    }

    #[test]
    fn shown() {
        assert_eq!(Bytes(0).to_string(), "0 B");
        assert_eq!(Bytes(64 << 20).to_string(), "64 MiB");
        assert_eq!(Bytes(4 << 30).to_string(), "4 GiB");
        assert_eq!(Bytes(1000).to_string(), "1000 B");
        assert_eq!(Bytes(1536).to_string(), "1.5 KiB");
        assert_eq!(Bytes(usize::MAX).to_string(), "16.0 EiB");
        assert_eq!(Grouped(7).to_string(), "7");
        assert_eq!(Grouped(1000).to_string(), "1,000");
        assert_eq!(Grouped(1_234_567).to_string(), "1,234,567");
        assert_eq!(format!("{:>7}", Grouped(1000)), "  1,000");
    }
}
