//! What several cores, threads and interrupt handlers use at once.

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use fastrand::Rng;
use genpool::{AllocError, FirstFit, FreeError, RawRange};

use crate::target::Target;

/// Ranges that a user holds at most. Each of one granule or a few.
const HELD: usize = 4;

/// The most granules of a range.
const LONGEST: usize = 5;

/// Something that a pool must never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A granule was handed out that another user holds.
    HandedOutTwice {
        /// The address of the granule.
        addr: usize,
        /// Who holds it.
        holder: usize,
        /// Who got it too.
        taker: usize,
    },
    /// A granule that a user held was given to another meanwhile.
    Lost {
        /// The address of the granule.
        addr: usize,
        /// The user that it was given to.
        holder: usize,
    },
    /// A request was refused for a reason that is none.
    RefusedFalsely(AllocError),
    /// A free of what a user held was refused.
    RefusedFree(FreeError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HandedOutTwice {
                addr,
                holder,
                taker,
            } => {
                write!(
                    f,
                    "{addr:#x} was handed out twice, to {holder} and to {taker}"
                )
            }
            Self::Lost { addr, holder } => {
                write!(f, "{addr:#x} was given to {holder} while it was held")
            }
            Self::RefusedFalsely(error) => write!(f, "refused for no reason: {error}"),
            Self::RefusedFree(error) => write!(f, "a right free was refused: {error}"),
        }
    }
}

/// A user of a [`Share`]: a core, a thread, or an interrupt handler. It holds ranges from one round to the next.
pub struct User<'s, T> {
    share: &'s Share<'s, T>,
    number: usize,
    random: Rng,
    held: [Option<RawRange>; HELD],
}

impl<'s, T: Target> User<'s, T> {
    /// Creates a user of this number, which no other user of the share has.
    pub const fn new(share: &'s Share<'s, T>, number: usize) -> Self {
        Self {
            share,
            number,
            random: Rng::with_seed(number as u64),
            held: [None; HELD],
        }
    }

    /// Gives back what it holds in one place, and allocates again. Returns whether it got something.
    ///
    /// # Errors
    ///
    /// The fault that shows.
    pub fn round(&mut self) -> Result<bool, Fault> {
        let place = &mut self.held[self.random.usize(..HELD)];
        if let Some(range) = place.take() {
            self.share.give_back(self.number, range)?;
        }
        let is_short = self.random.bool();
        let n = if is_short {
            1
        } else {
            1 + self.random.usize(..LONGEST)
        };
        *place = self.share.take(self.number, n)?;
        Ok(place.is_some())
    }

    /// Makes so many rounds. Returns how often it got something.
    ///
    /// # Errors
    ///
    /// The first fault that shows.
    pub fn rounds(&mut self, count: usize) -> Result<usize, Fault> {
        (0..count).try_fold(0, |allocated, _| Ok(allocated + usize::from(self.round()?)))
    }

    /// Gives back all that it holds.
    ///
    /// # Errors
    ///
    /// The fault that shows.
    pub fn give_back_all(&mut self) -> Result<(), Fault> {
        let mut held = self.held.iter_mut().filter_map(Option::take);
        held.try_for_each(|range| self.share.give_back(self.number, range))
    }
}

/// A pool that several users share, and who holds which granule: 0, or a user's number plus one.
pub struct Share<'p, T> {
    target: &'p T,
    holders: &'p [AtomicUsize],
    refused: AtomicUsize,
    contended: AtomicUsize,
}

impl<'p, T: Target> Share<'p, T> {
    /// Creates a share of a pool of which nothing is taken. There are as many holders as granules, all of them 0.
    pub const fn new(target: &'p T, holders: &'p [AtomicUsize]) -> Self {
        Self {
            target,
            holders,
            refused: AtomicUsize::new(0),
            contended: AtomicUsize::new(0),
        }
    }

    /// Returns how many granules a pool must have for so many users, so that requests are often refused: about as many as
    /// they would like to hold.
    #[must_use]
    pub const fn granules_for(users: usize) -> usize {
        users * HELD * 2
    }

    /// Returns how many requests were answered with `Exhausted`.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Returns how many requests were answered with `Contended`.
    pub fn contended(&self) -> usize {
        self.contended.load(Ordering::Relaxed)
    }

    /// Allocates so many granules. Returns none if the pool has no run as long, or could not prove that it has none.
    fn take(&self, user: usize, n: usize) -> Result<Option<RawRange>, Fault> {
        let range = match self.target.alloc(n << self.target.order(), &FirstFit) {
            Ok(range) => range,
            Err(AllocError::Contended { .. }) => {
                self.contended.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            Err(AllocError::Exhausted { .. }) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            Err(error) => return Err(Fault::RefusedFalsely(error)),
        };
        for (addr, holder) in self.granules(range) {
            let before = holder.swap(user + 1, Ordering::Relaxed);
            if before != 0 {
                return Err(Fault::HandedOutTwice {
                    addr,
                    holder: before - 1,
                    taker: user,
                });
            }
        }
        Ok(Some(range))
    }

    fn give_back(&self, user: usize, range: RawRange) -> Result<(), Fault> {
        for (addr, holder) in self.granules(range) {
            let before = holder.swap(0, Ordering::Relaxed);
            if before != user + 1 {
                let holder = before.saturating_sub(1);
                return Err(Fault::Lost { addr, holder });
            }
        }
        self.target
            .free(range.addr, range.size)
            .map_err(Fault::RefusedFree)
    }

    /// Returns the addresses and the holders of the granules of a range.
    fn granules(&self, range: RawRange) -> impl Iterator<Item = (usize, &AtomicUsize)> {
        let (start, _) = self.target.range();
        let order = self.target.order();
        let first = (range.addr - start) >> order;
        let count = range.size >> order;
        let holders = self.holders[first..first + count].iter();
        (0..count)
            .map(move |at| range.addr + (at << order))
            .zip(holders)
    }
}
