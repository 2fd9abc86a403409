//! Step 4: bookkeeping and memory on one node.

use std::error::Error;
use std::fs;

use genpool::Pool;
use genpool::dma::source::{PageSize, RamSource};
use genpool::dma::{MemoryPool, VirtAddr};

use super::PAGE;
use crate::table::{Outcome, Table, wrong};

const STEP: &str = "4 NUMA";

pub(super) fn run(table: &mut Table) {
    for pages in [PageSize::Ordinary, PageSize::Huge2M] {
        table.check(STEP, &format!("memory on node 1 in {pages}"), || {
            memory(1, 1, pages)
        });
    }
    table.control(STEP, "memory on node 0", || {
        memory(0, 1, PageSize::Ordinary)
    });
    table.control(STEP, "a page further up", beyond);
    table.check(STEP, "bookkeeping on node 1", || bookkeeping(1, 1));
    table.control(STEP, "bookkeeping on node 0", || bookkeeping(0, 1));
}

/// Returns the kernel's description of the mapping that starts at an address.
fn line_of(addr: VirtAddr) -> Result<Option<String>, Box<dyn Error>> {
    let start = format!("{:08x} ", addr.get());
    let maps = fs::read_to_string("/proc/self/numa_maps")?;
    Ok(maps
        .lines()
        .find(|line| line.starts_with(&start))
        .map(str::to_owned))
}

/// Returns whether a mapping is bound to a node and has pages on that node only.
fn is_on(line: &str, node: u32) -> bool {
    let on = |node: u32| {
        line.split(' ')
            .any(|word| word.starts_with(&format!("N{node}=")))
    };
    line.contains(&format!("bind:{node}")) && on(node) && !on(1 - node)
}

fn memory(node: u32, expected: u32, pages: PageSize) -> Outcome {
    let region = RamSource::new(8 << 20)
        .pages(pages)
        .node(node)
        .prefault()
        .map()?;
    let start = region.start();
    let pool = MemoryPool::build(Pool::builder().order(12).node(node))?;
    pool.add(region)?;
    let line = line_of(start)?.ok_or("no such mapping")?;
    match is_on(&line, expected) {
        true => Ok(line),
        false => wrong(line),
    }
}

fn beyond() -> Outcome {
    let region = RamSource::new(8 << 20).node(1).prefault().map()?;
    let next = region.start().checked_add(PAGE).ok_or("no such address")?;
    match line_of(next)? {
        Some(line) => Ok(line),
        None => wrong("no mapping starts there"),
    }
}

/// Checks that the tables of a new pool are new mappings on the node.
fn bookkeeping(node: u32, expected: u32) -> Outcome {
    let bound = || -> Result<Vec<String>, Box<dyn Error>> {
        let maps = fs::read_to_string("/proc/self/numa_maps")?;
        let mut lines: Vec<String> = maps.lines().map(str::to_owned).collect();
        lines.retain(|line| is_on(line, expected));
        Ok(lines)
    };
    let before = bound()?.len();
    let pool = Pool::builder().order(0).node(node).build()?;
    pool.add(0, 1 << 24)?;
    let held: Vec<_> = (0..64)
        .map(|_| pool.alloc(1 << 18))
        .collect::<Result<_, _>>()?;
    let lines = bound()?;
    drop(held);
    match lines.len() > before {
        true => Ok(format!(
            "{} mappings bound to node {node}",
            lines.len() - before
        )),
        false => wrong(format!("none of its tables is on node {expected}")),
    }
}
