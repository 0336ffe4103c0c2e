// What every kernel file includes: the number type, the count of threads, reductions over a block.
//
// Constants come from the command line, -DSCALAR=float and so on: a file compiles for one dtype and
// one geometry at a time, and what is known then costs no register and no division at run time.
// Their names are long, because a macro of one letter would spoil the system's own headers.
//
// Index arithmetic is in 32 bits. The launcher refuses arrays of 2^31 or more elements, so that the
// number of a thread fits an unsigned wherever there is a thread for each element.

#pragma once

using scalar = SCALAR;  // float or double: what the arrays hold and what sums are taken in

// Marks a pointer that may be null. It means something to the launcher, nothing to the compiler.
#define OPTIONAL

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

// The number of this thread in a launch over one axis.
__device__ inline unsigned thread_number() { return blockIdx.x * blockDim.x + threadIdx.x; }

// Takes the last digit, in the given base, off a number: the way from an element's number to its
// indices, last index first. The base is a constant, so the compiler multiplies and shifts.
__device__ inline int take(unsigned& number, unsigned base) {
    unsigned digit = number % base;
    number /= base;
    return int(digit);
}

struct Sum {
    static __device__ scalar of(scalar a, scalar b) { return a + b; }
};

struct Max {
    static __device__ scalar of(scalar a, scalar b) { return fmax(a, b); }  // NaN loses
};

// The values of LANES neighbouring lanes of a warp (a power of two, at most 32), combined two and
// two in a fixed order. All 32 lanes must call it, and every lane gets its group's result.
template <class Op, int LANES>
__device__ inline scalar over_lanes(scalar value) {
    for (int offset = LANES / 2; offset > 0; offset /= 2)
        value = Op::of(value, __shfl_xor_sync(ALL_LANES, value, offset));
    return value;
}

// The values of a block of THREADS threads (a power of two, 32 to 1024), combined in a fixed order:
// within the warps, then over them. Every thread of the block must call it, and every thread gets
// the result. No atomics: the same input gives the same bits each time.
template <class Op, int THREADS>
__device__ inline scalar over_block(scalar value) {
    constexpr int WARPS = THREADS / WARP;
    __shared__ scalar of_warp[WARPS];
    value = over_lanes<Op, WARP>(value);
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = value;
    __syncthreads();
    value = over_lanes<Op, WARPS>(of_warp[threadIdx.x % WARPS]);
    __syncthreads();  // nobody may write of_warp for the next call while a warp still reads it
    return value;
}

// Over COUNT neighbouring threads: at most a warp's, or a whole block.
template <class Op, int COUNT>
__device__ inline scalar over(scalar value) {
    if constexpr (COUNT <= WARP)
        return over_lanes<Op, COUNT>(value);
    else
        return over_block<Op, COUNT>(value);
}
