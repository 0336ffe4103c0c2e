// Sums of the elements of x, one for each block: by a tree in shared memory, and by shuffles.
using T = SCALAR;
extern __shared__ __align__(16) unsigned char memory[];

extern "C" __global__ void tree(const T* __restrict__ x, T* __restrict__ sums, int n) {
    T* part = reinterpret_cast<T*>(memory);
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    part[threadIdx.x] = i < n ? x[i] : T(0);
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    }
    if (threadIdx.x == 0) sums[blockIdx.x] = part[0];
}

__device__ T over_warp(T value) {
    for (int lanes = 16; lanes > 0; lanes /= 2)
        value += __shfl_down_sync(0xffffffffu, value, lanes);
    return value;
}

extern "C" __global__ void __launch_bounds__(1024)
    shuffles(const T* __restrict__ x, T* __restrict__ sums, int n) {
    __shared__ T part[32];
    int i = blockIdx.x * blockDim.x + threadIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    T value = over_warp(i < n ? x[i] : T(0));
    if (lane == 0) part[warp] = value;
    __syncthreads();
    if (warp == 0) {
        value = over_warp(lane < blockDim.x / 32 ? part[lane] : T(0));
        if (lane == 0) sums[blockIdx.x] = value;
    }
}

// The sum over all blocks: the last block to finish adds up what the others have written.
extern "C" __global__ void whole(const T* x, T* sums, unsigned* finished, T* total, int n) {
    __shared__ bool last;
    int i = blockIdx.x * 32 + threadIdx.x;
    T value = over_warp(i < n ? x[i] : T(0));
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = value;
        __threadfence();
        last = atomicAdd(finished, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        T sum = 0;
        for (int b = 0; b < gridDim.x; b++) sum += sums[b];
        *total = sum;
    }
}
