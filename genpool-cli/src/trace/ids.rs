//! The allocation that each ID stands for.

use std::collections::HashMap;

use super::fields::quoted;
use super::{Outcome, Slot};
use crate::size::{NumberError, parse_number};

/// The IDs seen so far.
#[derive(Default)]
pub(super) struct Ids {
    known: HashMap<Id, Known>,
    allocs: u32,
}

/// Numbers are compared by value: `0x10` and `16` are one ID.
#[derive(PartialEq, Eq, Hash)]
enum Id {
    Number(u64),
    Word(Box<str>),
}

struct Known {
    slot: Slot,
    state: State,
    /// The line that put it into this state.
    line: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    /// The recorded allocation failed, so there is nothing to hold.
    Empty,
    Freed,
}

impl Ids {
    pub(super) fn allocs(&self) -> usize {
        self.allocs as usize
    }

    pub(super) fn alloc(
        &mut self,
        id: &str,
        line: u32,
        result: Option<Outcome>,
    ) -> Result<Slot, String> {
        let slot = Slot(self.allocs);
        let state = match result {
            Some(Outcome::None) => State::Empty,
            Some(Outcome::Addr(_)) | None => State::Held,
        };
        let known = Known { slot, state, line };
        if let Some(Known {
            state: State::Held,
            line,
            ..
        }) = self.known.insert(Id::read(id)?, known)
        {
            return Err(format!(
                "ID {} is still held, since line {line}",
                quoted(id)
            ));
        }
        self.allocs += 1;
        Ok(slot)
    }

    pub(super) fn free(&mut self, id: &str, line: u32) -> Result<Slot, String> {
        let Some(known) = self.known.get_mut(&Id::read(id)?) else {
            return Err(format!("unknown ID {}: no `alloc` has it", quoted(id)));
        };
        if known.state == State::Freed {
            return Err(format!(
                "ID {} was freed already, at line {}",
                quoted(id),
                known.line
            ));
        }
        known.state = State::Freed;
        known.line = line;
        Ok(known.slot)
    }
}

impl Id {
    fn read(text: &str) -> Result<Self, String> {
        match parse_number(text) {
            Ok(number) => Ok(Self::Number(number)),
            Err(NumberError::NotANumber) => Ok(Self::Word(text.into())),
            // As a word, it would differ from the same number in another notation.
            Err(error @ NumberError::TooLarge) => Err(format!("ID {} is {error}", quoted(text))),
        }
    }
}
