//! An event packed into words.

use genpool_core::{AlgorithmName, Event};

use super::ring::Words;

/// An operation, as far as a trace needs it. Addresses and sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// An event that a trace cannot express.
    Nothing,
    /// A change that is kept in a list of its own: see [`Change`].
    Change,
    Alloc {
        addr: usize,
        asked: usize,
        algorithm: Option<AlgorithmName>,
    },
    Refused {
        asked: usize,
        algorithm: Option<AlgorithmName>,
    },
    Free {
        addr: usize,
        size: usize,
    },
    Resize {
        addr: usize,
        from: usize,
        asked: usize,
    },
    /// The last of a chunk that is being removed came back. Not a [`Change`], which takes a lock: this event may come
    /// from a signal handler.
    Drained {
        start: usize,
        size: usize,
    },
}

/// A rare event, which does not fit into four words or must not be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Built {
        name: Option<String>,
        order: u32,
    },
    Added {
        start: usize,
        size: usize,
        phys: Option<u64>,
    },
    Draining {
        start: usize,
        size: usize,
    },
}

impl Change {
    pub(super) fn of(event: &Event<'_>) -> Option<Self> {
        match *event {
            Event::Built { name, order, .. } => Some(Self::Built {
                name: name.map(str::to_owned),
                order,
            }),
            Event::ChunkAdded {
                start, size, phys, ..
            } => Some(Self::Added { start, size, phys }),
            Event::Draining { start, size, .. } => Some(Self::Draining { start, size }),
            _ => None,
        }
    }
}

impl Entry {
    pub(super) fn of(event: &Event<'_>) -> Self {
        match *event {
            Event::Allocated {
                addr,
                asked,
                algorithm,
                ..
            } => Self::Alloc {
                addr,
                asked,
                algorithm,
            },
            Event::AllocRefused {
                asked, algorithm, ..
            } => Self::Refused { asked, algorithm },
            Event::Freed { addr, size, .. } => Self::Free { addr, size },
            Event::Resized {
                addr, from, asked, ..
            } => Self::Resize { addr, from, asked },
            Event::Drained { start, size, .. } => Self::Drained { start, size },
            _ => Self::Nothing,
        }
    }

    /// Returns whether this is a call on the pool that a trace expresses.
    pub(super) fn is_operation(self) -> bool {
        !matches!(self, Self::Nothing | Self::Change | Self::Drained { .. })
    }

    pub(super) fn to_words(self) -> Words {
        match self {
            Self::Nothing => [0; 4],
            Self::Change => [1, 0, 0, 0],
            Self::Alloc {
                addr,
                asked,
                algorithm,
            } => {
                let (kind, data) = pack(algorithm);
                [2 | kind << 8, addr, asked, data]
            }
            Self::Refused { asked, algorithm } => {
                let (kind, data) = pack(algorithm);
                [3 | kind << 8, 0, asked, data]
            }
            Self::Free { addr, size } => [4, addr, size, 0],
            Self::Resize { addr, from, asked } => [5, addr, asked, from],
            Self::Drained { start, size } => [6, start, size, 0],
        }
    }

    pub(super) fn of_words([kind, addr, size, data]: Words) -> Self {
        let algorithm = || unpack(kind >> 8, data);
        match kind & 0xff {
            1 => Self::Change,
            2 => Self::Alloc {
                addr,
                asked: size,
                algorithm: algorithm(),
            },
            3 => Self::Refused {
                asked: size,
                algorithm: algorithm(),
            },
            4 => Self::Free { addr, size },
            5 => Self::Resize {
                addr,
                from: data,
                asked: size,
            },
            6 => Self::Drained { start: addr, size },
            _ => Self::Nothing,
        }
    }
}

/// The names that the trace format defines, and whether they have a parameter.
const NAMES: [(&str, bool); 9] = [
    ("first-fit", false),
    ("first-fit-align", true),
    ("order-align", false),
    ("best-fit", false),
    ("fixed", true),
    ("fixed-address", true),
    ("next-fit", false),
    ("thread-start", false),
    ("spread-fit", false),
];

/// Packs an algorithm as a number and a parameter. An algorithm whose name no trace can express becomes one without a
/// name.
fn pack(algorithm: Option<AlgorithmName>) -> (usize, usize) {
    let known = algorithm.and_then(|algorithm| {
        let (name, parameter) = (algorithm.name(), algorithm.parameter());
        let index = NAMES
            .iter()
            .position(|&known| known == (name, parameter.is_some()))?;
        let valid = name != "first-fit-align" || parameter.is_some_and(usize::is_power_of_two);
        valid.then_some((index + 1, parameter.unwrap_or(0)))
    });
    known.unwrap_or((0, 0))
}

fn unpack(number: usize, parameter: usize) -> Option<AlgorithmName> {
    let &(name, has_parameter) = NAMES.get(number.checked_sub(1)?)?;
    Some(if has_parameter {
        AlgorithmName::with(name, parameter)
    } else {
        AlgorithmName::new(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_words() {
        let (addr, asked) = (usize::MAX - 1, 5);
        let algorithms = [
            None,
            Some(AlgorithmName::new("first-fit")),
            Some(AlgorithmName::with("first-fit-align", 64)),
            Some(AlgorithmName::new("order-align")),
            Some(AlgorithmName::new("best-fit")),
            Some(AlgorithmName::with("fixed", 7)),
            Some(AlgorithmName::with("fixed-address", usize::MAX)),
            Some(AlgorithmName::new("next-fit")),
            Some(AlgorithmName::new("thread-start")),
            Some(AlgorithmName::new("spread-fit")),
        ];
        let allocs = algorithms.map(|algorithm| Entry::Alloc {
            addr,
            asked,
            algorithm,
        });
        let refused = algorithms.map(|algorithm| Entry::Refused { asked, algorithm });
        let others = [
            Entry::Nothing,
            Entry::Change,
            Entry::Free { addr, size: 8 },
            Entry::Resize {
                addr,
                from: 8,
                asked,
            },
            Entry::Drained { start: 7, size: 9 },
        ];
        for entry in allocs.into_iter().chain(refused).chain(others) {
            assert_eq!(Entry::of_words(entry.to_words()), entry);
        }
    }
    #[test]
    fn what_no_trace_can_name_has_no_name() {
        let aligned = [0, 3, usize::MAX].map(|bytes| AlgorithmName::with("first-fit-align", bytes));
        let others = [
            AlgorithmName::new("first-fit-align"),
            AlgorithmName::with("best-fit", 1),
            AlgorithmName::new("worst-fit"),
        ];
        for algorithm in aligned.into_iter().chain(others).map(Some) {
            let words = Entry::Refused {
                asked: 1,
                algorithm,
            }
            .to_words();
            let unnamed = Entry::Refused {
                asked: 1,
                algorithm: None,
            };
            assert_eq!(Entry::of_words(words), unnamed);
        }
    }
}
