// Convolution as a matrix product whose operands are never written out: implicit GEMM.
//
//     conv_forward       y[n,f,i,j] = b[f] + sum over c,p,q of w[f,c,p,q] * x[n,c,h,k]
//     conv_grad_input    grad_x[n,c,h,k] = sum over f,p,q,i,j that read (h,k) of
//                                          w[f,c,p,q] * grad_y[n,f,i,j]
//     conv_grad_weight   grad_w[f,c,p,q] = sum over n,i,j of x[n,c,h,k] * grad_y[n,f,i,j]
//
// with h = i*S + p*D - P and k = j*S + q*D - P. Each is Z[row,column] = sum over s of A[row,s] *
// B[s,column], for each group of channels by itself:
//
//                          row    s            column       A                B
//     conv_forward         f      (c,p,q)      (n,i,j)      w[f,c,p,q]       x[n,c,h,k]
//     conv_grad_input      c      (f,p,q)      (n,h,k)      w[f,c,p,q]       grad_y[n,f,i,j]
//     conv_grad_weight     f      (n,i,j)      (c,p,q)      grad_y[n,f,i,j]  x[n,c,h,k]
//
// where B is 0 in the padding, and in grad_input also where no output reads (h,k) at tap (p,q). The
// columns of im2col are B, but here each element is fetched from x when it is needed.
//
// Index map. Block (blockIdx.x, blockIdx.y, blockIdx.z) computes the TILE_N columns from
// blockIdx.x*TILE_N, the TILE_M rows from blockIdx.y*TILE_M, of group blockIdx.z (grad_weight: of
// group blockIdx.z / splits, and of s only part blockIdx.z % splits). Its 16 x 16 threads each hold
// PER_M x PER_N sums in registers: thread (ty, tx) those of rows ty*PER_M .. ty*PER_M + PER_M - 1
// and of PER_N columns, in runs of four from tx*4, 64 + tx*4, ... . Slices of TILE_K values of s of
// A and B go through shared memory: while the threads multiply one slice they already fetch the
// next, so each element fetched serves TILE_M or TILE_N products. A sum runs over s in ascending
// order, whatever the launch; the parts of grad_weight are added by parts.cu, in order. No atomics:
// the same input, the same bits.
//
// conv_forward adds b to the sums in registers, and with -DRELU=1 writes max(0, y): neither costs a
// pass over y.
//
// Bytes moved, in elements. The minimum is each operand and the result once: forward N*C*H*W +
// F*C/G*KH*KW + N*F*OH*OW, the gradients the same three with other roles. Z's elements are written
// once (in grad_weight once for each part, and parts.cu reads those). B is fetched once for each
// TILE_M rows and A once for each TILE_N columns: forward fetches
// N*OH*OW * C*KH*KW * ceil(F/G / TILE_M) elements of x, of which those that overlap between windows
// or serve several row tiles come from the caches. At TILE 128 that is one element fetched for 64
// multiplications, so the multiplications decide. In grad_input a stride S leaves one tap in S*S
// with an output that reads (h,k); the others are multiplied too, by 0.

#include "windows.cuh"

// From the command line: GROUP_C = C/G and GROUP_F = F/G, GROUPS = G, TILE_M and TILE_N (multiples
// of 16), and RELU for y = max(0, ...).

constexpr int THREADS = 256;
constexpr int SIDE = 16;  // the threads of a block, as a square
constexpr int TILE_K = 16;
constexpr int PER_M = TILE_M / SIDE, PER_N = TILE_N / SIDE;
constexpr int VECTOR = 16 / sizeof(scalar);  // numbers that one load from shared memory gets
constexpr int PAD = VECTOR;  // keeps rows of a slice aligned, and off the same banks
constexpr int RUN = PER_N < VECTOR ? PER_N : VECTOR;  // columns of a thread that are neighbours

struct Place {
    int d, h, k;
};

__device__ inline Place input_place(unsigned& number) {
    int k = take(number, Width::size), h = take(number, Height::size);
    return {take(number, Depth::size), h, k};
}
__device__ inline Place output_place(unsigned& number) {
    int j = take(number, Width::out), i = take(number, Height::out);
    return {take(number, Depth::out), i, j};
}
__device__ inline Place tap_place(unsigned& number) {
    int q = take(number, Width::taps), p = take(number, Height::taps);
    return {take(number, Depth::taps), p, q};
}

// x[n,c,h,k] that the output at `out` reads at tap `tap`, or 0.
__device__ inline scalar read_by(const scalar* x, int plane, Place out, Place tap) {
    if (!Depth::inside(out.d, tap.d) || !Height::inside(out.h, tap.h) ||
        !Width::inside(out.k, tap.k))
        return 0;
    return x[plane * INPUTS + input_number(Depth::input(out.d, tap.d),
                                           Height::input(out.h, tap.h),
                                           Width::input(out.k, tap.k))];
}

// The operands. `rows`, `sums` and `columns` are how many there are; outside stands 0.

struct Forward {
    const scalar *x, *w;
    int group;
    unsigned columns;
    static constexpr unsigned rows = GROUP_F, sums = GROUP_C * TAPS;
    static constexpr bool sums_side_by_side = false;  // do neighbours in s, not in column, in B

    __device__ scalar a(unsigned f, unsigned s) const {
        return w[(group * GROUP_F + f) * sums + s];
    }
    __device__ scalar b(unsigned s, unsigned column) const {
        Place tap = tap_place(s), out = output_place(column);  // s is c now, and column is n
        return read_by(x, (column * GROUPS + group) * GROUP_C + s, out, tap);
    }
};

struct GradInput {
    const scalar *grad_y, *w;
    int group;
    unsigned columns;
    static constexpr unsigned rows = GROUP_C, sums = GROUP_F * TAPS;
    static constexpr bool sums_side_by_side = false;

    __device__ scalar a(unsigned c, unsigned s) const {
        unsigned f = s / TAPS, tap = s % TAPS;
        return w[((group * GROUP_F + f) * GROUP_C + c) * TAPS + tap];
    }
    __device__ scalar b(unsigned s, unsigned column) const {
        Place tap = tap_place(s), in = input_place(column);  // s is f now, and column is n
        int o = Depth::output(in.d, tap.d), i = Height::output(in.h, tap.h);
        int j = Width::output(in.k, tap.k);
        if (o < 0 || i < 0 || j < 0) return 0;
        unsigned plane = (column * GROUPS + group) * GROUP_F + s;
        return grad_y[plane * OUTPUTS + output_number(o, i, j)];
    }
};

struct GradWeight {
    const scalar *x, *grad_y;
    int group;
    unsigned sums;
    static constexpr unsigned rows = GROUP_F, columns = GROUP_C * TAPS;
    static constexpr bool sums_side_by_side = true;

    __device__ scalar a(unsigned f, unsigned s) const {
        unsigned n = s / OUTPUTS, place = s % OUTPUTS;
        return grad_y[((n * GROUPS + group) * GROUP_F + f) * OUTPUTS + place];
    }
    __device__ scalar b(unsigned s, unsigned column) const {
        Place out = output_place(s), tap = tap_place(column);  // s is n now, and column is c
        return read_by(x, (s * GROUPS + group) * GROUP_C + column, out, tap);
    }
};

// What one thread fetches of the slice of s from `start` to at most `stop`, and where it puts it.
template <class Operands>
struct Slice {
    scalar a[PER_M], b[PER_N];

    static __device__ unsigned a_row(int r) { return threadIdx.x / TILE_K + r * SIDE; }
    static __device__ unsigned a_sum() { return threadIdx.x % TILE_K; }
    static __device__ unsigned b_sum(int r) {
        return Operands::sums_side_by_side ? threadIdx.x % TILE_K
                                           : (threadIdx.x + r * THREADS) / TILE_N;
    }
    static __device__ unsigned b_column(int r) {
        return Operands::sums_side_by_side ? threadIdx.x / TILE_K + r * SIDE
                                           : (threadIdx.x + r * THREADS) % TILE_N;
    }

    __device__ void fetch(const Operands& from, unsigned start, unsigned stop) {
#pragma unroll
        for (int r = 0; r < PER_M; ++r) {
            unsigned row = blockIdx.y * TILE_M + a_row(r), s = start + a_sum();
            a[r] = row < from.rows && s < stop ? from.a(row, s) : scalar(0);
        }
#pragma unroll
        for (int r = 0; r < PER_N; ++r) {
            unsigned column = blockIdx.x * TILE_N + b_column(r), s = start + b_sum(r);
            b[r] = column < from.columns && s < stop ? from.b(s, column) : scalar(0);
        }
    }
    __device__ void put(scalar (*a_slice)[TILE_M + PAD], scalar (*b_slice)[TILE_N + PAD]) const {
#pragma unroll
        for (int r = 0; r < PER_M; ++r) a_slice[a_sum()][a_row(r)] = a[r];
#pragma unroll
        for (int r = 0; r < PER_N; ++r) b_slice[b_sum(r)][b_column(r)] = b[r];
    }
};

// Column n of the PER_N of this thread, in the tile. They come in runs of one load, and the 16
// threads' runs lie side by side: with all PER_N of a thread in one run, at PER_N = 8, threads tx
// and tx + 4 would load from the same banks.
__device__ inline int own_column(int n) {
    return n / RUN * (SIDE * RUN) + threadIdx.x % SIDE * RUN + n % RUN;
}

// z[m][n] = sum over start <= s < stop of A[row m, s] * B[s, column n] of this thread's own.
template <class Operands>
__device__ inline void multiply(const Operands& from, unsigned start, unsigned stop,
                                scalar (&z)[PER_M][PER_N]) {
    __shared__ __align__(16) scalar a_slices[2][TILE_K][TILE_M + PAD];
    __shared__ __align__(16) scalar b_slices[2][TILE_K][TILE_N + PAD];
    int ty = threadIdx.x / SIDE;
#pragma unroll
    for (int m = 0; m < PER_M; ++m)
#pragma unroll
        for (int n = 0; n < PER_N; ++n) z[m][n] = 0;
    Slice<Operands> slice;
    slice.fetch(from, start, stop);
    slice.put(a_slices[0], b_slices[0]);
    __syncthreads();
    int now = 0;
    for (; start < stop; start += TILE_K) {
        bool more = start + TILE_K < stop;
        if (more) slice.fetch(from, start + TILE_K, stop);
#pragma unroll
        for (int s = 0; s < TILE_K; ++s) {
            scalar a[PER_M], b[PER_N];
#pragma unroll
            for (int m = 0; m < PER_M; ++m) a[m] = a_slices[now][s][ty * PER_M + m];
#pragma unroll
            for (int n = 0; n < PER_N; ++n) b[n] = b_slices[now][s][own_column(n)];
#pragma unroll
            for (int m = 0; m < PER_M; ++m)
#pragma unroll
                for (int n = 0; n < PER_N; ++n) z[m][n] += a[m] * b[n];
        }
        // The other buffer was read before the last barrier: it can be written while some threads
        // still multiply this one.
        if (more) slice.put(a_slices[1 - now], b_slices[1 - now]);
        __syncthreads();
        now = 1 - now;
    }
}

// Row m and column n of this thread's sums.
__device__ inline unsigned row_of(int m) {
    return blockIdx.y * TILE_M + threadIdx.x / SIDE * PER_M + m;
}
__device__ inline unsigned column_of(int n) {
    return blockIdx.x * TILE_N + own_column(n);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    conv_forward(const scalar* __restrict__ x, const scalar* __restrict__ w,
                 const scalar* __restrict__ OPTIONAL bias, scalar* __restrict__ y,
                 unsigned batch) {
    scalar z[PER_M][PER_N];
    Forward from = {x, w, int(blockIdx.z), batch * OUTPUTS};
    multiply(from, 0, from.sums, z);
#pragma unroll
    for (int m = 0; m < PER_M; ++m)
#pragma unroll
        for (int n = 0; n < PER_N; ++n) {
            unsigned f = row_of(m), column = column_of(n);
            if (f >= from.rows || column >= from.columns) continue;
            f += from.group * GROUP_F;
            scalar value = bias ? z[m][n] + bias[f] : z[m][n];
            // Not fmax, which would turn NaN into 0.
            if (RELU) value = value < 0 ? scalar(0) : value;
            y[(column / OUTPUTS * (GROUPS * GROUP_F) + f) * OUTPUTS + column % OUTPUTS] = value;
        }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    conv_grad_input(const scalar* __restrict__ grad_y, const scalar* __restrict__ w,
                    scalar* __restrict__ grad_x, unsigned batch) {
    scalar z[PER_M][PER_N];
    GradInput from = {grad_y, w, int(blockIdx.z), batch * INPUTS};
    multiply(from, 0, from.sums, z);
#pragma unroll
    for (int m = 0; m < PER_M; ++m)
#pragma unroll
        for (int n = 0; n < PER_N; ++n) {
            unsigned c = row_of(m), column = column_of(n);
            if (c >= from.rows || column >= from.columns) continue;
            c += from.group * GROUP_C;
            grad_x[(column / INPUTS * (GROUPS * GROUP_C) + c) * INPUTS + column % INPUTS] =
                z[m][n];
        }
}

// parts[part] is shaped like w; part takes the s from part*chunk to (part+1)*chunk - 1.
extern "C" __global__ void __launch_bounds__(THREADS)
    conv_grad_weight(const scalar* __restrict__ x, const scalar* __restrict__ grad_y,
                     scalar* __restrict__ parts, unsigned batch, unsigned splits,
                     unsigned chunk) {
    scalar z[PER_M][PER_N];
    unsigned part = blockIdx.z % splits, sums = batch * OUTPUTS;
    GradWeight from = {x, grad_y, int(blockIdx.z / splits), sums};
    multiply(from, part * chunk, min(sums, (part + 1) * chunk), z);
#pragma unroll
    for (int m = 0; m < PER_M; ++m)
#pragma unroll
        for (int n = 0; n < PER_N; ++n) {
            unsigned f = row_of(m), column = column_of(n);
            if (f >= from.rows || column >= from.columns) continue;
            f += (part * GROUPS + from.group) * GROUP_F;
            parts[f * from.columns + column] = z[m][n];
        }
}
