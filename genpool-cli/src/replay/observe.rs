//! Plays a trace to observe its effect on the memory, without timing it.

use std::time::{Duration, Instant};

use super::play::{Counts, ReplayError, play};
use crate::driver::{Driver, Manner, chunks};
use crate::report::{AtFailures, COLUMNS, MOST_LOOKS, Memory, Point, ROWS, Timeline};
use crate::space::{Look, Space};
use crate::trace::{Op, Outcome, Step, Trace};

/// Steps between two readings of the clock: few, because a step may take milliseconds (2026-11).
const STRIDE: usize = 16;

/// The effect of a trace on a pool, as far as it was played.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observation {
    /// Steps played.
    pub(crate) steps: usize,
    /// Bytes in all chunks at the end.
    pub(crate) size: usize,
    pub(crate) counts: Counts,
    /// How well the memory was used.
    pub(crate) memory: Memory,
    /// The state of the pool over time.
    pub(crate) timeline: Timeline,
}

/// Plays the first `steps` of `trace` once and examines the pool at regular intervals of operations. If there is a time
/// `share`, it stops when that is over, and examining takes at most half of it. `watch` gets each look.
pub(crate) fn observe(
    trace: &Trace,
    steps: &[Step],
    manner: Manner,
    share: Option<Duration>,
    watch: &mut dyn FnMut(&Look),
) -> Result<Observation, ReplayError> {
    // This comes first, because it refuses orders that are too high for this machine's addresses.
    let mut driver = Driver::new(trace, manner)?;
    let space = Space::new(manner.order, &chunks(trace, manner.order)?, ROWS);
    let mut counts = Counts::default();
    let mut use_of = Use::new(manner.order);
    let mut points = Vec::new();
    let loads = steps
        .iter()
        .filter(|step| matches!(step.op, Op::Alloc { .. } | Op::Free { .. }))
        .count();
    let mut played = 0usize;
    let start = Instant::now();
    let mut looking = Duration::ZERO;
    let mut reached = steps.len();
    for (at, step) in steps.iter().enumerate() {
        if at % STRIDE == 0 && share.is_some_and(|share| start.elapsed() > share) {
            reached = at;
            break;
        }
        let freed = match step.op {
            Op::Free { slot } => driver.held(slot),
            _ => None,
        };
        let failed = counts.failed;
        let may_look = share.is_none_or(|share| looking < share / 2);
        let mut look = |pool| {
            let start = Instant::now();
            let look = space.look(pool);
            looking += start.elapsed();
            look
        };
        play(&mut driver, step, &mut counts)?;
        match step.op {
            Op::Alloc { size, .. } if counts.failed > failed => {
                if counts.failed <= MOST_LOOKS && may_look {
                    use_of.fail(size, &look(driver.pool()));
                }
                use_of.count();
            }
            Op::Alloc { size, result, .. } => {
                use_of.take(size);
                // The step freed it at once, too.
                if result == Some(Outcome::None) {
                    use_of.give_back(size);
                }
            }
            Op::Free { .. } => freed.into_iter().for_each(|size| use_of.give_back(size)),
            _ => continue,
        }
        played += 1;
        // Columns end at equal intervals of operations, the last one at the last operation.
        let is_column = played * COLUMNS / loads > (played - 1) * COLUMNS / loads;
        if is_column && (may_look || played == loads) {
            let look = look(driver.pool());
            watch(&look);
            points.push(Point::new(played as f64, look));
        }
    }
    let size = driver.pool().size();
    Ok(Observation {
        steps: reached,
        size,
        counts,
        memory: Memory {
            cut_off: given(&steps[..reached]).saturating_sub(size),
            ..use_of.memory(&points)
        },
        timeline: Timeline {
            unit: "operations",
            addresses: space.addresses(),
            points,
        },
    })
}

/// Returns the bytes in all chunks that steps add.
fn given(steps: &[Step]) -> usize {
    let sizes = steps.iter().map(|step| match step.op {
        Op::Chunk { size, .. } => size,
        _ => 0,
    });
    sizes.fold(0, usize::saturating_add)
}

/// What is in use, and sums for the means.
struct Use {
    granule: usize,
    asked: usize,
    taken: usize,
    operations: u64,
    rounding: f64,
    memory: Memory,
    failures: AtFailures,
}

impl Use {
    fn new(order: u32) -> Self {
        Self {
            granule: 1 << order,
            asked: 0,
            taken: 0,
            operations: 0,
            rounding: 0.0,
            memory: Memory::default(),
            failures: AtFailures::default(),
        }
    }

    /// Returns the bytes that an allocation takes. The pool has served it, so rounding does not overflow.
    fn rounded(&self, size: usize) -> usize {
        size.div_ceil(self.granule) * self.granule
    }

    fn take(&mut self, size: usize) {
        self.asked += size;
        self.taken += self.rounded(size);
        self.memory.peak_asked = self.memory.peak_asked.max(self.asked);
        self.memory.peak_taken = self.memory.peak_taken.max(self.taken);
        self.count();
    }

    fn give_back(&mut self, size: usize) {
        self.asked -= size;
        self.taken -= self.rounded(size);
        self.count();
    }

    fn fail(&mut self, size: usize, look: &Look) {
        self.failures.looks += 1;
        self.failures.asked += size as f64;
        self.failures.free += look.free as f64;
        self.failures.largest_run += look.largest_run as f64;
    }

    fn count(&mut self) {
        self.operations += 1;
        self.rounding += (self.taken - self.asked) as f64;
    }

    fn memory(mut self, points: &[Point]) -> Memory {
        let mean = |of: fn(&Point) -> f64| match points.len() {
            0 => 0.0,
            n => points.iter().map(of).sum::<f64>() / n as f64,
        };
        self.memory.scattered = mean(|point| (point.free - point.largest_run) as f64);
        self.memory.fragmentation = mean(|point| point.fragmentation);
        self.memory.free_runs = mean(|point| point.free_runs as f64);
        self.memory.largest_run = mean(|point| point.largest_run as f64);
        if self.operations > 0 {
            self.memory.rounding = self.rounding / self.operations as f64;
        }
        let AtFailures {
            looks,
            asked,
            free,
            largest_run,
        } = self.failures;
        self.memory.at_failures = (looks > 0).then(|| AtFailures {
            looks,
            asked: asked / looks as f64,
            free: free / looks as f64,
            largest_run: largest_run / looks as f64,
        });
        self.memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::AlgorithmSpec;

    fn observed_within(lines: &str, share: Option<Duration>) -> Observation {
        let trace = Trace::parse(&format!("# genpool trace v1\npool order=4\n{lines}")).unwrap();
        let manner = Manner::recorded(&trace, AlgorithmSpec::FirstFit);
        observe(&trace, trace.steps(), manner, share, &mut |_| ()).unwrap()
    }

    fn observed(lines: &str) -> Observation {
        observed_within(lines, None)
    }

    #[test]
    fn bytes_are_counted() {
        let seen = observed(
            "chunk virt=0x100 size=0x40\nalloc 1 size=1\nalloc 2 size=0x11\nalloc 3 size=0x20\nfree 1\nfree 3\n\
             alloc 4 size=0x20\n",
        );
        assert_eq!(
            (seen.size, seen.counts.operations, seen.counts.failed),
            (0x40, 5, 2)
        );
        assert_eq!(
            (seen.memory.peak_asked, seen.memory.peak_taken),
            (0x12, 0x30)
        );
        // 15, 30, 30, 15 and 15. The free of what had failed is no operation.
        assert_eq!(seen.memory.rounding, 21.0);
        let failures = seen.memory.at_failures.unwrap();
        assert_eq!((failures.looks, failures.asked), (2, 32.0));
        assert_eq!((failures.free, failures.largest_run), (24.0, 16.0));
        // Of the six points, the last three have two free runs of one granule.
        assert_eq!(seen.memory.scattered, 8.0);
        assert_eq!(seen.memory.fragmentation, 0.25);
        assert_eq!(seen.memory.free_runs, 1.5);
        assert_eq!(seen.memory.largest_run, 128.0 / 6.0);
        assert_eq!(seen.timeline.points.len(), 6);
        assert_eq!(seen.timeline.points[5].rows, [0, 100, 100, 0]);
        assert_eq!(seen.timeline.points[5].fragmentation, 0.5);
        assert_eq!(seen.timeline.addresses, [0x100, 0x110, 0x120, 0x130]);
    }

    #[test]
    fn a_timeline_has_its_columns_and_ends_at_the_end() {
        let pairs: String = (0..1000)
            .map(|id| format!("alloc {id} size=1\nfree {id}\n"))
            .collect();
        let points = observed(&format!("chunk virt=0 size=0x40\n{pairs}"))
            .timeline
            .points;
        assert_eq!(points.len(), COLUMNS);
        assert_eq!(points[COLUMNS - 1].at, 2000.0);
    }

    #[test]
    fn a_share_of_time_stops_it_and_limits_its_looks() {
        let text = "chunk virt=0 size=0x40\nalloc 1 size=1\nalloc 2 size=0x40\nfree 1\n";
        let long = Some(Duration::from_secs(3600));
        assert_eq!(observed_within(text, long), observed(text));
        let none = observed_within(text, Some(Duration::ZERO));
        assert_eq!((none.steps, none.size), (0, 0));
        assert!(none.timeline.points.is_empty());
    }

    #[test]
    fn failures_are_looked_at_up_to_a_limit() {
        let text: String = (0..MOST_LOOKS + 10)
            .map(|id| format!("alloc {id} size=0x50\n"))
            .collect();
        let seen = observed(&format!("chunk virt=0 size=0x40\n{text}"));
        assert_eq!(seen.counts.failed, MOST_LOOKS + 10);
        assert_eq!(seen.memory.at_failures.unwrap().looks, MOST_LOOKS);
    }

    /// Nothing of one pool affects the next one of the thread, which may well be at the same place in memory.
    #[test]
    fn a_trace_does_the_same_each_time() {
        let lines: String = (0..2000u32)
            .map(|id| match id.checked_sub(90) {
                Some(old) => format!("alloc {id} size={}\nfree {old}\n", 16 * (1 + id % 7)),
                None => format!("alloc {id} size=16\n"),
            })
            .collect();
        let text = format!("# genpool trace v1\npool order=4\nchunk virt=0 size=0x40000\n{lines}");
        let trace = Trace::parse(&text).unwrap();
        let specs = [
            AlgorithmSpec::NextFit,
            AlgorithmSpec::ThreadStart,
            AlgorithmSpec::SpreadFit,
        ];
        for spec in specs {
            let manner = Manner::recorded(&trace, spec);
            let seen = || observe(&trace, trace.steps(), manner, None, &mut |_| ()).unwrap();
            let first = seen();
            assert!((0..4).all(|_| seen() == first), "{spec}");
        }
    }

    #[test]
    fn nothing_to_see() {
        let seen = observed("");
        assert_eq!(seen.memory, Memory::default());
        assert!(seen.timeline.points.is_empty());
    }
}
