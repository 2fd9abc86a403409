//! Static pools on four bare x86-64 cores: the scripts against the oracle on the first, then a pool that all cores and
//! their timers' handlers share.
//!
//! The program prints to the serial port and ends qemu with status 33 if all went well.

#![no_std]
#![no_main]

mod boot;
mod machine;

use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use genpool::{Pool, StaticHeap, StaticPool, platform, static_heap, static_pool};
use genpool_scripts::{Share, Target, User, play};
use x86_64::structures::idt::InterruptDescriptorTable;

use crate::boot::CORES;
use crate::machine::{core_number, end, print_line};

#[global_allocator]
static HEAP: StaticHeap = static_heap!(order: 4, size: 1 << 20);

/// Steps of a script.
const STEPS: usize = 20_000;

/// Rounds of a core, and of a handler each time.
const ROUNDS: usize = 400_000;
const HANDLER_ROUNDS: usize = 3;

/// Time from the end of a handler to the next interrupt: from this on, at different places.
const PERIOD: u32 = 200_000;

static WORDS: StaticPool = static_pool!(order: 12, start: 0x1000_0000, size: 1000 << 12);
static TRACKED: StaticPool = static_pool!(order: 5, start: 0x1000, size: 300 << 5, tracked: true);

/// A core is a user, and its handler another.
const USERS: usize = 2 * CORES;
const GRANULES: usize = Share::<StaticPool>::granules_for(USERS);

static SHARED: StaticPool = static_pool!(order: 12, start: 0x4000_0000, size: GRANULES << 12);
static HOLDERS: [AtomicUsize; GRANULES] = [const { AtomicUsize::new(0) }; GRANULES];
static SHARE: Share<'static, StaticPool> = Share::new(&SHARED, &HOLDERS);

static READY: AtomicUsize = AtomicUsize::new(0);
static DONE: AtomicUsize = AtomicUsize::new(0);
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static BY_HANDLERS: AtomicUsize = AtomicUsize::new(0);
static INTERRUPTS: [AtomicUsize; CORES] = [const { AtomicUsize::new(0) }; CORES];
/// Asks the handler of a core to give back what it holds.
static ENDS: [AtomicBool; CORES] = [const { AtomicBool::new(false) }; CORES];
/// Whether it has.
static ENDED: [AtomicBool; CORES] = [const { AtomicBool::new(false) }; CORES];

/// Something for each core.
struct PerCore<T>([UnsafeCell<T>; CORES]);

// SAFETY: each core takes what has its number: an interrupt table once, a handler's user in the handler only.
unsafe impl<T> Sync for PerCore<T> {}

static TABLES: PerCore<InterruptDescriptorTable> =
    PerCore([const { UnsafeCell::new(InterruptDescriptorTable::new()) }; CORES]);
static HANDLERS: PerCore<User<'static, StaticPool>> = PerCore([
    UnsafeCell::new(User::new(&SHARE, CORES)),
    UnsafeCell::new(User::new(&SHARE, CORES + 1)),
    UnsafeCell::new(User::new(&SHARE, CORES + 2)),
    UnsafeCell::new(User::new(&SHARE, CORES + 3)),
]);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    end(false, format_args!("FAILED: {}", info.message()))
}

#[unsafe(no_mangle)]
extern "C" fn exception(instruction: usize) -> ! {
    panic!("an exception at {instruction:#x}")
}

#[unsafe(no_mangle)]
extern "C" fn timer() {
    let core = core_number();
    let number = INTERRUPTS[core].fetch_add(1, Ordering::Relaxed);
    // SAFETY: only this core's handler takes it, and no interrupt comes before the handler returns.
    let user = unsafe { &mut *HANDLERS.0[core].get() };
    let allocated = user
        .rounds(HANDLER_ROUNDS)
        .unwrap_or_else(|fault| panic!("{fault}"));
    BY_HANDLERS.fetch_add(allocated, Ordering::Relaxed);
    machine::end_of_interrupt();
    if ENDS[core].load(Ordering::Relaxed) {
        user.give_back_all()
            .unwrap_or_else(|fault| panic!("{fault}"));
        ENDED[core].store(true, Ordering::Relaxed);
        return;
    }
    machine::interrupt_after(PERIOD + (number as u32 % 64) * 61);
}

/// Where each core begins, with its number.
#[unsafe(no_mangle)]
extern "C" fn begin(core: usize) -> ! {
    // SAFETY: the numbers of cores differ, so nobody else has this table.
    let table = unsafe { &mut *TABLES.0[core].get() };
    machine::set_up(core, table);
    if core == 0 {
        platform::set_thread_index(core_number);
        platform::set_pause(core::hint::spin_loop);
        machine::mask_legacy_interrupts();
        scripts();
        machine::start_others();
    }
    READY.fetch_add(1, Ordering::SeqCst);
    wait_for(&READY);
    machine::interrupt_after(PERIOD);
    x86_64::instructions::interrupts::enable();
    let mut user = User::new(&SHARE, core);
    let allocated = user
        .rounds(ROUNDS)
        .unwrap_or_else(|fault| panic!("{fault}"));
    ALLOCATED.fetch_add(allocated, Ordering::Relaxed);
    user.give_back_all()
        .unwrap_or_else(|fault| panic!("{fault}"));
    ENDS[core].store(true, Ordering::Relaxed);
    while !ENDED[core].load(Ordering::Relaxed) {
        core::hint::spin_loop();
    }
    x86_64::instructions::interrupts::disable();
    DONE.fetch_add(1, Ordering::SeqCst);
    wait_for(&DONE);
    if core == 0 {
        finish();
    }
    machine::halt()
}

/// Waits until all cores are there.
fn wait_for(cores: &AtomicUsize) {
    while cores.load(Ordering::SeqCst) < CORES {
        core::hint::spin_loop();
    }
}

fn scripts() {
    script("static pool of several words", &WORDS, 1);
    script("static pool with boundary tags", &TRACKED, 2);
    let pool = Pool::new(12).expect("the order is valid");
    pool.add(0x1000_0000, 1000 << 12)
        .expect("the chunk is valid");
    script("pool on a heap that is a static pool", &pool, 3);
    drop(pool);
    assert_eq!(HEAP.avail(), HEAP.size(), "the heap has everything back");
}

fn script(name: &str, target: &dyn Target, seed: u64) {
    match play(target, seed, STEPS) {
        Ok(tally) => print_line(format_args!("row|{name}|{tally}")),
        Err(difference) => panic!("{name}: {difference}"),
    }
}

fn finish() -> ! {
    assert_eq!(SHARED.avail(), SHARED.size(), "everything is back");
    let interrupts = INTERRUPTS
        .each_ref()
        .map(|core| core.load(Ordering::Relaxed));
    assert!(
        interrupts.iter().all(|&count| count > 100),
        "handlers ran on every core: {interrupts:?}"
    );
    print_line(format_args!(
        "row|{CORES} cores and their interrupt handlers|{} and {} allocations, {} interrupts, {} refused, {} contended",
        ALLOCATED.load(Ordering::Relaxed),
        BY_HANDLERS.load(Ordering::Relaxed),
        interrupts.iter().sum::<usize>(),
        SHARE.refused(),
        SHARE.contended()
    ));
    assert!(SHARE.refused() > 100, "the pool was full at times");
    end(true, format_args!("ok"))
}
