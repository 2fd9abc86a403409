use super::*;

const PAGE: usize = 4096;

/// A script of a pool of pages, and what it has written.
#[derive(Default)]
struct Told {
    script: Script,
    text: String,
}

impl Told {
    fn new() -> Self {
        Self::of_order(12)
    }

    fn of_order(order: u32) -> Self {
        let mut told = Self::default();
        let name = None;
        told.change(Change::Built { name, order });
        told.said();
        told
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
    fn said(&mut self) -> Vec<String> {
        let text = std::mem::take(&mut self.text);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }
}

#[test]
fn a_chunk_that_comes_again_in_another_shape() {
    let mut told = Told::new();
    told.added(0x10_0000, 4);
    told.draining(0x10_0000, 4);
    told.added(0x10_0000, 8);
    assert_eq!(told.script.unsaid(), 1);
    told.said();
    // Inside the old chunk.
    told.alloc(0x10_0000, 2);
    told.free(0x10_0000, 2);
    assert_eq!(
        told.said(),
        ["alloc 2 size=8192 -> 0x100000", "free 2"],
        "it serves, so what comes back is free"
    );
    // Across its end, and beyond it.
    told.alloc(0x10_3000, 2);
    told.free(0x10_3000, 2);
    told.alloc(0x10_5000, 1);
    assert_eq!((told.said(), told.script.unsaid()), (vec![], 4));
    told.draining(0x10_0000, 8);
    assert_eq!(
        told.said(),
        ["alloc 3 size=16384 algo=fixed-address:0x100000 -> 0x100000"]
    );
    // Smaller than before.
    told.added(0x10_1000, 2);
    assert_eq!(
        told.said(),
        [
            "free 3",
            "alloc 4 size=4096 algo=fixed-address:0x103000 -> 0x103000",
            "alloc 5 size=4096 algo=fixed-address:0x100000 -> 0x100000"
        ]
    );
}

#[test]
fn changes_may_be_told_of_late() {
    let mut told = Told::new();
    told.added(0x10_0000, 4);
    // Removed, and added again.
    told.added(0x10_0000, 4);
    told.draining(0x10_0000, 4);
    told.said();
    told.alloc(0x10_0000, 1);
    told.free(0x10_0000, 1);
    assert_eq!(told.said(), ["alloc 1 size=4096 -> 0x100000", "free 1"]);
    told.draining(0x10_0000, 4);
    assert_eq!(
        told.said(),
        ["alloc 2 size=16384 algo=fixed-address:0x100000 -> 0x100000"]
    );
    told.draining(0x20_0000, 4);
    assert_eq!(told.said(), [""; 0]);
}

#[test]
fn what_shrank_is_held_at_its_new_size() {
    let mut told = Told::new();
    told.added(0x10_0000, 4);
    told.alloc(0x10_0000, 4);
    told.said();
    told.entry(Entry::Resize {
        addr: 0x10_0000,
        from: 4 * PAGE,
        asked: PAGE,
    });
    let shrunk = "alloc 2 size=4096 algo=fixed-address:0x100000 -> 0x100000";
    assert_eq!(told.said(), ["free 1", shrunk]);
    told.alloc(0x10_1000, 3);
    assert_eq!(told.said(), ["alloc 3 size=12288 -> 0x101000"]);
}

#[test]
fn what_was_removed_is_held_in_few_pieces() {
    let mut told = Told::new();
    for round in 0..3 {
        let start = 0x10_0000 * (round + 1);
        told.added(start, 200);
        for page in 0..100 {
            told.alloc(start + 2 * page * PAGE, 1);
        }
        told.draining(start, 200);
        assert_eq!(told.script.held.len(), round + 200);
        for page in 0..100 {
            told.free(start + 2 * page * PAGE, 1);
        }
        told.said();
        let size = 200 * PAGE;
        told.entry(Entry::Drained { start, size });
        assert_eq!(told.script.held.len(), round + 1);
        let whole = format!(" size={size} algo=fixed-address:{start:#x} -> {start:#x}");
        assert!(told.said().last().unwrap().ends_with(&whole));
    }
    assert_eq!(told.script.unsaid(), 0);
}

#[test]
fn a_trace_has_no_more_than_is_read() {
    let mut told = Told::new();
    for chunk in 0..MOST_CHUNKS + 3 {
        told.added(chunk * 2 * PAGE, 1);
    }
    assert_eq!((told.said().len(), told.script.unsaid()), (MOST_CHUNKS, 3));
    told.alloc(MOST_CHUNKS * 2 * PAGE, 1);
    assert_eq!((told.said().len(), told.script.unsaid()), (0, 4));

    let mut told = Told::of_order(0);
    for (start, size) in [
        (0, MOST_GRANULES - 3),
        (MOST_GRANULES, 4),
        (usize::MAX - 2, 3),
    ] {
        let phys = None;
        told.change(Change::Added { start, size, phys });
    }
    assert_eq!((told.said().len(), told.script.unsaid()), (2, 1));

    let mut told = Told::new();
    told.added(0, 10);
    told.script.room.bytes = 70;
    told.text.clear();
    for _ in 0..10 {
        told.alloc(0, 1);
        told.free(0, 1);
    }
    assert_eq!(
        told.text,
        "alloc 1 size=4096 -> 0x0\nfree 1\nalloc 2 size=4096 -> 0x0\nfree 2\n\
         # the end: the trace is as long as it may be\n"
    );
    assert_eq!(told.script.unsaid(), 16);
}

#[test]
fn a_part_that_is_freed_leaves_the_rest() {
    let mut told = Told::new();
    told.added(0x10_0000, 16);
    told.alloc(0x10_0000, 4);
    told.said();
    told.free(0x10_1000, 2);
    assert_eq!(
        told.said(),
        [
            "free 1",
            "alloc 2 size=4096 algo=fixed-address:0x103000 -> 0x103000",
            "alloc 3 size=4096 algo=fixed-address:0x100000 -> 0x100000",
        ]
    );
    // From the start, but not all of it; then all of it, by its address alone.
    told.alloc(0x10_8000, 4);
    told.free(0x10_8000, 1);
    assert_eq!(
        told.said()[1..],
        [
            "free 4",
            "alloc 5 size=12288 algo=fixed-address:0x109000 -> 0x109000"
        ]
    );
    told.free(0x10_9000, 0);
    assert_eq!(told.said(), ["free 5"]);
    // Granules of one byte: the last of one is the first of the next.
    let mut told = Told::of_order(0);
    told.added(0, 1);
    told.said();
    for _ in 0..2 {
        told.entry(Entry::Alloc {
            addr: 7,
            asked: 1,
            algorithm: None,
        });
    }
    assert_eq!(
        told.said(),
        ["alloc 1 size=1 -> 0x7", "free 1", "alloc 2 size=1 -> 0x7"]
    );
}

#[test]
fn a_resize_is_said_where_it_changes_what_is_held() {
    let mut told = Told::new();
    told.added(0x10_0000, 4);
    told.alloc(0x10_0000, 2);
    told.said();
    let mut resize = |addr: usize, from: usize, asked: usize| {
        told.entry(Entry::Resize { addr, from, asked });
        told.said()
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
    // In a chunk that is being removed, nothing is free behind it.
    told.draining(0x10_0000, 4);
    told.said();
    told.entry(Entry::Resize {
        addr: 0x10_0000,
        from: 3 * PAGE,
        asked: PAGE,
    });
    assert_eq!(told.said(), [""; 0]);
}

/// Of chunks side by side one is removed, and the others serve as before.
#[test]
fn a_removal_ends_where_the_chunk_does() {
    let mut told = Told::new();
    let starts = [0x10_0000, 0x10_4000, 0x10_8000];
    for start in starts {
        told.added(start, 4);
        told.alloc(start + PAGE, 1);
    }
    told.said();
    told.draining(starts[1], 4);
    assert_eq!(
        told.said(),
        [
            "alloc 4 size=4096 algo=fixed-address:0x104000 -> 0x104000",
            "alloc 5 size=8192 algo=fixed-address:0x106000 -> 0x106000",
        ]
    );
    // What comes back in it is not free again, from its first page on.
    told.free(starts[1], 1);
    told.free(starts[1] + PAGE, 1);
    assert_eq!(told.said(), [""; 0]);
    for (start, line) in [(starts[0], "free 1"), (starts[2], "free 3")] {
        told.free(start + PAGE, 1);
        assert_eq!(told.said(), [line]);
    }
    // One that serves in its place, told of before, keeps what is there.
    told.added(starts[0], 2);
    told.said();
    told.draining(starts[0], 4);
    assert_eq!(told.said(), [""; 0]);
    told.alloc(starts[0], 1);
    told.free(starts[0], 1);
    assert_eq!(told.said().len(), 2);
}

#[test]
fn one_trace_is_of_one_pool() {
    let mut told = Told::new();
    told.added(0, 10);
    let (name, order) = (None, 5);
    told.change(Change::Built { name, order });
    told.text.clear();
    told.added(0x10_0000, 1);
    assert_eq!((&*told.text, told.script.unsaid()), ("", 1));
    told.alloc(0, 1);
    assert_eq!((&*told.text, told.script.unsaid()), ("", 2));
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
fn whatever_is_told_the_trace_can_be_replayed() {
    const STEPS: usize = if cfg!(miri) { 100 } else { 3000 };
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    for _ in 0..10 {
        let (mut told, mut read) = (Told::new(), Read::default());
        for _ in 0..STEPS {
            // These need not have happened, nor in this order.
            let (start, pages) = (0x10_0000 + random(20) * PAGE, random(12) + 1);
            let size = pages * PAGE;
            match random(12) {
                0 => told.added(start, pages),
                1 => told.draining(start, pages),
                2 => told.entry(Entry::Drained { start, size }),
                3..6 => told.free(start, pages),
                6 => told.entry(Entry::Resize {
                    addr: start,
                    from: size,
                    asked: random(8 * PAGE) + 1,
                }),
                7 => told.entry(Entry::Refused {
                    asked: size,
                    algorithm: None,
                }),
                _ => told.alloc(start, pages),
            }
            told.said().iter().for_each(|line| read.line(line));
        }
        let held = told.script.held.iter();
        let held: Vec<_> = held.map(|(&addr, held)| (addr, addr + held.size)).collect();
        let mut seen: Vec<_> = read.held.into_values().collect();
        seen.sort_unstable();
        assert_eq!(held, seen);
    }
}
