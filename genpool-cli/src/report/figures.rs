//! The pictures of a load, made from its entries.

use super::bars::{self, Panel, Row};
use super::chart::{Drawn, Ink, ink};
use super::lines::{self, Line};
use super::map;
use super::scale::{Scale, Unit};
use super::{Advice, Entry, Latency, Point};
use crate::size::Grouped;
use crate::table::nanoseconds;

/// A picture and its texts.
pub(super) struct Figure {
    /// Identifies the picture for style sheets and tests.
    pub(super) kind: &'static str,
    pub(super) title: String,
    pub(super) caption: String,
    pub(super) svg: String,
}

/// The size of a load's only map, and of one of several.
const ONE_MAP: (u32, u32) = (900, 330);
const MAP: (u32, u32) = (560, 260);

/// Returns all pictures of one load.
pub(super) fn figures(entries: &[&Entry], advice: Option<&Advice>) -> Drawn<Vec<Figure>> {
    let load = Load::new(entries, advice);
    let mut figures = Vec::new();
    figures.extend(load.side_by_side()?);
    figures.extend(load.by_threads()?);
    figures.extend(load.free_runs()?);
    figures.extend(load.fragmentation()?);
    figures.extend(load.latency()?);
    figures.extend(load.maps()?);
    Ok(figures)
}

/// The entries of a load, and the ways in which they differ.
struct Load<'r> {
    entries: &'r [&'r Entry],
    advice: Option<&'r Advice>,
    algorithms: Vec<&'r str>,
    has_orders: bool,
    most_threads: usize,
}

impl<'r> Load<'r> {
    fn new(entries: &'r [&'r Entry], advice: Option<&'r Advice>) -> Self {
        let mut algorithms: Vec<&str> = Vec::new();
        for entry in entries {
            if !algorithms.contains(&entry.algorithm.as_str()) {
                algorithms.push(&entry.algorithm);
            }
        }
        let mut orders = entries.iter().map(|entry| entry.order);
        let first = orders.next();
        Self {
            entries,
            advice,
            algorithms,
            has_orders: orders.any(|order| Some(order) != first),
            most_threads: entries.iter().map(|entry| entry.threads).max().unwrap_or(1),
        }
    }

    fn ink(&self, entry: &Entry) -> Ink {
        let at = self
            .algorithms
            .iter()
            .position(|name| *name == entry.algorithm);
        ink(at.unwrap_or(0))
    }

    fn name(&self, entry: &Entry) -> String {
        self.name_among(entry, self.has_orders)
    }

    fn name_among(&self, entry: &Entry, others_differ: bool) -> String {
        let mut name = entry.algorithm.clone();
        if others_differ {
            name.push_str(&format!(", order {}", entry.order));
        }
        if entry.pool == "mutex" {
            name.push_str(", mutex");
        }
        name
    }

    /// Returns the names of the lines in one picture, and what they have in common, which the title says.
    fn names<'e>(&self, entries: impl Iterator<Item = &'e Entry> + Clone) -> (Vec<String>, String) {
        let mut orders = entries.clone().map(|entry| entry.order);
        let first = orders.next();
        let differ = orders.any(|order| Some(order) != first);
        let names = entries.map(|entry| self.name_among(entry, self.has_orders && differ));
        let common = first.filter(|_| self.has_orders && !differ);
        let common = common.map_or_else(String::new, |order| format!(", order {order}"));
        (names.collect(), common)
    }

    /// Returns the entries that were run with all threads.
    fn full(&self) -> impl Iterator<Item = &'r Entry> {
        let most = self.most_threads;
        let entries = self.entries.iter().copied();
        entries.filter(move |entry| entry.threads == most)
    }

    fn with_timeline(&self) -> Vec<(&'r Entry, &'r [Point])> {
        let points = |entry: &'r Entry| {
            let points = &entry.timeline.as_ref()?.points[..];
            (!points.is_empty()).then_some((entry, points))
        };
        self.entries.iter().copied().filter_map(points).collect()
    }

    fn side_by_side(&self) -> Drawn<Option<Figure>> {
        let entries: Vec<&Entry> = self.full().collect();
        if entries.len() < 2 {
            return Ok(None);
        }
        let rows: Vec<Row> = entries
            .iter()
            .map(|entry| Row {
                name: self.name(entry),
                color: self.ink(entry).color,
                marked: self.advice.is_some_and(|advice| {
                    advice.algorithm == entry.algorithm && advice.order == entry.order
                }),
            })
            .collect();
        let panel = |title, of: &dyn Fn(&Entry) -> Option<(f64, String)>| Panel {
            title,
            bars: entries.iter().map(|entry| of(entry)).collect(),
        };
        let failed = panel("failed allocations", &|entry| {
            Some((
                entry.operations.failed as f64,
                entry.operations.failed.to_string(),
            ))
        });
        let is_trace = entries.iter().any(|entry| entry.memory.is_some());
        let (panels, caption) = match is_trace {
            true => (
                vec![
                    failed,
                    panel("part of the pool wasted", &|entry| {
                        let part = entry.wasted()? * 100.0;
                        Some((part, format!("{part:.1} %")))
                    }),
                    panel("time of an operation", &|entry| {
                        let speed = entry.speed?;
                        Some((speed.ns, nanoseconds(speed.ns)))
                    }),
                ],
                "Wasted is what rounding to whole granules takes, also at the ends of chunks, and what is free outside \
                 the largest free run, on average.",
            ),
            false => (
                vec![
                    panel("million operations a second", &|entry| {
                        let millions = entry.speed?.per_second / 1e6;
                        Some((millions, format!("{millions:.2}")))
                    }),
                    panel("99 % of allocations within", &|entry| {
                        let p99 = entry.latency.as_ref()?.p99 as f64;
                        Some((p99, nanoseconds(p99)))
                    }),
                    failed,
                ],
                "All threads together. Next to it is the same work under one mutex.",
            ),
        };
        let marked = match rows.iter().any(|row| row.marked) {
            true => " The recommended one is marked.",
            false => "",
        };
        Ok(Some(Figure {
            kind: "bars",
            title: "Side by side".to_owned(),
            caption: format!("{caption}{marked}"),
            svg: bars::draw(&rows, &panels)?,
        }))
    }

    fn by_threads(&self) -> Drawn<Option<Figure>> {
        let mut lines: Vec<Line> = Vec::new();
        for entry in self.entries {
            let Some(speed) = entry.speed else { continue };
            let point = (entry.threads as f64, speed.per_second / 1e6);
            let name = self.name(entry);
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line {
                    name,
                    ink: self.ink(entry),
                    faint: entry.pool == "mutex",
                    points: vec![point],
                }),
            }
        }
        lines.retain(|line| line.points.len() > 1);
        if lines.is_empty() {
            return Ok(None);
        }
        let values = || lines.iter().flat_map(|line| line.points.iter());
        let x = Scale::new("threads", Unit::Threads, values().map(|point| point.0)).cut();
        let y = Scale::new(
            "million operations a second",
            Unit::Count,
            values().map(|point| point.1),
        );
        Ok(Some(Figure {
            kind: "threads",
            title: "Throughput by threads".to_owned(),
            caption: "All threads together; thin lines are the same work under one mutex."
                .to_owned(),
            svg: lines::draw(&x, &y, &lines)?,
        }))
    }

    fn free_runs(&self) -> Drawn<Option<Figure>> {
        let entries = self.with_timeline();
        let (names, common) = self.names(entries.iter().map(|(entry, _)| *entry));
        let line = |name: &str, ink, points: &[Point], of: fn(&Point) -> usize| Line {
            name: name.to_owned(),
            ink,
            faint: false,
            points: points
                .iter()
                .map(|point| (point.at, of(point) as f64))
                .collect(),
        };
        let (lines, title, caption) = match entries[..] {
            [] => return Ok(None),
            [(_, points)] => (
                vec![
                    line("taken", ink(1), points, |point| point.taken),
                    line("free", ink(5), points, |point| point.free),
                    line("largest free run", ink(2), points, |point| {
                        point.largest_run
                    }),
                ],
                "Taken and free memory",
                "The closer the largest free run is to all that is free, the larger a request may be.",
            ),
            _ => (
                entries
                    .iter()
                    .zip(&names)
                    .map(|((entry, points), name)| {
                        line(name, self.ink(entry), points, |point| point.largest_run)
                    })
                    .collect(),
                "Largest free run",
                "What one request could have at most. More is better.",
            ),
        };
        let title = format!("{title}{common}");
        self.over_time("free", title, caption, "bytes", Unit::Bytes, &lines)
    }

    fn fragmentation(&self) -> Drawn<Option<Figure>> {
        let entries = self.with_timeline();
        let (names, common) = self.names(entries.iter().map(|(entry, _)| *entry));
        let lines: Vec<Line> = entries
            .iter()
            .zip(names)
            .map(|((entry, points), name)| Line {
                name,
                ink: self.ink(entry),
                faint: false,
                points: points
                    .iter()
                    .map(|point| (point.at, point.fragmentation * 100.0))
                    .collect(),
            })
            .collect();
        self.over_time(
            "fragmentation",
            format!("Fragmentation{common}"),
            "The part of the free memory that is outside the largest free run, which ends where its chunk does. Less is better.",
            "outside the largest run",
            Unit::Percent,
            &lines,
        )
    }

    fn over_time(
        &self,
        kind: &'static str,
        title: String,
        caption: &str,
        what: &str,
        unit: Unit,
        lines: &[Line],
    ) -> Drawn<Option<Figure>> {
        let timeline = self
            .entries
            .iter()
            .find_map(|entry| entry.timeline.as_ref());
        let Some(timeline) = timeline.filter(|_| !lines.is_empty()) else {
            return Ok(None);
        };
        let of_time = match timeline.unit {
            "seconds" => Unit::Seconds,
            _ => Unit::Count,
        };
        let values = || lines.iter().flat_map(|line| line.points.iter());
        let x = Scale::new(timeline.unit, of_time, values().map(|point| point.0)).cut();
        let y = Scale::new(what, unit, values().map(|point| point.1));
        Ok(Some(Figure {
            kind,
            title,
            caption: caption.to_owned(),
            svg: lines::draw(&x, &y, lines)?,
        }))
    }

    fn latency(&self) -> Drawn<Option<Figure>> {
        // If only some entries have a timeline, those are shown.
        let all = self.with_timeline().is_empty();
        let shown = |entry: &&Entry| all || entry.timeline.is_some();
        let timed: Vec<(&Entry, &Latency)> = self
            .full()
            .filter(shown)
            .filter_map(|entry| Some((entry, entry.latency.as_ref()?)))
            .collect();
        let Some((_, first)) = timed.first() else {
            return Ok(None);
        };
        let (names, common) = self.names(timed.iter().map(|(entry, _)| *entry));
        let lines: Vec<Line> = timed
            .iter()
            .zip(names)
            .map(|((entry, latency), name)| Line {
                name,
                ink: self.ink(entry),
                faint: entry.pool == "mutex",
                points: percentiles(latency),
            })
            .collect();
        let values = || lines.iter().flat_map(|line| line.points.iter());
        let x = Scale::new(
            "share that is as fast",
            Unit::Percentile,
            values().map(|point| point.0),
        );
        let y = Scale::new("time", Unit::Nanoseconds, values().map(|point| point.1));
        let of = match first.of {
            "alloc" => "an allocation",
            _ => "an operation",
        };
        let sampled = timed
            .iter()
            .map(|(_, latency)| latency.count)
            .max()
            .unwrap_or(0);
        Ok(Some(Figure {
            kind: "latency",
            title: format!("Time of {of}{common}"),
            caption: format!(
                "So many of all (to the right) took at most so long (upwards), of up to {} measured. Both scales are \
                 logarithmic: the right half is the slow tail. The time to read the clock is in it.",
                Grouped(sampled)
            ),
            svg: lines::draw(&x.cut(), &y, &lines)?,
        }))
    }

    fn maps(&self) -> Drawn<Vec<Figure>> {
        let entries = self.with_timeline();
        let size = if entries.len() == 1 { ONE_MAP } else { MAP };
        let mut figures = Vec::new();
        for (entry, points) in entries {
            let Some(timeline) = entry
                .timeline
                .as_ref()
                .filter(|line| !line.addresses.is_empty())
            else {
                continue;
            };
            let parts = points.iter().map(|point| point.fragmentation * 100.0);
            let mean = parts.sum::<f64>() / points.len() as f64;
            figures.push(Figure {
                kind: "map",
                title: format!("Occupancy, {}", self.name(entry)),
                caption: format!(
                    "Addresses upwards, the stronger the colour the fuller; {} rows, {} instants. On average {mean:.0} % of what is \
                     free is outside the largest free run.",
                    timeline.addresses.len(),
                    points.len(),
                ),
                svg: map::draw(timeline, size)?,
            });
        }
        Ok(figures)
    }
}

/// Returns points of two numbers: the second is the time within which all operations but one in the first were done.
fn percentiles(latency: &Latency) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut below = 0u64;
    for bin in &latency.bins {
        let part = |done: u64| latency.count as f64 / (latency.count - done).max(1) as f64;
        points.push((part(below), bin.ns as f64));
        below = latency.count.min(below + bin.count);
        points.push((part(below), bin.ns as f64));
    }
    points
}
