//! The check of a blob, before anything in it is read: `BlobError`.

mod common;

use common::{BOARD, board, fdt};
use genpool_devm::{BlobFault, Tree};
use proptest::prelude::*;

const NOP: u32 = 4;
const PROPERTY: u32 = 3;
const END_NODE: u32 = 2;
const END: u32 = 9;

/// The words that begin a node.
fn begin(name: &str) -> Vec<u32> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(name.len() / 4 * 4 + 4, 0);
    let words = bytes.chunks_exact(4).map(|word| word.try_into().unwrap());
    [1].into_iter()
        .chain(words.map(u32::from_be_bytes))
        .collect()
}

/// A blob with this structure block; the one name of its strings, at 0, is `p`.
fn blob_of(structs: &[u32]) -> Vec<u8> {
    let len = structs.len() as u32 * 4;
    let strings = 40 + len;
    let header = [0xd00d_feed, strings + 4, 40, strings, 40, 17, 16, 0, 4, len];
    let words = header.iter().chain(structs).copied();
    let words = words.chain([u32::from_be_bytes(*b"p\0\0\0")]);
    words.flat_map(u32::to_be_bytes).collect()
}

fn fault(blob: &[u8]) -> (String, BlobFault) {
    let error = Tree::parse(blob).unwrap_err();
    (error.node.to_string(), error.fault)
}

#[test]
fn blobs_that_are_cut_off_or_overwritten() {
    assert_eq!(fault(b""), ("/".to_owned(), BlobFault::Truncated));
    assert_eq!(fault(&[0; 64]), ("/".to_owned(), BlobFault::NoMagic));
    for len in 4..BOARD.len() {
        assert_eq!(fault(&BOARD[..len]).1, BlobFault::Truncated, "{len}");
    }
    let patched = |at: usize, value: u32| {
        let mut blob = BOARD.to_vec();
        blob[at..at + 4].copy_from_slice(&value.to_be_bytes());
        fault(&blob)
    };
    assert_eq!(patched(20, 16).1, BlobFault::Version(16));
    // Blocks that begin outside of the blob or extend past its end.
    for (at, value) in [
        (8, 0),
        (8, u32::MAX),
        (8, 57),
        (12, u32::MAX),
        (32, u32::MAX),
        (36, u32::MAX),
    ] {
        assert_eq!(patched(at, value).1, BlobFault::Header, "{at} {value:#x}");
    }
    // The first word of the structure block begins the root.
    let structs = u32::from_be_bytes(BOARD[8..12].try_into().unwrap()) as usize;
    assert_eq!(patched(structs, 2).1, BlobFault::Token(2));
    assert_eq!(patched(structs, 9).1, BlobFault::Token(9));
    assert_eq!(
        patched(structs + 4, u32::from_be_bytes(*b"x\0\0\0")).1,
        BlobFault::Name
    );
    // A property of nearly 4 GiB, and one whose name is outside of the blob.
    assert_eq!(patched(structs + 12, u32::MAX).1, BlobFault::Truncated);
    assert_eq!(patched(structs + 16, u32::MAX).1, BlobFault::Name);
    // Bytes after the blob are ignored.
    let mut longer = BOARD.to_vec();
    longer.extend([0xff; 100]);
    assert!(Tree::parse(&longer).is_ok());
}

#[test]
fn names_and_depth() {
    // Names longer than the specification allows, as on real boards.
    let tree = board();
    let long = "/soc/a-node-whose-name-is-longer-than-the-specification-allows";
    let long = tree.find(long).unwrap();
    assert!(long.has("vendor,a-property-whose-name-is-longer-than-that"));
    // But not of any length.
    let mut blob = BOARD.to_vec();
    let at = blob
        .windows(6)
        .position(|bytes| bytes == b"a-node")
        .unwrap();
    blob[at..at + 300].fill(b'a');
    assert_eq!(fault(&blob), ("/soc".to_owned(), BlobFault::Name));

    let twins = fdt(|fdt| {
        for _ in 0..2 {
            let node = fdt.begin_node("twin@0")?;
            fdt.end_node(node)?;
        }
        Ok(())
    });
    assert_eq!(fault(&twins), ("/twin@0".to_owned(), BlobFault::Twin));

    // So many nodes inside each other, each with a name of so many characters.
    let nested = |depth: usize, len: usize| {
        let inner = begin(&"n".repeat(len)).repeat(depth);
        blob_of(&[begin(""), inner, vec![END_NODE; depth + 1], vec![END]].concat())
    };
    let deep = |depth| nested(depth, 3);
    assert_eq!(Tree::parse(&deep(63)).unwrap().nodes().count(), 64);
    let (node, what) = fault(&deep(64));
    assert_eq!((node.len(), what), (4 * 63, BlobFault::TooDeep));
    assert_eq!(fault(&deep(50_000)).1, BlobFault::TooDeep);
    // A path of 512 characters, with the root's empty name and its slash in it, and one of more.
    assert_eq!(Tree::parse(&nested(7, 72)).unwrap().nodes().count(), 8);
    let (node, what) = fault(&nested(8, 63));
    assert_eq!((node.len(), what), (512, BlobFault::LongPath));
    // The longest name, and one that is longer.
    assert_eq!(Tree::parse(&nested(1, 255)).unwrap().nodes().count(), 2);
    assert_eq!(fault(&nested(1, 256)), ("/".to_owned(), BlobFault::Name));
}

#[test]
fn tokens_stand_where_they_may() {
    let empty = vec![PROPERTY, 0, 0];
    let nops = vec![NOP, NOP];
    let good = [
        begin(""),
        nops.clone(),
        empty.clone(),
        nops.clone(),
        begin("a"),
        empty.clone(),
        vec![END_NODE],
        nops.clone(),
        vec![END_NODE],
        nops,
        vec![END],
    ];
    let tree = Tree::parse(&blob_of(&good.concat())).unwrap();
    assert_eq!(tree.nodes().count(), 2);
    assert!(tree.nodes().all(|node| node.property("p") == Some(b"")));

    let root = [begin(""), vec![END_NODE]].concat();
    let child = [begin("a"), vec![END_NODE]].concat();
    let before_end = |words: &[u32]| [begin(""), child.clone(), words.to_vec()].concat();
    for (what, words, token, node) in [
        ("a second root", [root.clone(), begin("")].concat(), 1, "/"),
        ("a property after a node", before_end(&empty), PROPERTY, "/"),
        (
            "padding before the root",
            [vec![NOP], root.clone(), vec![END]].concat(),
            NOP,
            "/",
        ),
        ("a property of none", empty.clone(), PROPERTY, "/"),
        ("no token", before_end(&[7, END_NODE, END]), 7, "/"),
        (
            "an end in a node",
            [begin(""), begin("a"), vec![END]].concat(),
            END,
            "/a",
        ),
        (
            "an end of none",
            [root.clone(), vec![END_NODE]].concat(),
            END_NODE,
            "/",
        ),
    ] {
        let error = Tree::parse(&blob_of(&words)).unwrap_err();
        assert_eq!(error.fault, BlobFault::Token(token), "{what}");
        assert_eq!(error.node.as_str(), node, "{what}");
        // The byte is that of the token: the last of its kind, or the only one.
        let at = words.iter().rposition(|&word| word == token).unwrap();
        assert_eq!(error.offset, 40 + 4 * at, "{what}");
    }
}

#[test]
fn names_are_made_of_what_is_seen() {
    for name in ["a/b", "a b", "a\tb", "a\u{7f}", "\u{e4}"] {
        let words = [begin(""), begin(name), vec![END_NODE, END_NODE, END]].concat();
        assert_eq!(
            fault(&blob_of(&words)),
            ("/".to_owned(), BlobFault::Name),
            "{name:?}"
        );
    }
    let words = [begin(""), begin("!~,._+-@"), vec![END_NODE, END_NODE, END]].concat();
    assert!(Tree::parse(&blob_of(&words)).is_ok());
}

proptest! {
    /// Bytes of a valid blob are overwritten. Reading the rest does not panic.
    #[test]
    fn overwritten_blobs_do_not_panic(
        patches in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut blob = BOARD.to_vec();
        for (at, value) in patches {
            let at = at.index(blob.len());
            blob[at] = value;
        }
        if is_cut {
            blob.truncate(cut.index(BOARD.len()));
        }
        genpool_devm::fuzz::tree(&blob);
    }

    /// Words of a valid blob are replaced by those that a device tree is made of.
    #[test]
    fn overwritten_words_do_not_panic(
        patches in prop::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![0u32..16, Just(u32::MAX), any::<u32>()]),
            1..8,
        ),
    ) {
        let mut blob = BOARD.to_vec();
        for (at, value) in patches {
            let at = at.index(blob.len() / 4) * 4;
            if at >= 40 {
                blob[at..at + 4].copy_from_slice(&value.to_be_bytes());
            }
        }
        genpool_devm::fuzz::tree(&blob);
    }
}
