//! Static pools on a Cortex-M4: the scripts against the oracle, and a pool that the program and an interrupt handler
//! share. The heap of the program is a static pool too.
//!
//! The program prints by semihosting and ends the machine with status 0 if all went well.

#![no_std]
#![no_main]

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use cortex_m_semihosting::{debug, hprintln};
use genpool::{Pool, StaticHeap, StaticPool, static_heap, static_pool};
use genpool_scripts::{Share, Target, User, play};

#[global_allocator]
static HEAP: StaticHeap = static_heap!(order: 4, size: 1 << 20);

/// Steps of a script.
const STEPS: usize = 20_000;

/// Rounds of the program while the handler interrupts it, and of the handler each time.
const ROUNDS: usize = 100_000;
const HANDLER_ROUNDS: usize = 3;

/// Cycles between two interrupts. A prime number, so that they come at all places.
const PERIOD: u32 = 10_007;

static WORD: StaticPool = static_pool!(order: 2, start: 0x2000_0000, size: 32 << 2);
static WORDS: StaticPool = static_pool!(order: 6, start: 0x6000_0000, size: 1000 << 6);
static TRACKED: StaticPool = static_pool!(order: 5, start: 0x1000, size: 300 << 5, tracked: true);

/// The users of the shared pool.
const PROGRAM: usize = 0;
const HANDLER: usize = 1;
const GRANULES: usize = Share::<StaticPool>::granules_for(2);

static SHARED: StaticPool = static_pool!(order: 8, start: 0x4000_0000, size: GRANULES << 8);
static HOLDERS: [AtomicUsize; GRANULES] = [const { AtomicUsize::new(0) }; GRANULES];
static SHARE: Share<'static, StaticPool> = Share::new(&SHARED, &HOLDERS);

static INTERRUPTS: AtomicUsize = AtomicUsize::new(0);
static BY_HANDLER: AtomicUsize = AtomicUsize::new(0);
/// Asks the handler to give back what it holds, and whether it has.
static ENDS: AtomicBool = AtomicBool::new(false);
static ENDED: AtomicBool = AtomicBool::new(false);

/// Ends the machine.
fn end(status: debug::ExitStatus) -> ! {
    loop {
        debug::exit(status);
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
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

fn script(name: &str, target: &dyn Target, seed: u64) {
    match play(target, seed, STEPS) {
        Ok(tally) => hprintln!("row|{}|{}", name, tally),
        Err(difference) => panic!("{name}: {difference}"),
    }
}

#[entry]
fn main() -> ! {
    script("static pool of one word", &WORD, 1);
    script("static pool of several words", &WORDS, 2);
    script("static pool with boundary tags", &TRACKED, 3);
    let pool = Pool::new(6).expect("the order is valid");
    pool.add(0x6000_0000, 1000 << 6)
        .expect("the chunk is valid");
    script("pool on a heap that is a static pool", &pool, 4);
    drop(pool);
    assert_eq!(
        HEAP.pool().avail(),
        HEAP.pool().size(),
        "the heap has everything back"
    );

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
        "row|program and interrupt handler|{} and {} allocations, {} interrupts, {} contended",
        allocated,
        BY_HANDLER.load(Ordering::Relaxed),
        INTERRUPTS.load(Ordering::Relaxed),
        SHARE.contended()
    );
    assert!(INTERRUPTS.load(Ordering::Relaxed) > 100, "the handler ran");
    hprintln!("ok");
    end(debug::EXIT_SUCCESS)
}
