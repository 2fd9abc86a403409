//! A trace is untrusted: whatever it says, there is an answer or an error, and no panic.

use genpool_cli::algorithm::AlgorithmSpec;
use genpool_cli::replay::{ReplayError, replay};
use genpool_cli::trace::Trace;
use genpool_cli::verify::verify;
use proptest::prelude::*;

/// Numbers that are small, at an edge, or none. Those in between would only make large pools.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (0u64..0x200).prop_map(|n| n.to_string()),
        4 => (0u64..16).prop_map(|n| format!("{:#x}", n << 4)),
        2 => (0u64..4).prop_map(|n| format!("{:#x}", u64::MAX - n)),
        1 => (60u32..64).prop_map(|n| format!("{:#x}", 1u64 << n)),
        1 => prop::sample::select(vec!["", "-1", "0x", "18446744073709551616", "none", "a=b"]).prop_map(str::to_owned),
    ]
}

fn algorithm() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        prop::sample::select(vec![
            "first-fit",
            "order-align",
            "best-fit",
            "next-fit",
            "thread-start",
            "other"
        ])
        .prop_map(|name| format!("algo={name}")),
        (0u32..64).prop_map(|n| format!("algo=first-fit-align:{:#x}", 1u64 << n)),
        number().prop_map(|n| format!("algo=fixed:{n}")),
        number().prop_map(|n| format!("algo=fixed-address:{n}")),
    ]
}

fn line() -> impl Strategy<Value = String> {
    let id = 0u8..20;
    prop_oneof![
        1 => (number(), number(), number()).prop_map(|(v, p, n)| format!("chunk virt={v} phys={p} size={n}")),
        2 => (number(), number()).prop_map(|(v, n)| format!("chunk virt={v} size={n}")),
        8 => (id.clone(), number(), algorithm()).prop_map(|(id, n, algo)| format!("alloc {id} size={n} {algo}")),
        4 => (id.clone(), number(), number()).prop_map(|(id, n, at)| format!("alloc {id} size={n} -> {at}")),
        8 => id.prop_map(|id| format!("free {id}")),
        1 => (number(), number()).prop_map(|(a, n)| format!("expect avail={a} size={n}")),
        1 => (number(), number()).prop_map(|(a, n)| format!("expect has-addr={a},{n} is=yes")),
        1 => (number(), number()).prop_map(|(a, b)| format!("expect phys-of={a} is={b}")),
        1 => "[ -~]{0,30}",
    ]
}

/// Plays as many leading lines as are good, so that a bad line does not spare the pool the rest.
fn play(text: &str) {
    let mut lines: Vec<&str> = text.lines().collect();
    let trace = loop {
        match Trace::parse(&lines.join("\n")) {
            Ok(trace) => break trace,
            Err(error) if error.line() as usize <= lines.len() && lines.len() > 2 => {
                lines.remove(error.line() as usize - 1);
            }
            Err(_) => return,
        }
    };
    let verified = verify(&trace, AlgorithmSpec::FirstFit);
    let replayed = replay(&trace, AlgorithmSpec::BestFit, 1);
    assert_eq!(verified.is_err(), replayed.is_err());
    assert!(!matches!(replayed, Err(ReplayError::FreeRefused { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lines_of_the_format(order in prop::sample::select(vec![0u32, 3, 4, 12, 40, 62, 63]), lines in prop::collection::vec(line(), 0..60)) {
        play(&format!(
            "# genpool trace v1\npool order={order}\nchunk virt={:#x} size={:#x}\n{}",
            if order < 20 { 3u64 << order } else { 0 },
            if order < 20 { 32u64 << order } else { 1 << order },
            lines.join("\n")
        ));
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        let _ = Trace::parse(&text);
        let _ = Trace::parse(&format!("# genpool trace v1\n{text}"));
        let _ = Trace::parse(&format!("# genpool trace v1\npool order=1\n{text}"));
    }
}
