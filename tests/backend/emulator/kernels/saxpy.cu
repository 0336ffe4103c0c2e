// y = a*x + y, an element a thread.
extern "C" __global__ void saxpy(const float* __restrict__ x, float* __restrict__ y, float a,
                                 int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + y[i];
}

// Four elements a thread, in one access each.
extern "C" __global__ void saxpy4(const float* __restrict__ x, float* __restrict__ y, float a,
                                  int n) {
    int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (i + 3 < n) {
        float4 v = *reinterpret_cast<const float4*>(x + i), w = *reinterpret_cast<float4*>(y + i);
        w.x += a * v.x, w.y += a * v.y, w.z += a * v.z, w.w += a * v.w;
        *reinterpret_cast<float4*>(y + i) = w;
    } else {
        for (; i < n; i++) y[i] += a * x[i];
    }
}
