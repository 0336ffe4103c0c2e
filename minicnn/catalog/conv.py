"""Convolutions of one, two and three axes, forwards and transposed, with random geometries."""

from __future__ import annotations

from math import prod
from typing import Any

from ..backend import ConvGeometry
from .case import Case, Draw, op

_DEFINITION = "Backward, from the definition"


def _geometry(draw: Draw, dims: int) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    """kernel, stride, padding and dilation, and a size that the kernel fits into."""
    kernel, stride, dilation = (
        draw.shape(dims, 1, 3),
        draw.shape(dims, 1, 3),
        draw.shape(dims, 1, 2),
    )
    padding = draw.shape(dims, 0, 2)
    room = 4 if dims < 3 else 2
    size = tuple(
        [
            max(1, D * (K - 1) + draw.integer(1, room) - draw.choice(0, 2 * P))
            for K, D, P in zip(kernel, dilation, padding, strict=True)
        ]
    )
    return [kernel, stride, padding, dilation], size


def _convolution(draw: Draw, dims: int) -> Case:
    """Any stride, padding, dilation and groups that fit; bias or none; a batch or none."""
    G, C, F = draw.integer(1, 3), draw.integer(1, 2), draw.integer(1, 2)
    (kernel, stride, padding, dilation), size = _geometry(draw, dims)
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    if draw.integer(1, 4) == 1:
        options |= {"stride": 1, "padding": "same"}
    elif draw.integer(1, 4) == 1:  # one number for all axes, and no padding
        size = tuple([K + 1 for K in kernel])
        options = {"stride": stride[0], "padding": draw.choice("valid", 0)}
    batch = draw.choice((), (1,), (2,))
    return Case(
        f"nn.functional.conv{dims}d",
        draw.normal(*batch, G * C, *size),
        draw.normal(G * F, C, *kernel),
        draw.choice(None, draw.normal(G * F)),
        groups=G,
        **options,
    )


@op(section=_DEFINITION, count=40)
def conv1d(draw: Draw) -> Case:
    """Of sequences."""
    return _convolution(draw, 1)


@op(section=_DEFINITION, count=60)
def conv2d(draw: Draw) -> Case:
    """Of images."""
    return _convolution(draw, 2)


@op(section=_DEFINITION, count=40)
def conv3d(draw: Draw) -> Case:
    """Of volumes."""
    return _convolution(draw, 3)


def _transposed(draw: Draw, dims: int) -> Case:
    """Any options, output_padding up to the larger of stride and dilation."""
    G, C, F = draw.integer(1, 3), draw.integer(1, 2), draw.integer(1, 2)
    kernel, stride, dilation = (draw.shape(dims, 1, 3) for _ in range(3))
    size = draw.shape(dims, 1, 4 if dims < 3 else 2)
    rest = tuple([draw.integer(0, max(S, D) - 1) for S, D in zip(stride, dilation, strict=True)])
    padding = []
    for H, K, S, D, R in zip(size, kernel, stride, dilation, rest, strict=True):
        out = (H - 1) * S + D * (K - 1) + 1 + R
        padding.append(draw.integer(0, min(2, (out - 1) // 2)))
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    options["output_padding"] = rest
    if draw.integer(1, 4) == 1:  # one number for all axes
        options = {"stride": stride[0], "output_padding": stride[0] - 1}
    batch = draw.choice((), (1,), (2,))
    return Case(
        f"nn.functional.conv_transpose{dims}d",
        draw.normal(*batch, G * C, *size),
        draw.normal(G * C, F, *kernel),
        draw.choice(None, draw.normal(G * F)),
        groups=G,
        **options,
    )


@op(section="Backward", count=40)
def conv_transpose1d(draw: Draw) -> Case:
    """Of sequences."""
    return _transposed(draw, 1)


@op(section="Backward", count=60)
def conv_transpose2d(draw: Draw) -> Case:
    """Of images."""
    return _transposed(draw, 2)


@op(section="Backward", count=40)
def conv_transpose3d(draw: Draw) -> Case:
    """Of volumes."""
    return _transposed(draw, 3)


def _windows(draw: Draw) -> tuple[tuple[int, ...], dict[str, Any]]:
    """The size of an image, and windows that fit into it."""
    (kernel, stride, padding, dilation), size = _geometry(draw, 2)
    options = {"kernel_size": kernel, "dilation": dilation, "padding": padding, "stride": stride}
    if draw.integer(1, 4) == 1:  # one number for both axes
        return (kernel[0] + 2, kernel[0] + 1), {"kernel_size": kernel[0], "stride": stride[0]}
    return size, options


@op(section="unfold", count=40)
def unfold(draw: Draw) -> Case:
    """Windows as columns."""
    size, options = _windows(draw)
    x = draw.normal(*draw.choice((), (1,), (2,)), draw.integer(1, 3), *size)
    return Case("nn.functional.unfold", x, **options)


@op(section="fold", count=40)
def fold(draw: Draw) -> Case:
    """Columns added up."""
    size, options = _windows(draw)
    shape = (1, draw.integer(1, 3), *size)
    geometry = ConvGeometry.of_windows(shape, **options)
    cols = (shape[1] * prod(geometry.kernel), prod(geometry.out_size))
    x = draw.normal(*draw.choice((), (1,), (2,)), *cols)
    return Case("nn.functional.fold", x, output_size=size, **options)
