// Group normalisation, and with it layer and instance normalisation. x is (N,C,*), S places in *;
// each sample's channels are cut into G groups, and the M = C/G*S values of one group, channels and
// places, are a set that is normalised by itself. Layer norm of rows (N,M) is G = 1, S = 1, C = M:
// each column has a weight of its own. Instance norm is G = C.
//
//     mean[n,g] = (sum over the set of x) / M
//     var[n,g] = (sum over the set of (x - mean[n,g])^2) / M
//     y = (x - mean[n,g]) / sqrt(var[n,g] + eps) * weight[c] + bias[c]
//
// and with x_hat = (x - mean[n,g]) * inv_std[n,g], inv_std[n,g] = 1 / sqrt(var[n,g] + eps),
//
//     group_norm_grad_input     u = weight[c] * grad_y
//                               grad_x = inv_std[n,g] * (u - (sum over the set of u) / M
//                                                        - x_hat * (sum of u * x_hat) / M)
//     group_norm_grad_affine    grad_w[c] = sum over n and places of grad_y * x_hat
//                               grad_b[c] = sum over n and places of grad_y
//
// The statistics come as moments.cuh says. No atomics: the same input, the same bits.
//
// Index map. Forward and grad_input: a set lies in one piece, value m of set r = n*G + g being
// element number r*M + m, of channel g*C/G + m/S. PER_SET neighbouring threads, a warp or a block,
// share a set, and each takes every PER_SET-th value. grad_affine: block (blockIdx.x, blockIdx.y)
// takes the channels from blockIdx.x*COLUMNS, and of the N*S values of each those from
// blockIdx.y*chunk; thread (ty, tx), tx < COLUMNS, of it takes every 256/COLUMNS-th of channel tx.
// COLUMNS is 1, and neighbouring threads have neighbouring places; or 32, where a channel has a few
// places only, and they have neighbouring channels. parts.cu adds the blocks' parts, in order.
//
// Bytes moved, in elements of x: forward reads x twice and writes y, 3, grad_input reads grad_y and
// x twice and writes grad_x, 5: 2 and 3, the minimum, where a set stays in the cache. grad_affine
// reads both once, the minimum.

#include "moments.cuh"

// From the command line: PLACES = S, GROUPS = G, GROUP_C = C/G, PER_SET, COLUMNS.
constexpr int THREADS = 256;
// Blocks at a time on a multiprocessor: in double these, as some kernels would spill for more; in
// float as ptxas likes, which fills it.
constexpr int RESIDENT = sizeof(scalar) == 8 ? 4 : 0;
constexpr unsigned MEMBERS = unsigned(GROUP_C) * PLACES;  // M
constexpr unsigned CHANNELS = unsigned(GROUPS) * GROUP_C;

// The set of this thread. Threads beyond the last one go along with it and write nothing.
struct Set {
    unsigned number, first, lane;
    bool exists;

    __device__ explicit Set(unsigned sets) {
        // Not by a thread's number, which may be beyond 32 bits.
        number = blockIdx.x * (THREADS / PER_SET) + threadIdx.x / PER_SET;
        exists = number < sets;
        if (!exists) number = sets - 1;
        first = number * MEMBERS;
        lane = threadIdx.x % PER_SET;
    }
    __device__ unsigned channel(unsigned m) const {
        return number % GROUPS * GROUP_C + m / PLACES;
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    group_norm_forward(const scalar* __restrict__ x, const scalar* __restrict__ OPTIONAL weight,
                       const scalar* __restrict__ OPTIONAL bias, double eps,
                       scalar* __restrict__ y, scalar* __restrict__ mean,
                       scalar* __restrict__ var, unsigned sets) {
    Set set(sets);
    const scalar* values = x + set.first;
    auto value = [values](unsigned m) { return values[m]; };
    Moments all = merged_over<PER_SET>(moments_of(value, set.lane, PER_SET, MEMBERS));
    if (!set.exists) return;
    scalar variance = all.m2 / scalar(MEMBERS);
    scalar inv_std = scalar(1) / sqrt(variance + scalar(eps));
    for (unsigned m = set.lane; m < MEMBERS; m += PER_SET) {
        unsigned c = set.channel(m);
        scalar scale = weight ? inv_std * weight[c] : inv_std;
        y[set.first + m] = (values[m] - all.mean) * scale + (bias ? bias[c] : scalar(0));
    }
    if (set.lane != 0) return;
    mean[set.number] = all.mean;
    var[set.number] = variance;
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    group_norm_grad_input(const scalar* __restrict__ grad_y, const scalar* __restrict__ x,
                          const scalar* __restrict__ OPTIONAL weight,
                          const scalar* __restrict__ mean, const scalar* __restrict__ inv_std,
                          scalar* __restrict__ grad_x, unsigned sets) {
    Set set(sets);
    scalar center = mean[set.number], r = inv_std[set.number];
    scalar sum_u = 0, sum_u_x_hat = 0;
    for (unsigned m = set.lane; m < MEMBERS; m += PER_SET) {
        scalar u = grad_y[set.first + m];
        if (weight) u *= weight[set.channel(m)];
        sum_u += u;
        sum_u_x_hat += u * (x[set.first + m] - center) * r;
    }
    sum_u = over<Sum, PER_SET>(sum_u);
    sum_u_x_hat = over<Sum, PER_SET>(sum_u_x_hat);
    if (!set.exists) return;
    for (unsigned m = set.lane; m < MEMBERS; m += PER_SET) {
        scalar u = grad_y[set.first + m];
        if (weight) u *= weight[set.channel(m)];
        scalar x_hat = (x[set.first + m] - center) * r;
        grad_x[set.first + m] = r * (u - (sum_u + x_hat * sum_u_x_hat) / scalar(MEMBERS));
    }
}

// The sum over the threads with this thread's tx, for those with ty = 0.
template <int COUNT>
__device__ inline scalar over_column(scalar value) {
    if constexpr (COUNT == 1) {
        return over_block<Sum, THREADS>(value);
    } else {
        constexpr int ROWS = THREADS / COUNT;
        __shared__ scalar of_row[ROWS][COUNT];
        int tx = threadIdx.x % COUNT;
        of_row[threadIdx.x / COUNT][tx] = value;
        __syncthreads();
        scalar sum = 0;
        for (int row = 0; row < ROWS; ++row) sum += of_row[row][tx];
        __syncthreads();  // before the next call writes
        return sum;
    }
}

// parts[split] holds the grad_w and the grad_b of the values from split*chunk.
extern "C" __global__ void __launch_bounds__(THREADS)
    group_norm_grad_affine(const scalar* __restrict__ grad_y, const scalar* __restrict__ x,
                           const scalar* __restrict__ mean, const scalar* __restrict__ inv_std,
                           scalar* __restrict__ parts, unsigned values, unsigned chunk) {
    unsigned c = blockIdx.x * COLUMNS + threadIdx.x % COLUMNS, split = blockIdx.y;
    unsigned stop = c < CHANNELS ? min(values, (split + 1) * chunk) : 0;
    scalar grad_w = 0, grad_b = 0;
    for (unsigned v = split * chunk + threadIdx.x / COLUMNS; v < stop; v += THREADS / COLUMNS) {
        unsigned n = v / PLACES, set = n * GROUPS + c / GROUP_C;
        unsigned e = (n * CHANNELS + c) * PLACES + v % PLACES;
        scalar x_hat = (x[e] - mean[set]) * inv_std[set];
        grad_w += grad_y[e] * x_hat;
        grad_b += grad_y[e];
    }
    grad_w = over_column<COLUMNS>(grad_w);
    grad_b = over_column<COLUMNS>(grad_b);
    if (threadIdx.x / COLUMNS != 0 || c >= CHANNELS) return;
    parts[split * 2 * CHANNELS + c] = grad_w;
    parts[(split * 2 + 1) * CHANNELS + c] = grad_b;
}
