// Windows as columns, and back.
//
//     im2col   cols[n, (c,p,q), (i,j)] = x[n,c,h,k], zero in the padding
//              h = i*S + p*D - P,  k = j*S + q*D - P
//     col2im   x[n,c,h,k] = sum of cols[n, (c,p,q), (i,j)] over every (p,q,i,j) that reads (h,k)
//
// x (N,C,H,W), cols (N, C*KH*KW, OH*OW). A plane is one (n,c); neither kernel needs to know where N
// ends and C begins.
//
// Index map
//     im2col: thread e writes cols' element number e = ((plane*KH + p)*KW + q)*OH*OW + i*OW + j.
//         Neighbouring threads have neighbouring j: they write side by side, and read side by side
//         where the stride is 1.
//     col2im: thread e sums x's element number e = (plane*H + h)*W + k. It goes through the taps
//         (p,q) and asks which output, if any, reads (h,k) with it: at most one. So a pixel is
//         written by one thread alone, once, and the sum has a fixed order: no atomics, and the
//         same bits each time. (In scatter form, a thread for each entry of cols, additions to one
//         pixel would collide.)
//
// Bytes moved, in elements: im2col reads each of x's N*C*H*W once from memory, and KH*KW/S^2 times
// in all, the rest from the caches; it writes N*C*KH*KW*OH*OW. col2im the other way round. That is
// the minimum for this layout; the columns themselves are KH*KW/S^2 times as large as x, which is
// what implicit GEMM (conv.cu) saves.

#include "windows.cuh"

extern "C" __global__ void im2col(const scalar* __restrict__ x, scalar* __restrict__ cols,
                                  unsigned count) {
    unsigned e = thread_number();
    if (e >= count) return;
    unsigned plane = e;  // after all digits are taken
    int j = take(plane, Width::out), i = take(plane, Height::out), o = take(plane, Depth::out);
    int q = take(plane, Width::taps), p = take(plane, Height::taps), r = take(plane, Depth::taps);
    scalar value = 0;
    if (Depth::inside(o, r) && Height::inside(i, p) && Width::inside(j, q))
        value = x[plane * INPUTS +
                  input_number(Depth::input(o, r), Height::input(i, p), Width::input(j, q))];
    cols[e] = value;
}

extern "C" __global__ void col2im(const scalar* __restrict__ cols, scalar* __restrict__ x,
                                  unsigned count) {
    unsigned e = thread_number();
    if (e >= count) return;
    unsigned plane = e;
    int k = take(plane, Width::size), h = take(plane, Height::size), d = take(plane, Depth::size);
    const scalar* entries = cols + (long long)plane * TAPS * OUTPUTS;
    scalar sum = 0;
    for (int r = 0; r < Depth::taps; ++r) {
        int o = Depth::output(d, r);
        if (o < 0) continue;
        for (int p = 0; p < Height::taps; ++p) {
            int i = Height::output(h, p);
            if (i < 0) continue;
            for (int q = 0; q < Width::taps; ++q) {
                int j = Width::output(k, q);
                if (j < 0) continue;
                int tap = (r * Height::taps + p) * Width::taps + q;
                sum += entries[tap * OUTPUTS + output_number(o, i, j)];
            }
        }
    }
    x[e] = sum;
}
