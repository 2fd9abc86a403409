//! The steps, in the order of the table.

mod bar;
mod numa;
mod physical;
mod uio;
pub(crate) mod unprivileged;
mod vfio;

use std::error::Error;
use std::process::ExitCode;

use genpool::dma::{CpuBuffer, DmaAddr};

use crate::edu::{Edu, MOST, Registers};
use crate::table::{Outcome, Table, wrong};

const PAGE: usize = 4096;

/// Runs all steps.
pub(crate) fn all() -> ExitCode {
    let mut table = Table::default();
    table.check("0 machine", "modules", || {
        Ok(format!("{} loaded", crate::machine::load_modules()?))
    });
    bar::run(&mut table);
    physical::run(&mut table);
    uio::run(&mut table);
    vfio::run(&mut table);
    numa::run(&mut table);
    // After VFIO, so that a group exists that it may not open.
    unprivileged::run(&mut table);
    table.sum_up()
}

/// The lengths of the transfers: words, odd lengths, nearly a page.
const LENGTHS: [usize; 6] = [1, 8, 63, 1000, 2048, MOST];

/// Fills a buffer with bytes that differ from those of any other seed at the same place.
fn fill(buffer: &mut CpuBuffer<'_>, seed: usize) {
    for (at, byte) in buffer.iter_mut().enumerate() {
        *byte = ((at + seed) * 37 % 251) as u8 + 1;
    }
}

/// Makes the device fetch `len` bytes of one buffer and put them into another, at addresses that are both wrong by
/// `off` bytes. Then checks whether the bytes arrived and whether nothing after them changed.
fn round_trip<'p, R: Registers>(
    edu: &mut Edu<R>,
    from: CpuBuffer<'p>,
    to: CpuBuffer<'p>,
    len: usize,
    off: (u64, u64),
) -> Result<(CpuBuffer<'p>, CpuBuffer<'p>), Box<dyn Error>> {
    let (from, to) = (from.share(), to.share());
    let past = |addr: DmaAddr, off| addr.checked_add(off).ok_or("past the end");
    let address = from.dma();
    let went = edu
        .load(past(from.dma(), off.0)?, len)
        .and_then(|()| edu.store(past(to.dma(), off.1)?, len));
    went?;
    // SAFETY: both transfers are over.
    let from = unsafe { from.reclaim() };
    // SAFETY: both transfers are over.
    let to = unsafe { to.reclaim() };
    if from[..len] != to[..len] {
        let at = from.iter().zip(&to[..]).position(|(a, b)| a != b);
        let at = at.unwrap_or(len);
        return wrong(format!("byte {at} of {len} at {address} did not arrive"));
    }
    match to[len..].iter().position(|&byte| byte != 0) {
        Some(at) => wrong(format!("byte {at} after the {len} was changed")),
        None => Ok((from, to)),
    }
}

/// Returns the result of one round trip.
fn arrived(trip: Result<(CpuBuffer<'_>, CpuBuffer<'_>), Box<dyn Error>>) -> Outcome {
    trip.map(|_| "the bytes arrived".to_owned())
}
