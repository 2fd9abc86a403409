//! The cost of adding and removing chunks.

use std::time::{Duration, Instant};

use genpool::Pool;

use crate::contestant::Layout;
use crate::crew::Crew;
use crate::measure::{Measure, Round};
use crate::stats::Summary;
use crate::subject::Subject;

/// Of so many chunks that follow one another, the one in the middle is measured by their median.
const AROUND: usize = 64;

/// The chunk to which the last ones are compared. The first ones cost less, because all fits into the first-level cache.
const EARLY: usize = 100;

/// Adds and removes the chunks of a layout.
pub(super) struct Changes(pub(super) Layout);

impl Subject for Changes {
    fn round(&mut self, _: &mut Crew, _: Duration) -> Result<Round, String> {
        let Self(layout) = self;
        let builder = Pool::builder().order(layout.order);
        let pool = builder.build().map_err(|error| error.to_string())?;
        let size = layout.chunk_granules() << layout.order;
        let starts = layout.by_age();

        let mut added = Vec::with_capacity(starts.len());
        let start = Instant::now();
        for &at in &starts {
            let added_at = pool.add_virt(at, Layout::phys(at), size);
            added_at.map_err(|error| error.to_string())?;
            added.push(start.elapsed());
        }
        let adding = start.elapsed();

        let start = Instant::now();
        for &at in &starts {
            let drain = pool.remove(at).map_err(|error| error.to_string())?;
            if !drain.is_drained() {
                return Err("a chunk that was never used is not drained".into());
            }
        }
        let removing = start.elapsed();

        let mut figures = vec![
            (Measure::Adding, adding.as_secs_f64()),
            (Measure::Removing, removing.as_secs_f64()),
        ];
        let each: Vec<f64> = added
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect();
        let typical = |part: Option<&[f64]>| Some(Summary::of(part?)?.median);
        let early = typical(each.get(EARLY - AROUND / 2..EARLY + AROUND / 2));
        let last = typical(each.get(each.len().saturating_sub(AROUND)..));
        if let (Some(early), Some(last)) = (early, last) {
            figures.push((Measure::Growth, last / early));
        }
        Ok(Round {
            figures,
            ..Round::default()
        })
    }
}
