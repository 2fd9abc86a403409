//! Static pools on a Cortex-M4: a pool that the program and an interrupt handler share, and, with the feature `alloc`, the
//! scripts against the oracle (`scripts.rs`). Without it the program has no heap.
//!
//! The program prints by semihosting and ends the machine with status 0 if all went well.

#![no_std]
#![no_main]

#[cfg(feature = "alloc")]
mod scripts;

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use cortex_m_semihosting::{debug, hprintln};
use genpool::{
    AllocError, BestFit, Constrained, Constraints, FirstFit, NextFit, SpreadFit, StaticPool,
    ThreadStart, static_pool,
};
use genpool_scripts::{Share, User};

/// Rounds of the program while the handler interrupts it, and of the handler each time.
const ROUNDS: usize = 100_000;
const HANDLER_ROUNDS: usize = 3;

/// Cycles between two interrupts. A prime number, so that they come at all places.
const PERIOD: u32 = 10_007;

/// The users of the shared pool.
const PROGRAM: usize = 0;
const HANDLER: usize = 1;
const GRANULES: usize = Share::<StaticPool>::granules_for(2);

static SHARED: StaticPool = static_pool!(order: 8, start: 0x4000_0000, size: GRANULES << 8);
static HOLDERS: [AtomicUsize; GRANULES] = [const { AtomicUsize::new(0) }; GRANULES];
static SHARE: Share<'static, StaticPool> = Share::new(&SHARED, &HOLDERS);

static INTERRUPTS: AtomicUsize = AtomicUsize::new(0);
static BY_HANDLER: AtomicUsize = AtomicUsize::new(0);
/// Asks the handler to give back what it holds.
static ENDS: AtomicBool = AtomicBool::new(false);
/// Whether it has.
static ENDED: AtomicBool = AtomicBool::new(false);

/// Ends the machine.
fn end(status: debug::ExitStatus) -> ! {
    loop {
        debug::exit(status);
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // A handler that fails too would be the last word.
    cortex_m::interrupt::disable();
    hprintln!("FAILED: {}", info.message());
    end(debug::EXIT_FAILURE)
}

#[exception]
fn SysTick() {
    static mut USER: User<'static, StaticPool> = User::new(&SHARE, HANDLER);
    if ENDED.load(Ordering::Relaxed) {
        return;
    }
    INTERRUPTS.fetch_add(1, Ordering::Relaxed);
    let allocated = USER
        .rounds(HANDLER_ROUNDS)
        .unwrap_or_else(|fault| panic!("{fault}"));
    BY_HANDLER.fetch_add(allocated, Ordering::Relaxed);
    if ENDS.load(Ordering::Relaxed) {
        USER.give_back_all()
            .unwrap_or_else(|fault| panic!("{fault}"));
        ENDED.store(true, Ordering::Relaxed);
    }
}

/// Asks each algorithm, and for what the pool must refuse.
fn algorithms() {
    static POOL: StaticPool =
        static_pool!(order: 6, start: 0x6000_0000, size: 5000 << 6, tracked: true);
    let low = POOL.alloc(64).expect("free");
    let next = NextFit::new();
    let constraints = Constraints::new().lowest(0x6000_8000).align(0x1000);
    let constrained = Constrained::new(FirstFit, constraints.expect("valid"));
    let held = [
        POOL.alloc_with(6400, &BestFit),
        POOL.alloc_with(64, &SpreadFit),
        POOL.alloc_with(64, &ThreadStart),
        POOL.alloc_with(64, &next),
        POOL.alloc_with(64, &constrained),
    ];
    let held = held.map(|found| found.expect("there is room"));
    assert_eq!((low.addr(), held[0].addr()), (0x6000_0000, 0x6000_0040));
    assert_eq!(held[4].addr(), 0x6000_8000);
    assert!(matches!(
        POOL.alloc(5000 << 6),
        Err(AllocError::Exhausted { .. })
    ));
    assert!(matches!(
        POOL.alloc(5001 << 6),
        Err(AllocError::Impossible(_))
    ));
    assert!(POOL.free_addr(0x6000_0080).is_err(), "interior");
    assert_eq!(POOL.free_addr(held[0].addr()), Ok(6400));
    drop((low, held));
    assert_eq!(POOL.avail(), POOL.size());
    hprintln!("row|static pool, every algorithm|as expected");
}

#[entry]
fn main() -> ! {
    algorithms();
    #[cfg(feature = "alloc")]
    scripts::play_all();

    let mut core = cortex_m::Peripherals::take().expect("taken once");
    core.SYST.set_clock_source(SystClkSource::Core);
    core.SYST.set_reload(PERIOD);
    core.SYST.clear_current();
    core.SYST.enable_counter();
    core.SYST.enable_interrupt();
    let mut user = User::new(&SHARE, PROGRAM);
    let allocated = user
        .rounds(ROUNDS)
        .unwrap_or_else(|fault| panic!("{fault}"));
    user.give_back_all()
        .unwrap_or_else(|fault| panic!("{fault}"));
    ENDS.store(true, Ordering::Relaxed);
    while !ENDED.load(Ordering::Relaxed) {
        core::hint::spin_loop();
    }
    core.SYST.disable_interrupt();
    assert_eq!(SHARED.avail(), SHARED.size(), "everything is back");
    hprintln!(
        "row|program and interrupt handler|{} and {} allocations, {} interrupts, {} refused, {} contended",
        allocated,
        BY_HANDLER.load(Ordering::Relaxed),
        INTERRUPTS.load(Ordering::Relaxed),
        SHARE.refused(),
        SHARE.contended()
    );
    assert!(SHARE.refused() > 100, "the pool was full at times");
    assert!(INTERRUPTS.load(Ordering::Relaxed) > 100, "the handler ran");
    hprintln!("ok");
    end(debug::EXIT_SUCCESS)
}
