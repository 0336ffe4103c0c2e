"""The primitives in fast NumPy: the names and results of `backend.reference`, on numpy.ndarray.

A family is loaded when one of its primitives is first asked for: all of them together would take a
tenth of the time that `import minicnn` takes. Those that are named as their file must be there from
the start, as the package would have the file under that name.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from . import threads
from .dropout import dropout
from .matmul import matmul
from .resample import resample

_FAMILIES = {
    "adaptive_pool": (
        "adaptive_avg_pool_backward",
        "adaptive_avg_pool_forward",
        "adaptive_max_pool_forward",
    ),
    "avg_pool": (
        "avg_pool_backward",
        "avg_pool_forward",
    ),
    "axes": (
        "col2im",
        "conv_backward",
        "conv_forward",
        "conv_grad_input",
        "conv_grad_weight",
        "im2col",
    ),
    "cross_entropy": (
        "cross_entropy_backward",
        "cross_entropy_forward",
    ),
    "elementwise": (
        "relu_backward",
        "relu_forward",
    ),
    "group_norm": (
        "group_norm_forward",
        "group_norm_grad_affine",
        "group_norm_grad_input",
    ),
    "max_pool": (
        "max_pool_backward",
        "max_pool_forward",
        "max_pool_gather",
    ),
    "norm": (
        "batch_norm_backward",
        "batch_norm_forward",
        "batch_norm_inference",
        "channel_sums",
        "rms_norm_backward",
        "rms_norm_forward",
    ),
    "softmax": (
        "log_softmax_backward",
        "log_softmax_forward",
        "softmax_backward",
        "softmax_forward",
    ),
    "special": (
        "erf",
        "erfc",
    ),
    "stochastic_pool": ("stochastic_pool_forward",),
    "unpool": (
        "max_unpool_backward",
        "max_unpool_forward",
    ),
}
_HOME = {name: family for family, names in _FAMILIES.items() for name in names}

__all__ = ["dropout", "matmul", "resample", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with threads.loading:
        family = import_module(f"{__name__}.{_HOME[name]}")
    return globals().setdefault(name, getattr(family, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
