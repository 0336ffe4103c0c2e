"""Transposed convolution layers."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from .conv import ConvNd, LazyConvNd


class _ConvTranspose(ConvNd):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        name = type(self).__name__
        if padding_mode != "zeros":
            raise ValueError(f"{name}: padding_mode expects 'zeros', got {padding_mode!r}")
        if isinstance(padding, str):
            raise TypeError(f"{name}: padding expects numbers, got {padding!r}")
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            output_padding,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _output_padding(self, input: Any, output_size: Any) -> Any:
        """What has to be added behind for an output of output_size; None: what was set."""
        if output_size is None:
            return self.output_padding
        name, dims = type(self).__name__, self.dims
        if not hasattr(output_size, "__iter__"):
            raise TypeError(
                f"{name}: output_size expects a sequence of {dims} or {input.ndim} sizes, "
                f"got {output_size!r}"
            )
        wanted = tuple(output_size)
        if len(wanted) == input.ndim:
            wanted = wanted[-dims:]
        if len(wanted) != dims:
            raise ValueError(
                f"{name}: output_size expects {dims} or {input.ndim} sizes for an input of shape "
                f"{tuple(input.shape)}, got {tuple(output_size)}"
            )
        smallest = tuple(
            [
                (H - 1) * S - 2 * P + D * (K - 1) + 1
                for H, S, P, D, K in zip(
                    input.shape[-dims:],
                    self.stride,
                    self.padding,
                    self.dilation,
                    self.kernel_size,
                    strict=True,
                )
            ]
        )
        rest = tuple([size - least for size, least in zip(wanted, smallest, strict=True)])
        if any(not 0 <= R < S for R, S in zip(rest, self.stride, strict=True)):
            largest = tuple([n + S - 1 for n, S in zip(smallest, self.stride, strict=True)])
            raise ValueError(
                f"{name}: output_size expects sizes from {smallest} to {largest} for an input of "
                f"shape {tuple(input.shape)}, got {wanted}"
            )
        return rest


class ConvTranspose1d(_ConvTranspose):
    """y[n,f,h] = b[f] + sum over c and (i,p) with i*S + p*D - P = h of w[c,f,p] * x[n,c,i].

    x (N, C, L) or (C, L); weight (C, F/groups, K), bias (F). Settings as in ConvTranspose2d.
    """

    dims = 1

    def forward(self, input: Any, output_size: Any = None) -> Any:
        rest = self._output_padding(input, output_size)
        options = (self.stride, self.padding, rest, self.groups, self.dilation)
        return F.conv_transpose1d(input, self.weight, self.bias, *options)


class ConvTranspose2d(_ConvTranspose):
    """y[n,f,h,k] = b[f] + sum of w[c,f,p,q] * x[n,c,i,j] where i*S+p*D-P = h, j*S+q*D-P = k.

    x (N, C, H, W) or (C, H, W); weight (C, F/groups, KH, KW), bias (F). The output has
    (H-1)*S - 2*P + D*(KH-1) + output_padding + 1 rows; called with an output_size, the layer finds
    the output_padding for it.
    """

    dims = 2

    def forward(self, input: Any, output_size: Any = None) -> Any:
        rest = self._output_padding(input, output_size)
        options = (self.stride, self.padding, rest, self.groups, self.dilation)
        return F.conv_transpose2d(input, self.weight, self.bias, *options)


class ConvTranspose3d(_ConvTranspose):
    """ConvTranspose2d with one more axis: x (N, C, D, H, W); weight (C, F/groups, KD, KH, KW).

    x without the batch axis also. Settings as in ConvTranspose2d.
    """

    dims = 3

    def forward(self, input: Any, output_size: Any = None) -> Any:
        rest = self._output_padding(input, output_size)
        options = (self.stride, self.padding, rest, self.groups, self.dilation)
        return F.conv_transpose3d(input, self.weight, self.bias, *options)


class _LazyConvTranspose(LazyConvNd, _ConvTranspose):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(
            0,
            0,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            False,
            dilation,
            padding_mode,
            device,
            dtype,
        )
        self.postpone(out_channels, bias, device, dtype)


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """ConvTranspose1d whose in_channels is that of its first input."""

    becomes = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """ConvTranspose2d whose in_channels is that of its first input."""

    becomes = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):
    """ConvTranspose3d whose in_channels is that of its first input."""

    becomes = ConvTranspose3d
