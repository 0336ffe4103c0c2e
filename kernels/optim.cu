// A step of an optimizer for all parameters of a network in one launch.
//
//     g <- clip * grad,  -clip * grad with `maximize`          clip: see below; 1 without
//
//     sgd    g <- g + weight_decay * p
//            v <- momentum * v + (1 - dampening) * g           v <- g at the first step
//            p <- p - lr * (g + momentum * v  if nesterov,  else v;  g without momentum)
//
//     adam   g <- g + weight_decay * p                         with `decoupled` (AdamW) instead:
//                                                              p <- p - lr * weight_decay * p
//            m <- beta1 * m + (1 - beta1) * g                  v <- beta2 * v + (1 - beta2) * g^2
//            p <- p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
//            and with amsgrad the largest v so far for v in the last line
//
//     gradient_squares, clip_coefficient    norm = sqrt(sum of all grad^2)
//                                           clip = min(1, max_norm / (norm + 1e-6))
//     scaled                                grad <- clip * grad, for a clipping without a step
//
// A network has dozens of parameters, most of them small: a launch for each would cost more than
// the arithmetic. Here the parameters, gradients and states are tables of addresses in device
// memory, and the blocks are dealt out over all of them. What changes from step to step (lr, t) is
// an array in device memory, too, so that a recorded launch can be replayed.
//
// Index map. Block number blockIdx.x works on the CHUNK elements of array tensors[blockIdx.x] from
// starts[blockIdx.x]; thread t does elements t, t + 256, ... of them. No element is anyone else's.
// The sum of squares goes by a tree in the block and in order over the blocks: the same bits.
//
// Bytes moved, in elements: sgd with momentum reads p, grad, v and writes p, v: 5; adam reads 4 and
// writes 3: 7; the norm reads 1, scaled reads 1 and writes 1. The minimum; clipping in the pass of
// the norm would need the norm before.

#include "common.cuh"

constexpr int THREADS = 256;
constexpr int CHUNK = 4096;

// The part of its array that this block works on.
struct Part {
    int tensor;
    unsigned start, stop;

    __device__ Part(const int* tensors, const unsigned* starts, const unsigned* sizes)
        : tensor(tensors[blockIdx.x]), start(starts[blockIdx.x]) {
        stop = min(sizes[tensor], start + CHUNK);
    }
};

__device__ inline scalar clipped(scalar grad, const scalar* clip, int maximize) {
    if (clip) grad *= clip[0];
    return maximize ? -grad : grad;
}

// settings: lr, momentum, dampening, weight_decay. velocities is null without momentum.
extern "C" __global__ void __launch_bounds__(THREADS)
    sgd(scalar* const* __restrict__ params, const scalar* const* __restrict__ grads,
        scalar* const* __restrict__ OPTIONAL velocities, const int* __restrict__ tensors,
        const unsigned* __restrict__ starts, const unsigned* __restrict__ sizes,
        const double* __restrict__ settings, const scalar* __restrict__ OPTIONAL clip, int first,
        int nesterov, int maximize) {
    Part part(tensors, starts, sizes);
    scalar* p = params[part.tensor];
    const scalar* grad = grads[part.tensor];
    scalar lr = scalar(settings[0]), momentum = scalar(settings[1]);
    scalar undamped = scalar(1 - settings[2]), decay = scalar(settings[3]);
    for (unsigned e = part.start + threadIdx.x; e < part.stop; e += THREADS) {
        scalar g = clipped(grad[e], clip, maximize);
        if (decay != 0) g += decay * p[e];
        if (velocities) {
            scalar* v = velocities[part.tensor];
            scalar velocity = first ? g : momentum * v[e] + undamped * g;
            v[e] = velocity;
            g = nesterov ? g + momentum * velocity : velocity;
        }
        p[e] -= lr * g;
    }
}

// settings: lr, beta1, beta2, eps, weight_decay, t. largest is null without amsgrad.
extern "C" __global__ void __launch_bounds__(THREADS)
    adam(scalar* const* __restrict__ params, const scalar* const* __restrict__ grads,
         scalar* const* __restrict__ means, scalar* const* __restrict__ squares,
         scalar* const* __restrict__ OPTIONAL largest, const int* __restrict__ tensors,
         const unsigned* __restrict__ starts, const unsigned* __restrict__ sizes,
         const double* __restrict__ settings, const scalar* __restrict__ OPTIONAL clip,
         int decoupled, int maximize) {
    __shared__ scalar corrected[2];  // lr / (1 - beta1^t) and sqrt(1 - beta2^t)
    if (threadIdx.x == 0) {
        corrected[0] = scalar(settings[0] / (1 - pow(settings[1], settings[5])));
        corrected[1] = scalar(sqrt(1 - pow(settings[2], settings[5])));
    }
    __syncthreads();
    scalar rate = corrected[0], root = corrected[1];
    scalar lr = scalar(settings[0]), eps = scalar(settings[3]), decay = scalar(settings[4]);
    scalar part1 = scalar(1 - settings[1]), beta2 = scalar(settings[2]);
    scalar part2 = scalar(1 - settings[2]);
    Part part(tensors, starts, sizes);
    scalar* p = params[part.tensor];
    const scalar* grad = grads[part.tensor];
    scalar *m = means[part.tensor], *v = squares[part.tensor];
    for (unsigned e = part.start + threadIdx.x; e < part.stop; e += THREADS) {
        scalar g = clipped(grad[e], clip, maximize), value = p[e];
        if (decoupled)
            value *= 1 - lr * decay;
        else
            g += decay * value;
        scalar mean = m[e] + part1 * (g - m[e]);
        scalar square = beta2 * v[e] + part2 * g * g;
        m[e] = mean;
        v[e] = square;
        if (largest) {
            scalar* most = largest[part.tensor];
            square = most[e] > square ? most[e] : square;  // NaN stays
            most[e] = square;
        }
        p[e] = value - rate * mean / (sqrt(square) / root + eps);
    }
}

// partial[b] = the sum of grad^2 over the elements of block b.
extern "C" __global__ void __launch_bounds__(THREADS)
    gradient_squares(const scalar* const* __restrict__ grads, const int* __restrict__ tensors,
                     const unsigned* __restrict__ starts, const unsigned* __restrict__ sizes,
                     scalar* __restrict__ partial) {
    Part part(tensors, starts, sizes);
    const scalar* grad = grads[part.tensor];
    scalar sum = 0;
    for (unsigned e = part.start + threadIdx.x; e < part.stop; e += THREADS)
        sum += grad[e] * grad[e];
    sum = over_block<Sum, THREADS>(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// One block: norm[0] and clip[0] from the sums of all blocks.
extern "C" __global__ void __launch_bounds__(THREADS)
    clip_coefficient(const scalar* __restrict__ partial, double max_norm,
                     scalar* __restrict__ norm, scalar* __restrict__ clip, unsigned blocks) {
    scalar sum = 0;
    for (unsigned b = threadIdx.x; b < blocks; b += THREADS) sum += partial[b];
    sum = over_block<Sum, THREADS>(sum);
    if (threadIdx.x != 0) return;
    scalar length = sqrt(sum), coefficient = scalar(max_norm) / (length + scalar(1e-6));
    norm[0] = length;
    clip[0] = coefficient > 1 ? scalar(1) : coefficient;  // NaN stays
}

// grad <- clip[0] * grad
extern "C" __global__ void __launch_bounds__(THREADS)
    scaled(scalar* const* __restrict__ grads, const int* __restrict__ tensors,
           const unsigned* __restrict__ starts, const unsigned* __restrict__ sizes,
           const scalar* __restrict__ clip) {
    Part part(tensors, starts, sizes);
    scalar* grad = grads[part.tensor];
    scalar factor = clip[0];
    for (unsigned e = part.start + threadIdx.x; e < part.stop; e += THREADS) grad[e] *= factor;
}
