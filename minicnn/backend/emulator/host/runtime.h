// The emulator's own structures, shared by its four parts:
//
//   fiber.cpp    switches between the stacks of CUDA threads
//   block.cpp    runs a block: who goes on, who waits at a barrier or a shuffle; runs a grid
//   check.cpp    looks at every access to memory in the checked mode
//   watch.cpp    ends what crashes or never ends
//
// A worker is a thread of the operating system. It takes one block after the other and runs the
// block's CUDA threads as fibers: each goes on until it has to wait, and the worker takes the next.
// A kernel that never waits needs one fiber alone.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <csignal>
#include <ctime>
#include <vector>

struct EmuPlace {
    const char* file;
    int line;
};
struct Index3 {
    unsigned x, y, z;
};
inline Index3 unravel(unsigned i, Index3 size) {
    return {i % size.x, i / size.x % size.y, i / size.x / size.y};
}

// What Python and C++ exchange: device.py declares the same layout.

enum Kind : int {
    DIVERGED = 1,       // a barrier or warp operation that not all threads reach
    FAILED,             // assert, __trap
    OUT_OF_BOUNDS,      // of every array and of shared memory
    OUT_OF_INDEX,       // a[i] with i outside the declared size of a
    MISALIGNED,         // a float4 at no multiple of 16
    ARITHMETIC,         // a signed integer overflowed, an integer was divided by zero
    UNINITIALISED,      // shared memory was read before it was written
    RACE,               // two threads, the same bytes, no barrier between, at least one wrote
    ENDLESS,            // a thread that goes on and on
};

struct Party {          // one thread at one place of the source
    Index3 block, thread;
    uint64_t pc;        // an address in the kernel's library, or 0
    const char* file;   // or the place itself, or null
    int line;
    int access;         // READ, WRITE or ATOMIC
};
struct Report {
    int kind, size;
    int region;         // number of the array; -1 __shared__ variables, -2 none, -3 dynamic memory
    int live;           // 1 if `other` says something
    int64_t offset;     // of the access in the region
    Party at, other;
    char text[96];
};
struct Region {
    uintptr_t begin, end;
};
struct Launch {
    void (*kernel)(void** args);
    char* (*anchor)();   // a thread-local variable of the kernel's library
    char* (*dynamic)();  // the start of dynamic shared memory, or null
    void** args;
    Index3 grid, block;
    uint64_t shared_bytes, seed;
    double seconds;      // after which a launch is given up; 0: never
    int order;           // 0 forward, 1 reversed, 2 shuffled
    int workers;         // threads of the operating system
    int checked;
    int max_reports;
    Report* reports;
    const Region* regions;
    int region_count;
    std::atomic<int> report_count, stopped;
};

// Fibers

struct Fiber {
    void* stack_pointer = nullptr;  // while it does not run
    char* stack = nullptr;
};
constexpr size_t STACK_BYTES = 64 << 10;
Fiber* new_fiber(int number);
void prepare(Fiber*, void (*entry)());     // the next switch to it calls entry, which never returns
void switch_to(Fiber* from, Fiber* to);
bool is_below(const char* stack, const void* address);  // where a full stack goes on

// Blocks

enum State : uint8_t { FRESH, READY, AT_BARRIER, AT_WARP, DONE };
enum WarpOperation : uint8_t { SHUFFLE, BALLOT, SYNC };

struct Thread {
    State state;
    WarpOperation operation;
    int source;             // the lane that a shuffle reads
    unsigned mask;
    int predicate;
    EmuPlace at;            // where it waits
    uint64_t value, result;
    Fiber* fiber;
    Index3 index;
};

struct Warp {
    unsigned waiting;       // the lanes that have come to a warp operation
    unsigned short epoch;   // how often the warp met at __syncwarp
};

struct Code {               // of the kernel's library
    uintptr_t base, begin, end;
};

struct Worker {
    Launch* launch;
    Code code;
    Fiber scheduler;
    std::vector<Fiber*> free_fibers;
    std::vector<Fiber*> all_fibers;
    std::vector<Thread> threads;
    std::vector<unsigned> turns;            // the threads in the order in which they go on
    std::vector<Warp> warps;
    unsigned short epoch;                   // times that the block met at a barrier
    unsigned current, arrived, done, total, block_number;
    int barrier_result;
    char* stack;                            // of the thread that runs
    bool runs;                              // it does, and not the scheduler
    const void* caller;                     // of its last check or atomic function
    unsigned patience;                      // accesses that it may still make in this turn
    bool fenced;                            // the block has called __threadfence()
    char *statics, *statics_end;            // where the __shared__ variables of this worker are
    char *dynamic, *dynamic_end;
};
#define EMU_LOCAL thread_local __attribute__((tls_model("initial-exec")))
extern EMU_LOCAL Worker* worker;
extern "C" {
extern EMU_LOCAL Index3 threadIdx, blockIdx, blockDim, gridDim;
extern EMU_LOCAL unsigned emu_lane;
}

// Reports

Report* new_report(Launch*, Kind);           // null when there are enough
Party here(EmuPlace at = {}, const void* pc = nullptr);
[[noreturn]] void stop();                   // ends the launch from within a fiber

// While it lives, a kernel that crashes in this thread ends its launch; so does one that still runs
// after so many seconds.
class Watch {
  public:
    explicit Watch(double seconds);
    ~Watch();

  private:
    stack_t previous;
    timer_t timer;
    bool has_timer = false;
    char stack[64 << 10];  // the handlers' own
};

// Checks. check_begin and check_end enclose a checked launch, of which there is one at a time.

enum Access : int { READ, WRITE, ATOMIC };
void check_begin(Launch*, Worker*);
void check_end();
void check_access(const void* address, size_t bytes, Access, const void* pc);
