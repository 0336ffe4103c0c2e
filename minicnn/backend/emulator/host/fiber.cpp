// Fibers: each CUDA thread has a stack of its own, and a switch from one to another saves the
// registers that a called function must keep, exchanges the stack pointers and takes the other's
// registers from its stack: a few nanoseconds. Where the processor is neither x86-64 nor arm64,
// ucontext does it, portably and more slowly (a system call each time).
#include "runtime.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#if !defined(EMU_UCONTEXT) && defined(__x86_64__)

constexpr size_t SAVED = 8 * 8;  // rbp rbx r12-r15, the return address, a hole for alignment
constexpr size_t RETURN = 6;     // which of them is the return address
asm(R"(
    .text
    .globl emu_switch
    .hidden emu_switch
    .type emu_switch, @function
emu_switch:
    endbr64
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emu_switch, . - emu_switch
)");

#elif !defined(EMU_UCONTEXT) && defined(__aarch64__)

constexpr size_t SAVED = 160;  // x19-x30 and d8-d15
constexpr size_t RETURN = 11;  // x30, the link register
asm(R"(
    .text
    .globl emu_switch
    .hidden emu_switch
    .type emu_switch, %function
emu_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
    .size emu_switch, . - emu_switch
)");

#else

#include <ucontext.h>
#define EMU_PORTABLE

#endif

// The lowest page of a stack cannot be touched, so that a thread whose local arrays do not fit
// crashes at once. The tops of the stacks are shifted against each other: equal distances would put
// the busiest lines of all of them into the same few places of the cache.
static char* new_stack() {
    void* memory =
        mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) abort();
    mprotect(memory, 4096, PROT_NONE);
    return static_cast<char*>(memory);
}
constexpr size_t MOST_SHIFT = 32 * 192;
static size_t shift(int number) { return size_t(number) * 192 % MOST_SHIFT; }

bool is_below(const char* stack, const void* address) {
    return uintptr_t(address) + MOST_SHIFT - uintptr_t(stack) < MOST_SHIFT + 4096;
}

#ifndef EMU_PORTABLE

extern "C" void emu_switch(void** save_here, void* load_from);

Fiber* new_fiber(int number) {
    auto* fiber = new Fiber;
    fiber->stack = new_stack() + shift(number);
    return fiber;
}

void prepare(Fiber* fiber, void (*entry)()) {
    char* top = fiber->stack + STACK_BYTES - MOST_SHIFT;
    top -= SAVED;
    memset(top, 0, SAVED);
    memcpy(top + 8 * RETURN, &entry, sizeof entry);
    fiber->stack_pointer = top;
}

void switch_to(Fiber* from, Fiber* to) { emu_switch(&from->stack_pointer, to->stack_pointer); }

#else

Fiber* new_fiber(int number) {
    auto* fiber = new Fiber;
    fiber->stack = new_stack() + shift(number);
    fiber->stack_pointer = new ucontext_t;
    return fiber;
}

void prepare(Fiber* fiber, void (*entry)()) {
    auto* context = static_cast<ucontext_t*>(fiber->stack_pointer);
    getcontext(context);
    context->uc_stack.ss_sp = fiber->stack + 4096;
    context->uc_stack.ss_size = STACK_BYTES - 4096 - MOST_SHIFT;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
}

void switch_to(Fiber* from, Fiber* to) {
    if (!from->stack_pointer) from->stack_pointer = new ucontext_t;
    swapcontext(static_cast<ucontext_t*>(from->stack_pointer),
                static_cast<ucontext_t*>(to->stack_pointer));
}

#endif
