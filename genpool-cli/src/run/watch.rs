//! Examines a pool while it is under load.

use std::time::{Duration, Instant};

use genpool::Pool;

use super::plan::Plan;
use crate::memory::Arena;
use crate::report::{COLUMNS, Point, ROWS, Timeline};
use crate::space::{Look, Space};

/// Examining may take one part in this many of the time; 50 (2026-11) keeps a watched load within the variation of
/// unwatched ones.
const PART: u32 = 50;

/// Examines a pool as often as there are columns, or less often if that takes long.
pub(super) struct Watch {
    space: Space,
    start: Instant,
    next: Instant,
    interval: Duration,
    points: Vec<Point>,
    last: Look,
}

impl Watch {
    /// Returns a watch for a phase of the given time, which begins now.
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

    /// Examines the pool, if it is time to.
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
