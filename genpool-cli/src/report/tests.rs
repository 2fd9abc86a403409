//! Tests of all formats of a report.

use super::*;

fn point(at: f64) -> Point {
    Point {
        at,
        free: 3000,
        taken: 1096,
        free_runs: 2,
        largest_run: 2000,
        fragmentation: 1.0 / 3.0,
        rows: vec![100, 1, 0],
    }
}

/// An entry with all fields set.
fn entry(load: &str, algorithm: &str) -> Entry {
    let mut histogram = Histogram::new(2).unwrap();
    (1..=1000).for_each(|ns| histogram.record(ns).unwrap());
    Entry {
        load: load.to_owned(),
        algorithm: algorithm.to_owned(),
        pool: "lock-free",
        order: 4,
        size: 4096,
        threads: 1,
        operations: Operations {
            all: 10,
            allocs: 6,
            failed: 2,
            contended: 1,
            checked: 4,
        },
        speed: Speed::of_runs(vec![30.0, 10.0, 20.0]),
        latency: Latency::new("operation", &histogram),
        memory: Some(Memory {
            rounding: 100.0,
            scattered: 1000.0,
            at_failures: Some(AtFailures {
                looks: 2,
                ..AtFailures::default()
            }),
            ..Memory::default()
        }),
        free_at_end: Some(FreeSpace {
            bytes: 3000,
            runs: 2,
            largest: 2000,
        }),
        timeline: Some(Timeline {
            unit: "operations",
            addresses: vec![0x1000, 0x1100, 0x1200],
            points: vec![point(5.0), point(10.0)],
        }),
    }
}

const HOSTILE: &str = "</h2><script>alert('1')</script>&\u{1}\"\n,x";

fn report() -> Report {
    let mut report = Report::new("compare");
    report.fact(HOSTILE, HOSTILE);
    report.advice.push(Advice {
        load: Some(HOSTILE.to_owned()),
        algorithm: HOSTILE.to_owned(),
        order: 4,
        reason: HOSTILE.to_owned(),
    });
    report.entries = vec![
        entry(HOSTILE, HOSTILE),
        entry(HOSTILE, "b"),
        entry("c", "b"),
    ];
    report.notes.push(HOSTILE.to_owned());
    report
}

#[test]
fn quartiles_of_runs() {
    let speed = Speed::of_runs(vec![50.0, 10.0, 30.0, 20.0, 40.0]).unwrap();
    assert_eq!((speed.ns_low, speed.ns, speed.ns_high), (20.0, 30.0, 40.0));
    assert_eq!(speed.runs, 5);
    assert_eq!(Speed::of_runs(vec![]), None);
    let three = Speed::of_runs(vec![30.0, 10.0, 20.0]).unwrap();
    assert_eq!((three.ns_low, three.ns, three.ns_high), (10.0, 20.0, 30.0));
    let two = Speed::of_runs(vec![2.0, 1.0]).unwrap();
    assert_eq!((two.ns_low, two.ns, two.ns_high), (1.0, 1.0, 2.0));
    let one = Speed::of_runs(vec![4.0]).unwrap();
    assert_eq!((one.ns_low, one.ns, one.ns_high), (4.0, 4.0, 4.0));
}

#[test]
fn bins_hold_all_that_was_timed() {
    let latency = entry("a", "b").latency.unwrap();
    let bins = latency.bins.iter().map(|bin| bin.count).sum::<u64>();
    assert_eq!((latency.count, bins), (1000, 1000));
    assert!(latency.bins.windows(2).all(|bins| bins[0].ns < bins[1].ns));
    assert!((490..=510).contains(&latency.p50), "{}", latency.p50);
    assert_eq!(Latency::new("alloc", &Histogram::new(2).unwrap()), None);
}

#[test]
fn pages_are_well_formed_and_hold_the_pictures() {
    let page = html::page(&report()).unwrap();
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..roxmltree::ParsingOptions::default()
    };
    let document = roxmltree::Document::parse_with_options(&page, options).unwrap();
    let named = |name: &'static str| {
        let nodes = document.descendants();
        nodes.filter(move |node| node.tag_name().name() == name)
    };
    assert_eq!(named("script").count(), 0);
    let kinds: Vec<_> = named("figure")
        .filter_map(|node| node.attribute("class"))
        .collect();
    let of_two = ["bars", "free", "fragmentation", "latency", "map", "map"];
    let of_one = ["free", "fragmentation", "latency", "map"];
    assert_eq!(kinds, [&of_two[..], &of_one].concat());
    for picture in named("svg") {
        assert!(picture.descendants().count() > 10);
    }
    // Untrusted text appears as text, with U+FFFD for what XML cannot hold.
    let heading = named("h2").next().unwrap().text().unwrap();
    assert_eq!(heading, HOSTILE.replace('\u{1}', "\u{fffd}"));
    // Nothing refers to anything outside the page.
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        for attribute in node.attributes() {
            let name = attribute.name();
            assert!(
                !["href", "src", "srcset", "data", "action"].contains(&name),
                "{name}"
            );
            assert!(!attribute.value().contains("url("), "{name}");
        }
    }
    assert!(!page.contains("@import") && !page.contains("url("));
}

#[test]
fn json_and_csv_have_the_same_figures() {
    let report = report();
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["format"], "genpool report v1");
    let first = &json["entries"][0];
    assert_eq!(
        (&first["load"], &first["speed"]["ns"]),
        (&HOSTILE.into(), &20.0.into())
    );
    assert_eq!(
        first["timeline"]["points"][1]["rows"],
        serde_json::json!([100, 1, 0])
    );
    assert_eq!(first["operations"]["failed"], 2);

    let table = csv::table(&report);
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some(csv::HEADER));
    for line in [
        "c,b,lock-free,4,1,failed,,,2",
        "c,b,lock-free,4,1,ns,,,20",
        "c,b,lock-free,4,1,scattered_bytes,,,1000",
        "c,b,lock-free,4,1,largest_run_bytes,10,,2000",
        "c,b,lock-free,4,1,taken_percent,5,4352,1",
        "c,b,lock-free,4,1,free_at_end_runs,,,2",
    ] {
        assert!(table.lines().any(|other| other == line), "{line}\n{table}");
    }
    // A name with a comma, a quote and a line break is one field of one line.
    let field = HOSTILE.replace(['\u{1}', '\n'], "\u{fffd}");
    let field = format!("\"{}\"", field.replace('"', "\"\""));
    assert!(table.contains(&format!("{field},{field},lock-free,4,1,failed,,,2\n")));
}

/// A spreadsheet must not calculate a name, and must be able to calculate with a figure.
#[test]
fn csv_has_no_formulas_of_others() {
    for (name, cell) in [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("＝1", "'＝1"),
        ("=a,\"b", "\"'=a,\"\"b\""),
        ("\t=1", "\u{fffd}=1"),
        ("\r=1", "\u{fffd}=1"),
        ("\u{200b}=1", "\u{fffd}=1"),
        ("a;=1", "\"a;=1\""),
        ("a=1", "a=1"),
    ] {
        let mut report = Report::new("replay");
        let mut one = entry(name, name);
        one.speed = Speed::of_runs(vec![-1.5]);
        report.entries.push(one);
        let table = csv::table(&report);
        let line = format!("{cell},{cell},lock-free,4,1,ns,,,-1.5");
        assert!(table.lines().any(|other| other == line), "{line}\n{table}");
    }
}

#[test]
fn loads_keep_their_order() {
    let report = report();
    let loads: Vec<(&str, usize)> = report
        .loads()
        .into_iter()
        .map(|(load, entries)| (load, entries.len()))
        .collect();
    assert_eq!(loads, [(HOSTILE, 2), ("c", 1)]);
}
