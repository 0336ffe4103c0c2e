// y[j,i] = x[i,j], x of ROWS x COLUMNS: a tile of 32 x 32 goes through shared memory, by 32 x 8
// threads.
extern "C" __global__ void transpose(const float* __restrict__ x, float* __restrict__ y) {
    __shared__ float tile[32][33];
    int column = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * 32 + threadIdx.y;
    for (int k = 0; k < 32; k += 8)
        if (row + k < ROWS && column < COLUMNS)
            tile[threadIdx.y + k][threadIdx.x] = x[(row + k) * COLUMNS + column];
    __syncthreads();
    column = blockIdx.y * 32 + threadIdx.x, row = blockIdx.x * 32 + threadIdx.y;
    for (int k = 0; k < 32; k += 8)
        if (row + k < COLUMNS && column < ROWS)
            y[(row + k) * ROWS + column] = tile[threadIdx.x][threadIdx.y + k];
}
