"""The primitives in fast NumPy: the names and results of `backend.reference`, on numpy.ndarray."""

from .adaptive_pool import (
    adaptive_avg_pool_backward,
    adaptive_avg_pool_forward,
    adaptive_max_pool_forward,
)
from .avg_pool import avg_pool_backward, avg_pool_forward
from .axes import col2im, conv_backward, conv_forward, conv_grad_input, conv_grad_weight, im2col
from .cross_entropy import cross_entropy_backward, cross_entropy_forward
from .dropout import dropout
from .elementwise import relu_backward, relu_forward
from .group_norm import group_norm_forward, group_norm_grad_affine, group_norm_grad_input
from .matmul import matmul
from .max_pool import max_pool_backward, max_pool_forward, max_pool_gather
from .norm import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference,
    channel_sums,
    rms_norm_backward,
    rms_norm_forward,
)
from .resample import resample
from .softmax import (
    log_softmax_backward,
    log_softmax_forward,
    softmax_backward,
    softmax_forward,
)
from .special import erf, erfc
from .stochastic_pool import stochastic_pool_forward
from .unpool import max_unpool_backward, max_unpool_forward

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
