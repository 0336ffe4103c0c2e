// Kernels that a processor stops, or that never end: the emulator has to survive them.

extern "C" __global__ void divides(const int* x, int* y) { y[threadIdx.x] = 100 / x[threadIdx.x]; }

extern "C" __global__ void takes_remainders(const int* x, int* y) {
    y[threadIdx.x] = int(100u % unsigned(x[threadIdx.x]));
}

extern "C" __global__ void follows_a_number(const int* x, int* y) {
    const int* nowhere = reinterpret_cast<const int*>(64ull);
    y[threadIdx.x] = nowhere[x[threadIdx.x]];
}

extern "C" __global__ void leaps(const int* x, int* y) {
    y[(1ll << 40) + threadIdx.x] = x[threadIdx.x];
}

__device__ __noinline__ int deep(const int* x, int i) {
    volatile int local[100] = {};
    local[i % 100] = x[i % 4];
    return deep(x, i + 1) + local[(i + 1) % 100];
}
extern "C" __global__ void recurses(const int* x, int* y) { y[threadIdx.x] = deep(x, 0); }

extern "C" __global__ void has_large_arrays(const int* x, int* y) {
    volatile int local[1 << 18];
    for (int i = 0; i < 1 << 18; i++) local[i] = x[i % 4];
    y[threadIdx.x] = local[x[0]];
}

extern "C" __global__ void turns_for_ever(const int* x, int* y) {
    unsigned i = x[0];
    do {
        i = i * 5 + 1;
        asm volatile("");
    } while (i | 1);
    y[threadIdx.x] = int(i);
}

extern "C" __global__ void meets_for_ever(const int* x, int* y) {
    for (unsigned i = x[0]; i | 1; i++) __syncthreads();
    y[threadIdx.x] = 1;
}

extern "C" __global__ void copies(const int* x, int* y) { y[threadIdx.x] = x[threadIdx.x]; }
