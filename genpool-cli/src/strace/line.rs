//! One line of `strace`, with or without process numbers and times.

use std::collections::HashMap;

use super::PAGE_ORDER;
use crate::size::parse_number;

/// No address is higher, on any machine that Linux runs on.
const HIGHEST: u64 = 1 << 57;

/// The number of a process or thread; 0 where lines do not say.
pub(super) type Pid = u32;

/// A range of pages: the first, and the one behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pages {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Pages {
    /// The pages that so many bytes from `addr` on touch, at least one.
    fn new(addr: u64, len: u64) -> Option<Self> {
        let end = addr.checked_add(len).filter(|&end| end <= HIGHEST)?;
        (len > 0).then_some(Self {
            start: addr >> PAGE_ORDER,
            end: end.div_ceil(1 << PAGE_ORDER),
        })
    }

    pub(super) fn len(self) -> u64 {
        self.end - self.start
    }
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Map {
        pages: Pages,
        fixed: bool,
    },
    Unmap(Pages),
    Remap {
        /// What it takes away, if that was not told before.
        from: Option<Pages>,
        to: Pages,
    },
    /// A new process or thread is being made; `child` follows once it has returned.
    Spawn {
        child: Option<Pid>,
        /// Whether it shares its maker's memory.
        shares: bool,
    },
    Exec,
    Exit,
}

/// The reader of lines, which keeps what was begun and not yet resumed.
#[derive(Default)]
pub(super) struct Lines {
    unfinished: HashMap<Pid, Begun>,
}

/// A call that has not returned yet.
struct Begun {
    text: String,
    /// Whether what it takes away was told already.
    is_told: bool,
}

impl Lines {
    /// What a line says, and of whom.
    pub(super) fn read(&mut self, line: &str) -> Option<(Pid, Event)> {
        let (pid, text) = split_pid(line.trim());
        if text.contains("+++ exited with") || text.contains("+++ killed by") {
            self.unfinished.remove(&pid);
            return Some((pid, Event::Exit));
        }
        if let Some(begun) = text.strip_suffix("<unfinished ...>") {
            return self.begin(pid, begun.trim_end()).map(|event| (pid, event));
        }
        let event = match text.split_once(" resumed>") {
            Some((head, rest)) if head.contains("<... ") => {
                let Begun { text, is_told } = self.unfinished.remove(&pid)?;
                // What was begun ends with an argument or with a comma, and so the rest follows either.
                match call(&format!("{text} {}", rest.trim_start()))? {
                    Event::Unmap(_) if is_told => return None,
                    Event::Remap { to, .. } if is_told => Event::Remap { from: None, to },
                    event => event,
                }
            }
            _ => call(text)?,
        };
        Some((pid, event))
    }

    /// Keeps a call that has begun. Others may be given what it takes away before it returns, but not
    /// before it began; what it makes is known when it returns.
    fn begin(&mut self, pid: Pid, text: &str) -> Option<Event> {
        let (name, arguments) = split_name(text)?;
        let event = match name {
            "munmap" => unmap(arguments),
            "mremap" => taken(arguments).map(Event::Unmap),
            name => spawns(name, arguments).map(|shares| Event::Spawn {
                child: None,
                shares,
            }),
        };
        self.unfinished.insert(
            pid,
            Begun {
                text: text.to_owned(),
                is_told: matches!(event, Some(Event::Unmap(_))),
            },
        );
        event
    }
}

/// The process number that a line begins with, as `[pid 12] ` or as `12 `.
fn split_pid(line: &str) -> (Pid, &str) {
    let (word, rest) = match line.strip_prefix("[pid") {
        Some(rest) => rest.split_once(']').unwrap_or(("", line)),
        None => line.split_once(' ').unwrap_or(("", line)),
    };
    match word.trim().parse() {
        Ok(pid) => (pid, rest.trim_start()),
        Err(_) => (0, line),
    }
}

/// The name of a call, which times may precede, and what follows its bracket.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let (head, rest) = text.split_once('(')?;
    Some((head.split_whitespace().next_back()?, rest))
}

/// Whether a call makes a process or thread, and whether that shares the memory.
fn spawns(name: &str, arguments: &str) -> Option<bool> {
    match name {
        "fork" => Some(false),
        "vfork" => Some(true),
        "clone" | "clone3" => Some(arguments.contains("CLONE_VM")),
        _ => None,
    }
}

/// A whole call that succeeded.
fn call(text: &str) -> Option<Event> {
    let (name, rest) = split_name(text)?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().strip_suffix(')')?;
    let result = result.split_whitespace().next()?;
    let result = number(result)?;
    if let Some(shares) = spawns(name, arguments) {
        let child = Some(Pid::try_from(result).ok()?);
        return Some(Event::Spawn { child, shares });
    }
    let mut words = arguments.split(',').map(str::trim);
    let mut next = || words.next().unwrap_or_default();
    match name {
        "mmap" | "mmap2" => {
            next();
            let len = number(next())?;
            next();
            let fixed = next().contains("MAP_FIXED");
            let pages = Pages::new(result, len)?;
            Some(Event::Map { pages, fixed })
        }
        "munmap" => unmap(arguments),
        "mremap" => {
            let new = words.nth(2).and_then(number)?;
            Some(Event::Remap {
                from: taken(arguments),
                to: Pages::new(result, new)?,
            })
        }
        "execve" | "execveat" => Some(Event::Exec),
        _ => None,
    }
}

fn unmap(arguments: &str) -> Option<Event> {
    let (addr, len) = arguments.split_once(',')?;
    let pages = Pages::new(number(addr.trim())?, number(len.trim())?)?;
    Some(Event::Unmap(pages))
}

/// What `mremap` takes away: nothing where the old size is 0, which makes a second mapping of the same
/// memory, or where it is told to keep it.
fn taken(arguments: &str) -> Option<Pages> {
    let (addr, rest) = arguments.split_once(',')?;
    let (old, flags) = rest.split_once(',')?;
    match flags.contains("MREMAP_DONTUNMAP") {
        true => None,
        false => Pages::new(number(addr.trim())?, number(old.trim())?),
    }
}

fn number(text: &str) -> Option<u64> {
    match text {
        "NULL" => Some(0),
        text => parse_number(text).ok(),
    }
}
