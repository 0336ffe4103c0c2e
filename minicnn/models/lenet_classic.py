"""LeNet-5 as its paper has it (Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning
applied to document recognition", Proceedings of the IEEE 86(11), 1998, section II.B).

lenet.py draws the network, and is what is meant by LeNet today. This one has the parts that went
out of use, and so the paper's numbers of parameters and connections:

    layer                      output       parameters                connections    sees
    C1  conv 5x5               6 x 28x28     6 * (25 + 1) =    156        122,304    5 x 5
    S2  subsampling 2x2        6 x 14x14     6 * 2        =     12          5,880    6 x 6
    C3  conv 5x5, table I      16 x 10x10   60 * 25 + 16  =  1,516        151,600    14 x 14
    S4  subsampling 2x2        16 x 5x5     16 * 2        =     32          2,000    16 x 16
    C5  conv 5x5               120         120 * (400 + 1) = 48,120        48,120    32 x 32
    F6  dense                  84           84 * (120 + 1) = 10,164        10,164    all
    output  distances          10           none                              840
                                                            60,000        340,908

Every layer up to F6 ends in f(a) = 1.7159 tanh(2/3 a), so that f(1) = 1 and f(-1) = -1, where its
curvature is largest, and its mean slope is about 1 (appendix A).

Subsampling adds the four numbers of a window, multiplies by a factor and adds an offset, both
trained, one pair a map; f follows. With a small factor it blurs, with a large one it is a noisy
"or" or "and" of its inputs.

C3's maps each see a part of S2's six (table I): six see 3 neighbours, six 4 neighbours, three 4
others, one all. It costs less, and maps that see different inputs must learn different things.

                   C3's map  0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15
    S2's map 0               x           x  x  x        x  x  x  x     x  x
             1               x  x           x  x  x        x  x  x  x     x
             2               x  x  x           x  x  x        x     x  x  x
             3                  x  x  x        x  x  x  x        x     x  x
             4                     x  x  x        x  x  x  x     x  x     x
             5                        x  x  x        x  x  x  x     x  x  x

The output compares F6 with a code of 84 = 7 * 12 numbers +1 or -1 for each class, a drawing of the
digit: y_i = sum over j of (x_j - w_ij)^2, equation 7. Similar digits have similar codes, and an
image that is nothing at all is far from every one. The network gives -y, larger meaning nearer, so
that cross-entropy is the paper's second criterion (equation 9) without its constant:

    E = y_d + log(sum over i of exp(-y_i)),    d the right class.

Not as in the paper: the drawings are ours; for more than ten classes the codes are random, as the
paper says they could be; the training, which is what you make it, where the paper's had a rate for
each weight from an estimate of its curvature (appendix C); and the edge, padded with 0 for 28x28
images, while the paper's 32x32 had the background's -0.1 there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import nn
from ..autograd import Tensor
from ..functional import avg_pool2d, conv2d, flatten, tanh
from .arguments import check_choice, check_sizes
from .registry import register

# The maps of S2 that each map of C3 sees: the columns of table I.
TABLE_I = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)

_DRAWINGS = """
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
..###.. ...#... .#####. .#####. .....#. ####### ..####. ####### .#####. .#####.
.#...#. ..##... #.....# #.....# ....##. #...... .#..... ......# #.....# #.....#
#.....# .#.#... ......# ......# ...#.#. #...... #...... .....#. #.....# #.....#
#.....# ...#... ......# ......# ..#..#. ######. #...... .....#. #.....# #.....#
#.....# ...#... .....#. ..####. .#...#. ......# ######. ....#.. .#####. .######
#.....# ...#... ....#.. ......# #....#. ......# #.....# ....#.. #.....# ......#
#.....# ...#... ...#... ......# ####### ......# #.....# ...#... #.....# ......#
#.....# ...#... ..#.... ......# .....#. ......# #.....# ...#... #.....# ......#
.#...#. ...#... .#..... #.....# .....#. #.....# #.....# ..#.... #.....# .....#.
..###.. .#####. ####### .#####. .....#. .#####. .#####. ..#.... .#####. .####..
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
"""


def scaled_tanh(x: Any) -> Any:
    """f(x) = 1.7159 tanh(2/3 x), the paper's squashing function."""
    return 1.7159 * tanh(x * (2 / 3))


def digit_codes(num_classes: int = 10) -> np.ndarray:
    """float32 (num_classes, 84) of +1 and -1: the drawn digits, or random codes if there are more.

    The random ones are the same each time.
    """
    if num_classes > 10:
        signs = np.random.default_rng(1998).integers(0, 2, (num_classes, 84))
        return (2 * signs - 1).astype(np.float32)
    rows = [line.split() for line in _DRAWINGS.split("\n") if line]
    pictures = ["".join(row[digit] for row in rows) for digit in range(10)]
    codes = [[1 if pixel == "#" else -1 for pixel in picture] for picture in pictures]
    return np.array(codes[:num_classes], np.float32)


class Subsampling(nn.Module):
    """weight * (sum of each 2x2 window) + bias: (N, C, H, W) to (N, C, H/2, W/2), rounded down."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(Tensor(np.ones((channels, 1, 1), np.float32)))
        self.bias = nn.Parameter(Tensor(np.zeros((channels, 1, 1), np.float32)))

    def forward(self, x: Any) -> Any:
        return self.weight * (4 * avg_pool2d(x, 2)) + self.bias


class PartialConv2d(nn.Module):
    """A convolution whose output maps see the input maps that `table` lists for each of them.

    (N, C, H, W) to (N, len(table), H-k+1, W-k+1). Its weight (connections, k, k) holds the kernels
    that exist, in the table's order; a 0/1 matrix places them among zeros for the convolution.
    """

    def __init__(self, in_channels: int, table: Any, kernel_size: int):
        super().__init__()
        pairs = [(f, c) for f, maps in enumerate(table) for c in maps]
        self.shape = (len(table), in_channels, kernel_size, kernel_size)
        place = np.zeros((len(table) * in_channels, len(pairs)), np.float32)
        for k, (f, c) in enumerate(pairs):
            place[f * in_channels + c, k] = 1
        self.register_buffer("place", Tensor(place), persistent=False)
        kernels = np.zeros((len(pairs), kernel_size, kernel_size), np.float32)
        self.weight = nn.Parameter(Tensor(kernels))
        self.bias = nn.Parameter(Tensor(np.zeros(len(table), np.float32)))

    def forward(self, x: Any) -> Any:
        kernels = self.place @ flatten(self.weight, 1)  # (F*C, k*k)
        return conv2d(x, kernels.reshape(self.shape), self.bias)


class Distances(nn.Module):
    """-(squared distance) to the code of each class: (N, 84) to (N, num_classes); equation 7."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.register_buffer("codes", Tensor(digit_codes(num_classes)))

    def forward(self, x: Any) -> Any:
        difference = x[:, None] - self.codes  # (N, num_classes, 84)
        return -(difference * difference).sum(2)


class LeNetClassic(nn.Module):
    """The paper's LeNet-5: (N, in_channels, image_size, image_size) to (N, num_classes).

    Args:
        num_classes, in_channels: sizes of the output and the input.
        image_size: 28, padded by 2, or the paper's 32; others from 16 up without padding, C5's
            kernels being as large as the map that S4 leaves.
        output: "distances" as in the paper, or "dense", a layer with weights (850 parameters).

    Raises ValueError for sizes below 1, an image too small and another output.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int | None = None,
        output: str = "distances",
    ):
        super().__init__()
        check_sizes("LeNetClassic", num_classes=num_classes, in_channels=in_channels)
        check_choice("LeNetClassic", "output", output, ["distances", "dense"])
        image_size = 32 if image_size is None else image_size
        if type(image_size) is not int or image_size < 16:
            raise ValueError(f"LeNetClassic: image_size expects at least 16, got {image_size!r}")
        padding = 2 if image_size == 28 else 0
        side = ((image_size + 2 * padding - 4) // 2 - 4) // 2  # after S4
        self.c1 = nn.Conv2d(in_channels, 6, 5, padding=padding)
        self.s2 = Subsampling(6)
        self.c3 = PartialConv2d(6, TABLE_I, 5)
        self.s4 = Subsampling(16)
        self.c5 = nn.Conv2d(16, 120, side)
        self.f6 = nn.Linear(120, 84)
        self.output = (
            Distances(num_classes) if output == "distances" else nn.Linear(84, num_classes)
        )
        self._initialize()

    def forward(self, x: Any) -> Any:
        x = scaled_tanh(self.s2(scaled_tanh(self.c1(x))))
        x = scaled_tanh(self.s4(scaled_tanh(self.c3(x))))
        x = flatten(scaled_tanh(self.c5(x)), 1)
        return self.output(scaled_tanh(self.f6(x)))

    def _initialize(self) -> None:
        """Uniform within 2.4 / (the number of a unit's inputs), as in appendix A."""
        for layer in (self.c1, self.s2, self.s4, self.c5, self.f6, self.output):
            inputs = 4 if isinstance(layer, Subsampling) else _inputs(layer)
            for value in layer.parameters():
                nn.init.uniform_(value, -2.4 / inputs, 2.4 / inputs)
        bounds = [2.4 / (25 * len(maps)) for maps in TABLE_I]
        kernels = [bound for bound, maps in zip(bounds, TABLE_I, strict=True) for _ in maps]
        for value, scale in ((self.c3.weight, kernels), (self.c3.bias, bounds)):
            nn.init.uniform_(value, -1, 1)
            shape = (-1,) + (1,) * (value.ndim - 1)
            value.data.mul_(Tensor(np.array(scale, np.float32).reshape(shape)))


def _inputs(layer: Any) -> int:
    weight = getattr(layer, "weight", None)
    return 1 if weight is None else math.prod(weight.shape[1:])


@register(
    "lenet_classic",
    "LeNet-5 with the parts that went out of use (LeCun et al. 1998)",
    image_sizes=(28, 32),
    input_size=(1, 32, 32),
    parameters=60_000,
    cam="s4",
    family="lenet",
)
def lenet_classic(**options: Any) -> LeNetClassic:
    """`LeNetClassic(**options)`: the paper's LeNet-5, 60,000 parameters."""
    return LeNetClassic(**options)
