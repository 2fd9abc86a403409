//! Lines of `strace`, with or without process numbers and times.

use std::collections::{HashMap, VecDeque};

use super::call::{Name, Outcome, Split, outcome, split};
use super::event::{Event, Pid};
use super::head::{Heads, Time, split_number};

/// The position of a call among the calls of its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The number of calls that the thread has made, without those of [`IDLE`].
    pub(super) calls: u64,
    pub(super) time: Option<Time>,
}

/// Calls that do not count: an allocator may name and protect a mapping before it trims it.
const IDLE: [&str; 3] = ["mprotect", "madvise", "prctl"];

/// The kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// A call that is part of the trace.
    Something,
    /// Nothing that is part of the trace.
    Nothing,
    /// A call that mapped memory which is not part of the trace.
    Elsewhere,
    /// A call that would be part of the trace if it could be read.
    Unclear,
}

/// Turns lines into events, in the order in which they happened. An interrupted call counts from where it began, if it
/// turns out to have succeeded. Other threads may be given what it unmaps, and the process that it creates may appear,
/// before it returns.
#[derive(Default)]
pub(super) struct Lines {
    heads: Heads,
    /// The number of calls that each thread has made.
    calls: HashMap<Pid, u64>,
    unfinished: HashMap<Pid, Begun>,
    /// Events that were read but not yet returned.
    queue: VecDeque<Place>,
    /// The number of places that have left the queue.
    passed_on: usize,
}

/// A call that has not returned yet.
struct Begun {
    name: Name,
    /// Its arguments, as far as they were shown.
    text: String,
    stamp: Stamp,
    /// Its index among all places, if it counts from where it began.
    place: Option<usize>,
}

/// A place in the order of events.
enum Place {
    /// The place of a call that has not returned yet. Everything after it must wait.
    Open,
    /// The place of a call that failed, or never returned.
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

    /// Returns the next event that is known to have happened.
    pub(super) fn next(&mut self) -> Option<Step> {
        loop {
            match self.queue.front()? {
                Place::Open => return None,
                Place::Nothing | Place::Event(..) => {}
            }
            self.passed_on += 1;
            if let Some(Place::Event(step)) = self.queue.pop_front() {
                return Some(step);
            }
        }
    }

    /// Ends the input: calls that have not returned yet never will.
    pub(super) fn close(&mut self) {
        for place in &mut self.queue {
            if matches!(place, Place::Open) {
                *place = Place::Nothing;
            }
        }
    }

    fn settle(&mut self, place: usize, outcome: Place) {
        if let Some(place) = self.queue.get_mut(place - self.passed_on) {
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
            self.passed_on + self.queue.len() - 1
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

    /// Reads the rest of a call, such as `mmap resumed>PROT_READ, ...`.
    fn resume(&mut self, pid: Pid, text: &str) -> Said {
        let Some((name, rest)) = text.split_once(" resumed>") else {
            return Said::Nothing;
        };
        let Some(name) = Name::read(name) else {
            return Said::Nothing;
        };
        let now = self.heads.now();
        let Some(begun) = self.unfinished.remove(&pid) else {
            // Another thread began this `execve`, and continues under this number; or the beginning is missing.
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
            // The first part ends with an argument or with a comma, so the rest can follow directly.
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

    /// Reads the notice that a thread has ended. If the `execve` of another thread ended it, that one continues under
    /// its number, so it is the other one's number that ends.
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

/// Splits the name of a call from the text after its bracket.
fn split_call(text: &str) -> Option<(&str, &str)> {
    text.split_once('(').filter(|(name, _)| {
        name.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

/// Returns what was shown of a call before another line interrupted it.
fn strip_mark(text: &str) -> Option<&str> {
    let (begun, mark) = text.rsplit_once('<')?;
    let is_mark = mark == "unfinished ...>"
        || (mark.starts_with("pid changed to ") && mark.ends_with(" ...>"));
    is_mark.then(|| begun.trim_end())
}
