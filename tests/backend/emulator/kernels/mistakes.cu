// One mistake in each kernel, on the line marked HERE: what the checked mode must find, and where.
// They run with x and y of n elements, in 4 blocks of 64 threads, with 256 bytes of dynamic memory.
extern __shared__ __align__(16) unsigned char memory[];

__device__ int number() { return blockIdx.x * blockDim.x + threadIdx.x; }

extern "C" __global__ void reads_past_the_end(const float* x, float* y, int n) {
    int i = number();
    if (i < n) y[i] = x[i + 1] - x[i];  // HERE
}

extern "C" __global__ void forgets_the_bound(const float* x, float* y, int n) {
    int i = number();
    y[i] = 1.0f;  // HERE
}

extern "C" __global__ void reads_before_the_start(const float* x, float* y, int n) {
    int i = number();
    if (i < n) y[i] = x[i - 1];  // HERE
}

extern "C" __global__ void follows_a_wild_pointer(const float* x, float* y, int n) {
    const float* nowhere = x + 1000000000;
    if (number() == 0) y[0] = *nowhere;  // HERE
}

extern "C" __global__ void takes_too_little_shared_memory(const float* x, float* y, int n) {
    float* part = reinterpret_cast<float*>(memory);
    part[threadIdx.x + 1] = 1.0f;  // HERE
}

extern "C" __global__ void leaves_its_row(const float* x, float* y, int n) {
    __shared__ float tile[8][8];
    tile[threadIdx.x / 8][threadIdx.x % 8 + 1] = 1.0f;  // HERE
}

extern "C" __global__ void leaves_its_registers(const float* x, float* y, int n) {
    float mine[4] = {};
    for (int i = 0; i <= n / 50; i++) mine[i] += x[i];  // HERE
    if (number() < n) y[number()] = mine[0] + mine[3];
}

extern "C" __global__ void reads_what_nobody_wrote(const float* x, float* y, int n) {
    __shared__ float part[65];
    part[threadIdx.x] = 1.0f;
    __syncthreads();
    if (number() < n) y[number()] = part[threadIdx.x + 1];  // HERE
}

extern "C" __global__ void forgets_the_barrier(const float* x, float* y, int n) {
    __shared__ float part[64];
    part[threadIdx.x] = 1.0f;
    if (number() < n) y[number()] = part[63 - threadIdx.x];  // HERE
}

extern "C" __global__ void writes_again_too_soon(const float* x, float* y, int n) {
    __shared__ float part[64];
    for (int k = 0; k < 2; k++) {
        part[threadIdx.x] = float(k);  // HERE
        __syncthreads();
        if (number() < n) y[number()] = part[63 - threadIdx.x];
    }
}

extern "C" __global__ void trusts_the_warp(const float* x, float* y, int n) {
    __shared__ float part[64];
    part[threadIdx.x] = 1.0f;
    __syncthreads();
    if (threadIdx.x < 16) part[threadIdx.x] += part[threadIdx.x + 16];
    if (threadIdx.x < 8) part[threadIdx.x] += part[threadIdx.x + 8];  // HERE
}

extern "C" __global__ void adds_without_atomics(const float* x, float* y, int n) {
    y[blockIdx.x / 2 + threadIdx.x] += 1.0f;  // HERE
}

extern "C" __global__ void mixes_atomics_and_stores(const float* x, float* y, int n) {
    if (threadIdx.x == 0) y[0] = 0.0f;  // HERE
    atomicAdd(&y[0], 1.0f);
}

extern "C" __global__ void reads_another_block(const float* x, float* y, int n) {
    if (threadIdx.x == 0) y[blockIdx.x] = 1.0f;
    if (threadIdx.x == 1) y[blockIdx.x + 4] = y[3 - blockIdx.x];  // HERE
}

extern "C" __global__ void waits_in_a_branch(const float* x, float* y, int n) {
    if (threadIdx.x < 32) __syncthreads();  // HERE
}

extern "C" __global__ void waits_at_two_barriers(const float* x, float* y, int n) {
    if (threadIdx.x < 32)
        __syncthreads();  // HERE
    else
        __syncthreads();
}

extern "C" __global__ void spins(const float* x, float* y, int n) {
    volatile float* flag = y;
    if (threadIdx.x == 32) atomicExch(&y[blockIdx.x], 1.0f);
    if (threadIdx.x != 32) {
        while (flag[blockIdx.x + 8] == 0) continue;  // HERE
    }
}

extern "C" __global__ void waits_once_more(const float* x, float* y, int n) {
    for (int i = 0; i <= threadIdx.x / 32; i++) __syncthreads();  // HERE
}

extern "C" __global__ void returns_before_the_barrier(const float* x, float* y, int n) {
    if (number() >= n) return;
    __syncthreads();  // HERE
}

extern "C" __global__ void waits_for_absent_lanes(const float* x, float* y, int n) {
    float value = 1.0f;
    if (threadIdx.x % 32 < 16) value = __shfl_down_sync(0xffffffffu, value, 8);  // HERE
    if (number() < n) y[number()] = value;
}

extern "C" __global__ void shuffles_and_waits(const float* x, float* y, int n) {
    if (threadIdx.x < 8)
        __syncwarp();  // HERE
    else
        __syncthreads();
}

extern "C" __global__ void reads_a_lane_outside_its_mask(const float* x, float* y, int n) {
    if (threadIdx.x % 32 < 16) y[0] = __shfl_sync(0xffffu, 1.0f, 20);  // HERE
}

extern "C" __global__ void forgets_itself_in_the_mask(const float* x, float* y, int n) {
    __syncwarp(1u);  // HERE
}

extern "C" __global__ void reads_four_at_an_odd_place(const float* x, float* y, int n) {
    float4 v = *reinterpret_cast<const float4*>(x + threadIdx.x);  // HERE
    if (blockIdx.x == 0) y[threadIdx.x] = v.x + v.y + v.z + v.w;
}

extern "C" __global__ void overflows(const float* x, float* y, int n) {
    int i = number() * 100000000 / 100000000;  // HERE
    if (i < n) y[i] = 1.0f;
}

extern "C" __global__ void divides_by_zero(const float* x, float* y, int n) {
    int i = n / (number() % 64);  // HERE
    if (i == -1) y[0] = 1.0f;
}

extern "C" __global__ void breaks_its_promise(const float* x, float* y, int n) {
    assert(number() < n);  // HERE
}

extern "C" __global__ void reads_past_an_array_of_a_table(float* const* arrays, int n) {
    arrays[0][number()] = arrays[1][number()];  // HERE
}
