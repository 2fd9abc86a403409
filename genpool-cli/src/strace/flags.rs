//! Sets of flags, in each notation of `strace`: names, numbers (`-X raw`), numbers with the names in a comment
//! (`-X verbose`), shifted numbers, and any of these joined by `|`.
//!
//! Numbers are read as on x86, Arm, RISC-V and POWER. Some other architectures use other bits for some of the names.

use super::call::{number, uncommented};

const MAP_FIXED: u64 = 0x10;
const MAP_HUGETLB: u64 = 0x4_0000;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;
const MAP_HUGE_SHIFT: u64 = 26;
const MREMAP_DONTUNMAP: u64 = 4;
const CLONE_VM: u64 = 0x100;
const CLONE_THREAD: u64 = 0x1_0000;

/// The order of a huge page if the flags do not state its size: 2 MiB, as on x86-64 and arm64.
const HUGE_ORDER: u32 = 21;

/// The flags of `mmap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MapFlags {
    /// Whether the mapping replaces what is at its address.
    pub(super) fixed: bool,
    /// The order of its pages, if they are huge.
    pub(super) huge: Option<u32>,
}

impl MapFlags {
    pub(super) fn read(text: &str) -> Option<Self> {
        let bits = bits(text, &["MAP_"])?;
        let huge = match bits & MAP_HUGETLB {
            0 => None,
            _ => Some(match (bits >> MAP_HUGE_SHIFT & 0x3f) as u32 {
                0 => HUGE_ORDER,
                order if order >= super::PAGE_ORDER => order,
                _ => return None,
            }),
        };
        Some(Self {
            fixed: bits & (MAP_FIXED | MAP_FIXED_NOREPLACE) == MAP_FIXED,
            huge,
        })
    }
}

/// Returns whether `mremap` leaves the old range mapped.
pub(super) fn keeps_old(text: &str) -> Option<bool> {
    Some(bits(text, &["MREMAP_"])? & MREMAP_DONTUNMAP != 0)
}

/// What a call of `clone` shares: the memory, and the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CloneFlags {
    pub(super) memory: bool,
    pub(super) process: bool,
}

impl CloneFlags {
    pub(super) fn read(text: &str) -> Option<Self> {
        let bits = bits(text, &["CLONE_", "SIG"])?;
        Some(Self {
            memory: bits & CLONE_VM != 0,
            process: bits & CLONE_THREAD != 0,
        })
    }
}

/// Returns the bits of flags, as far as this module has names for them. `None` if a part is neither a number nor a name
/// with one of `prefixes`.
fn bits(text: &str, prefixes: &[&str]) -> Option<u64> {
    let text = uncommented(text);
    text.split('|').try_fold(0, |bits, part| {
        let part = part.trim();
        let value = match part.split_once("<<") {
            Some((value, shift)) => {
                let shift = u32::try_from(term(shift.trim(), prefixes)?).ok()?;
                term(value.trim(), prefixes)?.checked_mul(1u64.checked_shl(shift)?)?
            }
            None => term(part, prefixes)?,
        };
        Some(bits | value)
    })
}

fn term(text: &str, prefixes: &[&str]) -> Option<u64> {
    if let Some(value) = number(text) {
        return Some(value);
    }
    let is_name = prefixes.iter().any(|prefix| text.starts_with(prefix))
        && text
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    is_name.then(|| match text {
        "MAP_FIXED" => MAP_FIXED,
        "MAP_FIXED_NOREPLACE" => MAP_FIXED_NOREPLACE,
        "MAP_HUGETLB" => MAP_HUGETLB,
        "MAP_HUGE_SHIFT" => MAP_HUGE_SHIFT,
        "MREMAP_DONTUNMAP" => MREMAP_DONTUNMAP,
        "CLONE_VM" => CLONE_VM,
        "CLONE_THREAD" => CLONE_THREAD,
        _ => huge_order(text).unwrap_or(0) << MAP_HUGE_SHIFT,
    })
}

/// Returns the order of the page size in a name such as `MAP_HUGE_2MB`.
fn huge_order(name: &str) -> Option<u64> {
    let size = name.strip_prefix("MAP_HUGE_")?;
    let (count, unit) = size.split_at(size.len().checked_sub(2)?);
    let unit = match unit {
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        _ => return None,
    };
    let count: u32 = count.parse().ok()?;
    Some(u64::from(count.checked_ilog2()? + unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_of_mmap_is_read() {
        let plain = (false, None);
        for (text, expected) in [
            ("MAP_PRIVATE|MAP_ANONYMOUS", plain),
            ("0x22", plain),
            ("34", plain),
            ("042", plain),
            ("0", plain),
            ("0x22 /* MAP_PRIVATE|MAP_ANONYMOUS */", plain),
            ("0x8 /* MAP_??? */", plain),
            ("0x8 /* 0x8 /* MAP_??? */ */|MAP_SYNC", plain),
            ("MAP_PRIVATE|0x200000|16<<MAP_HUGE_SHIFT", plain),
            ("MAP_PRIVATE|MAP_OF_A_LATER_LINUX", plain),
            ("MAP_PRIVATE|MAP_FIXED", (true, None)),
            (
                "0x32 /* MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS */",
                (true, None),
            ),
            ("0x32", (true, None)),
            ("50", (true, None)),
            ("062", (true, None)),
            ("MAP_PRIVATE|0x10", (true, None)),
            ("MAP_FIXED|0x32", (true, None)),
            ("MAP_PRIVATE|MAP_FIXED_NOREPLACE", plain),
            ("MAP_FIXED|MAP_FIXED_NOREPLACE", plain),
            ("0x100022", plain),
            ("0x100032", plain),
            ("0x22 /* MAP_FIXED */", plain),
            ("MAP_PRIVATE|MAP_HUGETLB", (false, Some(21))),
            ("0x40022", (false, Some(21))),
            ("MAP_HUGETLB|21<<MAP_HUGE_SHIFT", (false, Some(21))),
            ("MAP_HUGETLB|30<<MAP_HUGE_SHIFT", (false, Some(30))),
            ("MAP_HUGETLB|30<<26", (false, Some(30))),
            ("MAP_HUGETLB|MAP_HUGE_2MB", (false, Some(21))),
            ("MAP_HUGETLB|MAP_HUGE_16MB", (false, Some(24))),
            ("MAP_HUGETLB|MAP_HUGE_1GB", (false, Some(30))),
            ("MAP_HUGETLB|MAP_HUGE_64KB", (false, Some(16))),
            ("0x78040032", (true, Some(30))),
            ("0x40022|21<<MAP_HUGE_SHIFT", (false, Some(21))),
        ] {
            let flags = MapFlags::read(text).map(|flags| (flags.fixed, flags.huge));
            assert_eq!(flags, Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_flag_is_not_read_as_none() {
        for text in [
            "",
            "|",
            "-1",
            "...",
            "0x",
            "0x22|",
            "map_fixed",
            "CLONE_VM",
            "MAP_???",
            "1<<99",
            "3<<63",
            "\"MAP_FIXED\"",
            "0x22 /* ",
            "MAP_HUGETLB|4<<MAP_HUGE_SHIFT",
            "0x10000000000000000",
        ] {
            assert_eq!(MapFlags::read(text), None, "{text}");
        }
        assert_eq!(keeps_old("MAP_FIXED"), None);
        assert_eq!(CloneFlags::read("MAP_FIXED"), None);
    }

    #[test]
    fn every_notation_of_the_others_is_read() {
        for (text, expected) in [
            ("MREMAP_MAYMOVE|MREMAP_DONTUNMAP", true),
            ("0x5", true),
            ("0x5 /* MREMAP_MAYMOVE|MREMAP_DONTUNMAP */", true),
            ("MREMAP_MAYMOVE|0x4", true),
            ("MREMAP_MAYMOVE|MREMAP_FIXED", false),
            ("0x3", false),
            ("0", false),
        ] {
            assert_eq!(keeps_old(text), Some(expected), "{text}");
        }
        for (text, memory, process) in [
            ("CLONE_VM|CLONE_FS|CLONE_THREAD", true, true),
            ("0x3d0f00", true, true),
            ("0x3d0f00 /* CLONE_VM|CLONE_THREAD */", true, true),
            ("CLONE_VM|CLONE_VFORK|SIGCHLD", true, false),
            ("0x4000|0x100|17", true, false),
            (
                "0x1200000 /* CLONE_CHILD_CLEARTID */|17 /* SIGCHLD */",
                false,
                false,
            ),
            ("CLONE_CHILD_SETTID|SIGRT_1", false, false),
        ] {
            let flags = CloneFlags { memory, process };
            assert_eq!(CloneFlags::read(text), Some(flags), "{text}");
        }
    }
}
