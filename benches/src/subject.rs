//! What can be measured in rounds: a cell, in this process or in another, or a figure that takes no threads.

use std::time::Duration;

use crate::cell::{Cell, Patience, Readiness};
use crate::crew::Crew;
use crate::measure::Round;

/// Something that is measured in rounds.
pub trait Subject {
    /// Prepares the rounds, as far as `patience` allows.
    ///
    /// # Errors
    ///
    /// If something fails that has nothing to do with time or room.
    fn prepare(&mut self, _crew: &mut Crew, _patience: Patience) -> Result<Readiness, String> {
        Ok(Readiness::Settled)
    }

    /// Works for the duration `lasting`, or as long as one measurement takes.
    ///
    /// # Errors
    ///
    /// If the measurement fails.
    fn round(&mut self, crew: &mut Crew, lasting: Duration) -> Result<Round, String>;

    /// Gives everything back.
    ///
    /// # Errors
    ///
    /// If the pool is not as free as before.
    fn finish(self: Box<Self>, _crew: &mut Crew) -> Result<(), String> {
        Ok(())
    }
}

impl Subject for Cell {
    fn prepare(&mut self, crew: &mut Crew, patience: Patience) -> Result<Readiness, String> {
        Ok(self.prepare(crew, patience))
    }

    fn round(&mut self, crew: &mut Crew, lasting: Duration) -> Result<Round, String> {
        Ok(self.round(crew, lasting))
    }

    fn finish(self: Box<Self>, crew: &mut Crew) -> Result<(), String> {
        (*self).finish(crew).map(|_| ())
    }
}
