// A sparse matrix along one axis: resizing and padding.
//
//     resample    y[o,j,t] = sum over i of A[j,i] * x[o,i,t]
//
// x is (outer, n, inner), y (outer, m, inner). Row j of A has its entries at starts[j] ..
// starts[j+1] - 1 of `columns` and `weights`; without weights all of them are 1.
//
// Index map: thread e gathers y's element number e = (o*m + j)*inner + t, the entries of row j in
// order. The adjoint is the same kernel with A transposed, so it needs no atomics either.
//
// Bytes moved, in elements: x read, once from memory and the rest from the caches, y written; the
// matrix, m and a few numbers for each entry, is small against both.

#include "common.cuh"

extern "C" __global__ void resample(const scalar* __restrict__ x, const int* __restrict__ starts,
                                    const int* __restrict__ columns,
                                    const scalar* __restrict__ OPTIONAL weights,
                                    scalar* __restrict__ y, unsigned n, unsigned m,
                                    unsigned inner, unsigned count) {
    unsigned e = thread_number();
    if (e >= count) return;
    unsigned t = e % inner, j = e / inner % m, o = e / inner / m;
    const scalar* line = x + o * n * inner + t;
    scalar sum = 0;
    for (int entry = starts[j]; entry < starts[j + 1]; ++entry) {
        scalar value = line[columns[entry] * inner];
        sum += weights ? weights[entry] * value : value;
    }
    y[e] = sum;
}
