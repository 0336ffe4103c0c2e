// Batch normalisation. M = N*S values stand in each channel, S = H*W being the places of a plane.
//
//     mean[c] = (sum over c of x) / M            var[c] = (sum over c of (x - mean[c])^2) / M
//     y = (x - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c]
//
// and with x_hat = (x - mean[c]) * inv_std[c], inv_std[c] = 1 / sqrt(var[c] + eps),
//
//     grad_b[c] = sum over c of grad_y           grad_w[c] = sum over c of grad_y * x_hat
//     grad_x = weight[c] * inv_std[c] * (grad_y - grad_b[c]/M - x_hat * grad_w[c]/M)
//
// Never by E[x^2] - E[x]^2, which is the difference of two large numbers where the mean is large
// against the deviation. Instead each set of values is described by its moments (n, mean, m2), m2
// being the sum of squared deviations from the set's own mean. A thread takes a few values into
// registers, and their moments in two passes there; two sets are merged by (Chan, Golub and
// LeVeque 1979)
//
//     delta = mean_b - mean_a       mean = mean_a + delta * n_b / n
//     n = n_a + n_b                 m2 = m2_a + m2_b + delta^2 * n_a * n_b / n
//
// in a tree of fixed order: over the thread's runs, the lanes of a warp, the warps of a block, and
// in a second kernel over the blocks of a channel. No atomics: the same input, the same bits.
//
// Index map. Block (s, c) = (blockIdx.y, blockIdx.x) of the reducing kernels takes the values
// s*chunk .. (s+1)*chunk - 1 of channel c, value m being x[n,c,place] with n = m / S and
// place = m % S; neighbouring threads take neighbouring values. Thread c of a combining kernel
// merges the parts of channel c. Thread e of an element-wise kernel does element e of x, whose
// channel is (e / S) % C.
//
// Bytes moved, in elements of x: forward reads x twice and writes y, 3 (the minimum, unless a
// channel fits in a multiprocessor); backward reads grad_y and x twice and writes grad_x, 5;
// inference 2.

#include "common.cuh"

// PLACES, from the command line, is S.
constexpr int THREADS = 256;
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

template <int LANES>
__device__ inline Moments merged_over_lanes(Moments mine) {
    int lane = threadIdx.x % WARP;
    for (int offset = 1; offset < LANES; offset *= 2) {
        Moments other = {__shfl_xor_sync(ALL_LANES, mine.n, offset),
                         __shfl_xor_sync(ALL_LANES, mine.mean, offset),
                         __shfl_xor_sync(ALL_LANES, mine.m2, offset)};
        // The lower lane first, in both: merging is not symmetric to the last bit.
        mine = lane & offset ? merged(other, mine) : merged(mine, other);
    }
    return mine;
}

__device__ inline Moments merged_over_block(Moments mine) {
    constexpr int WARPS = THREADS / WARP;
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

// Where value m of channel c lies.
__device__ inline unsigned place_of(unsigned m, unsigned c, unsigned channels) {
    return (m / PLACES * channels + c) * PLACES + m % PLACES;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm_moments(const scalar* __restrict__ x, scalar* __restrict__ means,
                       scalar* __restrict__ m2s, unsigned values, unsigned channels,
                       unsigned chunk) {
    unsigned c = blockIdx.x, split = blockIdx.y;
    unsigned stop = min(values, (split + 1) * chunk);
    Moments mine = {0, 0, 0};
    for (unsigned start = split * chunk; start < stop; start += THREADS * RUN) {
        scalar value[RUN];
        scalar sum = 0, m2 = 0;
        int n = 0;
        for (int r = 0; r < RUN; ++r) {
            unsigned m = start + r * THREADS + threadIdx.x;
            value[r] = m < stop ? x[place_of(m, c, channels)] : scalar(0);
            sum += value[r];
            n += m < stop;
        }
        if (n == 0) continue;
        scalar mean = sum / scalar(n);
        for (int r = 0; r < RUN; ++r)
            if (r < n) m2 += (value[r] - mean) * (value[r] - mean);
        mine = merged(mine, {scalar(n), mean, m2});
    }
    mine = merged_over_block(mine);
    if (threadIdx.x == 0) {
        means[c * gridDim.y + split] = mine.mean;
        m2s[c * gridDim.y + split] = mine.m2;
    }
}

extern "C" __global__ void batch_norm_combine_moments(const scalar* __restrict__ means,
                                                      const scalar* __restrict__ m2s,
                                                      scalar* __restrict__ mean,
                                                      scalar* __restrict__ var, unsigned values,
                                                      unsigned channels, unsigned chunk,
                                                      unsigned splits) {
    unsigned c = thread_number();
    if (c >= channels) return;
    Moments all = {0, 0, 0};
    for (unsigned s = 0; s < splits; ++s) {
        unsigned n = min(values, (s + 1) * chunk) - s * chunk;
        all = merged(all, {scalar(n), means[c * splits + s], m2s[c * splits + s]});
    }
    mean[c] = all.mean;
    var[c] = all.m2 / scalar(values);
}

extern "C" __global__ void batch_norm_apply(const scalar* __restrict__ x,
                                            const scalar* __restrict__ OPTIONAL weight,
                                            const scalar* __restrict__ OPTIONAL bias,
                                            const scalar* __restrict__ mean,
                                            const scalar* __restrict__ var, double eps,
                                            scalar* __restrict__ y, unsigned channels,
                                            unsigned count) {
    unsigned e = thread_number();
    if (e >= count) return;
    unsigned c = e / PLACES % channels;
    scalar scale = scalar(1) / sqrt(var[c] + scalar(eps));
    if (weight) scale *= weight[c];
    y[e] = (x[e] - mean[c]) * scale + (bias ? bias[c] : scalar(0));
}

extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm_sums(const scalar* __restrict__ grad_y, const scalar* __restrict__ x,
                    const scalar* __restrict__ mean, const scalar* __restrict__ inv_std,
                    scalar* __restrict__ grad_ws, scalar* __restrict__ grad_bs, unsigned values,
                    unsigned channels, unsigned chunk) {
    unsigned c = blockIdx.x, split = blockIdx.y;
    unsigned stop = min(values, (split + 1) * chunk);
    scalar grad_w = 0, grad_b = 0;
    for (unsigned m = split * chunk + threadIdx.x; m < stop; m += THREADS) {
        unsigned e = place_of(m, c, channels);
        scalar x_hat = (x[e] - mean[c]) * inv_std[c];
        grad_w += grad_y[e] * x_hat;
        grad_b += grad_y[e];
    }
    grad_w = over_block<Sum, THREADS>(grad_w);
    grad_b = over_block<Sum, THREADS>(grad_b);
    if (threadIdx.x == 0) {
        grad_ws[c * gridDim.y + split] = grad_w;
        grad_bs[c * gridDim.y + split] = grad_b;
    }
}

extern "C" __global__ void batch_norm_combine_sums(const scalar* __restrict__ grad_ws,
                                                   const scalar* __restrict__ grad_bs,
                                                   scalar* __restrict__ grad_w,
                                                   scalar* __restrict__ grad_b, unsigned channels,
                                                   unsigned splits) {
    unsigned c = thread_number();
    if (c >= channels) return;
    scalar w = 0, b = 0;
    for (unsigned s = 0; s < splits; ++s) {
        w += grad_ws[c * splits + s];
        b += grad_bs[c * splits + s];
    }
    grad_w[c] = w;
    grad_b[c] = b;
}

extern "C" __global__ void batch_norm_grad_input(
    const scalar* __restrict__ grad_y, const scalar* __restrict__ x,
    const scalar* __restrict__ OPTIONAL weight, const scalar* __restrict__ mean,
    const scalar* __restrict__ inv_std, const scalar* __restrict__ grad_w,
    const scalar* __restrict__ grad_b, scalar* __restrict__ grad_x, unsigned values,
    unsigned channels, unsigned count) {
    unsigned e = thread_number();
    if (e >= count) return;
    unsigned c = e / PLACES % channels;
    scalar x_hat = (x[e] - mean[c]) * inv_std[c];
    scalar scale = weight ? weight[c] * inv_std[c] : inv_std[c];
    scalar through_statistics = (grad_b[c] + x_hat * grad_w[c]) / scalar(values);
    grad_x[e] = scale * (grad_y[e] - through_statistics);
}
