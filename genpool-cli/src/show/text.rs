//! A pool as tables and pictures.

use std::fmt::Write;

use genpool_observe::{ChunkShot, Snapshot};

use crate::picture::{CELLS, framed};
use crate::plain::Plain;
use crate::size::Bytes;
use crate::table::{WIDTH, layout, shorten};

/// Shades for the taken part of a cell: none, up to a quarter, up to half, less than all, all.
const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];

/// The rows of the table of live allocations, which shows the largest.
const MOST_LIVE: usize = 20;

/// The most chunks that are drawn, those at the lowest addresses: more than anybody reads, and still little text
/// (2026-11).
const MOST_CHUNKS: usize = 256;

/// Returns everything about a pool.
pub fn pool(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    let name = snapshot.name.as_deref().unwrap_or("unnamed");
    let _ = writeln!(text, "pool      {}", clean(name, WIDTH - 10));
    let tracking = match snapshot.tracked {
        true => "boundaries tracked",
        false => "boundaries not tracked",
    };
    let granule = Bytes(1 << snapshot.order);
    let _ = writeln!(text, "granule   {granule}, {tracking}");
    text.push('\n');
    text.push_str(&totals(snapshot));
    for chunk in snapshot.chunks.iter().take(MOST_CHUNKS) {
        text.push('\n');
        text.push_str(&chunk_text(chunk, snapshot.order));
    }
    if snapshot.chunks.len() > MOST_CHUNKS {
        let _ = writeln!(
            text,
            "\nchunks    {}, of which the {MOST_CHUNKS} at the lowest addresses are shown",
            snapshot.chunks.len()
        );
    }
    if !snapshot.chunks.is_empty() {
        let _ = writeln!(
            text,
            "\ntaken     {} none  {} up to a quarter  {} a half  {} less than all  {} all of the cell",
            SHADES[0], SHADES[1], SHADES[2], SHADES[3], SHADES[4]
        );
    }
    if let Some(live) = snapshot.live.as_ref().filter(|live| !live.is_empty()) {
        let mut largest: Vec<_> = live.iter().collect();
        largest.sort_by_key(|one| (std::cmp::Reverse(one.size), one.addr));
        let rows: Vec<_> = largest
            .iter()
            .take(MOST_LIVE)
            .map(|one| {
                let tag = match one.tag {
                    0 => "-".to_owned(),
                    tag => format!("{tag:#x}"),
                };
                vec![
                    format!("{:#x}", one.addr),
                    Bytes(one.size).to_string(),
                    tag,
                    owner_at(snapshot, one.addr),
                ]
            })
            .collect();
        let shown = rows.len();
        text.push('\n');
        text.push_str(&layout(&["live", "size", "tag", "owner"], &[], &rows));
        let _ = match live.len() - shown {
            0 => writeln!(text, "live      {} allocations", live.len()),
            _ => writeln!(
                text,
                "live      {} allocations, of which the {shown} largest are shown",
                live.len()
            ),
        };
    }
    if snapshot.cut {
        text.push_str("cut       the snapshot leaves out what was too much for it\n");
    }
    text
}

fn totals(snapshot: &Snapshot) -> String {
    let (stats, fragmentation) = (&snapshot.stats, &snapshot.fragmentation);
    let bytes = |figure: usize| Bytes(figure).to_string();
    let share = |part: usize, whole: usize| match whole {
        0 => "-".to_owned(),
        _ => format!("{:.1} %", part as f64 / whole as f64 * 100.0),
    };
    let row = |name: &str, figure: String, share: String| vec![name.to_owned(), figure, share];
    let none = String::new;
    let mut rows = vec![
        row("size", bytes(stats.size), none()),
        row("used", bytes(stats.used), share(stats.used, stats.size)),
        row("free", bytes(stats.free), share(stats.free, stats.size)),
        row(
            "largest free run",
            bytes(fragmentation.largest_run),
            share(fragmentation.largest_run, fragmentation.free),
        ),
        row("free runs", fragmentation.free_runs.to_string(), none()),
        row("kept by caches", bytes(stats.cached), none()),
        row("bookkeeping", bytes(stats.bookkeeping), none()),
    ];
    if stats.draining > 0 {
        let held = bytes(stats.draining_used);
        rows.push(row("held in chunks being removed", held, none()));
    }
    for (name, count) in [
        ("requests without room", stats.exhausted),
        ("requests not settled", stats.contended),
        ("unsuitable requests", stats.unsuitable),
        ("bad proposals", stats.bad_proposals),
        ("refused frees", stats.refused_frees),
        ("panics of the observer", stats.observer_panics),
    ] {
        if count > 0 {
            rows.push(row(name, count.to_string(), none()));
        }
    }
    layout(&["total", "", "share"], &[], &rows)
}

fn chunk_text(chunk: &ChunkShot, order: u32) -> String {
    let last = chunk.start + (chunk.size - 1);
    let granules = chunk.size >> order;
    let taken = chunk.taken_granules();
    let mut text = format!(
        "chunk     {:#x} to {last:#x}, {}, {:.1} % taken in {} run{}",
        chunk.start,
        Bytes(chunk.size),
        taken as f64 / granules as f64 * 100.0,
        chunk.taken.len(),
        if chunk.taken.len() == 1 { "" } else { "s" }
    );
    if chunk.draining {
        text.push_str(", being removed");
    }
    text.push('\n');
    if let Some(phys) = chunk.phys {
        let _ = writeln!(text, "phys      {phys:#x}");
    }
    if let Some(owner) = &chunk.owner {
        let _ = writeln!(text, "owner     {}", clean(owner, WIDTH - 10));
    }
    text.push_str(&picture(chunk, granules));
    text
}

/// Returns a line for the whole chunk, shaded by how much of each part is taken.
fn picture(chunk: &ChunkShot, granules: usize) -> String {
    // Granules of a cell times the number of cells, so that borders of cells need no rounding.
    let mut filled = [0u128; CELLS];
    let whole = granules as u128;
    for &(first, len) in &chunk.taken {
        let cells = CELLS as u128;
        let (from, to) = (first as u128 * cells, (first + len) as u128 * cells);
        for cell in from / whole..to.div_ceil(whole) {
            let inside = to.min((cell + 1) * whole) - from.max(cell * whole);
            filled[cell as usize] += inside;
        }
    }
    framed(filled.map(|filled| match filled {
        0 => SHADES[0],
        filled if filled >= whole => SHADES[4],
        filled if filled * 4 <= whole => SHADES[1],
        filled if filled * 2 <= whole => SHADES[2],
        _ => SHADES[3],
    }))
}

fn owner_at(snapshot: &Snapshot, addr: usize) -> String {
    let at = snapshot.chunks.partition_point(|chunk| chunk.start <= addr);
    let chunk = at.checked_sub(1).map(|at| &snapshot.chunks[at]);
    let owner = chunk
        .filter(|chunk| addr - chunk.start < chunk.size)
        .and_then(|chunk| chunk.owner.as_deref());
    clean(owner.unwrap_or("-"), 40)
}

/// Returns an untrusted name, fit to be shown.
fn clean(name: &str, longest: usize) -> String {
    shorten(&Plain(name).to_string(), longest)
}

#[cfg(test)]
mod tests {
    use genpool::Pool;

    use super::*;

    fn picture_of(granules: usize, runs: &[(usize, usize)]) -> String {
        let pool = Pool::new(0).unwrap();
        pool.add(0, 1).unwrap();
        let mut chunk = Snapshot::of(&pool).chunks.remove(0);
        chunk.size = granules;
        chunk.taken = runs.to_vec();
        let line = picture(&chunk, granules);
        let line = line.trim().trim_start_matches('▕').trim_end_matches('▏');
        assert_eq!(line.chars().count(), CELLS);
        line.to_owned()
    }

    #[test]
    fn what_went_wrong_is_counted() {
        let mut snapshot = Snapshot::of(&Pool::new(0).unwrap());
        let counts = [
            "requests without room",
            "requests not settled",
            "unsuitable requests",
            "bad proposals",
            "refused frees",
            "panics of the observer",
        ];
        let text = super::pool(&snapshot);
        assert!(counts.iter().all(|count| !text.contains(count)), "{text}");

        let stats = &mut snapshot.stats;
        for count in [
            &mut stats.exhausted,
            &mut stats.contended,
            &mut stats.unsuitable,
            &mut stats.bad_proposals,
            &mut stats.refused_frees,
            &mut stats.observer_panics,
        ] {
            *count = 1;
        }
        let text = super::pool(&snapshot);
        assert!(counts.iter().all(|count| text.contains(count)), "{text}");
    }

    #[test]
    fn an_address_has_the_owner_of_its_chunk() {
        let pool = Pool::new(4).unwrap();
        for start in [0x100, 0x300, 0x340] {
            pool.add(start, 0x40).unwrap();
        }
        let mut snapshot = Snapshot::of(&pool);
        snapshot.chunks[0].owner = Some("first\u{1b}".to_owned());
        snapshot.chunks[1].owner = Some("second".to_owned());
        for (addr, owner) in [
            (0xff, "-"),
            (0x100, "first\u{fffd}"),
            (0x13f, "first\u{fffd}"),
            (0x140, "-"),
            (0x2ff, "-"),
            (0x33f, "second"),
            (0x340, "-"),
        ] {
            assert_eq!(owner_at(&snapshot, addr), owner, "{addr:#x}");
        }
    }

    #[test]
    fn many_chunks_are_not_all_drawn() {
        let pool = Pool::new(0).unwrap();
        let chunks = MOST_CHUNKS + 44;
        for n in 0..chunks {
            pool.add(n * 2, 1).unwrap();
        }
        let text = super::pool(&Snapshot::of(&pool));
        assert_eq!(text.matches("\nchunk     ").count(), MOST_CHUNKS);
        assert!(
            text.contains("\nchunks    300, of which the 256 "),
            "{text}"
        );
    }

    #[test]
    fn pictures() {
        assert_eq!(picture_of(96, &[]), "·".repeat(96));
        assert_eq!(picture_of(1, &[(0, 1)]), "█".repeat(96));
        assert_eq!(
            picture_of(96, &[(0, 1), (95, 1)]),
            format!("█{}█", "·".repeat(94))
        );
        let quarters = picture_of(96 * 4, &[(0, 1), (4, 2), (8, 3), (12, 4)]);
        assert_eq!(quarters, format!("░▒▓█{}", "·".repeat(92)));
        // Cells that share a granule are as full as it is.
        assert_eq!(
            picture_of(2, &[(1, 1)]),
            format!("{}{}", "·".repeat(48), "█".repeat(48))
        );
        assert_eq!(
            picture_of(usize::MAX >> 8, &[(0, 1)]).chars().next(),
            Some('░')
        );
    }
}
