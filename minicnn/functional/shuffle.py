"""Rearranging channels and pixels: permutations, so the gradient is the inverse permutation.

    x (N, C, H, W) input    y output    G groups    r the factor by which an image grows

Every operation here is y[m] = x[s(m)], with a map s that uses each element of x exactly once. So a
number t of x stands in a single y[m], with factor 1, and

     grad_x[s(m)] = grad_y[m]

is grad_y carried back the same way: the operation that undoes it. None of them computes anything,
and any type will do. A permutation is linear, so the second derivatives are zero, and the gradient
of the gradient is the operation again.


Channel shuffle
---------------
Count the channels as g*(C/G) + c, with g = 0 .. G-1 and c = 0 .. C/G-1: G runs of C/G. They are
dealt out anew, one of each run in turn:

(1)  y[n, c*G + g, h,k] = x[n, g*(C/G) + c, h,k]

This is the transpose of a matrix G x C/G, so the inverse is the transpose of a matrix C/G x G, a
channel shuffle with C/G groups:

(2)  grad_x[n, g*(C/G) + c, h,k] = grad_y[n, c*G + g, h,k]

Between two grouped convolutions it hands each group of the second channels from every group of the
first; without it the groups would never meet (ShuffleNet, Zhang et al., 2017, section 3.1).


Pixel shuffle
-------------
r*r channels become one that is r times as high and wide. With x (N, C*r*r, H, W) and y (N, C, H*r,
W*r), the channel's place (p,q) among the r*r becomes the place in a block of r x r pixels:

(3)  y[n,c, h*r + p, k*r + q] = x[n, (c*r + p)*r + q, h,k]        0 <= p < r, 0 <= q < r

So a convolution at low resolution computes an image at high resolution (Shi et al., 2016). Pixel
unshuffle is the inverse, and each is the gradient of the other:

(4)  grad_x[n, (c*r + p)*r + q, h,k] = grad_y[n,c, h*r + p, k*r + q]


By hand
-------
Six channels 0 1 2 3 4 5 in G = 2 groups of three, 0 1 2 and 3 4 5, are shuffled to 0 3 1 4 2 5.
Pixel shuffle with r = 2 lays four channels of one pixel, a b c d, as the image [[a,b],[c,d]].
"""

from __future__ import annotations

from typing import Any

from ..autograd.function import Function
from .shape import check_tensors

__all__ = ["channel_shuffle", "pixel_shuffle", "pixel_unshuffle"]


class ChannelShuffle(Function):
    """y: formula (1).  grad_x = ChannelShuffle(grad_y) with C/G groups: formula (2)."""

    def forward(self, x: Any, *, groups: int) -> Any:
        N, C = x.shape[:2]
        self.back = C // groups or 1  # of no channels at all, any number of groups
        runs = x.reshape(N, groups, C // groups, *x.shape[2:])
        return runs.swapaxes(1, 2).copy().reshape(x.shape)

    def backward(self, grad_y: Any) -> Any:
        return ChannelShuffle.apply(grad_y, groups=self.back)


class PixelShuffle(Function):
    """y: formula (3).  grad_x = PixelUnshuffle(grad_y): formula (4)."""

    def forward(self, x: Any, *, factor: int) -> Any:
        self.factor = r = factor
        *lead, channels, H, W = x.shape
        C, n = channels // (r * r), len(lead)
        blocks = x.reshape(*lead, C, r, r, H, W)  # c p q h k, wanted as c h p k q
        blocks = blocks.transpose(*range(n), n, n + 3, n + 1, n + 4, n + 2)
        return blocks.copy().reshape(*lead, C, H * r, W * r)

    def backward(self, grad_y: Any) -> Any:
        return PixelUnshuffle.apply(grad_y, factor=self.factor)


class PixelUnshuffle(Function):
    """The inverse of PixelShuffle: (4) with y for grad_x and x for grad_y.  grad_x: (3)."""

    def forward(self, x: Any, *, factor: int) -> Any:
        self.factor = r = factor
        *lead, C, high, wide = x.shape
        H, W, n = high // r, wide // r, len(lead)
        blocks = x.reshape(*lead, C, H, r, W, r)  # c h p k q, wanted as c p q h k
        blocks = blocks.transpose(*range(n), n, n + 2, n + 4, n + 1, n + 3)
        return blocks.copy().reshape(*lead, C * r * r, H, W)

    def backward(self, grad_y: Any) -> Any:
        return PixelShuffle.apply(grad_y, factor=self.factor)


def channel_shuffle(input: Any, groups: int) -> Any:
    """The channels of G groups dealt out in turn: formula (1).

    Args:
        input: (N, C, *), at least three axes, of any type.
        groups: divides C.

    Returns:
        The shape and type of the input.

    Raises:
        ValueError: fewer than three axes, groups that do not divide C.
        TypeError: groups is not an integer.
    """
    check_tensors("channel_shuffle", input)
    shape, G = tuple(input.shape), _positive("channel_shuffle", "groups", groups)
    if len(shape) < 3:
        raise ValueError(f"channel_shuffle: x expects (N, C, *) of three axes or more, got {shape}")
    if shape[1] % G:
        raise ValueError(
            f"channel_shuffle: groups expects a divisor of {shape[1]} channels, got {G}: x {shape}"
        )
    return ChannelShuffle.apply(input, groups=G)


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """r*r channels as one image r times as large: formula (3).

    Args:
        input: (*, C*r*r, H, W), at least three axes, of any type.
        upscale_factor: r.

    Returns:
        (*, C, H*r, W*r), of the input's type.

    Raises:
        ValueError: fewer than three axes, channels that are not a multiple of r*r.
        TypeError: upscale_factor is not an integer.
    """
    check_tensors("pixel_shuffle", input)
    shape, r = tuple(input.shape), _positive("pixel_shuffle", "upscale_factor", upscale_factor)
    if len(shape) < 3:
        raise ValueError(f"pixel_shuffle: x expects (*, C, H, W), got {shape}")
    if shape[-3] % (r * r):
        raise ValueError(
            f"pixel_shuffle: x expects a multiple of {r * r} channels for upscale_factor {r}, got "
            f"{shape[-3]}: x {shape}"
        )
    return PixelShuffle.apply(input, factor=r)


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """An image as r*r channels of images r times smaller: the inverse of pixel_shuffle.

    Args:
        input: (*, C, H*r, W*r), at least three axes, of any type.
        downscale_factor: r.

    Returns:
        (*, C*r*r, H, W), of the input's type.

    Raises:
        ValueError: fewer than three axes, a height or width that r does not divide.
        TypeError: downscale_factor is not an integer.
    """
    check_tensors("pixel_unshuffle", input)
    shape = tuple(input.shape)
    r = _positive("pixel_unshuffle", "downscale_factor", downscale_factor)
    if len(shape) < 3:
        raise ValueError(f"pixel_unshuffle: x expects (*, C, H, W), got {shape}")
    if shape[-2] % r or shape[-1] % r:
        raise ValueError(
            f"pixel_unshuffle: x expects a height and width that downscale_factor {r} divides, got "
            f"{shape[-2:]}: x {shape}"
        )
    return PixelUnshuffle.apply(input, factor=r)


def _positive(function: str, name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{function}: {name} expects a positive integer, got {value!r}")
    value = value.__index__()
    if value < 1:
        raise ValueError(f"{function}: {name} expects a positive integer, got {value}")
    return value
