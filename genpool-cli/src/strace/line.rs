//! One line of `strace`, with or without process numbers and times.

use std::collections::{HashMap, VecDeque};

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
    Spawn {
        child: Pid,
        kin: Kin,
    },
    /// The process has another program, and of its threads only the leader.
    Exec,
    Exit,
}

/// What a new process or thread has in common with its maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kin {
    /// Nothing: it has a copy of the memory.
    Process,
    /// The memory.
    Sharing,
    /// The memory and the process.
    Thread,
}

/// The reader of lines, which turns them into events in the order in which they took place: a call that
/// another line interrupts counts from where it began, if it turns out to have succeeded. Others may be
/// given what it takes away, and the process that it makes may speak, before it returns.
#[derive(Default)]
pub(super) struct Lines {
    unfinished: HashMap<Pid, Begun>,
    /// What was read and not yet told.
    queue: VecDeque<Place>,
    /// Places that have left the queue.
    told: usize,
}

/// A call that has not returned yet.
struct Begun {
    text: String,
    /// Its number among all places, for a call that counts from where it began.
    place: Option<usize>,
}

/// A place in the order of events.
enum Place {
    /// Of a call that has not returned yet. Nothing behind it is told.
    Open,
    /// Of a call that failed, or never returned.
    Nothing,
    Event(Pid, Event),
}

impl Lines {
    /// Reads a line. Whether it has a part in anything.
    pub(super) fn read(&mut self, line: &str) -> bool {
        let (pid, text) = split_pid(line.trim());
        if let Some((time, notice)) = text.split_once("+++ ")
            && !time.contains('(')
        {
            return self.end(pid, notice);
        }
        if let Some((begun, mark)) = text.rsplit_once('<')
            && (mark == "unfinished ...>" || mark.starts_with("pid changed to "))
        {
            return self.begin(pid, begun.trim_end());
        }
        match text.split_once(" resumed>") {
            Some((head, rest)) if head.contains("<... ") => self.resume(pid, head, rest),
            _ => match call(text) {
                Some(event) => {
                    self.queue.push_back(Place::Event(pid, event));
                    true
                }
                None => false,
            },
        }
    }

    /// The next event that is known to have been, and whose it is.
    pub(super) fn next(&mut self) -> Option<(Pid, Event)> {
        loop {
            match self.queue.front()? {
                Place::Open => return None,
                Place::Nothing | Place::Event(..) => {}
            }
            self.told += 1;
            if let Some(Place::Event(pid, event)) = self.queue.pop_front() {
                return Some((pid, event));
            }
        }
    }

    /// No more lines: what has not returned yet never will.
    pub(super) fn close(&mut self) {
        for place in &mut self.queue {
            if matches!(place, Place::Open) {
                *place = Place::Nothing;
            }
        }
    }

    fn settle(&mut self, place: usize, outcome: Place) {
        if let Some(place) = self.queue.get_mut(place - self.told) {
            *place = outcome;
        }
    }

    fn forget(&mut self, pid: Pid) {
        if let Some(place) = self.unfinished.remove(&pid).and_then(|begun| begun.place) {
            self.settle(place, Place::Nothing);
        }
    }

    fn begin(&mut self, pid: Pid, text: &str) -> bool {
        let Some((name, arguments)) = split_name(text) else {
            return false;
        };
        self.forget(pid);
        let counts = match name {
            "munmap" => true,
            "mremap" => taken(arguments).is_some(),
            name => spawns(name, arguments).is_some(),
        };
        let place = counts.then(|| {
            self.queue.push_back(Place::Open);
            self.told + self.queue.len() - 1
        });
        let text = text.to_owned();
        self.unfinished.insert(pid, Begun { text, place });
        counts
    }

    fn resume(&mut self, pid: Pid, head: &str, rest: &str) -> bool {
        let Some(Begun { text, place }) = self.unfinished.remove(&pid) else {
            // What another thread began, whose number ended with that.
            let is_exec = head.ends_with("execve") && rest.trim_end().ends_with(" = 0");
            if is_exec {
                self.queue.push_back(Place::Event(pid, Event::Exec));
            }
            return is_exec;
        };
        // What was begun ends with an argument or with a comma, and so the rest follows either.
        let event = call(&format!("{text} {}", rest.trim_start()));
        let (at_place, event) = match (event, place) {
            (Some(Event::Remap { from, to }), Some(_)) => (
                from.map(Event::Unmap),
                Some(Event::Remap { from: None, to }),
            ),
            (event, Some(_)) => (event, None),
            (event, None) => (None, event),
        };
        if let Some(place) = place {
            let outcome = at_place.map_or(Place::Nothing, |event| Place::Event(pid, event));
            self.settle(place, outcome);
        }
        self.queue
            .extend(event.map(|event| Place::Event(pid, event)));
        event.is_some()
    }

    /// The notice that a thread has ended. Where another's `execve` has ended it, which goes on under its
    /// number, it is the other's that has.
    fn end(&mut self, pid: Pid, notice: &str) -> bool {
        self.forget(pid);
        let by = notice.strip_prefix("superseded by execve in pid ");
        let ended = match by.and_then(split_number) {
            Some((by, _)) => {
                let begun = self.unfinished.remove(&by);
                self.unfinished.extend(begun.map(|begun| (pid, begun)));
                by
            }
            None => pid,
        };
        self.queue.push_back(Place::Event(ended, Event::Exit));
        true
    }
}

/// The process number that a line begins with, as `[pid 12] ` or as `12 `; the name of the program may
/// follow it as `12<name> `.
fn split_pid(line: &str) -> (Pid, &str) {
    let bracketed = line.strip_prefix("[pid");
    let split = || {
        let (pid, rest) = split_number(bracketed.unwrap_or(line).trim_start())?;
        let rest = match rest.strip_prefix('<') {
            Some(name) => name.split_once('>')?.1,
            None => rest,
        };
        let rest = match bracketed {
            Some(_) => rest.strip_prefix(']')?,
            None => rest.strip_prefix(' ')?,
        };
        Some((pid, rest.trim_start()))
    };
    split().unwrap_or((0, line))
}

/// The digits that a text begins with, and what follows them.
fn split_number(text: &str) -> Option<(Pid, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    Some((digits.parse().ok()?, rest))
}

/// The name of a call, which times may precede, and what follows its bracket.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let (head, rest) = text.split_once('(')?;
    Some((head.split_whitespace().next_back()?, rest))
}

/// What a call makes, if that is a process or thread.
fn spawns(name: &str, arguments: &str) -> Option<Kin> {
    match name {
        "fork" => Some(Kin::Process),
        "vfork" => Some(Kin::Sharing),
        "clone" | "clone3" if arguments.contains("CLONE_THREAD") => Some(Kin::Thread),
        "clone" | "clone3" if arguments.contains("CLONE_VM") => Some(Kin::Sharing),
        "clone" | "clone3" => Some(Kin::Process),
        _ => None,
    }
}

/// A whole call that succeeded.
fn call(text: &str) -> Option<Event> {
    let (name, rest) = split_name(text)?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().strip_suffix(')')?;
    let result = result.trim_start();
    if let Some(kin) = spawns(name, arguments) {
        let (child, _) = split_number(result)?;
        return Some(Event::Spawn { child, kin });
    }
    let result = number(result.split_whitespace().next()?)?;
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
