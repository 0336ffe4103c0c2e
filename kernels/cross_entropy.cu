// Cross-entropy between softmax(x) and labels: the loss of each sample, and its gradient by x.
//
// x is (N,C,*): N times the places of * are the samples n. With label t[n], class weights w (1
// where there are none), label smoothing s, and the gradient g[n] that reaches loss[n]:
//
//     m[n] = max over c of x[n,c]                total[n] = sum over c of exp(x[n,c] - m[n])
//     p[n,c] = exp(x[n,c] - m[n]) / total[n]
//     q[n,c] = (1 - s) * (c = t[n]) + s / C      Q[n,c] = w[c] * q[n,c]
//
//     cross_entropy_forward     loss[n] = -sum over c of Q[n,c] * log p[n,c]
//     cross_entropy_backward    grad_x[n,c] = g[n] * (p[n,c] * (sum over d of Q[n,d]) - Q[n,c])
//
// where a sample with t[n] = ignore_index has loss and gradient 0. A line of x with inf, or with
// nothing but -inf, is NaN. A label that is no class makes its loss NaN and reads nothing.
//
// Forward goes over x once, with the maximum so far: when a larger one comes, the sum so far is
// multiplied by exp(old - new), and two parts (m_a, total_a) and (m_b, total_b) of a line have
// together m = max(m_a, m_b) and total = total_a * exp(m_a - m) + total_b * exp(m_b - m) (Milakov
// and Gimelshein 2018). With smoothing the sums over c of w[c] * (x[n,c] - x[n,0]) and of w[c] come
// along; subtracting x[n,0] keeps the digits that a large common part of x would take.
//
// Index map. Forward: PER_LINE threads share the C entries of a sample, as lines.cuh says, and the
// first of them writes loss, m and total. Backward: thread e writes grad_x's element number e,
// whose class is (e / places) % C.
//
// Bytes moved, in elements: forward reads N*C and writes 3*N, backward reads N*C and writes N*C:
// the minimum, but for m and total, which spare the backward a pass.

#include "lines.cuh"

// SMOOTHED, from the command line, is 1 where s is not 0.
constexpr int THREADS = 256;

struct Exponentials {
    scalar m, total;  // of a part of a line
};

__device__ inline scalar rescaling(scalar from, scalar to) {
    return from == to ? scalar(1) : exp(from - to);  // also where both are -inf
}

__device__ inline Exponentials merged(Exponentials a, Exponentials b) {
    scalar m = fmax(a.m, b.m);
    return {m, a.total * rescaling(a.m, m) + b.total * rescaling(b.m, m)};
}

template <int LANES>
__device__ inline Exponentials merged_over_lanes(Exponentials mine) {
    for (int offset = 1; offset < LANES; offset *= 2) {
        Exponentials other = {__shfl_xor_sync(ALL_LANES, mine.m, offset),
                              __shfl_xor_sync(ALL_LANES, mine.total, offset)};
        // The lower lane first, in both: merging is not symmetric to the last bit.
        mine = threadIdx.x & offset ? merged(other, mine) : merged(mine, other);
    }
    return mine;
}

template <int SHARERS>
__device__ inline Exponentials merged_over(Exponentials mine) {
    if constexpr (SHARERS <= WARP) {
        return merged_over_lanes<SHARERS>(mine);
    } else {
        constexpr int WARPS = SHARERS / WARP;
        __shared__ scalar m[WARPS], total[WARPS];
        mine = merged_over_lanes<WARP>(mine);
        if (threadIdx.x % WARP == 0) {
            m[threadIdx.x / WARP] = mine.m;
            total[threadIdx.x / WARP] = mine.total;
        }
        __syncthreads();
        int from = threadIdx.x % WARPS;
        return merged_over_lanes<WARPS>({m[from], total[from]});
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy_forward(const scalar* __restrict__ x, const long long* __restrict__ target,
                          const scalar* __restrict__ OPTIONAL weight, scalar* __restrict__ loss,
                          scalar* __restrict__ m, scalar* __restrict__ total, unsigned samples,
                          int classes, unsigned places, long long ignore_index,
                          double label_smoothing) {
    Line line(samples, classes, places);
    scalar first = x[line[0]];
    scalar shift = first - first == 0 ? first : scalar(0);  // 0 for inf and NaN
    Exponentials all = {first, 0};
    scalar weights = 0, weighted = 0;
    for (int c = line.lane; c < classes; c += PER_LINE) {
        scalar value = x[line[c]];
        all = merged(all, {value, 1});
        if (SMOOTHED) {
            scalar w = weight ? weight[c] : scalar(1);
            weights += w;
            weighted += w * (value - shift);
        }
    }
    all = merged_over<PER_LINE>(all);
    all.m += all.total - all.total;  // NaN if there is one, which fmax passes over
    all.total += all.m - all.m;      // NaN for inf
    if (SMOOTHED) {
        weights = over<Sum, PER_LINE>(weights);
        weighted = over<Sum, PER_LINE>(weighted);
    }
    if (!line.exists || line.lane != 0) return;
    long long label = target[line.number];
    bool is_class = 0 <= label && label < classes;
    scalar log_total = log(all.total), value = 0;
    if (is_class) {
        value = log_total - (x[line[int(label)]] - all.m);
        if (weight) value *= weight[label];
    }
    if (SMOOTHED) {
        scalar share = scalar(label_smoothing) / scalar(classes);
        scalar over_classes = weights * (log_total + (all.m - shift)) - weighted;
        value = scalar(1 - label_smoothing) * value + share * over_classes;
    }
    if (!is_class) value = log(scalar(-1));
    loss[line.number] = label == ignore_index ? scalar(0) : value;
    m[line.number] = all.m;
    total[line.number] = all.total;
}

// g holds one number for each sample, or with by_sample = 0 one for all of them.
extern "C" __global__ void __launch_bounds__(THREADS) cross_entropy_backward(
    const scalar* __restrict__ g, const scalar* __restrict__ x,
    const long long* __restrict__ target, const scalar* __restrict__ OPTIONAL weight,
    const scalar* __restrict__ OPTIONAL weight_sum, const scalar* __restrict__ m,
    const scalar* __restrict__ total, scalar* __restrict__ grad_x, unsigned classes,
    unsigned places, long long ignore_index, double label_smoothing, unsigned by_sample,
    unsigned count) {
    unsigned e = thread_number();
    if (e >= count) return;
    unsigned n = e / places / classes * places + e % places, c = e / places % classes;
    long long label = target[n];
    bool is_class = 0 <= label && label < classes;
    scalar reaching = label == ignore_index ? scalar(0) : g[by_sample ? n : 0];
    scalar p = exp(x[e] - m[n]) / total[n];
    scalar at_label = is_class ? scalar(1) : scalar(0);
    if (weight && is_class) at_label = weight[label];
    if (SMOOTHED) at_label *= scalar(1 - label_smoothing);
    scalar sum = at_label, own = c == label ? at_label : scalar(0);
    if (SMOOTHED) {
        scalar share = scalar(label_smoothing) / scalar(classes);
        sum += share * (weight_sum ? *weight_sum : scalar(classes));
        own += share * (weight ? weight[c] : scalar(1));
    }
    grad_x[e] = reaching * (p * sum - own);
}
