//! The devices that the program needs: the serial port, the way to end the machine, the local APIC, the interrupt table.

use core::arch::asm;
use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use x86_64::VirtAddr;
use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::GsBase;
use x86_64::structures::idt::InterruptDescriptorTable;

use crate::boot::{self, CORES, TRAMPOLINE};

/// The vector of the timer.
const TIMER: u8 = 32;

// ---- the serial port and the end ----

/// COM1.
struct Serial;

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut port = Port::new(0x3f8);
        for byte in text.bytes() {
            // SAFETY: qemu's serial port takes bytes at any time, and nothing else depends on it.
            unsafe { port.write(byte) };
        }
        Ok(())
    }
}

/// Prints a line. Only the first core does, until one fails.
pub(crate) fn print_line(line: fmt::Arguments<'_>) {
    let _ = fmt::Write::write_fmt(&mut Serial, format_args!("{line}\n"));
}

/// Prints a last line and ends the machine, unless another core is about to. qemu's status is 33 if all is well,
/// otherwise 35: twice the value, and one.
pub(crate) fn end(is_well: bool, line: fmt::Arguments<'_>) -> ! {
    // A handler that fails too would halt this core before it has ended the machine.
    x86_64::instructions::interrupts::disable();
    static ENDED: AtomicBool = AtomicBool::new(false);
    if !ENDED.swap(true, Ordering::Relaxed) {
        print_line(line);
        let mut port = Port::new(0xf4);
        // SAFETY: this is qemu's isa-debug-exit, which ends the machine.
        unsafe { port.write(if is_well { 16_u32 } else { 17 }) };
    }
    halt()
}

/// Does nothing any more.
pub(crate) fn halt() -> ! {
    loop {
        x86_64::instructions::hlt();
    }
}

// ---- the number of a core ----

/// What the base of GS points to: the core's number.
static NUMBERS: [usize; CORES] = {
    let (mut numbers, mut core) = ([0; CORES], 0);
    while core < CORES {
        numbers[core] = core;
        core += 1;
    }
    numbers
};

/// Returns the number of this core.
pub(crate) fn core_number() -> usize {
    let number;
    // SAFETY: `set_up` set the base to a word, which never changes.
    unsafe { asm!("mov {}, gs:[0]", out(reg) number, options(nostack, readonly, preserves_flags)) };
    number
}

// ---- interrupts ----

unsafe extern "C" {
    fn timer_entry();
    fn exception_entry();
    fn exception_with_code_entry();
}

/// Prepares a core: its number, its interrupt table, its local APIC.
pub(crate) fn set_up(core: usize, table: &'static mut InterruptDescriptorTable) {
    GsBase::write(VirtAddr::from_ptr(&raw const NUMBERS[core]));
    let address = |entry: unsafe extern "C" fn()| VirtAddr::from_ptr(entry as *const ());
    let (plain, coded) = (address(exception_entry), address(exception_with_code_entry));
    // SAFETY: the entries never return, whatever is on the stack.
    unsafe { table.divide_error.set_handler_addr(plain) };
    // SAFETY: as above.
    unsafe { table.invalid_opcode.set_handler_addr(plain) };
    // SAFETY: as above.
    unsafe { table.double_fault.set_handler_addr(coded) };
    // SAFETY: as above.
    unsafe { table.general_protection_fault.set_handler_addr(coded) };
    // SAFETY: as above.
    unsafe { table.page_fault.set_handler_addr(coded) };
    // SAFETY: the entry saves what the compiler does not, and returns from the interrupt.
    unsafe { table[TIMER].set_handler_addr(address(timer_entry)) };
    table.load();
    // Enabled, with a spurious vector that nothing uses.
    apic_write(0xf0, 0x1ff);
    // The timer counts once, at the bus clock.
    apic_write(0x3e0, 0xb);
    apic_write(0x320, u32::from(TIMER));
}

/// Has the timer interrupt this core once, after so many nanoseconds (of qemu's).
pub(crate) fn interrupt_after(nanoseconds: u32) {
    apic_write(0x380, nanoseconds);
}

/// Ends the interrupt.
pub(crate) fn end_of_interrupt() {
    apic_write(0xb0, 0);
}

/// Silences the old interrupt controllers, which the firmware left on.
pub(crate) fn mask_legacy_interrupts() {
    for port in [0x21, 0xa1] {
        let mut mask = Port::new(port);
        // SAFETY: nothing uses these controllers.
        unsafe { mask.write(0xff_u8) };
    }
}

/// Starts the other cores.
pub(crate) fn start_others() {
    let start = &raw const boot::trampoline;
    let end = &raw const boot::trampoline_end;
    let length = end.addr() - start.addr();
    // SAFETY: the page is RAM that nothing else uses, and the code does not depend on where it lies.
    unsafe {
        ptr::copy_nonoverlapping(start, ptr::with_exposed_provenance_mut(TRAMPOLINE), length)
    };
    // To all but this core: INIT, then SIPI twice (Intel SDM 3A, "MP Initialization Protocol").
    apic_write(0x300, 0xc_4500);
    pause(1 << 20);
    for _ in 0..2 {
        apic_write(0x300, 0xc_4600 | (TRAMPOLINE >> 12) as u32);
        pause(1 << 16);
    }
}

fn pause(times: usize) {
    (0..times).for_each(|_| core::hint::spin_loop());
}

fn apic_write(register: usize, value: u32) {
    let address = ptr::with_exposed_provenance_mut::<u32>(0xfee0_0000 + register);
    // SAFETY: the local APIC is there, mapped as a device, and each core has its own.
    unsafe { address.write_volatile(value) };
}
