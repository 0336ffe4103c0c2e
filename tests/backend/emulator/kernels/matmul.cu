// c = a b for square matrices of SIZE: a block of TILE x TILE threads computes a tile of c, each
// thread PER x PER of its numbers, in registers.
template <int TILE, int PER>
__global__ void matmul(const float* __restrict__ a, const float* __restrict__ b,
                       float* __restrict__ c) {
    constexpr int EDGE = TILE * PER, DEPTH = TILE;
    __shared__ float rows[DEPTH][EDGE], columns[DEPTH][EDGE];
    float sum[PER][PER] = {};
    int row = blockIdx.y * EDGE, column = blockIdx.x * EDGE, y = threadIdx.y, x = threadIdx.x;
    for (int k = 0; k < SIZE; k += DEPTH) {
        for (int p = 0; p < PER; p++) {
            int r = row + y + p * TILE, d = column + x + p * TILE;
            rows[x][y + p * TILE] = r < SIZE && k + x < SIZE ? a[r * SIZE + k + x] : 0.0f;
            columns[y][x + p * TILE] = d < SIZE && k + y < SIZE ? b[(k + y) * SIZE + d] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < DEPTH; i++)
            for (int p = 0; p < PER; p++)
                for (int q = 0; q < PER; q++)
                    sum[p][q] += rows[i][y + p * TILE] * columns[i][x + q * TILE];
        __syncthreads();
    }
    for (int p = 0; p < PER; p++)
        for (int q = 0; q < PER; q++) {
            int r = row + y + p * TILE, d = column + x + q * TILE;
            if (r < SIZE && d < SIZE) c[r * SIZE + d] = sum[p][q];
        }
}
