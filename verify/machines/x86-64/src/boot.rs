//! The way from the entry of each core to Rust.
//!
//! The first core is entered as the PVH protocol says: in 32-bit protected mode, at the address in the ELF note (Xen,
//! `docs/misc/pvh.pandoc`). qemu boots such an image with `-kernel`. The other cores start in real mode, at a page that
//! the first one names in a SIPI (Intel SDM 3A, "Multiple-Processor Management"). The code that they begin with is copied
//! there. All of them go on to 64-bit mode with the first 4 GiB mapped to themselves, and take a stack by their number.

use core::arch::global_asm;

/// Where the other cores begin: a page below 1 MiB. Its number is the vector of the SIPI.
pub(crate) const TRAMPOLINE: usize = 0x8000;

/// Cores for which there are stacks.
pub(crate) const CORES: usize = 4;

const STACK: usize = 64 * 1024;

unsafe extern "C" {
    /// The code that the other cores begin with, up to `trampoline_end`.
    pub(crate) static trampoline: u8;
    pub(crate) static trampoline_end: u8;
}

global_asm!(
    r#"
    .section .note.pvh, "a", @note
    .align 4
    .long 4
    .long 8
    .long 18                        // XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad start32

    .section .boot, "ax"

    // ---- the first core, in 32-bit protected mode ----
    .code32
    .global start32
start32:
    cli
    cld
    movl $pdpt + 3, pml4
    movl $pd + 3, pdpt
    movl $pd + 4096 + 3, pdpt + 8
    movl $pd + 8192 + 3, pdpt + 16
    movl $pd + 12288 + 3, pdpt + 24
    xorl %ecx, %ecx
1:  movl %ecx, %eax                 // pages of 2 MiB: present, writable
    shll $21, %eax
    orl $0x83, %eax
    cmpl $1536, %ecx                // devices from 3 GiB on: not cached
    jb 2f
    orl $0x18, %eax
2:  movl %eax, pd(, %ecx, 8)
    incl %ecx
    cmpl $2048, %ecx
    jne 1b
    lgdt gdt_pointer
    ljmp $0x18, $protected

    // ---- the other cores, in real mode, at TRAMPOLINE ----
    .code16
    .global trampoline
trampoline:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl trampoline_gdt_pointer - trampoline + {trampoline}
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $0x18, $protected
    .align 4
trampoline_gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt
    .global trampoline_end
trampoline_end:

    // ---- every core, in 32-bit protected mode ----
    .code32
protected:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl %cr4, %eax
    orl $0x20, %eax                 // physical address extension
    movl %eax, %cr4
    movl $pml4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx          // EFER: long mode
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax           // paging
    movl %eax, %cr0
    ljmp $0x08, $long

    .code64
long:
    movl $1, %edi                   // the number of this core
    lock xaddl %edi, cores_begun(%rip)
    cmpl ${cores}, %edi
    jae 3f
    movl %edi, %eax
    incl %eax
    imulq ${stack}, %rax, %rax
    leaq stacks(%rip), %rsp
    addq %rax, %rsp
    call begin
3:  hlt
    jmp 3b

    .align 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff        // 0x08: code, 64-bit
    .quad 0x00cf93000000ffff        // 0x10: data
    .quad 0x00cf9b000000ffff        // 0x18: code, 32-bit
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt

    // ---- interrupts and exceptions ----
    .global timer_entry
timer_entry:
    push %rax
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    cld
    call timer
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rax
    iretq

    .global exception_entry
exception_entry:
    movq (%rsp), %rdi
    jmp 4f
    .global exception_with_code_entry
exception_with_code_entry:
    movq 8(%rsp), %rdi
4:  andq $-16, %rsp
    call exception

    .section .bss.boot, "aw", @nobits
    .align 4096
pml4:   .skip 4096
pdpt:   .skip 4096
pd:     .skip 4 * 4096
    .align 16
stacks: .skip {cores} * {stack}
cores_begun:
    .skip 4
"#,
    cores = const CORES,
    stack = const STACK,
    trampoline = const TRAMPOLINE,
    options(att_syntax)
);
