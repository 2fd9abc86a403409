//! A recorder's ring: each number is either read once, as it was put, or reported once as missed.

use genpool_observe::ring::{Fault, Reader, Ring, Taken};
use loom_tests::{Race, THREE, explore, must_fail};

/// The count of numbers, twice the count of slots.
const NUMBERS: usize = 4;

/// Puts these numbers, and returns those for which there was room.
fn put(ring: &Ring, numbers: [usize; 2]) -> Vec<usize> {
    let words = |number: usize| [number + 1, number + 2, number + 3, number + 4];
    numbers
        .into_iter()
        .filter(|&number| ring.put(number, words(number)))
        .collect()
}

/// Reads until an entry is not there yet, and records the entries that were.
fn read(ring: &Ring, reader: &mut Reader, seen: &mut Vec<usize>) {
    loop {
        let before = reader.next();
        match ring.take(reader) {
            Taken::There([one, two, three, four]) => {
                let number = reader.next() - 1;
                let put = [number + 1, number + 2, number + 3, number + 4];
                assert_eq!([one, two, three, four], put);
                seen.push(number);
            }
            Taken::Missed(count) => assert_eq!(reader.next(), before + count),
            Taken::Pending => return,
        }
    }
}

/// Two writers, and a reader concurrent with them. Returns how many numbers were read.
fn ring_vs_reader() -> usize {
    let race = Race::on(Ring::new(NUMBERS / 2).unwrap());
    let writers = [[0, 2], [1, 3]].map(|numbers| race.start(move |ring| put(ring, numbers)));
    let reader = race.start(|ring| {
        let (mut reader, mut seen) = (ring.reader(), Vec::new());
        read(ring, &mut reader, &mut seen);
        (reader, seen)
    });
    let put = writers.map(|writer| writer.join().unwrap());
    let (mut reader, mut seen) = reader.join().unwrap();
    read(race.shared(), &mut reader, &mut seen);
    assert_eq!(reader.next(), NUMBERS, "nothing is left pending");
    let mut put = put.concat();
    put.sort_unstable();
    assert_eq!(seen, put, "what there was room for is read, in order");
    seen.len()
}

#[test]
fn each_number_is_read_or_missed() {
    explore("ring vs reader", THREE, &[2, 3, 4], ring_vs_reader);
}

#[test]
fn control_unrecorded_miss() {
    must_fail(
        "ring vs reader",
        &[Fault::UnrecordedMiss],
        THREE,
        ring_vs_reader,
    );
}

#[test]
fn control_words_not_handed_over() {
    must_fail(
        "ring vs reader",
        &[Fault::RelaxedRelease],
        THREE,
        ring_vs_reader,
    );
}
