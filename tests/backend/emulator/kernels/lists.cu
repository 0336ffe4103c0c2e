// x[k][i] -= rate * g[k][i] for arrays k of different sizes: block k serves array k.
extern "C" __global__ void step(float* const* x, const float* const* g, const int* sizes,
                                float rate) {
    int k = blockIdx.x;
    for (int i = threadIdx.x; i < sizes[k]; i += blockDim.x) x[k][i] -= rate * g[k][i];
}
