// The sum of arrays that lie one behind the other: what splits of a reduction leave behind.
//
//     sum[e] = parts[0*count + e] + parts[1*count + e] + ...
//
// Index map: thread e adds up element e, the parts in ascending order, so that the result has the
// same bits each time. Bytes moved: all parts read, the sum written, the minimum.

#include "common.cuh"

extern "C" __global__ void add_parts(const scalar* __restrict__ parts, scalar* __restrict__ sum,
                                     unsigned splits, unsigned count) {
    unsigned e = thread_number();
    if (e >= count) return;
    scalar value = 0;
    for (unsigned part = 0; part < splits; ++part) value += parts[part * count + e];
    sum[e] = value;
}
