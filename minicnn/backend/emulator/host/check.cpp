// The checked mode: what the threads of a kernel do to memory, access by access.
//
// The .cu file is compiled with -fsanitize=thread, which puts a call like __tsan_write4(address)
// before each access to memory. In place of the sanitizer's own library, this file defines those
// calls. The arrays that the launch passes lie far apart from each other (guard.py copies them): an
// access that belongs to none of them is out of bounds. -fsanitize=bounds,alignment,... find
// further mistakes where they happen and call the __ubsan_handle functions at the end.
//
// For each 4 bytes of the arrays and of shared memory a Cell remembers who wrote last, and two
// threads that have read since. An access races with a remembered one of another thread if one of
// the two writes, they share a byte, not both are atomic, and nothing orders them:
//
//   threads of one block     are ordered by a barrier between the accesses (w.epoch has changed),
//   lanes of one warp        also by __syncwarp (its epoch has changed),
//   different blocks         by nothing; but a block that has called __threadfence() may read
//                            what others wrote, as the last block of a two-step sum does.
//
// Threads run in turns, and the rule does not ask which came first: one order finds nearly all
// races. (Forgotten are readers but two, and writers but the last, of different bytes of one cell.)
#include "runtime.h"

#include <link.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <tuple>

struct Past {        // an access that happened, in 16 bytes
    unsigned block;  // counted from 1; 0: none
    unsigned short thread, epoch, warp_epoch;
    uint8_t bytes;  // which of the four
    bool atomic;
    unsigned pc;  // in the kernel's library
};
struct Cell {
    Past written, read[2];
    unsigned block;       // shared memory is forgotten when another block begins
    uint8_t initialised;  // which of the four bytes
};
struct Area {
    uintptr_t begin, end;
    Cell* cells;
    int region;
};

namespace {
struct Checker {
    Launch* launch;
    Worker* w;
    std::vector<Area> arrays;
    Area statics, dynamic;
    Area* last;  // most accesses go to the same array as the one before
    std::vector<std::pair<uintptr_t, uintptr_t>> segments;  // of the kernel's library
    uintptr_t library;
    std::set<std::tuple<int, unsigned, unsigned>> seen;  // one report for each pair of places
};
}  // namespace
static Checker* checker = nullptr;

static Area area(uintptr_t begin, uintptr_t end, int region) {
    return {begin, end, static_cast<Cell*>(calloc((end - begin) / 4 + 1, sizeof(Cell))), region};
}

static int find_segments(dl_phdr_info* info, size_t, void*) {
    auto kernel = reinterpret_cast<uintptr_t>(checker->launch->kernel);
    std::vector<std::pair<uintptr_t, uintptr_t>> segments;
    bool inside = false;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const auto& part = info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + part.p_vaddr;
        if (part.p_type != PT_LOAD) continue;
        segments.emplace_back(begin, begin + part.p_memsz);
        inside |= kernel - begin < part.p_memsz;
    }
    if (inside) {
        checker->segments = segments;
        checker->library = info->dlpi_addr;
    }
    return inside;
}

void check_begin(Launch* launch, Worker* w) {
    checker = new Checker{};
    checker->launch = launch;
    checker->w = w;
    for (int i = 0; i < launch->region_count; i++)
        checker->arrays.push_back(area(launch->regions[i].begin, launch->regions[i].end, i));
    checker->statics = area(uintptr_t(w->statics), uintptr_t(w->statics_end), -1);
    checker->dynamic = area(uintptr_t(w->dynamic), uintptr_t(w->dynamic_end), -3);
    checker->last = &checker->statics;
    dl_iterate_phdr(find_segments, nullptr);
}

void check_end() {
    for (Area& array : checker->arrays) free(array.cells);
    free(checker->statics.cells);
    free(checker->dynamic.cells);
    delete checker;
    checker = nullptr;
}

// Reports

static unsigned relative(const void* pc) { return unsigned(uintptr_t(pc) - checker->library); }

static Report* report(Kind kind, const void* pc, unsigned other_pc = 0) {
    if (!checker->seen.insert({kind, relative(pc), other_pc}).second) return nullptr;
    Report* result = new_report(checker->launch, kind);
    if (result) result->at = here({}, reinterpret_cast<void*>(uintptr_t(relative(pc))));
    return result;
}

static void describe(Report* result, const Area& area, uintptr_t address, size_t bytes,
                     Access access) {
    result->region = area.region;
    result->offset = int64_t(address - area.begin);
    result->size = int(bytes);
    result->at.access = access;
}

static void report_race(const Area& area, uintptr_t address, size_t bytes, Access access,
                        const void* pc, const Past& past, Access past_access) {
    Report* result = report(RACE, pc, past.pc);
    if (!result) return;
    describe(result, area, address, bytes, access);
    result->live = 1;
    result->other = {unravel(past.block - 1, checker->launch->grid),
                     unravel(past.thread, checker->launch->block),
                     past.pc,
                     nullptr,
                     0,
                     past.atomic ? ATOMIC : past_access};
}

// Out of everything. The nearest array is the one that was probably meant, unless it is far away.
[[noreturn]] static void out_of_bounds(uintptr_t address, size_t bytes, Access access,
                                       const void* pc) {
    auto distance = [&](const Area& a) {
        return address < a.begin ? a.begin - address : address - a.end;
    };
    const Area* nearest = nullptr;
    auto consider = [&](const Area& a) {
        if (a.begin != a.end && (!nearest || distance(a) < distance(*nearest))) nearest = &a;
    };
    for (const Area& array : checker->arrays) consider(array);
    consider(checker->statics);
    consider(checker->dynamic);
    bool near = nearest && distance(*nearest) < 64 << 20;
    if (Report* result = report(OUT_OF_BOUNDS, pc))
        describe(result, near ? *nearest : Area{0, 0, nullptr, -2}, address, bytes, access);
    stop();
}

// A mistake that ends the launch, at the place in the source that is told, or else at pc.
struct Source {
    const char* file;
    unsigned line, column;
};
[[noreturn]] static void mistake(Kind kind, const Source* source, const void* pc, const char* text,
                                 uint64_t number) {
    Report* result = checker ? report(kind, pc) : nullptr;
    if (result && source) {
        result->at.file = source->file;
        result->at.line = int(source->line);
    }
    if (result) snprintf(result->text, sizeof result->text, text, (unsigned long long)number);
    stop();
}

// Accesses

static inline bool ordered(const Past& past, const Past& now) {
    if (past.block != now.block) return false;
    if (past.thread == now.thread || past.epoch != now.epoch) return true;
    return past.thread / 32 == now.thread / 32 && past.warp_epoch != now.warp_epoch;
}
static inline bool races(const Past& past, const Past& now) {
    return past.block && !ordered(past, now) && past.bytes & now.bytes &&
           !(past.atomic && now.atomic);
}

// Two readers that nothing orders are enough: whoever writes, one of them is another thread.
static inline void remember_reader(Cell& cell, const Past& now) {
    Past &first = cell.read[0], &second = cell.read[1];
    if (!first.block || ordered(first, now)) {
        first = now;
        if (second.block && ordered(second, now)) second.block = 0;
    } else if (!second.block || ordered(second, now)) {
        second = now;
    }
}

static void check_cell(Area& area, Cell& cell, const Past& now, uintptr_t address, size_t bytes,
                       Access access, const void* pc) {
    if (area.region < 0 && cell.block != now.block) cell = {{}, {}, now.block, 0};
    if (races(cell.written, now)) {
        bool fenced = access == READ && cell.written.block != now.block && checker->w->fenced;
        if (!fenced) report_race(area, address, bytes, access, pc, cell.written, WRITE);
    }
    if (access == READ) {
        if (area.region < 0 && now.bytes & ~cell.initialised)
            if (Report* result = report(UNINITIALISED, pc))
                describe(result, area, address, bytes, access);
        remember_reader(cell, now);
    } else {
        for (const Past& past : cell.read)
            if (races(past, now)) report_race(area, address, bytes, access, pc, past, READ);
        cell.written = now;
        cell.initialised |= now.bytes;
    }
}

static inline bool inside(const Area& area, uintptr_t address, size_t bytes) {
    return address >= area.begin && address + bytes <= area.end;
}

static Area* find(uintptr_t address, size_t bytes) {
    if (inside(checker->statics, address, bytes)) return checker->last = &checker->statics;
    if (inside(checker->dynamic, address, bytes)) return checker->last = &checker->dynamic;
    for (Area& array : checker->arrays)
        if (inside(array, address, bytes)) return checker->last = &array;
    return nullptr;
}

// Constants of the kernel's library, and threadIdx and its like.
static bool always_allowed(uintptr_t address, size_t bytes) {
    for (const Index3* index : {&threadIdx, &blockIdx, &blockDim, &gridDim})
        if (address - reinterpret_cast<uintptr_t>(index) < sizeof *index) return true;
    for (auto [begin, end] : checker->segments)
        if (address >= begin && address + bytes <= end) return true;
    return address == reinterpret_cast<uintptr_t>(&emu_lane);
}

void check_access(const void* pointer, size_t bytes, Access access, const void* pc) {
    if (worker) worker->caller = pc;
    if (!checker || bytes == 0) return;
    auto address = reinterpret_cast<uintptr_t>(pointer);
    Worker& w = *checker->w;
    if (address - reinterpret_cast<uintptr_t>(w.stack) < STACK_BYTES)
        return;  // its own local memory
    Area* area = inside(*checker->last, address, bytes) ? checker->last : find(address, bytes);
    if (!area) {
        if (always_allowed(address, bytes)) return;
        out_of_bounds(address, bytes, access, pc);
    }
    if (--w.patience == 0)
        mistake(ENDLESS, nullptr, pc, "goes on and on: it may wait for a thread that has no turn",
                0);
    Past now = {w.block_number + 1,
                static_cast<unsigned short>(w.current),
                w.epoch,
                w.warps[w.current / 32].epoch,
                15,
                access == ATOMIC,
                relative(pc)};
    uintptr_t first = address - area->begin, end = first + bytes;
    for (uintptr_t i = first / 4; i * 4 < end; i++) {
        uintptr_t low = std::max(first, i * 4) - i * 4, high = std::min(end, i * 4 + 4) - i * 4;
        now.bytes = uint8_t((1u << high) - (1u << low));
        check_cell(*area, area->cells[i], now, address, bytes, access, pc);
    }
}

// What the compiler calls

#define PC __builtin_return_address(0)
#define EXPORT extern "C" __attribute__((visibility("default")))
[[noreturn]] static void misaligned(uintptr_t address, size_t bytes, Access access,
                                    const Source* source, const void* pc) {
    Report* result = checker ? report(MISALIGNED, pc) : nullptr;
    if (result && source) {
        result->at.file = source->file;
        result->at.line = int(source->line);
    }
    const Area* area = checker ? find(address, 1) : nullptr;
    if (result) describe(result, area ? *area : Area{0, 0, nullptr, -2}, address, bytes, access);
    stop();
}
static void check_aligned(const void* p, size_t bytes, Access access, const void* pc) {
    auto address = reinterpret_cast<uintptr_t>(p);
    if (address % bytes) misaligned(address, bytes, access, nullptr, pc);
}
#define ON_ONE(name, bytes, access, check)      \
    EXPORT void __tsan_##name##bytes(void* p) { \
        check;                                  \
        check_access(p, bytes, access, PC);     \
    }
#define ON_ACCESS(bytes)                                                   \
    ON_ONE(read, bytes, READ, check_aligned(p, bytes, READ, PC))           \
    ON_ONE(write, bytes, WRITE, check_aligned(p, bytes, WRITE, PC))        \
    ON_ONE(volatile_read, bytes, READ, check_aligned(p, bytes, READ, PC))  \
    ON_ONE(volatile_write, bytes, WRITE, check_aligned(p, bytes, WRITE, PC)) \
    ON_ONE(unaligned_read, bytes, READ, )                                  \
    ON_ONE(unaligned_write, bytes, WRITE, )
ON_ACCESS(1)
ON_ACCESS(2)
ON_ACCESS(4)
ON_ACCESS(8)
ON_ACCESS(16)
EXPORT void __tsan_read_range(void* p, size_t bytes) { check_access(p, bytes, READ, PC); }
EXPORT void __tsan_write_range(void* p, size_t bytes) { check_access(p, bytes, WRITE, PC); }
EXPORT void* __tsan_memset(void* p, int value, size_t bytes) {
    check_access(p, bytes, WRITE, PC);
    return __builtin_memset(p, value, bytes);
}
EXPORT void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
    check_access(from, bytes, READ, PC);
    check_access(to, bytes, WRITE, PC);
    return __builtin_memcpy(to, from, bytes);
}
EXPORT void* __tsan_memmove(void* to, const void* from, size_t bytes) {
    check_access(from, bytes, READ, PC);
    check_access(to, bytes, WRITE, PC);
    return __builtin_memmove(to, from, bytes);
}
EXPORT void __tsan_init() {}
EXPORT void __tsan_func_entry(void*) {}
EXPORT void __tsan_func_exit() {}

EXPORT void __ubsan_handle_out_of_bounds(Source* source, uint64_t index) {
    mistake(OUT_OF_INDEX, source, PC, "takes element %lld, which the array does not have", index);
}
struct Mismatch {  // its data go on with the right alignment
    Source source;
    void* type;
    uint8_t log_alignment, use;  // 1: a store
};
EXPORT void __ubsan_handle_type_mismatch_v1(Mismatch* data, uint64_t pointer) {
    misaligned(pointer, size_t(1) << data->log_alignment, data->use == 1 ? WRITE : READ,
               &data->source, PC);
}
#define ON_OVERFLOW(name, text)                                   \
    EXPORT void __ubsan_handle_##name(Source* source, uint64_t) { \
        mistake(ARITHMETIC, source, PC, text, 0);                 \
    }
ON_OVERFLOW(add_overflow, "adds signed integers whose sum does not fit their type")
ON_OVERFLOW(sub_overflow, "subtracts signed integers whose difference does not fit their type")
ON_OVERFLOW(mul_overflow, "multiplies signed integers whose product does not fit their type")
ON_OVERFLOW(negate_overflow, "negates an integer that does not fit its type then")
ON_OVERFLOW(divrem_overflow, "divides an integer by zero, or the least one by -1")

// Atomics: CUDA's, here because their accesses are checked as atomic ones.

template <class T, class F>
static T update(T* address, F next, const void* pc) {
    check_access(address, sizeof(T), ATOMIC, pc);
    T before, after;
    __atomic_load(address, &before, __ATOMIC_RELAXED);
    do after = next(before);
    while (!__atomic_compare_exchange(address, &before, &after, false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED));
    return before;
}
#define ATOMIC_FUNCTION(type, name, next)                                   \
    type name(type* address, type value) {                                  \
        return update(address, [=](type old) -> type { return next; }, PC); \
    }
#define ATOMIC_FUNCTIONS(type)                                                              \
    ATOMIC_FUNCTION(type, atomicAdd, old + value)                                           \
    ATOMIC_FUNCTION(type, atomicSub, old - value)                                           \
    ATOMIC_FUNCTION(type, atomicMin, value < old ? value : old)                             \
    ATOMIC_FUNCTION(type, atomicMax, old < value ? value : old)                             \
    ATOMIC_FUNCTION(type, atomicAnd, old& value)                                            \
    ATOMIC_FUNCTION(type, atomicOr, old | value)                                            \
    ATOMIC_FUNCTION(type, atomicXor, old ^ value)                                           \
    ATOMIC_FUNCTION(type, atomicExch, ((void)old, value))                                   \
    type atomicCAS(type* address, type compare, type value) {                               \
        return update(address, [=](type old) { return old == compare ? value : old; }, PC); \
    }
ATOMIC_FUNCTIONS(int)
ATOMIC_FUNCTIONS(unsigned)
ATOMIC_FUNCTIONS(unsigned long long)
ATOMIC_FUNCTION(float, atomicAdd, old + value)
ATOMIC_FUNCTION(float, atomicExch, ((void)old, value))
ATOMIC_FUNCTION(double, atomicAdd, old + value)
ATOMIC_FUNCTION(unsigned, atomicInc, old >= value ? 0 : old + 1)
ATOMIC_FUNCTION(unsigned, atomicDec, old == 0 || old > value ? value : old - 1)
