//! Flattened device trees as bytes: checked here, read by `dtoolkit`.
//!
//! `dtoolkit` has its own check, which refuses every name of more than 31 characters. The specification has that
//! limit, but real boards exceed it: 611 of the 1,474 blobs of `ci/boards.sh` (Debian's arm64 and armhf kernels) have
//! longer names (2026-11). So this check establishes what `Fdt::new_unchecked` requires, without that limit. It also
//! knows the node where a blob is invalid, and bounds the depth and the names.

use std::str;

use dtoolkit::fdt::Fdt;
use thiserror::Error;

use crate::path::NodePath;

const MAGIC: u32 = 0xd00d_feed;
/// The version of the format in use since 2005.
const VERSION: u32 = 17;
const HEADER: usize = 40;
const WORD: usize = 4;

/// Nesting of nodes. Real trees have about ten levels (2026-11); a tree this deep is an attack.
const DEEPEST: usize = 64;

/// Characters of a name. Real names have at most 41 (2026-11). Without this bound, a small blob could refer to a name
/// of megabytes many times.
const LONGEST_NAME: usize = 255;

/// Characters of a path. Real paths that are referred to have at most 63 (2026-11). Without this bound, a small blob
/// could refer to kilobytes many times.
const LONGEST_PATH: usize = 512;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// The bytes are not a device tree.
///
/// ```
/// use genpool::devm::{BlobFault, Tree};
///
/// let blob = std::fs::read("examples/board.dtb")?;
/// let refused = Tree::parse(&blob[..100]).unwrap_err();
/// assert_eq!(refused.fault, BlobFault::Truncated);
/// assert_eq!(refused.node.as_str(), "/"); // in the header
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{node}: {fault} (byte {offset})")]
pub struct BlobError {
    /// The node with the fault. The root for a fault in the header.
    pub node: NodePath,
    /// The offset in the blob.
    pub offset: usize,
    /// What is wrong.
    pub fault: BlobFault,
}

/// What is wrong with a blob.
///
/// ```
/// use genpool::devm::{BlobFault, Tree};
///
/// let refused = Tree::parse(b"#!/bin/sh\necho this is a program, and no device tree\n").unwrap_err();
/// assert_eq!(refused.fault, BlobFault::NoMagic);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BlobFault {
    /// The blob does not begin like a device tree. A source text (`.dts`) must be compiled first.
    #[error("not a flattened device tree; compile a source text with `dtc -O dtb`")]
    NoMagic,
    /// The blob ends before the header says, or before something in it does.
    #[error("the blob is cut off")]
    Truncated,
    /// The offsets and lengths in the header contradict each other.
    #[error("the header contradicts itself")]
    Header,
    /// The format is another version than 17.
    #[error("the format's version is {0}, not 17")]
    Version(u32),
    /// A token is at a place where the format does not allow it.
    #[error("{0:#x} is no token that may stand here")]
    Token(u32),
    /// A name is empty or too long, or has characters that names cannot have.
    #[error("a name is empty, over {LONGEST_NAME} characters, or not made of those of names")]
    Name,
    /// Nodes are nested too deep.
    #[error("more than {DEEPEST} nodes inside each other")]
    TooDeep,
    /// The path of a node is too long.
    #[error("a path of more than {LONGEST_PATH} characters")]
    LongPath,
    /// Two nodes have the same path.
    #[error("two nodes have this path")]
    Twin,
    /// A `phandle` or `linux,phandle` is not one cell, is 0 or all ones (which mean "none"), or differs from the
    /// other property of the node.
    #[error(
        "a phandle that is not one cell, is 0 or 0xffffffff, or differs from the node's other one"
    )]
    Phandle,
}

/// Checks the blob. Reading the tree from the result cannot panic.
pub(super) fn check(bytes: &[u8]) -> Result<Fdt<'_>, BlobError> {
    let in_header = |fault| BlobError {
        node: NodePath::root(),
        offset: 0,
        fault,
    };
    let field = |at: usize| word(bytes, at * WORD).ok_or(in_header(BlobFault::Truncated));
    if field(0)? != MAGIC {
        return Err(in_header(BlobFault::NoMagic));
    }
    let (total, structs, strings) = (field(1)?, field(2)?, field(3)?);
    let (version, compatible) = (field(5)?, field(6)?);
    let (strings_len, structs_len) = (field(8)?, field(9)?);
    if !(compatible..=version).contains(&VERSION) {
        return Err(in_header(BlobFault::Version(version)));
    }
    let bytes = bytes
        .get(..total as usize)
        .ok_or(in_header(BlobFault::Truncated))?;
    let block = |start: u32, len: u32| {
        let (start, len) = (start as usize, len as usize);
        let range = start..start.checked_add(len)?;
        (start >= HEADER && bytes.get(range.clone()).is_some()).then_some(range)
    };
    let walk = block(structs, structs_len)
        .filter(|range| range.start.is_multiple_of(WORD))
        .zip(block(strings, strings_len))
        .map(|(structs, strings)| Walk {
            strings: &bytes[strings],
            bytes: &bytes[..structs.end],
            at: structs.start,
            path: Vec::new(),
            phandle: None,
        });
    walk.ok_or(in_header(BlobFault::Header))?.run()?;
    Ok(Fdt::new_unchecked(bytes))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*word))
}

/// Returns the text up to the next NUL, if it is a valid name.
fn name(bytes: &[u8]) -> Option<&str> {
    let bytes = &bytes[..bytes.len().min(LONGEST_NAME + 1)];
    let len = bytes.iter().position(|&byte| byte == 0)?;
    let is_of_names = |byte: &u8| byte.is_ascii_graphic() && *byte != b'/';
    let name = &bytes[..len];
    name.iter()
        .all(is_of_names)
        .then(|| str::from_utf8(name).ok())?
}

struct Walk<'a> {
    /// The blob up to the end of the structure block.
    bytes: &'a [u8],
    strings: &'a [u8],
    at: usize,
    /// The names of the nodes around the current position.
    path: Vec<&'a str>,
    /// The phandle of the node whose properties are being read.
    phandle: Option<u32>,
}

impl<'a> Walk<'a> {
    fn fault(&self, fault: BlobFault) -> BlobError {
        BlobError {
            node: NodePath::of(self.path.iter().skip(1).copied()),
            offset: self.at,
            fault,
        }
    }

    fn run(&mut self) -> Result<(), BlobError> {
        // The properties of a node come before its children.
        let mut may_have_properties = false;
        let mut is_over = false;
        loop {
            let token = self.word()?;
            match token {
                // The root is read where the block begins, by `dtoolkit` as by libfdt.
                NOP if !self.path.is_empty() || is_over => {}
                BEGIN_NODE if !is_over => {
                    self.begin()?;
                    may_have_properties = true;
                }
                PROPERTY if may_have_properties => self.property()?,
                END_NODE if !self.path.is_empty() => {
                    self.path.pop();
                    may_have_properties = false;
                    is_over = self.path.is_empty();
                }
                END if is_over => return Ok(()),
                _ => {
                    self.at -= WORD;
                    return Err(self.fault(BlobFault::Token(token)));
                }
            }
        }
    }

    fn word(&mut self) -> Result<u32, BlobError> {
        let word = word(self.bytes, self.at).ok_or_else(|| self.fault(BlobFault::Truncated))?;
        self.at += WORD;
        Ok(word)
    }

    /// Skips `len` bytes and the padding of their last word.
    fn skip(&mut self, len: usize) -> Result<(), BlobError> {
        let end = self.at.checked_add(len);
        let end = end.and_then(|end| end.checked_next_multiple_of(WORD));
        match end.filter(|&end| end <= self.bytes.len()) {
            Some(end) => {
                self.at = end;
                Ok(())
            }
            None => Err(self.fault(BlobFault::Truncated)),
        }
    }

    fn begin(&mut self) -> Result<(), BlobError> {
        let is_root = self.path.is_empty();
        let name = name(&self.bytes[self.at..])
            .filter(|name| name.is_empty() == is_root)
            .ok_or_else(|| self.fault(BlobFault::Name))?;
        if self.path.len() == DEEPEST {
            return Err(self.fault(BlobFault::TooDeep));
        }
        self.path.push(name);
        self.phandle = None;
        if self.path.iter().map(|name| name.len() + 1).sum::<usize>() > LONGEST_PATH {
            return Err(self.fault(BlobFault::LongPath));
        }
        self.skip(name.len() + 1)
    }

    fn property(&mut self) -> Result<(), BlobError> {
        let len = self.word()?;
        let name_at = self.word()?;
        let name = self
            .strings
            .get(name_at as usize..)
            .and_then(name)
            .filter(|name| !name.is_empty())
            .ok_or_else(|| self.fault(BlobFault::Name))?;
        let value_at = self.at;
        self.skip(len as usize)?;
        if matches!(name, "phandle" | "linux,phandle") {
            let phandle = match len as usize {
                WORD => word(self.bytes, value_at),
                _ => None,
            };
            let known = self.phandle.or(phandle);
            if phandle.is_none() || phandle != known || matches!(phandle, Some(0 | u32::MAX)) {
                self.at = value_at;
                return Err(self.fault(BlobFault::Phandle));
            }
            self.phandle = known;
        }
        Ok(())
    }
}
