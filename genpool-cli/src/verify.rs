//! Traces as a test: every recorded answer is compared with the pool's.

use std::fmt::{self, Display};

use genpool_dma::{DmaAlloc, PhysAddr, VirtAddr};

use crate::algorithm::AlgorithmSpec;
use crate::driver::{Driver, Manner};
use crate::trace::{Op, Outcome, Trace, TraceError};

/// The result of verifying a trace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verification {
    /// Compared answers: allocations with a recorded result, frees (which the pool must accept), and expectations.
    pub checked: u64,
    /// Those of them that the trace records: results and expectations.
    pub recorded: u64,
    /// Answers that differ.
    pub differences: u64,
    /// The first difference.
    pub first: Option<Difference>,
}

/// A recorded answer that differs from the pool's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Line number, from 1.
    pub line: u32,
    /// What the trace says.
    pub expected: String,
    /// What the pool says.
    pub got: String,
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, got {}", self.expected, self.got)
    }
}

/// Replays `trace` and compares. Allocations that name no algorithm use `unnamed`.
///
/// After the last line everything that is still allocated is freed, and the whole pool must then be available. If it is
/// not, that is one more difference, but not one more operation.
///
/// # Errors
///
/// [`TraceError`] if the pool refuses a chunk.
pub fn verify(trace: &Trace, unnamed: AlgorithmSpec) -> Result<Verification, TraceError> {
    let mut driver = Driver::new(trace, Manner::recorded(trace, unnamed))?;
    let mut found = Verification::default();
    let mut last_line = trace.pool_line();
    for step in trace.steps() {
        last_line = step.line;
        match step.op {
            Op::Chunk { virt, phys, size } => driver.add(step.line, virt, phys, size)?,
            Op::Alloc {
                slot,
                size,
                algorithm,
                result,
            } => {
                let got = match driver.alloc(slot, size, algorithm) {
                    Ok(addr) => Outcome::Addr(addr),
                    Err(_) => Outcome::None,
                };
                if let Some(expected) = result {
                    found.compare(step.line, &expected, &got);
                }
            }
            Op::Free { slot } => {
                found.checked += 1;
                if let Some(Err(error)) = driver.free(slot) {
                    found.differ(step.line, "the free to be taken", error);
                }
            }
            Op::ExpectTotals { avail, size } => {
                let got = Totals {
                    avail: driver.pool().avail(),
                    size: driver.pool().size(),
                };
                found.compare(step.line, &Totals { avail, size }, &got);
            }
            Op::ExpectHasAddr { addr, size, inside } => {
                let got = driver.pool().contains(addr, size);
                found.compare(step.line, &YesNo(inside), &YesNo(got));
            }
            Op::ExpectPhysOf { addr, phys } => {
                let got = driver.pool().virt_to_phys(VirtAddr::new(addr));
                let got = got.map(PhysAddr::get);
                found.compare(step.line, &Physical(phys), &Physical(got));
            }
        }
    }
    let rest = driver.free_rest();
    let (avail, size) = (driver.pool().avail(), driver.pool().size());
    match rest {
        Err(error) => found.differ(last_line, "the rest to be taken back after the end", error),
        Ok(()) if avail != size => found.differ(
            last_line,
            format_args!("all {size:#x} bytes back after the end"),
            format_args!("{avail:#x}"),
        ),
        Ok(()) => {}
    }
    Ok(found)
}

impl Verification {
    fn compare<T: PartialEq + Display>(&mut self, line: u32, expected: &T, got: &T) {
        self.checked += 1;
        self.recorded += 1;
        if expected != got {
            self.differ(line, expected, got);
        }
    }

    fn differ(&mut self, line: u32, expected: impl Display, got: impl Display) {
        self.differences += 1;
        self.first.get_or_insert_with(|| Difference {
            line,
            expected: expected.to_string(),
            got: got.to_string(),
        });
    }
}

#[derive(PartialEq)]
struct Totals {
    avail: usize,
    size: usize,
}

impl Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "avail={:#x} size={:#x}", self.avail, self.size)
    }
}

#[derive(PartialEq)]
struct YesNo(bool);

impl Display for YesNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "yes" } else { "no" })
    }
}

#[derive(PartialEq)]
struct Physical(Option<u64>);

impl Display for Physical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(phys) => write!(f, "{phys:#x}"),
            None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verified(lines: &str) -> Verification {
        let text =
            format!("# genpool trace v1\npool order=4\nchunk virt=0 phys=0x100 size=0x40\n{lines}");
        verify(&Trace::parse(&text).unwrap(), AlgorithmSpec::FirstFit).unwrap()
    }

    #[test]
    fn right_answers() {
        let found = verified(
            "alloc 1 size=0x11 -> 0\nalloc 2 size=0x30 -> none\nalloc 3 size=0 -> none\nalloc 4 size=1\nfree 2\n\
             expect avail=0x10 size=0x40\nexpect has-addr=0x30,0x10 is=yes\nexpect has-addr=0x30,0x11 is=no\n\
             expect phys-of=0x3f is=0x13f\nexpect phys-of=0x40 is=none\n",
        );
        assert_eq!((found.checked, found.first), (9, None));
    }

    #[test]
    fn each_kind_of_wrong_answer() {
        for (line, says) in [
            ("alloc 1 size=1 -> 0x10", "expected 0x10, got 0x0"),
            ("alloc 1 size=1 -> none", "expected none, got 0x0"),
            ("alloc 1 size=0x41 -> 0", "expected 0x0, got none"),
            (
                "expect avail=0x30 size=0x40",
                "expected avail=0x30 size=0x40, got avail=0x40 size=0x40",
            ),
            (
                "expect avail=0x40 size=0x30",
                "expected avail=0x40 size=0x30, got avail=0x40 size=0x40",
            ),
            ("expect has-addr=0,1 is=no", "expected no, got yes"),
            ("expect phys-of=0 is=none", "expected none, got 0x100"),
            ("expect phys-of=0 is=0x200", "expected 0x200, got 0x100"),
        ] {
            let found = verified(line);
            let first = found.first.expect(line);
            assert_eq!((first.line, first.to_string().as_str()), (4, says));
            assert_eq!((found.checked, found.differences), (1, 1));
        }
    }

    #[test]
    fn the_first_difference_is_kept() {
        let found =
            verified("alloc 1 size=1 -> 0\nalloc 2 size=1 -> 0\nalloc 3 size=1 -> 0\nfree 1\n");
        assert_eq!((found.checked, found.differences), (4, 2));
        assert_eq!(found.first.unwrap().line, 5);
    }
}
