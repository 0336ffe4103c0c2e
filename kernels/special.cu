// The error function, element by element.
//
//     erf     y[e] = 2 / sqrt(pi) * integral from 0 to x[e] of exp(-t^2) dt
//     erfc    y[e] = 1 - erf(x[e]), with the digits that the difference would lose
//
// Index map: thread e does element e. Bytes moved: x read, y written, the minimum.

#include "common.cuh"

extern "C" __global__ void erf_of(const scalar* __restrict__ x, scalar* __restrict__ y,
                                  unsigned count) {
    unsigned e = thread_number();
    if (e < count) y[e] = erf(x[e]);
}

extern "C" __global__ void erfc_of(const scalar* __restrict__ x, scalar* __restrict__ y,
                                   unsigned count) {
    unsigned e = thread_number();
    if (e < count) y[e] = erfc(x[e]);
}
