//! A complete call, as `strace` writes it: `name(arguments) = result`.
//!
//! Arguments are separated by commas. Commas in strings, brackets, comments and the names that `-y` and `-Y` add to
//! numbers do not count. The text in there comes from elsewhere, and may look like part of the line.

use std::borrow::Cow;

use super::PAGE_ORDER;
use super::event::{Event, Kin, Pages, Pid};
use super::flags::{CloneFlags, MapFlags, keeps_old};
use crate::size::parse_number;

/// The calls that change what is mapped, or for which process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Mmap,
    Munmap,
    Mremap,
    Fork,
    Vfork,
    Clone,
    Clone3,
    Exec,
    /// Maps memory of a length that its line does not contain, or the heap, which grows in place.
    Elsewhere,
}

impl Name {
    pub(super) fn read(text: &str) -> Option<Self> {
        Some(match text {
            "mmap" | "mmap2" | "old_mmap" => Self::Mmap,
            "munmap" => Self::Munmap,
            "mremap" => Self::Mremap,
            "fork" => Self::Fork,
            "vfork" => Self::Vfork,
            "clone" => Self::Clone,
            "clone3" => Self::Clone3,
            "execve" | "execveat" => Self::Exec,
            "brk" | "shmat" | "map_shadow_stack" => Self::Elsewhere,
            _ => return None,
        })
    }

    /// Returns whether other threads may see an effect of the call before it returns: it unmaps memory, or creates a
    /// thread.
    pub(super) fn acts_at_once(self) -> bool {
        match self {
            Self::Munmap | Self::Mremap => true,
            Self::Fork | Self::Vfork | Self::Clone | Self::Clone3 => true,
            Self::Mmap | Self::Exec | Self::Elsewhere => false,
        }
    }
}

/// The result of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Event(Event),
    /// It failed, never returned, or changed nothing.
    Nothing,
    /// It mapped memory that is not part of the trace.
    Elsewhere,
    /// It succeeded or may have, but its line cannot be read. The event is the best guess.
    Unclear(Option<Event>),
}

/// Reads the result of a call from the text after `name(`.
pub(super) fn outcome(name: Name, text: &str) -> Outcome {
    let Split::Whole { arguments, tail } = split(text) else {
        return Outcome::Unclear(None);
    };
    let Some(result) = tail.trim_start().strip_prefix("= ") else {
        return Outcome::Unclear(None);
    };
    match Returned::read(result.trim()) {
        Some(Returned::Failed) => Outcome::Nothing,
        Some(Returned::Value(value, rest)) => {
            let arguments = Arguments(arguments);
            let event = match name {
                Name::Mmap => map(&arguments, value),
                Name::Munmap => arguments.pages(0, 1).map(Event::Unmap),
                Name::Mremap => remap(&arguments, value),
                Name::Fork | Name::Vfork | Name::Clone | Name::Clone3 => {
                    let Some(child) = child(value, rest) else {
                        return Outcome::Unclear(None);
                    };
                    return match kin(name, &arguments) {
                        Some(kin) => Outcome::Event(Event::Spawn { child, kin }),
                        None => Outcome::Unclear(Some(Event::Spawn {
                            child,
                            kin: Kin::Sharing,
                        })),
                    };
                }
                Name::Exec => Some(Event::Exec),
                // A `brk` of 0 queries the end of the heap.
                Name::Elsewhere => {
                    return match arguments.0.as_slice() {
                        [end] if number(end) == Some(0) => Outcome::Nothing,
                        _ => Outcome::Elsewhere,
                    };
                }
            };
            event.map_or(Outcome::Unclear(None), Outcome::Event)
        }
        None => Outcome::Unclear(None),
    }
}

/// What follows the `=`.
enum Returned<'t> {
    /// An error, or `?` for a call that never returned.
    Failed,
    /// The value, and the text after it.
    Value(u64, &'t str),
}

impl<'t> Returned<'t> {
    fn read(text: &'t str) -> Option<Self> {
        if text.starts_with(['-', '?']) {
            return Some(Self::Failed);
        }
        let end = text.find(|c: char| !c.is_ascii_alphanumeric());
        let (value, rest) = text.split_at(end.unwrap_or(text.len()));
        match number(value)? {
            // The kernel's errors, -1 to -4095, as unsigned numbers.
            error if error > u64::MAX - 4095 => Some(Self::Failed),
            value => Some(Self::Value(value, rest)),
        }
    }
}

fn map(arguments: &Arguments<'_>, addr: u64) -> Option<Event> {
    let len = arguments.number(1)?;
    let flags = MapFlags::read(arguments.value(3)?)?;
    let order = flags.huge.unwrap_or(PAGE_ORDER);
    Some(Event::Map {
        pages: Pages::new(addr, len)?.round_up(1 << (order - PAGE_ORDER))?,
        fixed: flags.fixed,
        unit: 1 << (order - PAGE_ORDER),
    })
}

/// Reads a call of `mremap`. It unmaps nothing if the old size is 0, which makes a second mapping of the same memory,
/// or if its flags say so.
fn remap(arguments: &Arguments<'_>, addr: u64) -> Option<Event> {
    let old = arguments.number(1)?;
    let from = match keeps_old(arguments.value(3)?)? || old == 0 {
        true => None,
        false => Some(arguments.pages(0, 1)?),
    };
    Some(Event::Remap {
        from,
        to: Some(Pages::new(addr, arguments.number(2)?)?),
    })
}

fn kin(name: Name, arguments: &Arguments<'_>) -> Option<Kin> {
    let flags = match name {
        Name::Fork => return Some(Kin::Process),
        Name::Vfork => return Some(Kin::Sharing),
        Name::Clone3 => {
            let Split::Whole { arguments, .. } = split(arguments.0.first()?.strip_prefix('{')?)
            else {
                return None;
            };
            CloneFlags::read(Arguments(arguments).named("flags")?)?
        }
        // If arguments have no names, the flags come first, except on IBM Z.
        _ => CloneFlags::read(match arguments.named("flags") {
            Some(flags) => flags,
            None => arguments.0.first()?,
        })?,
    };
    Some(match (flags.process, flags.memory) {
        (true, _) => Kin::Thread,
        (false, true) => Kin::Sharing,
        (false, false) => Kin::Process,
    })
}

/// Returns the number of a child. If the child is in another PID namespace, the number that lines use follows.
fn child(value: u64, rest: &str) -> Option<Pid> {
    let in_ours = rest
        .split_once(" in strace's PID NS */")
        .and_then(|(before, _)| before.rsplit_once("/* "));
    let child = match in_ours {
        Some((_, number)) => number.parse().ok()?,
        None => Pid::try_from(value).ok()?,
    };
    (child > 0).then_some(child)
}

struct Arguments<'t>(Vec<&'t str>);

impl<'t> Arguments<'t> {
    /// Returns an argument, without the name that `strace -N` adds to it.
    fn value(&self, at: usize) -> Option<&'t str> {
        let text = self.0.get(at)?;
        Some(split_name(text).map_or(*text, |(_, value)| value))
    }

    fn number(&self, at: usize) -> Option<u64> {
        number(uncommented(self.value(at)?).trim())
    }

    fn pages(&self, addr: usize, len: usize) -> Option<Pages> {
        Pages::new(self.number(addr)?, self.number(len)?)
    }

    fn named(&self, name: &str) -> Option<&'t str> {
        let mut named = self.0.iter().filter_map(|text| split_name(text));
        named.find_map(|(found, value)| (found == name).then_some(value))
    }
}

/// An argument of the form `name=value`.
fn split_name(text: &str) -> Option<(&str, &str)> {
    text.split_once('=').filter(|(name, _)| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    })
}

/// Where arguments end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Split<'t> {
    /// At their closing bracket; the tail follows it.
    Whole {
        arguments: Vec<&'t str>,
        tail: &'t str,
    },
    /// At the end of the line.
    Cut,
    /// At the end of the line, inside a string.
    CutString,
}

/// Splits arguments, or the fields of a structure, up to the closing bracket.
pub(super) fn split(text: &str) -> Split<'_> {
    let bytes = text.as_bytes();
    let (mut at, mut start, mut depth) = (0, 0, 0usize);
    let mut arguments = Vec::new();
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => match string_end(bytes, at) {
                Some(end) => at = end,
                None => return Split::CutString,
            },
            b'/' if bytes[at..].starts_with(b"/*") => match comment_end(bytes, at) {
                Some(end) => at = end,
                None => return Split::Cut,
            },
            b'<' if is_descriptor(&bytes[..at], &bytes[at..]) => match name_end(bytes, at) {
                Some(end) => at = end,
                None => return Split::Cut,
            },
            b'(' | b'[' | b'{' => {
                depth += 1;
                at += 1;
            }
            b')' | b']' | b'}' if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            b')' | b'}' => {
                arguments.push(text[start..at].trim());
                return Split::Whole {
                    arguments,
                    tail: &text[at + 1..],
                };
            }
            b',' if depth == 0 => {
                arguments.push(text[start..at].trim());
                at += 1;
                start = at;
            }
            _ => at += 1,
        }
    }
    Split::Cut
}

/// Returns the position after the closing quote of a string.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Returns the position after a comment. `strace -X verbose` nests them.
fn comment_end(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0usize);
    loop {
        match bytes.get(at..at + 2)? {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
}

/// Returns whether a `<` begins the name of a descriptor or process, which directly follows its number.
fn is_descriptor(before: &[u8], from: &[u8]) -> bool {
    before.last().is_some_and(u8::is_ascii_alphanumeric) && !from.starts_with(b"<<")
}

/// Returns the position after the name of a descriptor: `3</path>`, `3</dev/null<char 1:3>>`, `3<TCP:[a:1->b:2]>`. In
/// paths, `strace` escapes the closing characters.
fn name_end(bytes: &[u8], start: usize) -> Option<usize> {
    let is_socket = bytes[start + 1..]
        .iter()
        .find(|byte| !byte.is_ascii_alphanumeric() && **byte != b'_' && **byte != b'-')
        .is_some_and(|&byte| byte == b':');
    let (mut at, mut depth) = (start, 0usize);
    loop {
        match bytes.get(at)? {
            b'"' if is_socket => {
                at = string_end(bytes, at)?;
                continue;
            }
            b'<' => depth += 1,
            b'>' if is_socket && bytes[at - 1] == b'-' => {}
            b'>' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Returns a text without its comments.
pub(super) fn uncommented(text: &str) -> Cow<'_, str> {
    let (mut kept, mut rest) = (String::new(), text);
    while let Some(start) = rest.find("/*")
        && let Some(end) = comment_end(rest.as_bytes(), start)
    {
        kept.push_str(&rest[..start]);
        rest = &rest[end..];
    }
    match rest.len() == text.len() {
        true => Cow::Borrowed(text),
        false => Cow::Owned(kept + rest),
    }
}

/// Parses a number as C writes it: decimal, hexadecimal with `0x`, octal with `0`, or `NULL`.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix('0') {
        _ if text == "NULL" => Some(0),
        Some(octal) if !octal.is_empty() && octal.bytes().all(|byte| byte.is_ascii_digit()) => {
            u64::from_str_radix(octal, 8).ok()
        }
        _ => parse_number(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_s_name_ends_where_it_is_closed() {
        for (name, rest) in [
            ("</a/b>", ", 4096) = 0"),
            ("</dev/null<char 1:3>>", ")"),
            // A path ends at the first one, and its quotes are none.
            ("</a->", "b>"),
            ("</a:\">", "\">"),
            ("<TCP:[10.0.0.1:1->10.0.0.2:2]>", ", \"x\")"),
            ("<UNIX-STREAM:[7->8,\"/a>b\"]>", ")"),
            ("<NETLINK_ROUTE:[9->1]>", ")"),
        ] {
            let bytes = format!("3{name}{rest}");
            assert_eq!(
                name_end(bytes.as_bytes(), 1),
                Some(1 + name.len()),
                "{bytes}"
            );
        }
        for open in ["3</a", "3</dev/null<char 1:3>", "3<UNIX-STREAM:[7,\"/a>"] {
            assert_eq!(name_end(open.as_bytes(), 1), None, "{open}");
        }
    }

    #[test]
    fn a_name_is_of_small_letters() {
        assert_eq!(split_name("flags=0x22"), Some(("flags", "0x22")));
        assert_eq!(split_name("arg_2=a=b"), Some(("arg_2", "a=b")));
        for text in ["flags", "=1", "0x10=1", "Flags=1", "to->flags=1", "a b=1"] {
            assert_eq!(split_name(text), None, "{text}");
        }
    }

    #[test]
    fn a_slash_alone_begins_no_comment() {
        let arguments = vec!["1/2", "3"];
        let tail = " = 0";
        assert_eq!(split("1/2, 3) = 0"), Split::Whole { arguments, tail });
    }
}
