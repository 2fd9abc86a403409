//! Text that somebody else chose, such as the names of files and pools, made fit to be shown.

use std::fmt::{self, Display, Write};

use unicode_width::UnicodeWidthStr;

/// A text in which what would not show as itself is U+FFFD: control characters, which a terminal obeys, and
/// those that turn or hide what stands around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain<T>(pub T);

impl<T: Display> Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Filter(f), "{}", self.0)
    }
}

struct Filter<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Filter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.0.write_char(plain(c)))
    }
}

/// A character, or U+FFFD in its place.
pub fn plain(c: char) -> char {
    match c {
        // Marks of direction, joiners, separators of lines, invisible operators, annotations, tags.
        '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{fffe}'
        | '\u{ffff}'
        | '\u{e0000}'..='\u{e007f}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// Columns that a text takes on a terminal: a Chinese character takes two.
pub fn columns(text: &str) -> usize {
    text.width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_itself_is_replaced() {
        let text = Plain("a\u{1b}[2J\r\n\u{202e}b\u{200d}\u{9b}ä軍").to_string();
        let bad = '\u{fffd}';
        assert_eq!(text, format!("a{bad}[2J{bad}{bad}{bad}b{bad}{bad}ä軍"));
        assert_eq!(columns("ä軍"), 3);
    }
}
