// Ends the launch of a kernel that cannot go on, or never ends.
//
// A thread that touches memory which is not there, fills its stack or divides by zero is stopped by
// the processor, and the operating system sends the worker a signal; so does a timer when the
// launch has taken too long. The handler runs on a stack of its own, notes a report and switches to
// the scheduler, as a thread does that waits; nobody will ever resume it. Signals that concern no
// CUDA thread go where they went before.
#include "runtime.h"

#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <mutex>

constexpr int OVERDUE = SIGVTALRM;
constexpr int CRASHES[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
static struct sigaction before[NSIG];

// Where the signal met the thread; null where we do not know the processor: then reports have no
// line, and nothing is overdue.
static uintptr_t program_counter(void* context) {
    auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
    return uintptr_t(registers.gregs[REG_RIP]);
#elif defined(__aarch64__)
    return uintptr_t(registers.pc);
#else
    (void)registers;
    return 0;
#endif
}

static bool in_kernel(uintptr_t pc) {
    return pc >= worker->code.begin && pc < worker->code.end;
}

[[noreturn]] static void end(Kind kind, uintptr_t pc, const char* text) {
    if (Report* report = new_report(worker->launch, kind)) {
        // One further: report.py takes it for the address that a call returns to.
        uintptr_t at = in_kernel(pc) ? pc + 1 : uintptr_t(worker->caller);
        report->at = here({}, reinterpret_cast<void*>(at ? at - worker->code.base : 0));
        snprintf(report->text, sizeof report->text, "%s", text);
    }
    stop();
}

// A signal that concerns no CUDA thread of this library. Another one like it may be in the process.
static void pass_on(int signal, siginfo_t* info, void* context) {
    const struct sigaction& handler = before[signal];
    if (handler.sa_flags & SA_SIGINFO)
        handler.sa_sigaction(signal, info, context);
    else if (handler.sa_handler != SIG_DFL && handler.sa_handler != SIG_IGN)
        handler.sa_handler(signal);
    else if (signal != OVERDUE)
        sigaction(signal, &handler, nullptr);  // the instruction fails once more, without us
}

static void on_crash(int signal, siginfo_t* info, void* context) {
    if (!worker || !worker->runs) return pass_on(signal, info, context);
    uintptr_t pc = program_counter(context);
    if (signal == SIGFPE) end(ARITHMETIC, pc, "divides an integer by zero");
    if (signal == SIGILL) end(FAILED, pc, "comes to what the compiler took for unreachable");
    if (is_below(worker->stack, info->si_addr))
        end(FAILED, pc, "has filled its stack of 64 KiB: by recursion, or by large local arrays");
    end(OUT_OF_BOUNDS, pc, "touches memory that belongs to nobody");
}

// A thread outside of the kernel's own code may hold a lock: the timer will ask again.
static void on_overdue(int signal, siginfo_t* info, void* context) {
    if (!worker || !worker->runs) return pass_on(signal, info, context);
    if (!in_kernel(program_counter(context))) return;
    end(ENDLESS, program_counter(context), "is still running at the end of the launch's time");
}

static void handle_signals() {
    struct sigaction action = {};
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;  // who switches away never returns
    action.sa_sigaction = on_crash;
    for (int signal : CRASHES) sigaction(signal, &action, &before[signal]);
    action.sa_flags |= SA_RESTART;
    action.sa_sigaction = on_overdue;
    sigaction(OVERDUE, &action, &before[OVERDUE]);
}

Watch::Watch(double seconds) {
    static std::once_flag once;
    std::call_once(once, handle_signals);
    stack_t own = {};
    own.ss_sp = stack;
    own.ss_size = sizeof stack;
    sigaltstack(&own, &previous);
    if (seconds <= 0) return;
    sigevent event = {};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = OVERDUE;
    event._sigev_un._tid = int(syscall(SYS_gettid));
    itimerspec times = {{0, 5000000}, {time_t(seconds), long(std::fmod(seconds, 1) * 1e9)}};
    has_timer = timer_create(CLOCK_MONOTONIC, &event, &timer) == 0;
    if (has_timer) timer_settime(timer, 0, &times, nullptr);
}

Watch::~Watch() {
    if (has_timer) timer_delete(timer);
    sigaltstack(&previous, nullptr);
}
