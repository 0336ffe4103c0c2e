// Pooling: the largest value or the mean of each window, and their gradients.
//
//     max_pool_forward     y[n,c,i,j] = max over p,q of x[n,c,h,k];  indices[n,c,i,j] = h*W + k
//     max_pool_backward    grad_x[n,c,h,k] = sum of grad_y[n,c,i,j] over the windows (i,j) over
//                          (h,k) with indices[n,c,i,j] = h*W + k
//     avg_pool_forward     y[n,c,i,j] = (sum over p,q of x[n,c,h,k]) / divisor(i,j)
//     avg_pool_backward    grad_x[n,c,h,k] = sum over the windows (i,j) over (h,k) of
//                          grad_y[n,c,i,j] / divisor(i,j)
//     stochastic_pool_forward   y[n,c,i,j] = x[n,c,h,k], the first place of the window at which the
//                          running sum of x exceeds u[n,c,i,j] times the whole sum
//
// with h = i*S + p*D - P, k = j*S + q*D - P, padding left out; with -DADAPTIVE, rows
// floor(i*H/OH) .. ceil((i+1)*H/OH) - 1 and columns likewise. Of equal values the first in reading
// order wins; NaN beats every number, and the last NaN of a window wins.
//
// And three kernels for indices of which no windows are known (those of unpooling, say):
//
//     max_pool_scatter     grad_x[n,c,h,k] = sum of grad_y[n,c,i,j] over the (i,j) with that index
//     max_unpool_forward   y[n,c,h,k] = x[n,c,i,j] for the last (i,j) with that index, else 0
//     max_unpool_backward  grad_x[n,c,i,j] = grad_y[n,c,h,k] if (i,j) is the last with its index
//
// Index map. A plane is one (n,c). Forward: thread e writes y's element number
// e = (plane*OH + i)*OW + j. Backward: thread e writes grad_x's element number
// e = (plane*H + h)*W + k, and gathers from the few windows over (h,k); so nothing collides where
// windows overlap, and the sum has a fixed order. The last three: thread e walks all of plane e in
// reading order. That is slow, but as deterministic as the loop that it is.
//
// Bytes moved, in elements of x: max forward reads N*C*H*W and writes N*C*OH*OW values and as many
// indices of 8 bytes; max backward reads those and writes N*C*H*W; average the same without the
// indices; stochastic reads x twice, the second time from the cache, and u, of 8 bytes, in place of
// writing values. Where windows overlap, the repeated reads hit the caches. It is the minimum but
// for the indices, which one byte each (the tap's number) could hold. The last three move no more
// than max pooling does, but for `last`, 4 bytes for each of N*C*H*W; yet a thread walks its plane
// far from its neighbours, so each element costs a whole transaction of 32 bytes.

#include "windows.cuh"

#ifndef DIVISOR
#define DIVISOR 0  // average pooling: what to divide by, or 0 for the size of the window
#endif
#ifndef COUNT_PADDING
#define COUNT_PADDING 1  // whether the padding belongs to the size
#endif

__device__ inline int divisor(int o, int i, int j) {
    if (DIVISOR != 0) return DIVISOR;
    return Depth::count(o, COUNT_PADDING) * Height::count(i, COUNT_PADDING) *
           Width::count(j, COUNT_PADDING);
}

extern "C" __global__ void max_pool_forward(const scalar* __restrict__ x, scalar* __restrict__ y,
                                            long long* __restrict__ indices, unsigned count) {
    unsigned e = thread_number();
    if (e >= count) return;
    unsigned plane = e;
    int j = take(plane, Width::out), i = take(plane, Height::out), o = take(plane, Depth::out);
    const scalar* values = x + plane * INPUTS;
    scalar best = 0;
    int winner = -1;
    for (int r = 0; r < Depth::taps; ++r)
        for (int p = 0; p < Height::taps; ++p)
            for (int q = 0; q < Width::taps; ++q) {
                if (!Depth::inside(o, r) || !Height::inside(i, p) || !Width::inside(j, q)) continue;
                int number =
                    input_number(Depth::input(o, r), Height::input(i, p), Width::input(j, q));
                scalar value = values[number];
                if (winner < 0 || value > best || value != value) {
                    best = value;
                    winner = number;
                }
            }
    y[e] = best;
    indices[e] = winner;
}

extern "C" __global__ void max_pool_backward(const scalar* __restrict__ grad_y,
                                             const long long* __restrict__ indices,
                                             scalar* __restrict__ grad_x, unsigned count) {
    unsigned e = thread_number();
    if (e >= count) return;
    unsigned plane = e;
    int k = take(plane, Width::size), h = take(plane, Height::size), d = take(plane, Depth::size);
    int number = input_number(d, h, k);
    scalar sum = 0;
    for (int o = Depth::first(d); o <= Depth::last(d); ++o)
        for (int i = Height::first(h); i <= Height::last(h); ++i)
            for (int j = Width::first(k); j <= Width::last(k); ++j) {
                unsigned window = plane * OUTPUTS + output_number(o, i, j);
                if (indices[window] == number) sum += grad_y[window];
            }
    grad_x[e] = sum;
}

extern "C" __global__ void avg_pool_forward(const scalar* __restrict__ x, scalar* __restrict__ y,
                                            unsigned count) {
    unsigned e = thread_number();
    if (e >= count) return;
    unsigned plane = e;
    int j = take(plane, Width::out), i = take(plane, Height::out), o = take(plane, Depth::out);
    const scalar* values = x + plane * INPUTS;
    scalar sum = 0;
    for (int r = 0; r < Depth::taps; ++r)
        for (int p = 0; p < Height::taps; ++p)
            for (int q = 0; q < Width::taps; ++q)
                if (Depth::inside(o, r) && Height::inside(i, p) && Width::inside(j, q))
                    sum += values[input_number(Depth::input(o, r), Height::input(i, p),
                                               Width::input(j, q))];
    y[e] = sum / scalar(divisor(o, i, j));
}

extern "C" __global__ void avg_pool_backward(const scalar* __restrict__ grad_y,
                                             scalar* __restrict__ grad_x, unsigned count) {
    unsigned e = thread_number();
    if (e >= count) return;
    unsigned plane = e;
    int k = take(plane, Width::size), h = take(plane, Height::size), d = take(plane, Depth::size);
    const scalar* windows = grad_y + plane * OUTPUTS;
    scalar sum = 0;
    for (int o = Depth::first(d); o <= Depth::last(d); ++o)
        for (int i = Height::first(h); i <= Height::last(h); ++i)
            for (int j = Width::first(k); j <= Width::last(k); ++j)
                if (Depth::reads(o, d) && Height::reads(i, h) && Width::reads(j, k))
                    sum += windows[output_number(o, i, j)] / scalar(divisor(o, i, j));
    grad_x[e] = sum;
}

// The sums are taken in double, as u is: the drawn place must not hang on rounding.
extern "C" __global__ void stochastic_pool_forward(const scalar* __restrict__ x,
                                                   const double* __restrict__ u,
                                                   long long* __restrict__ indices,
                                                   unsigned count) {
    unsigned e = thread_number();
    if (e >= count) return;
    unsigned plane = e;
    int j = take(plane, Width::out), i = take(plane, Height::out), o = take(plane, Depth::out);
    const scalar* values = x + plane * INPUTS;
    double whole = 0, running = 0;
    int drawn = -1;
    for (int turn = 0; turn < 2; ++turn) {  // first the whole sum, then the draw
        bool found = false;
        for (int r = 0; r < Depth::taps; ++r)
            for (int p = 0; p < Height::taps; ++p)
                for (int q = 0; q < Width::taps; ++q) {
                    if (!Depth::inside(o, r) || !Height::inside(i, p) || !Width::inside(j, q))
                        continue;
                    int number =
                        input_number(Depth::input(o, r), Height::input(i, p), Width::input(j, q));
                    if (turn == 0) {
                        whole += values[number];
                        if (drawn < 0) drawn = number;
                        continue;
                    }
                    running += values[number];
                    if (!found && running > u[e] * whole) {
                        found = true;
                        drawn = number;
                    }
                }
    }
    indices[e] = drawn;
}

// Below, a thread for each plane; an index outside the plane is passed over.

extern "C" __global__ void max_pool_scatter(const scalar* __restrict__ grad_y,
                                            const long long* __restrict__ indices,
                                            scalar* __restrict__ grad_x, unsigned planes) {
    unsigned plane = thread_number();
    if (plane >= planes) return;
    scalar* pixels = grad_x + plane * INPUTS;
    for (int number = 0; number < INPUTS; ++number) pixels[number] = 0;
    for (int window = 0; window < OUTPUTS; ++window) {
        long long number = indices[plane * OUTPUTS + window];
        if (0 <= number && number < INPUTS) pixels[number] += grad_y[plane * OUTPUTS + window];
    }
}

extern "C" __global__ void max_unpool_forward(const scalar* __restrict__ x,
                                              const long long* __restrict__ indices,
                                              scalar* __restrict__ y, unsigned planes) {
    unsigned plane = thread_number();
    if (plane >= planes) return;
    scalar* pixels = y + plane * INPUTS;
    for (int number = 0; number < INPUTS; ++number) pixels[number] = 0;
    for (int window = 0; window < OUTPUTS; ++window) {
        long long number = indices[plane * OUTPUTS + window];
        if (0 <= number && number < INPUTS) pixels[number] = x[plane * OUTPUTS + window];
    }
}

extern "C" __global__ void max_unpool_backward(const scalar* __restrict__ grad_y,
                                               const long long* __restrict__ indices,
                                               int* __restrict__ last,
                                               scalar* __restrict__ grad_x, unsigned planes) {
    unsigned plane = thread_number();
    if (plane >= planes) return;
    for (int window = 0; window < OUTPUTS; ++window) {
        long long number = indices[plane * OUTPUTS + window];
        if (0 <= number && number < INPUTS) last[plane * INPUTS + number] = window;
    }
    for (int window = 0; window < OUTPUTS; ++window) {
        long long number = indices[plane * OUTPUTS + window];
        bool is_last = 0 <= number && number < INPUTS && last[plane * INPUTS + number] == window;
        grad_x[plane * OUTPUTS + window] = is_last ? grad_y[plane * INPUTS + number] : scalar(0);
    }
}
