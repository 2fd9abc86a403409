//! The committed figures, in a file with the simplest form of TOML.
//!
//! ```toml
//! rustc = "rustc 1.95.0 (59807616e 2026-04-14)"
//!
//! [instructions]
//! one = 120.0
//! ```

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

const TABLE: &str = "[instructions]";

/// Instructions per operation, and the compiler with which they were counted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figures {
    pub(crate) rustc: String,
    /// Names and figures, in the order of the file.
    pub(crate) instructions: Vec<(String, f64)>,
}

/// What is wrong with a file of figures.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Malformed {
    /// A line that is neither a name nor a figure.
    #[error("line {number} means nothing: {text}")]
    Line { number: usize, text: String },
    /// The compiler is not named.
    #[error("the compiler is not named")]
    NoCompiler,
}

impl Figures {
    /// Returns the figure of that name.
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        let mut all = self.instructions.iter();
        all.find(|(known, _)| known == name)
            .map(|&(_, figure)| figure)
    }
}

impl FromStr for Figures {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (mut rustc, mut instructions) = (None, Vec::new());
        let mut in_table = false;
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line == TABLE {
                in_table = true;
                continue;
            }
            let understood = line.split_once('=').and_then(|(key, value)| {
                let (key, value) = (key.trim(), value.trim());
                if in_table {
                    let figure: f64 = value.parse().ok()?;
                    let sound = figure.is_finite() && figure > 0.0;
                    sound.then(|| instructions.push((key.into(), figure)))
                } else if key == "rustc" {
                    rustc = Some(value.strip_prefix('"')?.strip_suffix('"')?.to_owned());
                    Some(())
                } else {
                    None
                }
            });
            understood.ok_or_else(|| Malformed::Line {
                number,
                text: line.into(),
            })?;
        }
        Ok(Self {
            rustc: rustc.ok_or(Malformed::NoCompiler)?,
            instructions,
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Instructions per operation; ci/counts.sh compares with them, and with --bless writes them."
        )?;
        writeln!(f, "rustc = \"{}\"\n\n{TABLE}", self.rustc)?;
        for (name, figure) in &self.instructions {
            writeln!(f, "{name} = {figure:.1}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let figures = Figures {
            rustc: "rustc 1.95.0 (x)".into(),
            instructions: vec![("one".into(), 120.5), ("across-words".into(), 300.0)],
        };
        assert_eq!(figures.to_string().parse(), Ok(figures.clone()));
        assert_eq!(figures.get("across-words"), Some(300.0));
        assert_eq!(figures.get("two"), None);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let table = "rustc = \"1\"\n[instructions]\n";
        for line in [
            "one",
            "one = ",
            "one = x",
            "one = 0.0",
            "one = -1",
            "one = inf",
        ] {
            let text = line.trim().to_owned();
            assert_eq!(
                format!("{table}{line}\n").parse::<Figures>(),
                Err(Malformed::Line { number: 3, text }),
            );
        }
        assert_eq!(
            "[instructions]".parse::<Figures>(),
            Err(Malformed::NoCompiler)
        );
        assert!("rustc = 1".parse::<Figures>().is_err());
        assert!("one = 1.0".parse::<Figures>().is_err());
    }
}
