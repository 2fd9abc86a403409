//! One line of `strace`, with or without process numbers and times.

use std::collections::{HashMap, VecDeque};

use super::PAGE_ORDER;
use super::call::{Name, Outcome, Split, outcome, split};
use super::head::{Heads, Time, split_number};

/// No address is higher, on any machine that Linux runs on.
const HIGHEST: u64 = 1 << 57;

/// The number of a process or thread; 0 where lines do not say.
pub(super) type Pid = u32;

/// A range of pages: the first, and the one after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pages {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Pages {
    /// The pages that so many bytes from `addr` on touch, at least one.
    pub(super) fn new(addr: u64, len: u64) -> Option<Self> {
        let end = addr.checked_add(len).filter(|&end| end <= HIGHEST)?;
        (len > 0).then_some(Self {
            start: addr >> PAGE_ORDER,
            end: end.div_ceil(1 << PAGE_ORDER),
        })
    }

    /// As many pages as are a multiple of `unit`.
    pub(super) fn round_up(self, unit: u64) -> Option<Self> {
        let end = self.start + self.len().checked_next_multiple_of(unit)?;
        (end <= HIGHEST >> PAGE_ORDER).then_some(Self { end, ..self })
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
        /// How many pages are mapped and unmapped together: one, or those of a huge page.
        unit: u64,
    },
    Unmap(Pages),
    /// A call that another line interrupts becomes two events: what it takes away, and what it maps.
    Remap {
        /// What it takes away.
        from: Option<Pages>,
        to: Option<Pages>,
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

/// Where in the life of its thread a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// How many calls the thread has made, without those of [`IDLE`].
    pub(super) calls: u64,
    pub(super) time: Option<Time>,
}

/// Calls that do not count: an allocator may name and protect a mapping before it cuts it.
const IDLE: [&str; 3] = ["mprotect", "madvise", "prctl"];

/// What there is in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Something that has a part in the trace.
    Something,
    /// Nothing that has.
    Nothing,
    /// A call that mapped memory which has no part in the trace.
    Elsewhere,
    /// A call that would have a part in the trace if it could be read.
    Unclear,
}

/// The reader of lines, which turns them into events in the order in which they took place: a call that
/// another line interrupts counts from where it began, if it turns out to have succeeded. Others may be
/// given what it takes away, and the process that it makes may speak, before it returns.
#[derive(Default)]
pub(super) struct Lines {
    heads: Heads,
    /// How many calls each thread has made.
    calls: HashMap<Pid, u64>,
    unfinished: HashMap<Pid, Begun>,
    /// What was read and not yet handed out.
    queue: VecDeque<Place>,
    /// Places that have left the queue.
    told: usize,
}

/// A call that has not returned yet.
struct Begun {
    name: Name,
    /// Its arguments, as far as they were shown.
    text: String,
    stamp: Stamp,
    /// Its number among all places, for a call that counts from where it began.
    place: Option<usize>,
}

/// A place in the order of events.
enum Place {
    /// Of a call that has not returned yet. What follows it has to wait.
    Open,
    /// Of a call that failed, or never returned.
    Nothing,
    Event(Step),
}

/// An event, and the thread that caused it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) pid: Pid,
    pub(super) stamp: Stamp,
    pub(super) event: Event,
}

impl Lines {
    /// Reads a line.
    pub(super) fn read(&mut self, line: &str) -> Said {
        let (pid, text) = self.heads.read(line);
        if let Some(notice) = text.strip_prefix("+++ ") {
            self.end(pid, notice)
        } else if let Some(resumed) = text.strip_prefix("<... ") {
            self.resume(pid, resumed)
        } else if let Some((name, rest)) = split_call(text) {
            self.call(pid, name, rest)
        } else {
            Said::Nothing
        }
    }

    /// The next event that is known to have been.
    pub(super) fn next(&mut self) -> Option<Step> {
        loop {
            match self.queue.front()? {
                Place::Open => return None,
                Place::Nothing | Place::Event(..) => {}
            }
            self.told += 1;
            if let Some(Place::Event(step)) = self.queue.pop_front() {
                return Some(step);
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

    fn call(&mut self, pid: Pid, name: &str, rest: &str) -> Said {
        let stamp = self.stamp(pid, !IDLE.contains(&name));
        let Some(name) = Name::read(name) else {
            return Said::Nothing;
        };
        if let Some(begun) = strip_mark(rest)
            && split(begun) == Split::Cut
        {
            return self.begin(pid, name, stamp, begun);
        }
        let outcome = outcome(name, rest);
        if let Outcome::Event(event) | Outcome::Unclear(Some(event)) = outcome {
            self.queue
                .push_back(Place::Event(Step { pid, stamp, event }));
        }
        outcome.into()
    }

    fn stamp(&mut self, pid: Pid, counts: bool) -> Stamp {
        let calls = self.calls.entry(pid).or_default();
        *calls += u64::from(counts);
        Stamp {
            calls: *calls,
            time: self.heads.now(),
        }
    }

    fn begin(&mut self, pid: Pid, name: Name, stamp: Stamp, text: &str) -> Said {
        self.forget(pid);
        let place = name.acts_at_once().then(|| {
            self.queue.push_back(Place::Open);
            self.told + self.queue.len() - 1
        });
        let begun = Begun {
            name,
            text: text.to_owned(),
            stamp,
            place,
        };
        self.unfinished.insert(pid, begun);
        match place {
            Some(_) => Said::Something,
            None => Said::Nothing,
        }
    }

    /// The rest of a call, as `mmap resumed>PROT_READ, ...`.
    fn resume(&mut self, pid: Pid, text: &str) -> Said {
        let Some((name, rest)) = text.split_once(" resumed>") else {
            return Said::Nothing;
        };
        let Some(name) = Name::read(name) else {
            return Said::Nothing;
        };
        let now = self.heads.now();
        let Some(begun) = self.unfinished.remove(&pid) else {
            // Another thread began this `execve` and goes on under this number; or the beginning is missing.
            let found = outcome(name, rest);
            if let (Name::Exec, Outcome::Event(event)) = (name, found) {
                let stamp = self.stamp(pid, true);
                let step = Step { pid, stamp, event };
                self.queue.push_back(Place::Event(step));
                return Said::Something;
            }
            return match found {
                Outcome::Event(_) => Said::Unclear,
                found => found.into(),
            };
        };
        let outcome = match begun.name == name {
            // What was begun ends with an argument or with a comma, and so the rest follows either.
            true => outcome(name, &format!("{} {}", begun.text, rest.trim_start())),
            false => Outcome::Unclear(None),
        };
        let event = match outcome {
            Outcome::Event(event) | Outcome::Unclear(Some(event)) => Some(event),
            _ => None,
        };
        let (at_place, event) = match (event, begun.place) {
            (Some(Event::Remap { from, to }), Some(_)) => (
                from.map(|_| Event::Remap { from, to: None }),
                Some(Event::Remap { from: None, to }),
            ),
            (event, Some(_)) => (event, None),
            (event, None) => (None, event),
        };
        if let Some(place) = begun.place {
            let stamp = begun.stamp;
            let outcome = at_place.map_or(Place::Nothing, |event| {
                Place::Event(Step { pid, stamp, event })
            });
            self.settle(place, outcome);
        }
        let stamp = Stamp {
            time: now,
            ..begun.stamp
        };
        self.queue
            .extend(event.map(|event| Place::Event(Step { pid, stamp, event })));
        match outcome {
            Outcome::Event(_) if event.is_none() => Said::Nothing,
            outcome => outcome.into(),
        }
    }

    /// The notice that a thread has ended. Where another's `execve` has ended it, which goes on under its
    /// number, it is the other's that has.
    fn end(&mut self, pid: Pid, notice: &str) -> Said {
        let by = notice.strip_prefix("superseded by execve in pid ");
        let is_end = ["exited ", "killed by "]
            .iter()
            .any(|end| notice.starts_with(end));
        if !notice.ends_with(" +++") || !(is_end || by.is_some()) {
            return Said::Nothing;
        }
        self.forget(pid);
        let ended = match by.and_then(split_number) {
            Some((by, _)) => {
                let begun = self.unfinished.remove(&by);
                self.unfinished.extend(begun.map(|begun| (pid, begun)));
                by
            }
            None => pid,
        };
        self.calls.remove(&ended);
        let stamp = self.stamp(ended, false);
        self.queue.push_back(Place::Event(Step {
            pid: ended,
            stamp,
            event: Event::Exit,
        }));
        Said::Something
    }
}

impl From<Outcome> for Said {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Event(_) => Self::Something,
            Outcome::Nothing => Self::Nothing,
            Outcome::Elsewhere => Self::Elsewhere,
            Outcome::Unclear(_) => Self::Unclear,
        }
    }
}

/// The name of a call, and what follows its bracket.
fn split_call(text: &str) -> Option<(&str, &str)> {
    text.split_once('(').filter(|(name, _)| {
        name.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

/// What was shown of a call before another line interrupted it.
fn strip_mark(text: &str) -> Option<&str> {
    let (begun, mark) = text.rsplit_once('<')?;
    let is_mark = mark == "unfinished ...>"
        || (mark.starts_with("pid changed to ") && mark.ends_with(" ...>"));
    is_mark.then(|| begun.trim_end())
}
