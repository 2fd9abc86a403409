//! The `key=value` words of one line.

use super::parse_address;
use crate::size::parse_number;

/// The fields of a line that were not read yet.
pub(super) struct Fields<'t> {
    pairs: Vec<(&'t str, &'t str)>,
}

impl<'t> Fields<'t> {
    pub(super) fn read(words: impl Iterator<Item = &'t str>) -> Result<Self, String> {
        let pairs = words
            .map(|word| {
                word.split_once('=')
                    .ok_or_else(|| format!("{} is not `key=value`", quoted(word)))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { pairs })
    }

    pub(super) fn optional(&mut self, key: &str) -> Result<Option<&'t str>, String> {
        let Some(at) = self.pairs.iter().position(|&(name, _)| name == key) else {
            return Ok(None);
        };
        let (_, value) = self.pairs.remove(at);
        if self.pairs.iter().any(|&(name, _)| name == key) {
            return Err(format!("`{key}` is given twice"));
        }
        Ok(Some(value))
    }

    pub(super) fn required(&mut self, key: &str) -> Result<&'t str, String> {
        self.optional(key)?
            .ok_or_else(|| format!("`{key}=` is missing"))
    }

    pub(super) fn optional_number(&mut self, key: &str) -> Result<Option<u64>, String> {
        match self.optional(key)? {
            Some(text) => match parse_number(text) {
                Ok(number) => Ok(Some(number)),
                Err(error) => Err(format!("{key}={} is {error}", quoted(text))),
            },
            None => Ok(None),
        }
    }

    pub(super) fn number(&mut self, key: &str) -> Result<u64, String> {
        self.optional_number(key)?
            .ok_or_else(|| format!("`{key}=` is missing"))
    }

    pub(super) fn address(&mut self, key: &str) -> Result<usize, String> {
        let text = self.required(key)?;
        parse_address(text).map_err(|error| format!("{key}={} is {error}", quoted(text)))
    }

    /// Checks that every field was read.
    pub(super) fn end(self) -> Result<(), String> {
        match self.pairs.first() {
            None => Ok(()),
            Some((key, _)) => Err(format!("unknown field {}", quoted(key))),
        }
    }
}

/// Quotes a word of the trace for an error message. Control characters are escaped, since the text goes to a terminal,
/// and a long word is cut.
pub(super) fn quoted(word: &str) -> String {
    const LONGEST: usize = 40;
    let mut text = String::from("`");
    for (i, c) in word.chars().enumerate() {
        if i == LONGEST {
            text.push('…');
            break;
        }
        text.extend(c.escape_debug());
    }
    text.push('`');
    text
}
