// Softmax and its logarithm along one axis. For one line of x along it, entries a and b:
//
//     softmax_forward        y[a] = exp(x[a] - m) / sum over b of exp(x[b] - m)       m = max x
//     softmax_backward       grad_x[a] = y[a] * (grad_y[a] - sum over b of grad_y[b] * y[b])
//     log_softmax_forward    y[a] = (x[a] - m) - log(sum over b of exp(x[b] - m))
//     log_softmax_backward   grad_x[a] = grad_y[a] - exp(y[a]) * sum over b of grad_y[b]
//
// The greatest exponent is 0, so nothing overflows. A line of -inf, or one with inf, is NaN.
//
// Index map. x is (outer, length, inner): entry a of line (o, t) is element number
// (o*length + a)*inner + t. PER_LINE neighbouring threads share a line, and each takes every
// PER_LINE-th entry of it:
//
//     1      a thread for each line. For inner > 1: neighbouring threads do neighbouring lines,
//            whose entries lie side by side
//     32     a warp for each line: for lines that are contiguous
//     256    a block for each line: for the long ones
//
// Maxima and sums over these threads go by a tree of fixed order. Threads beyond the last line go
// along with it, so that no shuffle misses a lane, and write nothing.
//
// Bytes moved, in elements: forward reads x and writes y, 2, the minimum, as long as what a
// multiprocessor works on stays in its cache: a line is read three times. Backward reads grad_y and
// y, twice, and writes grad_x: 3.

#include "common.cuh"

// PER_LINE comes from the command line.
constexpr int THREADS = 256;
constexpr int RESIDENT = 4;  // blocks at a time on a multiprocessor; for more, sm_100 would spill

template <class Op>
__device__ inline scalar over_line(scalar value) {
    if constexpr (PER_LINE <= WARP)
        return over_lanes<Op, PER_LINE>(value);
    else
        return over_block<Op, PER_LINE>(value);
}

// The line of this thread, and which of its entries the thread takes.
struct Line {
    unsigned first;  // the number of entry 0
    unsigned inner;  // the step from one entry to the next
    int lane;
    bool exists;

    __device__ Line(unsigned lines, unsigned length, unsigned inner_size) : inner(inner_size) {
        unsigned line = thread_number() / PER_LINE;
        exists = line < lines;
        if (!exists) line = lines - 1;
        first = line / inner * length * inner + line % inner;
        lane = int(threadIdx.x % PER_LINE);
    }
    __device__ unsigned operator[](int a) const { return first + a * inner; }
};

__device__ inline scalar largest(const scalar* x, const Line& line, int length) {
    scalar m = x[line[0]];
    for (int a = line.lane; a < length; a += PER_LINE) m = fmax(m, x[line[a]]);
    return over_line<Max>(m);
}

__device__ inline scalar sum_of_exp(const scalar* x, const Line& line, int length, scalar m) {
    scalar sum = 0;
    for (int a = line.lane; a < length; a += PER_LINE) sum += exp(x[line[a]] - m);
    return over_line<Sum>(sum);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    softmax_forward(const scalar* __restrict__ x, scalar* __restrict__ y, unsigned lines,
                    int length, unsigned inner) {
    Line line(lines, length, inner);
    scalar m = largest(x, line, length);
    scalar sum = sum_of_exp(x, line, length, m);
    if (!line.exists) return;
    for (int a = line.lane; a < length; a += PER_LINE) y[line[a]] = exp(x[line[a]] - m) / sum;
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    log_softmax_forward(const scalar* __restrict__ x, scalar* __restrict__ y, unsigned lines,
                        int length, unsigned inner) {
    Line line(lines, length, inner);
    scalar m = largest(x, line, length);
    scalar log_sum = log(sum_of_exp(x, line, length, m));
    if (!line.exists) return;
    for (int a = line.lane; a < length; a += PER_LINE) y[line[a]] = (x[line[a]] - m) - log_sum;
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    softmax_backward(const scalar* __restrict__ grad_y, const scalar* __restrict__ y,
                     scalar* __restrict__ grad_x, unsigned lines, int length, unsigned inner) {
    Line line(lines, length, inner);
    scalar sum = 0;
    for (int a = line.lane; a < length; a += PER_LINE) sum += grad_y[line[a]] * y[line[a]];
    sum = over_line<Sum>(sum);
    if (!line.exists) return;
    for (int a = line.lane; a < length; a += PER_LINE)
        grad_x[line[a]] = y[line[a]] * (grad_y[line[a]] - sum);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    log_softmax_backward(const scalar* __restrict__ grad_y, const scalar* __restrict__ y,
                         scalar* __restrict__ grad_x, unsigned lines, int length, unsigned inner) {
    Line line(lines, length, inner);
    scalar sum = 0;
    for (int a = line.lane; a < length; a += PER_LINE) sum += grad_y[line[a]];
    sum = over_line<Sum>(sum);
    if (!line.exists) return;
    for (int a = line.lane; a < length; a += PER_LINE)
        grad_x[line[a]] = grad_y[line[a]] - exp(y[line[a]]) * sum;
}
