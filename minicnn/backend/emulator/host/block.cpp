// Runs a grid: its blocks one after the other on each worker, the threads of a block in turns.
//
// The worker's scheduler lets every thread that can go on do so, in the order of `turns`, and
// begins again, until all have returned. A thread that has to wait notes where and for what, and
// switches back to the scheduler; whoever arrives last lets the others go. When nobody can go on
// and not all have returned, the threads wait for each other in different places: the launch ends
// with a report, where a GPU would hang or compute rubbish.
#include "runtime.h"

#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>

#include <link.h>

EMU_LOCAL Index3 threadIdx, blockIdx, blockDim, gridDim;
EMU_LOCAL unsigned emu_lane;
EMU_LOCAL Worker* worker = nullptr;

static Thread& self() { return worker->threads[worker->current]; }

static void yield() { switch_to(self().fiber, &worker->scheduler); }

[[noreturn]] void stop() {
    worker->launch->stopped = true;
    yield();
    __builtin_unreachable();
}

// Reports

Report* new_report(Launch* launch, Kind kind) {
    int number = launch->report_count++;
    if (number >= launch->max_reports) {
        launch->report_count--;
        return nullptr;
    }
    Report* report = &launch->reports[number];
    *report = {};
    report->kind = kind;
    report->region = -2;
    return report;
}

static Party party(const Thread& thread, EmuPlace at) {
    return {blockIdx, thread.index, 0, at.file, at.line, READ};
}

Party here(EmuPlace at, const void* pc) {
    Party result = party(self(), at);
    result.pc = reinterpret_cast<uint64_t>(pc);
    return result;
}

static void report_divergence(const char* text, const Thread& waits, const Thread& other) {
    Report* report = new_report(worker->launch, DIVERGED);
    if (!report) return;
    report->at = party(waits, waits.at);
    report->other = party(other, other.state == DONE ? EmuPlace{} : other.at);
    report->live = 1;
    snprintf(report->text, sizeof report->text, "%s", text);
}

extern "C" [[noreturn]] void emu_fail(const char* message, EmuPlace at) {
    if (Report* report = new_report(worker->launch, FAILED)) {
        report->at = here(at);
        snprintf(report->text, sizeof report->text, "%s", message);
    }
    stop();
}

// The barrier of a block

static bool same_place(EmuPlace a, EmuPlace b) {
    return a.line == b.line && (a.file == b.file || !strcmp(a.file, b.file));
}

// Lets all threads go on if each of them waits at the barrier or has returned. Threads that have
// returned are no hindrance on a GPU, but no CUDA program may rely on it: the checked mode says so.
// False after a report.
static bool open_barrier() {
    Worker& w = *worker;
    if (w.arrived == 0 || w.arrived + w.done < w.total) return true;
    const Thread *first = nullptr, *returned = nullptr;
    w.barrier_result = 0;
    for (Thread& thread : w.threads) {
        if (thread.state == DONE) {
            if (!returned) returned = &thread;
            continue;
        }
        if (!first) first = &thread;
        if (!same_place(first->at, thread.at)) {
            report_divergence("waits at a barrier, and the other at another one", *first, thread);
            return false;
        }
        w.barrier_result += thread.predicate != 0;
    }
    if (returned && w.launch->checked) {
        report_divergence("waits at a barrier, and the other has returned", *first, *returned);
        return false;
    }
    for (Thread& thread : w.threads)
        if (thread.state == AT_BARRIER) {
            thread.state = READY;
            thread.result = w.barrier_result;
        }
    w.arrived = 0;
    w.epoch++;
    return true;
}

extern "C" int emu_barrier(int predicate, EmuPlace at) {
    Thread& thread = self();
    thread.state = AT_BARRIER;
    thread.predicate = predicate;
    thread.at = at;
    worker->arrived++;
    if (!open_barrier()) stop();
    if (thread.state == AT_BARRIER) yield();
    return int(thread.result);
}

// Warps. The last lane of the mask to arrive computes the results of all.

static void exchange(Thread* lanes, unsigned mask, unsigned count) {
    unsigned ballot = 0;
    for (unsigned i = 0; i < 32 && i < count; i++)
        if (mask >> i & 1) ballot |= unsigned(lanes[i].predicate != 0) << i;
    for (unsigned i = 0; i < 32 && i < count; i++) {
        if (!(mask >> i & 1)) continue;
        unsigned source = unsigned(lanes[i].source) & 31;
        if (lanes[i].operation != SHUFFLE) {
            lanes[i].result = ballot;
        } else if (mask >> source & 1 && source < count) {
            lanes[i].result = lanes[source].value;
        } else {
            report_divergence("shuffles from a lane outside its mask", lanes[i],
                              lanes[source % count]);
            stop();
        }
    }
}

static uint64_t meet(WarpOperation operation, unsigned mask, uint64_t value, int source,
                     int predicate, EmuPlace at) {
    Worker& w = *worker;
    Thread& thread = self();
    unsigned number = w.current / 32, count = w.total - number * 32;
    Warp& warp = w.warps[number];
    Thread* lanes = &w.threads[number * 32];
    if (count < 32 && mask == ~0u) mask = (1u << count) - 1;  // a last warp that is not full
    thread.state = AT_WARP;
    thread.operation = operation;
    thread.mask = mask;
    thread.value = value;
    thread.source = source;
    thread.predicate = predicate;
    thread.at = at;
    warp.waiting |= 1u << emu_lane;
    if (!(mask >> emu_lane & 1)) {
        report_divergence("is not in the mask that it passes to a warp operation", thread, thread);
        stop();
    }
    if (mask & ~warp.waiting) {
        yield();
        return thread.result;
    }
    for (unsigned i = 0; i < 32 && i < count; i++)
        if (mask >> i & 1 && (lanes[i].mask != mask || !same_place(lanes[i].at, at))) {
            report_divergence("meets its warp, and the other is elsewhere or has another mask",
                              thread, lanes[i]);
            stop();
        }
    exchange(lanes, mask, count);
    warp.waiting &= ~mask;
    warp.epoch += operation == SYNC;
    for (unsigned i = 0; i < 32 && i < count; i++)
        if (mask >> i & 1) lanes[i].state = READY;
    return thread.result;
}

extern "C" unsigned emu_ballot(unsigned mask, int predicate, EmuPlace at) {
    return unsigned(meet(BALLOT, mask, 0, 0, predicate, at));
}
extern "C" unsigned long long emu_shuffle(unsigned mask, unsigned long long value, int source,
                                          EmuPlace at) {
    return meet(SHUFFLE, mask, value, source, 0, at);
}
extern "C" void emu_syncwarp(unsigned mask, EmuPlace at) { meet(SYNC, mask, 0, 0, 0, at); }
extern "C" void emu_fence() { worker->fenced = true; }

// One block

static void fiber_main() {
    worker->launch->kernel(worker->launch->args);
    self().state = DONE;
    yield();
}

static void go_on(unsigned number) {
    Worker& w = *worker;
    Thread& thread = w.threads[number];
    w.current = number;
    threadIdx = thread.index;
    emu_lane = number % 32;
    if (thread.state == FRESH) {
        if (w.free_fibers.empty()) {
            w.free_fibers.push_back(new_fiber(int(w.all_fibers.size())));
            w.all_fibers.push_back(w.free_fibers.back());
        }
        thread.fiber = w.free_fibers.back();
        w.free_fibers.pop_back();
        prepare(thread.fiber, fiber_main);
        thread.state = READY;
    }
    w.stack = thread.fiber->stack;
    w.patience = 1u << 26;
    w.runs = true;
    w.caller = nullptr;
    switch_to(&w.scheduler, thread.fiber);
    w.runs = false;
    if (thread.state == DONE) {
        w.done++;
        w.free_fibers.push_back(thread.fiber);
    }
}

// Nobody can go on: a lane waits for another of its mask, or a thread at the barrier for one that
// is among such lanes.
static void report_deadlock() {
    auto& threads = worker->threads;
    size_t waits = 0;
    while (threads[waits].state != AT_WARP)
        waits++;  // barriers alone would have opened, or been reported
    const Thread& thread = threads[waits];
    for (size_t i = 0; i < threads.size(); i++) {
        const Thread& other = threads[i];
        bool awaited = i / 32 == waits / 32 && thread.mask >> i % 32 & 1;
        bool elsewhere =
            other.state != AT_WARP || other.mask != thread.mask || !same_place(other.at, thread.at);
        if (awaited && elsewhere)
            return report_divergence("waits at a warp operation for a lane that does not come",
                                     thread, other);
    }
    report_divergence("waits for lanes that the block does not have", thread, thread);
}

static void run_block() {
    Worker& w = *worker;
    memset(w.statics, 0xff,
           w.statics_end - w.statics);  // NaN: what was never written must not look right
    memset(w.dynamic, 0xff, w.dynamic_end - w.dynamic);
    for (Thread& thread : w.threads) thread.state = FRESH;
    w.epoch = 0;
    w.warps.assign((w.total + 31) / 32, {0, 0});
    w.arrived = w.done = 0;
    w.fenced = false;
    while (w.done < w.total && !w.launch->stopped) {
        bool moved = false;
        for (unsigned number : w.turns) {
            if (w.threads[number].state != FRESH && w.threads[number].state != READY) continue;
            go_on(number);
            moved = true;
            if (w.launch->stopped) break;
        }
        if (w.launch->stopped) break;
        if (!moved) report_deadlock();
        if (!moved || !open_barrier()) w.launch->stopped = true;
    }
    if (w.launch->stopped) w.free_fibers = w.all_fibers;  // those that wait will wait no more
}

// The grid

static std::vector<unsigned> order_of(unsigned count, int order, uint64_t seed) {
    std::vector<unsigned> result(count);
    std::iota(result.begin(), result.end(), 0u);
    for (unsigned i = 0; order == 1 && i < count / 2; i++)
        std::swap(result[i], result[count - 1 - i]);
    for (unsigned i = count; order == 2 && i > 1; i--) {
        seed += 0x9e3779b97f4a7c15u;  // splitmix64
        uint64_t bits = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9u;
        bits = (bits ^ bits >> 27) * 0x94d049bb133111ebu;
        std::swap(result[i - 1], result[(bits ^ bits >> 31) % i]);
    }
    return result;
}

// The library's code; its thread-local memory holds its __shared__ variables and nothing else.
struct Image {
    uintptr_t address;  // asked for
    char* begin;        // found, for the calling thread
    size_t size;
    Code code;
};
static int find_image(dl_phdr_info* info, size_t, void* data) {
    auto* image = static_cast<Image*>(data);
    bool inside = false;
    size_t size = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const auto& part = info->dlpi_phdr[i];
        if (part.p_type == PT_TLS) size = part.p_memsz;
        uintptr_t begin = info->dlpi_addr + part.p_vaddr;
        if (part.p_type != PT_LOAD || image->address - begin >= part.p_memsz) continue;
        inside = true;
        image->code = {info->dlpi_addr, begin, begin + part.p_memsz};
    }
    if (inside) {
        image->begin = static_cast<char*>(info->dlpi_tls_data);
        image->size = size;
    }
    return inside;
}

static void set_up(Worker& w, Launch* launch) {
    w.launch = launch;
    worker = &w;
    launch->anchor();  // gives this thread its copy
    Image image = {reinterpret_cast<uintptr_t>(launch->kernel), nullptr, 0, {}};
    dl_iterate_phdr(find_image, &image);
    w.code = image.code;
    char* end = image.begin + image.size;
    w.dynamic = launch->dynamic ? launch->dynamic() : end;  // the build puts it last
    w.dynamic_end = w.dynamic + (launch->dynamic ? launch->shared_bytes : 0);
    w.statics = image.begin;
    w.statics_end = w.dynamic;
    w.total = launch->block.x * launch->block.y * launch->block.z;
    w.turns = order_of(w.total, launch->order, launch->seed);
    w.threads.resize(w.total);
    for (unsigned i = 0; i < w.total; i++) w.threads[i].index = unravel(i, launch->block);
}

static std::mutex lock;
static std::vector<Worker*> idle;  // with their fibers, whose stacks are dear

static void work(Launch* launch, const std::vector<unsigned>& blocks, std::atomic<unsigned>& next) {
    Worker* w = nullptr;
    {
        std::lock_guard<std::mutex> guard(lock);
        if (!idle.empty()) {
            w = idle.back();
            idle.pop_back();
        }
    }
    if (!w) w = new Worker();
    set_up(*w, launch);
    blockDim = launch->block;
    gridDim = launch->grid;
    auto watch = std::make_unique<Watch>(launch->seconds);
    if (launch->checked) check_begin(launch, w);
    for (unsigned i; !launch->stopped && (i = next++) < blocks.size();) {
        w->block_number = blocks[i];
        blockIdx = unravel(blocks[i], launch->grid);
        run_block();
    }
    if (launch->checked) check_end();
    worker = nullptr;
    std::lock_guard<std::mutex> guard(lock);
    idle.push_back(w);
}

extern "C" int emu_launch(Launch* launch) {
    auto blocks =
        order_of(launch->grid.x * launch->grid.y * launch->grid.z, launch->order, launch->seed + 1);
    std::atomic<unsigned> next{0};
    std::vector<std::thread> others;
    size_t threads = blocks.size() * launch->block.x * launch->block.y * launch->block.z;
    for (size_t i = 1; i < size_t(launch->workers) && i < blocks.size() && i * 256 < threads; i++)
        others.emplace_back([&] { work(launch, blocks, next); });
    work(launch, blocks, next);
    for (auto& other : others) other.join();
    return launch->report_count;
}
