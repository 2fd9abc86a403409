//! Looks at a pool while it is under load.

use std::time::{Duration, Instant};

use genpool::Pool;

use super::plan::Plan;
use crate::memory::Arena;
use crate::report::{COLUMNS, Point, ROWS, Timeline};
use crate::space::{Look, Space};

/// A look may take one part in so many of the time; 50 (2026-11) keep a watched load within the
/// scatter of unwatched ones.
const PART: u32 = 50;

/// Looks as often as there are columns, or less often where a look takes long.
pub(super) struct Watch {
    space: Space,
    start: Instant,
    next: Instant,
    interval: Duration,
    points: Vec<Point>,
    last: Look,
}

impl Watch {
    /// For a phase of so much time, which begins now.
    pub(super) fn new(plan: &Plan, arena: &Arena, time: Duration) -> Self {
        let chunks: Vec<_> = plan
            .chunks()
            .map(|(offset, size)| (arena.start() + offset, size))
            .collect();
        let now = Instant::now();
        Self {
            space: Space::new(plan.order(), &chunks, ROWS),
            start: now,
            next: now,
            interval: time / COLUMNS as u32,
            points: Vec::new(),
            last: Look::default(),
        }
    }

    /// Looks, if it is time to.
    pub(super) fn look(&mut self, pool: &Pool) -> Option<&Look> {
        let before = Instant::now();
        if before < self.next {
            return None;
        }
        self.last = self.space.look(pool);
        let after = Instant::now();
        self.next = after + self.interval.max((after - before) * PART);
        let at = (before - self.start).as_secs_f64();
        self.points.push(Point::new(at, self.last.clone()));
        Some(&self.last)
    }

    pub(super) fn timeline(self) -> Timeline {
        Timeline {
            unit: "seconds",
            addresses: self.space.addresses(),
            points: self.points,
        }
    }
}
