// Softmax and its logarithm along one axis. For one line of x along it, entries a and b:
//
//     softmax_forward        y[a] = exp(x[a] - m) / sum over b of exp(x[b] - m)       m = max x
//     softmax_backward       grad_x[a] = y[a] * (grad_y[a] - sum over b of grad_y[b] * y[b])
//     log_softmax_forward    y[a] = (x[a] - m) - log(sum over b of exp(x[b] - m))
//     log_softmax_backward   grad_x[a] = grad_y[a] - exp(y[a]) * sum over b of grad_y[b]
//
// The greatest exponent is 0, so nothing overflows. A line of -inf, or one with inf, is NaN.
//
// Index map. PER_LINE threads share a line of x, as lines.cuh says, and each writes every
// PER_LINE-th entry of it.
//
// Bytes moved, in elements: forward reads x and writes y, 2, the minimum, as long as what a
// multiprocessor works on stays in its cache: a line is read three times. Backward reads grad_y and
// y, twice, and writes grad_x: 3.

#include "lines.cuh"

constexpr int THREADS = 256;
constexpr int RESIDENT = 4;  // blocks at a time on a multiprocessor; for more, sm_100 would spill

__device__ inline scalar largest(const scalar* x, const Line& line, int length) {
    scalar m = x[line[0]];
    for (int a = line.lane; a < length; a += PER_LINE) m = fmax(m, x[line[a]]);
    return over<Max, PER_LINE>(m);
}

__device__ inline scalar sum_of_exp(const scalar* x, const Line& line, int length, scalar m) {
    scalar sum = 0;
    for (int a = line.lane; a < length; a += PER_LINE) sum += exp(x[line[a]] - m);
    return over<Sum, PER_LINE>(sum);
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
    sum = over<Sum, PER_LINE>(sum);
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
    sum = over<Sum, PER_LINE>(sum);
    if (!line.exists) return;
    for (int a = line.lane; a < length; a += PER_LINE)
        grad_x[line[a]] = grad_y[line[a]] - exp(y[line[a]]) * sum;
}
