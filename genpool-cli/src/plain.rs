//! Untrusted text, such as the names of files and pools, made safe to show.

use std::fmt::{self, Display, Write};

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use unicode_width::UnicodeWidthStr;

/// A text in which every character that is not displayed as itself becomes U+FFFD: control characters, which a terminal
/// obeys, those that reorder or hide their neighbours, and those that are invisible or have no standard form.
///
/// ```
/// use genpool_cli::plain::Plain;
///
/// let name = "report\u{202e}lmth.\u{200b}exe\u{1b}[2J";
/// assert_eq!(Plain(name).to_string(), "report\u{fffd}lmth.\u{fffd}exe\u{fffd}[2J");
/// ```
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

/// Returns a character, or U+FFFD in its place.
pub fn plain(c: char) -> char {
    use GeneralCategory as Is;

    let is_hidden = match c.general_category() {
        // Formats include direction marks, joiners and tags.
        Is::Control | Is::Format | Is::LineSeparator | Is::ParagraphSeparator => true,
        Is::Unassigned | Is::PrivateUse | Is::Surrogate => true,
        // Letters and marks that Unicode has renderers ignore: fillers, a joiner, variation selectors.
        _ => matches!(c,
            '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0100}'..='\u{e01ef}'
        ),
    };
    if is_hidden { '\u{fffd}' } else { c }
}

/// Returns the columns of a text on a terminal. A Chinese character takes two.
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

    #[test]
    fn every_kind_of_hidden_character_is_replaced() {
        for c in [
            '\0',
            '\u{7f}',
            '\u{85}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{17b4}',
            '\u{180b}',
            '\u{180e}',
            '\u{200b}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{2060}',
            '\u{2064}',
            '\u{2066}',
            '\u{2069}',
            '\u{206f}',
            '\u{3164}',
            '\u{e000}',
            '\u{fdd0}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{ffff}',
            '\u{1bca0}',
            '\u{1d173}',
            '\u{1fffe}',
            '\u{e0001}',
            '\u{e007f}',
            '\u{e0100}',
            '\u{e0fff}',
            '\u{10ffff}',
        ] {
            assert_eq!(plain(c), '\u{fffd}', "{c:?}");
        }
        for c in [
            'a', ' ', '~', 'é', '\u{301}', 'ส', 'ิ', 'ا', 'א', '한', '…', '🦀', '\u{fffd}',
        ] {
            assert_eq!(plain(c), c, "{c:?}");
        }
    }
}
