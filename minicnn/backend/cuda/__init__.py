"""The primitives as launches of kernels/*.cu: the names and results of `backend.reference`.

They work on CuPy's arrays, and on those of any other device that runs the kernels (launcher.py). As
for CuPy's own functions, which some of them call, the arrays' GPU should be the current one.
"""

from .conv import (
    conv_algorithm,
    conv_backward,
    conv_forward,
    conv_grad_input,
    conv_grad_weight,
)
from .cross_entropy import cross_entropy_backward, cross_entropy_forward
from .dropout import dropout
from .elementwise import relu_backward, relu_forward
from .gemm import col2im, im2col
from .group_norm import group_norm_forward, group_norm_grad_affine, group_norm_grad_input
from .matmul import matmul
from .norm import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference,
    channel_sums,
    rms_norm_backward,
    rms_norm_forward,
)
from .pool import (
    adaptive_avg_pool_backward,
    adaptive_avg_pool_forward,
    adaptive_max_pool_forward,
    avg_pool_backward,
    avg_pool_forward,
    max_pool_backward,
    max_pool_forward,
    max_pool_gather,
    max_unpool_backward,
    max_unpool_forward,
    stochastic_pool_forward,
)
from .resample import resample
from .softmax import (
    log_softmax_backward,
    log_softmax_forward,
    softmax_backward,
    softmax_forward,
)
from .special import erf, erfc

__all__ = [
    "adaptive_avg_pool_backward",
    "adaptive_avg_pool_forward",
    "adaptive_max_pool_forward",
    "avg_pool_backward",
    "avg_pool_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference",
    "channel_sums",
    "col2im",
    "conv_algorithm",
    "conv_backward",
    "conv_forward",
    "conv_grad_input",
    "conv_grad_weight",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "dropout",
    "erf",
    "erfc",
    "group_norm_forward",
    "group_norm_grad_affine",
    "group_norm_grad_input",
    "im2col",
    "log_softmax_backward",
    "log_softmax_forward",
    "matmul",
    "max_pool_backward",
    "max_pool_forward",
    "max_pool_gather",
    "max_unpool_backward",
    "max_unpool_forward",
    "relu_backward",
    "relu_forward",
    "resample",
    "rms_norm_backward",
    "rms_norm_forward",
    "softmax_backward",
    "softmax_forward",
    "stochastic_pool_forward",
]
