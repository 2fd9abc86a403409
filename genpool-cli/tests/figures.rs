//! Figures as they are calculated and written.

use std::error::Error;

use genpool_cli::report::{Entry, Memory, Operations, Report, Speed};
use genpool_cli::run::RunError;
use genpool_cli::run::load::Fault;
use genpool_cli::space::{Look, Strip};
use genpool_cli::table::{bytes, facts, microseconds, nanoseconds};

#[test]
fn times_have_three_digits_or_so() {
    for (ns, text) in [
        (0, "0.00"),
        (9_994, "9.99"),
        (9_995, "10.0"),
        (99_949, "99.9"),
        (99_950, "100"),
        (1_234_567, "1235"),
    ] {
        assert_eq!(microseconds(ns), text, "{ns}");
    }
    for (ns, text) in [
        (999.4, "999 ns"),
        (999.5, "1.0 µs"),
        (99_949.0, "99.9 µs"),
        (99_950.0, "100 µs"),
        (999_499.0, "999 µs"),
        (999_500.0, "1.0 ms"),
        (99_949_000.0, "99.9 ms"),
        (99_950_000.0, "0.10 s"),
        (2e9, "2.00 s"),
    ] {
        assert_eq!(nanoseconds(ns), text, "{ns}");
    }
}

#[test]
fn bytes_have_the_unit_that_fits() {
    for (count, text) in [
        (0.0, "0 B"),
        (99.0, "99 B"),
        (1023.0, "1023 B"),
        (1024.0, "1.0 KiB"),
        (99.94 * 1024.0, "99.9 KiB"),
        (99.95 * 1024.0, "100 KiB"),
        (3.0 * 1024.0 * 1024.0, "3.0 MiB"),
        (2f64.powi(70), "1024 EiB"),
    ] {
        assert_eq!(bytes(count), text, "{count}");
    }
}

#[test]
fn a_speed_is_that_of_the_run_in_the_middle() {
    assert_eq!(Speed::of_runs(Vec::new()), None);
    let speed = Speed::of_runs(vec![30.0, 10.0, 20.0]).unwrap();
    assert_eq!((speed.ns_low, speed.ns, speed.ns_high), (10.0, 20.0, 30.0));
    assert_eq!((speed.per_second, speed.runs), (5e7, 3));
}

#[test]
fn what_is_rounded_and_what_is_scattered_is_wasted() {
    let entry = |memory| Entry {
        load: String::new(),
        algorithm: String::new(),
        pool: "lock-free",
        order: 4,
        size: 48,
        threads: 1,
        operations: Operations::default(),
        speed: None,
        latency: None,
        memory,
        free_at_end: None,
        timeline: None,
    };
    let memory = Memory {
        rounding: 8.0,
        scattered: 4.0,
        ..Memory::default()
    };
    assert_eq!(entry(Some(memory)).wasted(), Some(0.25));
    assert_eq!(entry(None).wasted(), None);
}

#[test]
fn a_pool_is_drawn_as_full_as_it_is() {
    let look = Look {
        taken: 1,
        free: 3,
        ..Look::default()
    };
    assert_eq!((look.fill(), Look::default().fill()), (25.0, 0.0));
    let strip = Strip(&[0, 1, 33, 34, 66, 67, 99, 100]);
    assert_eq!(strip.to_string(), "▕·░░▒▒▓▓█▏");
}

#[test]
fn a_report_says_what_it_is_about() {
    let mut report = Report::new("run");
    report.fact("pool", "64 KiB");
    report.fact("threads", "2");
    assert_eq!(facts(&report), "pool      64 KiB\nthreads   2\n");
}

#[test]
fn a_run_that_failed_names_the_pool_and_the_fault() {
    let fault = Fault::Leak {
        avail: 16,
        size: 64,
    };
    let (name, text) = ("first-fit".to_owned(), fault.to_string());
    let failed = RunError::Fault { name, fault };
    assert_eq!(failed.to_string(), "first-fit failed");
    assert_eq!(failed.source().unwrap().to_string(), text);
    let setup = RunError::Setup("no memory".to_owned());
    assert_eq!(setup.to_string(), "cannot make the pool: no memory");
    assert!(setup.source().is_none());
}
