"""Convolution layers."""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from ..functional.conv import conv_relu
from . import init
from .lazy import LazyModule
from .linear import uniform_bias
from .module import Module
from .parameter import Parameter, UninitializedParameter, is_lazy

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def ntuple(value: Any, n: int) -> tuple[Any, ...]:
    """(value,) * n for a number; a sequence as a tuple."""
    return tuple(value) if hasattr(value, "__iter__") else (value,) * n


class ConvNd(Module):
    """What convolutions in 1, 2 and 3 dimensions share, the transposed ones too.

    `dims` is the number of spatial dimensions.
    """

    dims = 0
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ):
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = ntuple(kernel_size, self.dims)
        self.stride = ntuple(stride, self.dims)
        self.padding = padding if isinstance(padding, str) else ntuple(padding, self.dims)
        self.dilation = ntuple(dilation, self.dims)
        self.output_padding = ntuple(output_padding, self.dims)
        self.groups = groups
        self.padding_mode = padding_mode
        self._check_settings()
        shape = self.weight_shape()
        self.weight = Parameter(F.empty(*shape, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(F.empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def weight_shape(self) -> tuple[int, ...]:
        """(F, C/groups, *kernel), or transposed (C, F/groups, *kernel)."""
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        return (first, second // self.groups, *self.kernel_size)

    def _check_settings(self) -> None:
        name = type(self).__name__
        for text in ("in_channels", "out_channels", "groups"):
            value, least = getattr(self, text), int(text == "groups")
            if not hasattr(value, "__index__"):
                raise TypeError(f"{name}: {text} expects an integer, got {value!r}")
            if value < least:
                raise ValueError(f"{name}: {text} expects {least} or more, got {value}")
        if len(self.kernel_size) != self.dims or not all(
            hasattr(K, "__index__") for K in self.kernel_size
        ):
            wanted = "an integer" if self.dims == 1 else f"an integer or {self.dims} of them"
            raise TypeError(f"{name}: kernel_size expects {wanted}, got {self.kernel_size}")
        for text in ("in_channels", "out_channels"):
            if getattr(self, text) % self.groups:
                raise ValueError(
                    f"{name}: {text} must be divisible by groups, "
                    f"got {getattr(self, text)} and groups={self.groups}"
                )
        if isinstance(self.padding, str) and self.padding not in ("same", "valid"):
            raise ValueError(
                f"{name}: padding expects numbers, 'same' or 'valid', got {self.padding!r}"
            )
        if self.padding == "same" and any(s != 1 for s in self.stride):
            raise ValueError(f"{name}: padding='same' needs stride 1, got stride={self.stride}")
        if self.padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"{name}: padding_mode expects one of {', '.join(_PADDING_MODES)}, "
                f"got {self.padding_mode!r}"
            )

    def reset_parameters(self) -> None:
        """Draws weight and bias anew, uniform on [-1/sqrt(fan_in), 1/sqrt(fan_in)]."""
        if not is_lazy(self.weight):
            init.kaiming_uniform_(self.weight, a=math.sqrt(5))
            uniform_bias(self.bias, math.prod(self.weight.shape[1:]))

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, "
            f"kernel_size={self.kernel_size}, stride={self.stride}"
        )
        if self.padding != (0,) * self.dims:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.dims:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * self.dims:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Conv(ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            0,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _pads(self) -> list[int]:
        """How much F.pad puts before and behind each spatial axis, the last axis first.

        'same' keeps the size; an odd number puts the greater half behind.
        """
        pads: list[int] = []
        for axis in reversed(range(self.dims)):
            if isinstance(self.padding, str):
                total = self.dilation[axis] * (self.kernel_size[axis] - 1)
                total = total if self.padding == "same" else 0
                pads += [total // 2, total - total // 2]
            else:
                pads += [self.padding[axis]] * 2
        return pads

    def _padded(self, input: Any) -> tuple[Any, Any]:
        """The input and the zero padding that is left for the convolution to do."""
        if self.padding_mode == "zeros":
            return input, self.padding
        return F.pad(input, self._pads(), mode=self.padding_mode), 0

    def before_relu(self, input: Any) -> Any:
        """relu of `forward`, the same to the bit."""
        x, padding = self._padded(input)
        options = (self.stride, padding, self.dilation, self.groups)
        return conv_relu(self.dims, x, self.weight, self.bias, *options)


class Conv1d(_Conv):
    """y[n,f,i] = b[f] + sum over c,p of w[f,c,p] * x[n,c,i*S+p*D-P].

    x (N, C, L) or (C, L); weight (F, C/groups, K), bias (F). Settings as in Conv2d.
    """

    dims = 1

    def forward(self, input: Any) -> Any:
        x, padding = self._padded(input)
        return F.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv2d(_Conv):
    """y[n,f,i,j] = b[f] + sum over c,p,q of w[f,c,p,q] * x[n,c,i*S+p*D-P,j*S+q*D-P].

    x (N, C, H, W) or (C, H, W); weight (F, C/groups, KH, KW), bias (F). padding: zeros (or what
    padding_mode says: reflect, replicate, circular) on both sides, or 'same' or 'valid'.
    """

    dims = 2

    def forward(self, input: Any) -> Any:
        x, padding = self._padded(input)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv3d(_Conv):
    """Conv2d with one more axis: x (N, C, D, H, W) or (C, D, H, W).

    weight (F, C/groups, KD, KH, KW), bias (F). Settings as in Conv2d.
    """

    dims = 3

    def forward(self, input: Any) -> Any:
        x, padding = self._padded(input)
        return F.conv3d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class LazyConvNd(LazyModule, ConvNd):
    """A convolution whose in_channels is that of its first input."""

    def postpone(self, out_channels: int, bias: bool, device: Any, dtype: Any) -> None:
        """Puts parameters without a shape in the place of those that were made for 0 channels."""
        self.out_channels = out_channels
        self._check_settings()
        self.weight = UninitializedParameter(F.empty(0, device=device, dtype=dtype))
        if bias:
            self.bias = UninitializedParameter(F.empty(0, device=device, dtype=dtype))

    def infer_shapes(self, input: Any, output_size: Any = None) -> None:
        if input.ndim not in (self.dims + 1, self.dims + 2):
            raise RuntimeError(
                f"{type(self).__name__}: expects {self.dims + 1} or {self.dims + 2} dimensions, "
                f"got shape {input.shape}"
            )
        channels = input.shape[-self.dims - 1]
        if channels % self.groups:
            raise ValueError(
                f"{type(self).__name__}: the input's {channels} channels cannot be split into "
                f"{self.groups} groups"
            )
        self.in_channels = channels
        self.weight.materialize(self.weight_shape())
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))

    def loaded(self) -> None:
        shape = self.weight.shape
        self.in_channels = shape[0] if self.transposed else shape[1] * self.groups


class _LazyConv(LazyConvNd, _Conv):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(
            0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype
        )
        self.postpone(out_channels, bias, device, dtype)


class LazyConv1d(_LazyConv, Conv1d):
    """Conv1d whose in_channels is that of its first input; then it is a Conv1d."""

    becomes = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """Conv2d whose in_channels is that of its first input; then it is a Conv2d."""

    becomes = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """Conv3d whose in_channels is that of its first input; then it is a Conv3d."""

    becomes = Conv3d
