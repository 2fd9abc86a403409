use super::*;

const PAGE: usize = 4096;

/// A script of a pool of pages, and what it has written.
#[derive(Default)]
struct Written {
    script: Script,
    text: String,
}

impl Written {
    fn new() -> Self {
        Self::of_order(12)
    }

    fn of_order(order: u32) -> Self {
        let mut written = Self::default();
        let name = None;
        written.change(Change::Built { name, order });
        written.lines();
        written
    }

    fn change(&mut self, change: Change) {
        self.script.change(&mut self.text, change);
    }

    fn added(&mut self, start: usize, pages: usize) {
        let (size, phys) = (pages * PAGE, None);
        self.change(Change::Added { start, size, phys });
    }

    fn draining(&mut self, start: usize, pages: usize) {
        let size = pages * PAGE;
        self.change(Change::Draining { start, size });
    }

    fn entry(&mut self, entry: Entry) {
        self.script.entry(&mut self.text, entry);
    }

    fn alloc(&mut self, addr: usize, pages: usize) {
        self.entry(Entry::Alloc {
            addr,
            asked: pages * PAGE,
            algorithm: None,
        });
    }

    fn free(&mut self, addr: usize, pages: usize) {
        let size = pages * PAGE;
        self.entry(Entry::Free { addr, size });
    }

    /// Returns the lines since the last call, without comments.
    fn lines(&mut self) -> Vec<String> {
        let text = std::mem::take(&mut self.text);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }
}

#[test]
fn a_chunk_that_comes_again_in_another_shape() {
    let mut written = Written::new();
    written.added(0x10_0000, 4);
    written.draining(0x10_0000, 4);
    written.added(0x10_0000, 8);
    assert_eq!(written.script.unsaid(), 1);
    written.lines();
    // Inside the old chunk.
    written.alloc(0x10_0000, 2);
    written.free(0x10_0000, 2);
    assert_eq!(
        written.lines(),
        ["alloc 2 size=8192 -> 0x100000", "free 2"],
        "it serves, so what comes back is free"
    );
    // Across its end, and beyond it.
    written.alloc(0x10_3000, 2);
    written.free(0x10_3000, 2);
    written.alloc(0x10_5000, 1);
    assert_eq!((written.lines(), written.script.unsaid()), (vec![], 4));
    written.draining(0x10_0000, 8);
    assert_eq!(
        written.lines(),
        ["alloc 3 size=16384 algo=fixed-address:0x100000 -> 0x100000"]
    );
    // Smaller than before.
    written.added(0x10_1000, 2);
    assert_eq!(
        written.lines(),
        [
            "free 3",
            "alloc 4 size=4096 algo=fixed-address:0x103000 -> 0x103000",
            "alloc 5 size=4096 algo=fixed-address:0x100000 -> 0x100000"
        ]
    );
}

#[test]
fn changes_may_be_recorded_late() {
    let mut written = Written::new();
    written.added(0x10_0000, 4);
    // Removed, and added again.
    written.added(0x10_0000, 4);
    written.draining(0x10_0000, 4);
    written.lines();
    written.alloc(0x10_0000, 1);
    written.free(0x10_0000, 1);
    assert_eq!(written.lines(), ["alloc 1 size=4096 -> 0x100000", "free 1"]);
    written.draining(0x10_0000, 4);
    assert_eq!(
        written.lines(),
        ["alloc 2 size=16384 algo=fixed-address:0x100000 -> 0x100000"]
    );
    written.draining(0x20_0000, 4);
    assert_eq!(written.lines(), [""; 0]);
}

#[test]
fn what_shrank_is_held_at_its_new_size() {
    let mut written = Written::new();
    written.added(0x10_0000, 4);
    written.alloc(0x10_0000, 4);
    written.lines();
    written.entry(Entry::Resize {
        addr: 0x10_0000,
        from: 4 * PAGE,
        asked: PAGE,
    });
    let shrunk = "alloc 2 size=4096 algo=fixed-address:0x100000 -> 0x100000";
    assert_eq!(written.lines(), ["free 1", shrunk]);
    written.alloc(0x10_1000, 3);
    assert_eq!(written.lines(), ["alloc 3 size=12288 -> 0x101000"]);
}

#[test]
fn what_was_removed_is_held_in_few_pieces() {
    let mut written = Written::new();
    for round in 0..3 {
        let start = 0x10_0000 * (round + 1);
        written.added(start, 200);
        for page in 0..100 {
            written.alloc(start + 2 * page * PAGE, 1);
        }
        written.draining(start, 200);
        assert_eq!(written.script.held.len(), round + 200);
        for page in 0..100 {
            written.free(start + 2 * page * PAGE, 1);
        }
        written.lines();
        let size = 200 * PAGE;
        written.entry(Entry::Drained { start, size });
        assert_eq!(written.script.held.len(), round + 1);
        let whole = format!(" size={size} algo=fixed-address:{start:#x} -> {start:#x}");
        assert!(written.lines().last().unwrap().ends_with(&whole));
    }
    assert_eq!(written.script.unsaid(), 0);
}

#[test]
fn a_trace_has_no_more_than_is_read() {
    let mut written = Written::new();
    for chunk in 0..MOST_CHUNKS + 3 {
        written.added(chunk * 2 * PAGE, 1);
    }
    assert_eq!(
        (written.lines().len(), written.script.unsaid()),
        (MOST_CHUNKS, 3)
    );
    written.alloc(MOST_CHUNKS * 2 * PAGE, 1);
    assert_eq!((written.lines().len(), written.script.unsaid()), (0, 4));

    let mut written = Written::of_order(0);
    for (start, size) in [
        (0, MOST_GRANULES - 3),
        (MOST_GRANULES, 4),
        (usize::MAX - 2, 3),
    ] {
        let phys = None;
        written.change(Change::Added { start, size, phys });
    }
    assert_eq!((written.lines().len(), written.script.unsaid()), (2, 1));

    let mut written = Written::new();
    written.added(0, 10);
    written.script.room.bytes = 70;
    written.text.clear();
    for _ in 0..10 {
        written.alloc(0, 1);
        written.free(0, 1);
    }
    assert_eq!(
        written.text,
        "alloc 1 size=4096 -> 0x0\nfree 1\nalloc 2 size=4096 -> 0x0\nfree 2\n\
         # the end: the trace is as long as it may be\n"
    );
    assert_eq!(written.script.unsaid(), 16);
}

#[test]
fn a_part_that_is_freed_leaves_the_rest() {
    let mut written = Written::new();
    written.added(0x10_0000, 16);
    written.alloc(0x10_0000, 4);
    written.lines();
    written.free(0x10_1000, 2);
    assert_eq!(
        written.lines(),
        [
            "free 1",
            "alloc 2 size=4096 algo=fixed-address:0x103000 -> 0x103000",
            "alloc 3 size=4096 algo=fixed-address:0x100000 -> 0x100000",
        ]
    );
    // From the start, but not all of it; then all of it, by its address alone.
    written.alloc(0x10_8000, 4);
    written.free(0x10_8000, 1);
    assert_eq!(
        written.lines()[1..],
        [
            "free 4",
            "alloc 5 size=12288 algo=fixed-address:0x109000 -> 0x109000"
        ]
    );
    written.free(0x10_9000, 0);
    assert_eq!(written.lines(), ["free 5"]);
    // Granules of one byte: the last of one is the first of the next.
    let mut written = Written::of_order(0);
    written.added(0, 1);
    written.lines();
    for _ in 0..2 {
        written.entry(Entry::Alloc {
            addr: 7,
            asked: 1,
            algorithm: None,
        });
    }
    assert_eq!(
        written.lines(),
        ["alloc 1 size=1 -> 0x7", "free 1", "alloc 2 size=1 -> 0x7"]
    );
}

#[test]
fn a_resize_is_recorded_where_it_changes_what_is_held() {
    let mut written = Written::new();
    written.added(0x10_0000, 4);
    written.alloc(0x10_0000, 2);
    written.lines();
    let mut resize = |addr: usize, from: usize, asked: usize| {
        written.entry(Entry::Resize { addr, from, asked });
        written.lines()
    };
    assert_eq!(resize(0x10_0000, 2 * PAGE, PAGE + 1), [""; 0]);
    assert_eq!(
        resize(0x10_0000, 2 * PAGE, PAGE),
        [
            "free 1",
            "alloc 2 size=4096 algo=fixed-address:0x100000 -> 0x100000"
        ]
    );
    assert_eq!(
        resize(0x10_0000, PAGE, 3 * PAGE - 1),
        [
            "free 2",
            "alloc 3 size=12287 algo=fixed-address:0x100000 -> 0x100000"
        ]
    );
    // In a chunk that is being removed, nothing after it is free.
    written.draining(0x10_0000, 4);
    written.lines();
    written.entry(Entry::Resize {
        addr: 0x10_0000,
        from: 3 * PAGE,
        asked: PAGE,
    });
    assert_eq!(written.lines(), [""; 0]);
}

/// Of chunks side by side one is removed, and the others serve as before.
#[test]
fn a_removal_ends_where_the_chunk_does() {
    let mut written = Written::new();
    let starts = [0x10_0000, 0x10_4000, 0x10_8000];
    for start in starts {
        written.added(start, 4);
        written.alloc(start + PAGE, 1);
    }
    written.lines();
    written.draining(starts[1], 4);
    assert_eq!(
        written.lines(),
        [
            "alloc 4 size=4096 algo=fixed-address:0x104000 -> 0x104000",
            "alloc 5 size=8192 algo=fixed-address:0x106000 -> 0x106000",
        ]
    );
    // What comes back in it is not free again, from its first page on.
    written.free(starts[1], 1);
    written.free(starts[1] + PAGE, 1);
    assert_eq!(written.lines(), [""; 0]);
    for (start, line) in [(starts[0], "free 1"), (starts[2], "free 3")] {
        written.free(start + PAGE, 1);
        assert_eq!(written.lines(), [line]);
    }
    // One that serves in its place, written of before, keeps what is there.
    written.added(starts[0], 2);
    written.lines();
    written.draining(starts[0], 4);
    assert_eq!(written.lines(), [""; 0]);
    written.alloc(starts[0], 1);
    written.free(starts[0], 1);
    assert_eq!(written.lines().len(), 2);
}

#[test]
fn one_trace_is_of_one_pool() {
    let mut written = Written::new();
    written.added(0, 10);
    let (name, order) = (None, 5);
    written.change(Change::Built { name, order });
    written.text.clear();
    written.added(0x10_0000, 1);
    assert_eq!((&*written.text, written.script.unsaid()), ("", 1));
    written.alloc(0, 1);
    assert_eq!((&*written.text, written.script.unsaid()), ("", 2));
}

/// What a reader of the trace knows.
#[derive(Default)]
struct Read {
    chunks: Vec<(usize, usize)>,
    held: BTreeMap<u64, (usize, usize)>,
}

fn apart(one: (usize, usize), other: (usize, usize)) -> bool {
    one.1 <= other.0 || other.1 <= one.0
}

impl Read {
    /// Addresses and sizes come after `=` and `->`.
    fn line(&mut self, line: &str) {
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(hex) => usize::from_str_radix(hex, 16).unwrap(),
            None => text.parse().unwrap(),
        };
        let field = |name: &str| {
            let mut words = line.split(' ');
            number(words.find_map(|word| word.strip_prefix(name)).unwrap())
        };
        let words: Vec<_> = line.split(' ').collect();
        match words[0] {
            "chunk" => {
                let start = field("virt=");
                let chunk = (start, start + field("size="));
                assert!(self.chunks.iter().all(|&other| apart(chunk, other)));
                self.chunks.push(chunk);
            }
            "alloc" if words[words.len() - 1] != "none" => {
                let addr = number(words[words.len() - 1]);
                let range = (addr, addr + field("size=").next_multiple_of(PAGE));
                let inside = |chunk: &(usize, usize)| chunk.0 <= range.0 && range.1 <= chunk.1;
                assert!(self.chunks.iter().any(inside), "{line}");
                assert!(
                    self.held.values().all(|&other| apart(range, other)),
                    "{line}"
                );
                assert!(self.held.insert(number(words[1]) as u64, range).is_none());
            }
            "free" => assert!(self.held.remove(&(number(words[1]) as u64)).is_some()),
            _ => {}
        }
    }
}

#[test]
fn the_trace_can_be_replayed_whatever_is_recorded() {
    const STEPS: usize = if cfg!(miri) { 100 } else { 3000 };
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    for _ in 0..10 {
        let (mut written, mut read) = (Written::new(), Read::default());
        for _ in 0..STEPS {
            // These need not have happened, nor in this order.
            let (start, pages) = (0x10_0000 + random(20) * PAGE, random(12) + 1);
            let size = pages * PAGE;
            match random(12) {
                0 => written.added(start, pages),
                1 => written.draining(start, pages),
                2 => written.entry(Entry::Drained { start, size }),
                3..6 => written.free(start, pages),
                6 => written.entry(Entry::Resize {
                    addr: start,
                    from: size,
                    asked: random(8 * PAGE) + 1,
                }),
                7 => written.entry(Entry::Refused {
                    asked: size,
                    algorithm: None,
                }),
                _ => written.alloc(start, pages),
            }
            written.lines().iter().for_each(|line| read.line(line));
        }
        let held = written.script.held.iter();
        let held: Vec<_> = held.map(|(&addr, held)| (addr, addr + held.size)).collect();
        let mut seen: Vec<_> = read.held.into_values().collect();
        seen.sort_unstable();
        assert_eq!(held, seen);
    }
}
