"""`backends.cpu`: how convolutions are computed on the CPU.

    minicnn.backends.cpu.conv_algorithm = "im2col"            # from now on, in every thread
    with minicnn.backends.cpu.use_conv_algorithm("im2col"):   # in this thread, in the block
        loss.backward()

    auto         the fastest for the sizes; Winograd in float32 and float16 alone (the default)
    im2col       columns and one product of matrices; serves every convolution
    pointwise    1x1 at stride 1: a product without columns
    direct       depthwise (groups = input channels): tap by tap
    winograd2    3x3 and 5x5 at stride 1 by Winograd's F(2x2,3x3) and F(2x2,5x5)
    winograd4    3x3 and 5x5 at stride 1 by Winograd's F(4x4,3x3) and F(4x4,5x5)

Where the named one cannot serve, by its sizes or its type, the fastest of im2col, pointwise and
direct takes its place. These three add up exact products; their results differ by the rounding of
sums in another order, a relative error of some 1e-7 in float32. Winograd's error is larger: for 3x3
up to 5e-7 with winograd2 and 4e-6 with winograd4, for 5x5 up to 3e-6 and 9e-6. In float64, and so
in `gradcheck`, it is never taken.

Winograd's outputs come in tiles of 2x2 or 4x4 pixels that share their sums. So the error of each
is relative to the largest numbers that its tile reads, and where one of those is infinite or NaN,
or so large (some 1e36) that the sums overflow, all pixels of the tile are NaN. Other tiles, and
other images, are not touched. With the other algorithms only pixels that read such a number are.
"""

import sys
import types

from ..backend.cpu import algorithm
from ..backend.cpu.algorithm import use as use_conv_algorithm

__all__ = ["use_conv_algorithm"]

conv_algorithm: str


class _Module(types.ModuleType):
    """A module whose attribute is checked when it is set."""

    @property
    def conv_algorithm(self) -> str:
        """The name that holds in this thread; ValueError where there is none of the name set."""
        return algorithm.chosen()

    @conv_algorithm.setter
    def conv_algorithm(self, name: str) -> None:
        algorithm.choose(name)


sys.modules[__name__].__class__ = _Module
