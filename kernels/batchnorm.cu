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
// The statistics come as moments.cuh says, and those of a channel's chunks are merged by a second
// kernel. No atomics: the same input, the same bits.
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

#include "moments.cuh"

// PLACES, from the command line, is S.
constexpr int THREADS = 256;

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
    auto value = [=](unsigned m) { return x[place_of(m, c, channels)]; };
    unsigned first = split * chunk + threadIdx.x;
    Moments all = merged_over<THREADS>(moments_of(value, first, THREADS, stop));
    if (threadIdx.x == 0) {
        means[c * gridDim.y + split] = all.mean;
        m2s[c * gridDim.y + split] = all.m2;
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
