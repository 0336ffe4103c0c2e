// Depthwise convolution: every input channel is a group of its own, with MULTIPLIER outputs.
//
//     depthwise_forward       y[n,f,i,j] = b[f] + sum over p,q of w[f,p,q] * x[n,c,h,k]
//     depthwise_grad_input    grad_x[n,c,h,k] = sum over f of channel c, and over p,q,i,j that read
//                                               (h,k), of w[f,p,q] * grad_y[n,f,i,j]
//     depthwise_grad_weight   grad_w[f,p,q] = sum over n,i,j of x[n,c,h,k] * grad_y[n,f,i,j]
//
// with c = f / MULTIPLIER, h = i*S + p*D - P, k = j*S + q*D - P; with -DRELU=1 forward writes
// max(0, y). As a matrix product it would have MULTIPLIER rows: there is nothing to tile, each
// input serves KH*KW products, and memory decides.
//
// Index map. Forward: thread e computes y's element number e = ((n*F + f)*OH + i)*OW + j. Input
// gradient: thread e gathers grad_x's element number e = ((n*C + c)*H + h)*W + k. Weight gradient:
// block (f, part) sums over the positions part*chunk .. (part+1)*chunk - 1 of all n,i,j; a thread
// takes every 256th of them with all KH*KW taps in registers, and a tree of fixed order adds the
// threads up; parts.cu adds the parts. No atomics anywhere.
//
// Bytes moved, in elements: forward N*C*H*W + N*F*OH*OW, the minimum, w and the repeated reads of x
// coming from the caches; each gradient the same, with the weight gradient reading both.

#include "windows.cuh"

// From the command line: MULTIPLIER = F/C, and RELU for y = max(0, ...).

constexpr int THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
    depthwise_forward(const scalar* __restrict__ x, const scalar* __restrict__ w,
                      const scalar* __restrict__ OPTIONAL bias, scalar* __restrict__ y,
                      unsigned features, unsigned count) {
    unsigned e = thread_number();
    if (e >= count) return;
    unsigned plane = e;  // n*F + f, after the digits are taken
    int j = take(plane, Width::out), i = take(plane, Height::out), o = take(plane, Depth::out);
    unsigned f = plane % features;
    const scalar* values = x + plane / MULTIPLIER * INPUTS;
    const scalar* weights = w + f * TAPS;
    scalar sum = 0;
    for (int r = 0; r < Depth::taps; ++r)
        for (int p = 0; p < Height::taps; ++p)
            for (int q = 0; q < Width::taps; ++q)
                if (Depth::inside(o, r) && Height::inside(i, p) && Width::inside(j, q))
                    sum += weights[(r * Height::taps + p) * Width::taps + q] *
                           values[input_number(Depth::input(o, r), Height::input(i, p),
                                               Width::input(j, q))];
    if (bias) sum += bias[f];
    if (RELU) sum = sum < 0 ? scalar(0) : sum;  // NaN stays
    y[e] = sum;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    depthwise_grad_input(const scalar* __restrict__ grad_y, const scalar* __restrict__ w,
                         scalar* __restrict__ grad_x, unsigned features, unsigned count) {
    unsigned e = thread_number();
    if (e >= count) return;
    unsigned plane = e;  // n*C + c
    int k = take(plane, Width::size), h = take(plane, Height::size), d = take(plane, Depth::size);
    scalar sum = 0;
    for (int m = 0; m < MULTIPLIER; ++m) {
        unsigned out_plane = plane * MULTIPLIER + m;  // n*F + f
        const scalar* weights = w + out_plane % features * TAPS;
        const scalar* windows = grad_y + out_plane * OUTPUTS;
        for (int r = 0; r < Depth::taps; ++r)
            for (int p = 0; p < Height::taps; ++p)
                for (int q = 0; q < Width::taps; ++q) {
                    int o = Depth::output(d, r), i = Height::output(h, p);
                    int j = Width::output(k, q);
                    if (o < 0 || i < 0 || j < 0) continue;
                    sum += weights[(r * Height::taps + p) * Width::taps + q] *
                           windows[output_number(o, i, j)];
                }
    }
    grad_x[e] = sum;
}

// One block at a time may be resident: the compiler is to use what registers the sums need.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    depthwise_grad_weight(const scalar* __restrict__ x, const scalar* __restrict__ grad_y,
                          scalar* __restrict__ parts, unsigned features, unsigned positions,
                          unsigned chunk) {
    unsigned f = blockIdx.x, part = blockIdx.y;
    unsigned stop = min(positions, (part + 1) * chunk);
    scalar sums[TAPS];
#pragma unroll
    for (int tap = 0; tap < TAPS; ++tap) sums[tap] = 0;
    for (unsigned m = part * chunk + threadIdx.x; m < stop; m += THREADS) {
        unsigned n = m;
        int j = take(n, Width::out), i = take(n, Height::out), o = take(n, Depth::out);
        unsigned plane = n * features + f;
        scalar grad = grad_y[plane * OUTPUTS + output_number(o, i, j)];
        const scalar* values = x + plane / MULTIPLIER * INPUTS;
#pragma unroll
        for (int r = 0; r < Depth::taps; ++r)
#pragma unroll
            for (int p = 0; p < Height::taps; ++p)
#pragma unroll
                for (int q = 0; q < Width::taps; ++q)
                    if (Depth::inside(o, r) && Height::inside(i, p) && Width::inside(j, q))
                        sums[(r * Height::taps + p) * Width::taps + q] +=
                            grad * values[input_number(Depth::input(o, r), Height::input(i, p),
                                                       Width::input(j, q))];
    }
#pragma unroll
    for (int tap = 0; tap < TAPS; ++tap) {
        scalar sum = over_block<Sum, THREADS>(sums[tap]);
        if (threadIdx.x == 0) parts[(part * features + f) * TAPS + tap] = sum;
    }
}
