// Window arithmetic of convolution and pooling, as in minicnn/backend/geometry.py. Along one axis
// with input size H, kernel K, stride S, padding P in front and dilation D, output i reads at its
// tap p the input
//
//     h = i*S + p*D - P        for p = 0 .. K-1
//
// and what lies outside 0 .. H-1 is padding. The kernels are written for three spatial axes, DEPTH,
// HEIGHT and WIDTH, with indices (d,h,k) in the input, (r,p,q) in the window and (o,i,j) in the
// output. An image has DEPTH 1, a signal HEIGHT 1 too; loops and divisions by 1 cost nothing,
// because all of these are constants when the file is compiled.

#pragma once

#include "common.cuh"

template <int SIZE, int KERNEL, int STRIDE, int PADDING, int DILATION, int OUT>
struct RegularWindows {
    static constexpr int size = SIZE, taps = KERNEL, out = OUT;

    // The input that output i reads at tap p, inside or not.
    static __device__ int input(int i, int p) { return i * STRIDE + p * DILATION - PADDING; }

    // Whether output i has a tap p, and it is not in the padding.
    static __device__ bool inside(int i, int p) { return unsigned(input(i, p)) < unsigned(SIZE); }

    // The output that reads input h at tap p, or -1 if there is none.
    static __device__ int output(int h, int p) {
        int ahead = h + PADDING - p * DILATION;
        if (ahead < 0 || ahead % STRIDE != 0 || ahead / STRIDE >= OUT) return -1;
        return ahead / STRIDE;
    }

    // The outputs first(h) .. last(h) are those whose window reaches over input h. With dilation
    // a window may reach over h and still step past it.
    static __device__ int first(int h) {
        int ahead = h + PADDING - (KERNEL - 1) * DILATION;
        return ahead <= 0 ? 0 : (ahead + STRIDE - 1) / STRIDE;
    }
    static __device__ int last(int h) {
        int i = (h + PADDING) / STRIDE;
        return i < OUT ? i : OUT - 1;
    }

    // Whether output i reads input h, for first(h) <= i <= last(h).
    static __device__ bool reads(int i, int h) {
        return (h + PADDING - i * STRIDE) % DILATION == 0;
    }

    // How many inputs average pooling divides by: its padding counts or not, and what hangs over
    // the padding's end never does.
    static __device__ int count(int i, bool with_padding) {
        int start = i * STRIDE - PADDING;
        int stop = start + KERNEL < SIZE + PADDING ? start + KERNEL : SIZE + PADDING;
        if (!with_padding) {
            start = start > 0 ? start : 0;
            stop = stop < SIZE ? stop : SIZE;
        }
        return stop - start;
    }
};

// Adaptive pooling: window i covers the inputs floor(i*H/OH) .. ceil((i+1)*H/OH) - 1.
template <int SIZE, int OUT>
struct AdaptiveWindows {
    static constexpr int size = SIZE, out = OUT;
    static constexpr int taps = (SIZE + OUT - 1) / OUT + (SIZE % OUT != 0);  // never more than so

    static __device__ int start(int i) { return int((long long)i * SIZE / OUT); }
    static __device__ int stop(int i) { return int(((i + 1LL) * SIZE + OUT - 1) / OUT); }
    static __device__ int input(int i, int p) { return start(i) + p; }
    static __device__ bool inside(int i, int p) { return start(i) + p < stop(i); }
    static __device__ int first(int h) { return int((long long)h * OUT / SIZE); }
    static __device__ int last(int h) { return int(((h + 1LL) * OUT + SIZE - 1) / SIZE) - 1; }
    static __device__ bool reads(int, int) { return true; }
    static __device__ int count(int i, bool) { return stop(i) - start(i); }
};

#ifdef ADAPTIVE
using Depth = AdaptiveWindows<SIZE_D, OUT_D>;
using Height = AdaptiveWindows<SIZE_H, OUT_H>;
using Width = AdaptiveWindows<SIZE_W, OUT_W>;
#else
using Depth = RegularWindows<SIZE_D, KERNEL_D, STRIDE_D, PADDING_D, DILATION_D, OUT_D>;
using Height = RegularWindows<SIZE_H, KERNEL_H, STRIDE_H, PADDING_H, DILATION_H, OUT_H>;
using Width = RegularWindows<SIZE_W, KERNEL_W, STRIDE_W, PADDING_W, DILATION_W, OUT_W>;
#endif

constexpr int INPUTS = Depth::size * Height::size * Width::size;  // places in one input plane
constexpr int OUTPUTS = Depth::out * Height::out * Width::out;    // and in one output plane
constexpr int TAPS = Depth::taps * Height::taps * Width::taps;

// The number of a place in its plane: h*W + k, in reading order.
__device__ inline int input_number(int d, int h, int k) {
    return (d * Height::size + h) * Width::size + k;
}
__device__ inline int output_number(int o, int i, int j) {
    return (o * Height::out + i) * Width::out + j;
}
