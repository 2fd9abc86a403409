//! The fields before the call on each line: the number of its thread, the time, the number of the call (`-n`), the
//! instruction (`-i`), the security context (`--secontext`).

use super::event::Pid;

/// The highest process number of Linux.
const HIGHEST_PID: Pid = 1 << 22;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 24 * 3600 * SECOND;

/// Times below this count from the previous line (`-r`), others from 1970 (`-ttt`).
const RELATIVE: u64 = 100_000_000 * SECOND;

/// A point in time in nanoseconds, comparable with others of the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(u64);

impl Time {
    /// Returns whether it is at most a second after an earlier one, even across midnight.
    pub(super) fn is_soon_after(self, earlier: Self) -> bool {
        let now = match self.0 < earlier.0 && earlier.0 < DAY {
            true => self.0 + DAY,
            false => self.0,
        };
        now.checked_sub(earlier.0).is_some_and(|gap| gap <= SECOND)
    }
}

/// The heads of all lines so far. Each may count its time from the previous one.
#[derive(Default)]
pub(super) struct Heads {
    now: Option<Time>,
}

impl Heads {
    /// Returns the time of the last line that had one.
    pub(super) fn now(&self) -> Option<Time> {
        self.now
    }

    /// Returns the number of the thread, or 0 if the line has none, and the text after the head.
    pub(super) fn read<'t>(&mut self, line: &'t str) -> (Pid, &'t str) {
        let (pid, mut text) = split_pid(line.trim());
        let mut time = None;
        loop {
            let rest = if text.starts_with(|c: char| c.is_ascii_digit())
                && let Some((word, rest)) = text.split_once(' ')
                && let Some(found) = self.time(word)
            {
                time = Some(found);
                rest
            } else if let Some((_, rest)) = split_field(text, "(+", ')') {
                rest
            } else if let Some((_, rest)) = split_field(text, "[", ']') {
                rest
            } else {
                break;
            };
            text = rest.trim_start();
        }
        // strace's own messages have no time.
        self.now = time.or(self.now);
        (pid, text)
    }

    fn time(&self, word: &str) -> Option<Time> {
        let (whole, fraction) = word.split_once('.').unwrap_or((word, ""));
        let mut fields = whole.split(':');
        let first = digits(fields.next()?)?;
        let time = match (fields.next(), fields.next(), fields.next()) {
            (None, ..) => first.checked_mul(SECOND)?,
            (Some(minutes), Some(seconds), None) => {
                let minutes = first.checked_mul(60)?.checked_add(digits(minutes)?)?;
                let seconds = minutes.checked_mul(60)?.checked_add(digits(seconds)?)?;
                seconds.checked_mul(SECOND)?
            }
            _ => return None,
        };
        let nanoseconds = match fraction.len() {
            0 => 0,
            length @ 1..=9 => digits(fraction)? * 10u64.pow(9 - length as u32),
            _ => return None,
        };
        let time = time.checked_add(nanoseconds)?;
        if whole.contains(':') || time >= RELATIVE {
            return Some(Time(time));
        }
        let before = self.now.map_or(0, |Time(before)| before);
        before.checked_add(time).map(Time)
    }
}

/// Splits off the process number at the beginning of a line, as `[pid 12] ` or `12 `. The name of the program may
/// follow it, as `12<name> `.
fn split_pid(line: &str) -> (Pid, &str) {
    let bracketed = line.strip_prefix("[pid");
    let split = || {
        let (pid, rest) = split_number(bracketed.unwrap_or(line).trim_start())?;
        let rest = match rest.strip_prefix('<') {
            Some(name) => name.split_once('>')?.1,
            None => rest,
        };
        let rest = match bracketed {
            Some(_) => rest.strip_prefix(']')?,
            None => rest.strip_prefix(' ')?,
        };
        (pid <= HIGHEST_PID).then_some((pid, rest.trim_start()))
    };
    split().unwrap_or((0, line))
}

/// Splits off the digits at the beginning of a text.
pub(super) fn split_number(text: &str) -> Option<(Pid, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    Some((digits.parse().ok()?, rest))
}

/// Splits off a field in brackets.
fn split_field<'t>(text: &'t str, open: &str, close: char) -> Option<(&'t str, &'t str)> {
    text.strip_prefix(open)?.split_once(close)
}

fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_in_all_their_forms() {
        for (line, pid) in [
            ("brk(0) = 1", 0),
            ("  123  brk(0) = 1", 123),
            ("[pid   123] brk(0) = 1", 123),
            ("123<a b> brk(0) = 1", 123),
            ("[pid 123<a>] 12:30:01 brk(0) = 1", 123),
            ("123 12:30:01.123456 brk(0) = 1", 123),
            ("12:30:01 brk(0) = 1", 0),
            ("1700000000.123456 brk(0) = 1", 0),
            ("1700000000 brk(0) = 1", 0),
            ("123      0.000043 brk(0) = 1", 123),
            ("     0.000043 brk(0) = 1", 0),
            (
                "4752  03:18:38.875519 (+     0.000028) [   9] [00007f2eec8a89b3] brk(0) = 1",
                4752,
            ),
            ("[  12] [????????????????] brk(0) = 1", 0),
            ("123 [user_u:user_r:user_t:s0] brk(0) = 1", 123),
        ] {
            assert_eq!(Heads::default().read(line), (pid, "brk(0) = 1"), "{line}");
        }
        for line in [
            "[a brk(0)",
            "12:30 brk(0)",
            "12:+30:01 brk(0)",
            "1.2.3 brk(0)",
            "1.0000000001 brk(0)",
            "::: x",
        ] {
            assert_eq!(Heads::default().read(line), (0, line));
        }
    }

    #[test]
    fn times_compare() {
        let is_soon = |first: &str, second: &str| {
            let mut heads = Heads::default();
            heads.read(&format!("7 {first} a()"));
            let earlier = heads.now().unwrap();
            heads.read(&format!("7 {second} a()"));
            heads.now().unwrap().is_soon_after(earlier)
        };
        for (first, second) in [
            ("12:30:01", "12:30:01"),
            ("12:30:01", "12:30:02"),
            ("12:30:01.5", "12:30:02.500000"),
            ("23:59:59.5", "00:00:00.4"),
            ("1700000000.1", "1700000001.000000001"),
            ("0.1", "0.999999999"),
            ("55.0", "1.0"),
        ] {
            assert!(is_soon(first, second), "{first} {second}");
        }
        for (first, second) in [
            ("12:30:01", "12:30:03"),
            ("12:30:01.5", "12:30:02.500001"),
            ("12:30:02", "12:30:01"),
            ("23:59:59.5", "00:00:01"),
            ("1700000000.1", "1700000002"),
            ("1700000002", "1700000000"),
            ("0.1", "1.000000001"),
        ] {
            assert!(!is_soon(first, second), "{first} {second}");
        }
    }
}
