"""Convolutions of one, two and three axes, forwards and transposed, with random geometries."""

from __future__ import annotations

from typing import Any

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
