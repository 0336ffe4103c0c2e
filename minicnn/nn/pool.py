"""Pooling layers on x (N, C, L), (N, C, H, W) or (N, C, D, H, W), the batch axis left out or not.

The maths is in functional/: pool.py, adaptive_pool.py, lp_pool.py, unpool.py, stochastic_pool.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import functional as F
from .conv import ntuple
from .module import Module


class _MaxPool(Module):
    """`pool` is the function of functional/ that a layer calls."""

    pool: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Any) -> Any:
        return type(self).pool(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest element of each window of (N, C, L); with return_indices also its place."""

    pool = F.max_pool1d


class MaxPool2d(_MaxPool):
    """The largest element of each window of (N, C, H, W); with return_indices also its place."""

    pool = F.max_pool2d


class MaxPool3d(_MaxPool):
    """The largest element of each window of (N, C, D, H, W); with return_indices also its place."""

    pool = F.max_pool3d


class AvgPool1d(Module):
    """The mean of each window of (N, C, L)."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        super().__init__()
        self.kernel_size = ntuple(kernel_size, 1)
        self.stride = self.kernel_size if stride is None else ntuple(stride, 1)
        self.padding = ntuple(padding, 1)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Any) -> Any:
        return F.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(Module):
    """`pool` is the function of functional/ that a layer calls."""

    pool: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Any) -> Any:
        return type(self).pool(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """The mean of each window of (N, C, H, W)."""

    pool = F.avg_pool2d


class AvgPool3d(_AvgPool):
    """The mean of each window of (N, C, D, H, W)."""

    pool = F.avg_pool3d


class _AdaptiveAvgPool(Module):
    """`pool` is the function of functional/ that a layer calls."""

    pool: Callable[..., Any]

    def __init__(self, output_size: Any):
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Any) -> Any:
        return type(self).pool(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The mean of windows of (N, C, L) so laid that the output has the given length."""

    pool = F.adaptive_avg_pool1d


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The mean of windows so laid that the output has the given size; None keeps an axis."""

    pool = F.adaptive_avg_pool2d


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The mean of windows of (N, C, D, H, W) so laid that the output has the given size."""

    pool = F.adaptive_avg_pool3d


class _AdaptiveMaxPool(Module):
    """`pool` is the function of functional/ that a layer calls."""

    pool: Callable[..., Any]

    def __init__(self, output_size: Any, return_indices: bool = False):
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Any) -> Any:
        return type(self).pool(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest element of windows of (N, C, L) so laid that the output has the given length."""

    pool = F.adaptive_max_pool1d


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest element of windows so laid that the output has the given size."""

    pool = F.adaptive_max_pool2d


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest element of windows of (N, C, D, H, W) laid for the given size of the output."""

    pool = F.adaptive_max_pool3d


class _LPPool(Module):
    """`pool` is the function of functional/ that a layer calls."""

    pool: Callable[..., Any]

    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ):
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Any) -> Any:
        return type(self).pool(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """The norm_type-th root of the sum of powers of each window of (N, C, L)."""

    pool = F.lp_pool1d


class LPPool2d(_LPPool):
    """The norm_type-th root of the sum of powers of each window of (N, C, H, W)."""

    pool = F.lp_pool2d


class LPPool3d(_LPPool):
    """The norm_type-th root of the sum of powers of each window of (N, C, D, H, W)."""

    pool = F.lp_pool3d


class _MaxUnpool(Module):
    """`unpool` is the function of functional/ that a layer calls, `dims` its spatial axes."""

    unpool: Callable[..., Any]
    dims: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0):
        super().__init__()
        self.kernel_size = ntuple(kernel_size, self.dims)
        self.stride = self.kernel_size if stride is None else ntuple(stride, self.dims)
        self.padding = ntuple(padding, self.dims)

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Any:
        return type(self).unpool(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Maxima of (N, C, L) back to where MaxPool1d(return_indices=True) found them, among zeros."""

    unpool, dims = F.max_unpool1d, 1


class MaxUnpool2d(_MaxUnpool):
    """Maxima back to where MaxPool2d(return_indices=True) found them, among zeros."""

    unpool, dims = F.max_unpool2d, 2


class MaxUnpool3d(_MaxUnpool):
    """Maxima of (N, C, D, H, W) back to where MaxPool3d(return_indices=True) found them."""

    unpool, dims = F.max_unpool3d, 3


class StochasticPool2d(Module):
    """In training one element of each window, drawn by its value; in evaluation their mean by it.

    The input is not negative. Zeiler and Fergus 2013; functional/stochastic_pool.py.
    """

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode

    def forward(self, input: Any) -> Any:
        return F.stochastic_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.training
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"ceil_mode={self.ceil_mode}"
        )
