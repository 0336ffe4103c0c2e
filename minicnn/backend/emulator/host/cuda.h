// What a .cu file sees when g++ or clang++ compiles it: the part of CUDA C++ that kernels use.
//
// It is included before the first line of the file, which itself stays as nvcc takes it. A kernel
// becomes an ordinary function that runs once for each thread of the grid, and the built-in
// variables become thread-local ones that the emulator sets before a thread goes on. Whatever makes
// threads wait for each other is a function of the emulator (runtime.h).
//
//   __shared__ float tile[32];           thread_local: the blocks that run at the same time run in
//                                        different threads of the operating system, and all the
//                                        threads of a block run in the same one
//   extern __shared__ char memory[];     memory that the launch asks for; the build defines it
//   threadIdx, blockIdx, ...             constants: they never change in the life of a CUDA thread
#pragma once

#include <cmath>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>

#define __global__ __attribute__((noinline))
#define __device__
#define __host__
#define __constant__ static
#define __shared__ thread_local
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __grid_constant__
#define CUDART_INF_F __builtin_inff()
#define CUDART_INF __builtin_inf()
#define CUDART_NAN_F __builtin_nanf("")
#define CUDART_NAN __builtin_nan("")

// Vector types. A float4 is one access of 16 bytes, and must lie at a multiple of 16.

#define EMU_VECTORS(type, name, align2, align4)                                      \
    struct name##1 { type x; };                                                      \
    struct __align__(align2) name##2 { type x, y; };                                 \
    struct name##3 { type x, y, z; };                                                \
    struct __align__(align4) name##4 { type x, y, z, w; };                           \
    inline name##1 make_##name##1(type x) { return {x}; }                            \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }                 \
    inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }      \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
EMU_VECTORS(float, float, 8, 16)
EMU_VECTORS(double, double, 16, 16)
EMU_VECTORS(int, int, 8, 16)
EMU_VECTORS(unsigned, uint, 8, 16)
EMU_VECTORS(signed char, char, 2, 4)
EMU_VECTORS(unsigned char, uchar, 2, 4)
EMU_VECTORS(short, short, 4, 8)
EMU_VECTORS(unsigned short, ushort, 4, 8)
EMU_VECTORS(long long, longlong, 16, 16)
#undef EMU_VECTORS

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// The runtime's side (runtime.h defines these names without const: there they do change). Its
// library is loaded before any kernel's, so a fixed distance from the thread pointer finds them.

#define EMU_BUILT_IN __thread const __attribute__((tls_model("initial-exec")))
extern "C" {
extern EMU_BUILT_IN uint3 threadIdx;
extern EMU_BUILT_IN uint3 blockIdx;
extern EMU_BUILT_IN uint3 blockDim;
extern EMU_BUILT_IN uint3 gridDim;
extern EMU_BUILT_IN unsigned emu_lane;
}
#undef EMU_BUILT_IN
constexpr int warpSize = 32;

// The line of the .cu file that makes a call, as a default argument sees it.
struct EmuPlace {
    const char* file;
    int line;
};
#define EMU_HERE EmuPlace at = {__builtin_FILE(), __builtin_LINE()}

extern "C" {
int emu_barrier(int predicate, EmuPlace at);
unsigned emu_ballot(unsigned mask, int predicate, EmuPlace at);
unsigned long long emu_shuffle(unsigned mask, unsigned long long value, int source, EmuPlace at);
void emu_syncwarp(unsigned mask, EmuPlace at);
void emu_fence();
[[noreturn]] void emu_fail(const char* message, EmuPlace at);
}

// Barriers. Every thread of the block must come to the same one.

inline void __syncthreads(EMU_HERE) { emu_barrier(0, at); }
inline int __syncthreads_count(int predicate, EMU_HERE) { return emu_barrier(predicate, at); }
inline int __syncthreads_or(int predicate, EMU_HERE) { return emu_barrier(predicate, at) != 0; }
inline int __syncthreads_and(int predicate, EMU_HERE) { return emu_barrier(!predicate, at) == 0; }
inline void __syncwarp(unsigned mask = 0xffffffffu, EMU_HERE) { emu_syncwarp(mask, at); }
inline void __threadfence() { emu_fence(); }
inline void __threadfence_block() {}
inline void __threadfence_system() { emu_fence(); }
#define __trap() emu_fail("__trap()", EmuPlace{__FILE__, __LINE__})
#define assert(condition) \
    ((condition) ? (void)0 : emu_fail("assert(" #condition ")", EmuPlace{__FILE__, __LINE__}))

// Warps. Every lane of the mask must come to the same line, with the same mask.

inline unsigned __ballot_sync(unsigned mask, int p, EMU_HERE) { return emu_ballot(mask, p, at); }
inline int __any_sync(unsigned mask, int p, EMU_HERE) { return emu_ballot(mask, p, at) != 0; }
inline int __all_sync(unsigned mask, int p, EMU_HERE) { return emu_ballot(mask, !p, at) == 0; }

template <class T>
T emu_from_lane(unsigned mask, T value, int source, EmuPlace at) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    unsigned long long bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    bits = emu_shuffle(mask, bits, source, at);
    __builtin_memcpy(&value, &bits, sizeof(T));
    return value;
}

// A warp is cut into segments of `width` lanes; a source outside the own segment gives the own
// value.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, EMU_HERE) {
    int first = emu_lane & ~(width - 1);
    return emu_from_lane(mask, value, first + (source & (width - 1)), at);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, EMU_HERE) {
    unsigned first = emu_lane & ~(width - 1);
    return emu_from_lane(mask, value, emu_lane - first < delta ? emu_lane : emu_lane - delta, at);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, EMU_HERE) {
    unsigned end = (emu_lane & ~(width - 1)) + width;
    return emu_from_lane(mask, value, emu_lane + delta >= end ? emu_lane : emu_lane + delta, at);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = warpSize, EMU_HERE) {
    unsigned end = (emu_lane & ~(width - 1)) + width, source = emu_lane ^ lanes;
    return emu_from_lane(mask, value, source >= end ? emu_lane : source, at);
}

// Atomics: functions of the runtime, one for each type.

#define EMU_ATOMIC(type, name) extern "C++" type name(type* address, type value);
#define EMU_ATOMICS(type)          \
    EMU_ATOMIC(type, atomicAdd)    \
    EMU_ATOMIC(type, atomicSub)    \
    EMU_ATOMIC(type, atomicMin)    \
    EMU_ATOMIC(type, atomicMax)    \
    EMU_ATOMIC(type, atomicAnd)    \
    EMU_ATOMIC(type, atomicOr)     \
    EMU_ATOMIC(type, atomicXor)    \
    EMU_ATOMIC(type, atomicExch)   \
    type atomicCAS(type* address, type compare, type value);
EMU_ATOMICS(int)
EMU_ATOMICS(unsigned)
EMU_ATOMICS(unsigned long long)
EMU_ATOMIC(float, atomicAdd)
EMU_ATOMIC(float, atomicExch)
EMU_ATOMIC(double, atomicAdd)
EMU_ATOMIC(unsigned, atomicInc)
EMU_ATOMIC(unsigned, atomicDec)
#undef EMU_ATOMIC
#undef EMU_ATOMICS

// Loads with a hint about the cache.

template <class T> T __ldg(const T* address) { return *address; }
template <class T> T __ldcs(const T* address) { return *address; }
template <class T> T __ldcg(const T* address) { return *address; }
template <class T> T __ldca(const T* address) { return *address; }
template <class T> void __stcs(T* address, T value) { *address = value; }
template <class T> void __stcg(T* address, T value) { *address = value; }

// Bits

template <class To, class From>
To emu_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    __builtin_memcpy(&to, &from, sizeof(To));
    return to;
}
inline int __float_as_int(float x) { return emu_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return emu_bits<unsigned>(x); }
inline float __int_as_float(int x) { return emu_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return emu_bits<float>(x); }
inline long long __double_as_longlong(double x) { return emu_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emu_bits<double>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __mulhi(int a, int b) { return int((long long)a * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) {
    return unsigned((unsigned long long)a * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

// Mathematics. <cmath> has the functions of C; here are CUDA's own. The fast variants (__expf) are
// the exact functions: their rounding differs from a GPU's, as that of any other library does.

#define EMU_MIN_MAX(type)                                        \
    constexpr type min(type a, type b) { return b < a ? b : a; } \
    constexpr type max(type a, type b) { return a < b ? b : a; }
EMU_MIN_MAX(int)
EMU_MIN_MAX(unsigned)
EMU_MIN_MAX(long)
EMU_MIN_MAX(unsigned long)
EMU_MIN_MAX(long long)
EMU_MIN_MAX(unsigned long long)
#undef EMU_MIN_MAX
constexpr unsigned min(int a, unsigned b) { return min(unsigned(a), b); }
constexpr unsigned min(unsigned a, int b) { return min(a, unsigned(b)); }
constexpr unsigned max(int a, unsigned b) { return max(unsigned(a), b); }
constexpr unsigned max(unsigned a, int b) { return max(a, unsigned(b)); }
inline float min(float a, float b) { return fminf(a, b); }  // of a number and NaN, the number
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
using std::abs, std::isfinite, std::isinf, std::isnan, std::signbit;
using std::ceil, std::cos, std::erf, std::erfc, std::exp, std::expm1, std::fabs, std::floor;
using std::fma, std::fmod, std::log, std::log1p, std::log2, std::pow, std::rint, std::round;
using std::sin, std::sqrt, std::tanh, std::trunc;
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline double __fma_rn(double x, double y, double z) { return fma(x, y, z); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline int __float2int_rn(float x) { return int(rintf(x)); }
inline int __float2int_rd(float x) { return int(floorf(x)); }
inline float __int2float_rn(int x) { return float(x); }
inline float __uint2float_rn(unsigned x) { return float(x); }

// How the launcher calls a kernel: args[i] points to a copy of argument i, and `describe` says what
// it is taken for, one word an argument: "*f i" is (float*, int).

template <class T> struct EmuType { static constexpr const char* code = "_"; };
#define EMU_TYPE(type, letter) \
    template <> struct EmuType<type> { static constexpr const char* code = letter; };
EMU_TYPE(bool, "?") EMU_TYPE(char, "b") EMU_TYPE(signed char, "b") EMU_TYPE(unsigned char, "B")
EMU_TYPE(short, "h") EMU_TYPE(unsigned short, "H") EMU_TYPE(int, "i") EMU_TYPE(unsigned, "I")
EMU_TYPE(long, "q") EMU_TYPE(unsigned long, "Q") EMU_TYPE(long long, "q")
EMU_TYPE(unsigned long long, "Q") EMU_TYPE(float, "f") EMU_TYPE(double, "d") EMU_TYPE(void, "v")
EMU_TYPE(float2, "f") EMU_TYPE(float4, "f") EMU_TYPE(double2, "d") EMU_TYPE(int4, "i")
#undef EMU_TYPE
template <class T> struct EmuArgument {
    static void describe(char*& out) { out += sprintf(out, "%s", EmuType<T>::code); }
};
template <class T> struct EmuArgument<T*> {
    static void describe(char*& out) {
        *out++ = '*';
        EmuArgument<std::remove_cv_t<T>>::describe(out);
    }
};

template <auto kernel> struct EmuKernel;
template <class... A, void (*kernel)(A...)>
struct EmuKernel<kernel> {
    template <size_t... i>
    __attribute__((no_sanitize("thread"))) static void call(void** args,
                                                            std::index_sequence<i...>) {
        kernel(*static_cast<std::remove_cv_t<A>*>(args[i])...);
    }
    static void call(void** args) { call(args, std::index_sequence_for<A...>()); }
    static void describe(char* out) {
        ((EmuArgument<std::remove_cv_t<A>>::describe(out), *out++ = ' '), ...);
        *out = 0;
    }
};
