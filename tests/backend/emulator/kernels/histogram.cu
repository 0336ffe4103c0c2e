// How often each byte occurs: counted in shared memory, then added to the whole.
extern "C" __global__ void histogram(const unsigned char* __restrict__ x, int* __restrict__ counts,
                                     int n) {
    __shared__ int mine[256];
    mine[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * 256 + threadIdx.x; i < n; i += gridDim.x * 256)
        atomicAdd(&mine[x[i]], 1);
    __syncthreads();
    atomicAdd(&counts[threadIdx.x], mine[threadIdx.x]);
}
