// Dropout with a mask that is computed, not stored.
//
//     y[e] = m[e] * x[e] / (1 - p)        m[e] = 1 if word(key, e) >= round(p * 2^32), else 0
//
// word(key, e) is word e % 8 of block e // 8 of Philox 4x64-10, counter (e // 8, 0, 0, 0), key
// (key, 1) (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): the same bits
// as minicnn/backend/reference.py has. The backward launches the same kernel on grad_y.
//
// Index map. A thread computes one Philox block, the fate of 8 elements, so a block of 256 threads
// decides on 2048 neighbouring elements, and leaves the 8 bits in shared memory. Then the threads
// change places: in turn r thread t does element r*256 + t of the 2048, so that neighbours read and
// write side by side. dropout_mask writes m itself, for masks that are broadcast.
//
// Bytes moved, in elements: x read, y written, 2, the minimum; the mask costs none.

#include "common.cuh"

using word64 = unsigned long long;

constexpr int THREADS = 256;
constexpr int WORDS = 8;  // of 32 bits, in a Philox block
constexpr int TILE = THREADS * WORDS;

constexpr word64 M0 = 0xD2E7470EE14C6C93ull, M1 = 0xCA5A826395121157ull;
constexpr word64 W0 = 0x9E3779B97F4A7C15ull, W1 = 0xBB67AE8584CAA73Bull;

// Bit i tells whether the element that word i of the block decides on is kept.
__device__ inline unsigned kept_by_block(word64 block, word64 key, word64 threshold) {
    word64 c0 = block, c1 = 0, c2 = 0, c3 = 0, k0 = key, k1 = 1;
    for (int round = 0; round < 10; ++round) {
        word64 low0 = M0 * c0, high0 = __umul64hi(M0, c0);
        word64 low1 = M1 * c2, high1 = __umul64hi(M1, c2);
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += W0;
        k1 += W1;
    }
    word64 numbers[4] = {c0, c1, c2, c3};
    unsigned bits = 0;
    for (int i = 0; i < WORDS; ++i) {
        word64 word = i % 2 ? numbers[i / 2] >> 32 : numbers[i / 2] & 0xffffffffu;
        bits |= unsigned(word >= threshold) << i;
    }
    return bits;
}

// Leaves this block's mask in shared memory, one byte for each Philox block.
__device__ inline void make_mask(unsigned char* kept, word64 key, word64 threshold) {
    word64 block = (word64)blockIdx.x * THREADS + threadIdx.x;
    kept[threadIdx.x] = (unsigned char)kept_by_block(block, key, threshold);
    __syncthreads();
}

__device__ inline scalar mask_of(const unsigned char* kept, int e) {
    return scalar(kept[e / WORDS] >> (e % WORDS) & 1);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    dropout(const scalar* __restrict__ x, scalar* __restrict__ y, unsigned long long key,
            unsigned long long threshold, double scale, unsigned count) {
    __shared__ unsigned char kept[THREADS];
    make_mask(kept, key, threshold);
    for (int turn = 0; turn < WORDS; ++turn) {
        int in_tile = turn * THREADS + threadIdx.x;
        unsigned e = blockIdx.x * TILE + in_tile;
        // Two products, as in backend/cpu: a dropped inf is NaN in both.
        if (e < count) y[e] = x[e] * mask_of(kept, in_tile) * scalar(scale);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    dropout_mask(scalar* __restrict__ mask, unsigned long long key,
                 unsigned long long threshold, unsigned count) {
    __shared__ unsigned char kept[THREADS];
    make_mask(kept, key, threshold);
    for (int turn = 0; turn < WORDS; ++turn) {
        int in_tile = turn * THREADS + threadIdx.x;
        unsigned e = blockIdx.x * TILE + in_tile;
        if (e < count) mask[e] = mask_of(kept, in_tile);
    }
}
