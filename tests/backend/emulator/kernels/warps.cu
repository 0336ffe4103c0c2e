// What each warp operation gives, a row of `out` for each.
extern "C" __global__ void warps(const int* x, int* out) {
    constexpr unsigned ALL = 0xffffffffu;
    int i = threadIdx.x, value = x[i];
    out[i] = __shfl_sync(ALL, value, 3, 8);
    out[64 + i] = __shfl_up_sync(ALL, value, 2, 16);
    out[128 + i] = __shfl_down_sync(ALL, value, 5);
    out[192 + i] = __shfl_xor_sync(ALL, value, 6);
    out[256 + i] = __ballot_sync(ALL, value % 2);
    out[320 + i] = __any_sync(ALL, value > 35);
    out[384 + i] = __all_sync(ALL, value >= 0);
    out[448 + i] = __syncthreads_count(value > 10);
}

// out[e] = e, e being the number of a thread in the whole grid, its x running fastest.
extern "C" __global__ void numbers(int* out) {
    int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    int e = block * (blockDim.x * blockDim.y * blockDim.z) + thread;
    out[e] = e;
}
