//! The smallest program with a static pool: first fit, alloc and free. There is no heap. `ci/machines.sh` measures its code
//! and looks for symbols of an allocator.

#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;

use cortex_m_rt::entry;
use genpool::{StaticPool, static_pool};

static POOL: StaticPool = static_pool!(order: 5, start: 0x2000_0000, size: 0x1_0000);

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

#[entry]
fn main() -> ! {
    loop {
        if let Ok(held) = POOL.alloc(black_box(100)) {
            black_box(held.addr());
        }
    }
}
