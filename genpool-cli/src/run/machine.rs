//! The processors and the memory of the machine.

use std::fs;
use std::thread;

/// Returns how many threads can run at once.
pub fn parallelism() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the numbers of the processors that this process may use; empty if the system does not say.
#[cfg(target_os = "linux")]
pub fn processors() -> Vec<usize> {
    use rustix::thread::{CpuSet, sched_getaffinity};

    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU)
            .filter(|&cpu| set.is_set(cpu))
            .collect(),
        Err(_) => Vec::new(),
    }
}

/// Returns the numbers of the processors that this process may use; empty if the system does not say.
#[cfg(not(target_os = "linux"))]
pub fn processors() -> Vec<usize> {
    Vec::new()
}

/// Pins the calling thread to one processor. Returns whether that worked.
#[cfg(target_os = "linux")]
pub fn pin(processor: usize) -> bool {
    use rustix::thread::{CpuSet, sched_setaffinity};

    if processor >= CpuSet::MAX_CPU {
        return false;
    }
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set).is_ok()
}

/// Pins the calling thread to one processor. Returns whether that worked.
#[cfg(not(target_os = "linux"))]
pub fn pin(_: usize) -> bool {
    false
}

/// Returns the bytes of memory that this process may still take, as far as the system says: the lesser of what the
/// machine has available and what its control group allows.
pub fn available_memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| meminfo_available(&text));
    let number = |file: &str| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let group = number("/sys/fs/cgroup/memory.max")
        .map(|most| most.saturating_sub(number("/sys/fs/cgroup/memory.current").unwrap_or(0)));
    machine.into_iter().chain(group).min()
}

fn meminfo_available(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo() {
        let text = "MemTotal:       24000000 kB\nMemAvailable:   22000000 kB\nCached: 1 kB\n";
        assert_eq!(meminfo_available(text), Some(22_000_000 * 1024));
        assert_eq!(meminfo_available("MemTotal: 1 kB\n"), None);
        assert_eq!(meminfo_available("MemAvailable: many\n"), None);
    }

    #[test]
    fn a_thread_can_be_pinned_where_processors_are_known() {
        assert!(parallelism() >= 1);
        if let Some(&first) = processors().first() {
            assert!(thread::spawn(move || pin(first)).join().unwrap());
        }
        assert!(!pin(usize::MAX));
    }
}
