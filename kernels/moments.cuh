// Mean and variance of many values. Never by E[x^2] - E[x]^2, which is the difference of two large
// numbers where the mean is large against the deviation.
//
// Each set of values is described by its moments (n, mean, m2), m2 being the sum of squared
// deviations from the set's own mean. A thread takes a few values into registers, and their moments
// in two passes there; two sets are merged by (Chan, Golub and LeVeque 1979)
//
//     delta = mean_b - mean_a       mean = mean_a + delta * n_b / n
//     n = n_a + n_b                 m2 = m2_a + m2_b + delta^2 * n_a * n_b / n
//
// in a tree of fixed order: over the thread's runs, the lanes of a warp, the warps of a block.

#pragma once

#include "common.cuh"

constexpr int RUN = 8;  // values that a thread holds in registers

struct Moments {
    scalar n, mean, m2;
};

__device__ inline Moments merged(Moments a, Moments b) {
    scalar n = a.n + b.n;
    if (n == 0) return a;
    scalar delta = b.mean - a.mean, part = b.n / n;
    return {n, a.mean + delta * part, a.m2 + b.m2 + delta * delta * a.n * part};
}

// The moments of read(m) for m = first, first + step, ... below stop.
template <class Read>
__device__ inline Moments moments_of(Read read, unsigned first, unsigned step, unsigned stop) {
    Moments mine = {0, 0, 0};
    for (; first < stop; first += step * RUN) {
        scalar value[RUN];
        scalar sum = 0, m2 = 0;
        int n = 0;
        for (int r = 0; r < RUN; ++r) {
            unsigned m = first + r * step;
            value[r] = m < stop ? read(m) : scalar(0);
            sum += value[r];
            n += m < stop;
        }
        scalar mean = sum / scalar(n);
        for (int r = 0; r < RUN; ++r)
            if (r < n) m2 += (value[r] - mean) * (value[r] - mean);
        mine = merged(mine, {scalar(n), mean, m2});
    }
    return mine;
}

template <int LANES>
__device__ inline Moments merged_over_lanes(Moments mine) {
    for (int offset = 1; offset < LANES; offset *= 2) {
        Moments other = {__shfl_xor_sync(ALL_LANES, mine.n, offset),
                         __shfl_xor_sync(ALL_LANES, mine.mean, offset),
                         __shfl_xor_sync(ALL_LANES, mine.m2, offset)};
        // The lower lane first, in both: merging is not symmetric to the last bit.
        mine = threadIdx.x & offset ? merged(other, mine) : merged(mine, other);
    }
    return mine;
}

// Of COUNT neighbouring threads: at most a warp's, or a whole block.
template <int COUNT>
__device__ inline Moments merged_over(Moments mine) {
    if constexpr (COUNT <= WARP) {
        return merged_over_lanes<COUNT>(mine);
    } else {
        constexpr int WARPS = COUNT / WARP;
        __shared__ scalar n[WARPS], mean[WARPS], m2[WARPS];
        mine = merged_over_lanes<WARP>(mine);
        int warp = threadIdx.x / WARP;
        if (threadIdx.x % WARP == 0) {
            n[warp] = mine.n;
            mean[warp] = mine.mean;
            m2[warp] = mine.m2;
        }
        __syncthreads();
        int from = threadIdx.x % WARPS;
        return merged_over_lanes<WARPS>({n[from], mean[from], m2[from]});
    }
}
