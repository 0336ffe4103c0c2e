// Lines of an array along one axis, and the threads that share one.
//
// x is (outer, length, inner): entry a of line (o, t) is element number (o*length + a)*inner + t.
// PER_LINE, from the command line, neighbouring threads share a line, and each takes every
// PER_LINE-th entry of it:
//
//     1      a thread for each line. For inner > 1: neighbouring threads do neighbouring lines,
//            whose entries lie side by side
//     32     a warp for each line: for lines that are contiguous
//     256    a block for each line: for the long ones
//
// Maxima and sums over these threads go by a tree of fixed order. Threads beyond the last line go
// along with it, so that no shuffle misses a lane, and write nothing. A line's number comes from
// its block's, not from a thread's: there may be more threads than 32 bits count.

#pragma once

#include "common.cuh"

// The line of this thread, and which of its entries the thread takes.
struct Line {
    unsigned number;  // o*inner + t
    unsigned first;   // the number of entry 0
    unsigned inner;   // the step from one entry to the next
    int lane;
    bool exists;

    __device__ Line(unsigned lines, unsigned length, unsigned inner_size) : inner(inner_size) {
        number = blockIdx.x * (blockDim.x / PER_LINE) + threadIdx.x / PER_LINE;
        exists = number < lines;
        if (!exists) number = lines - 1;
        first = number / inner * length * inner + number % inner;
        lane = int(threadIdx.x % PER_LINE);
    }
    __device__ unsigned operator[](int a) const { return first + a * inner; }
};
