"""LeNet-5, the network that read cheques (Y. LeCun, L. Bottou, Y. Bengio, P. Haffner,
"Gradient-based learning applied to document recognition", Proceedings of the IEEE 86(11), 1998,
section II.B).

    input       C1           S2           C3            S4           C5      F6      output
    1 x 32x32   6 x 28x28    6 x 14x14    16 x 10x10    16 x 5x5     120     84      10

    +--------+  +------+     +----+       +----+        +--+
    |        |  | +------+   | +----+     | +----+      | +--+       o       o       o
    |  4     |->| | +------+ +-| +----+   | | +----+    +-| +--+     o       o       o
    |        |  +-| |      |   +-|    |   +-| |    |      +-|  | --> :  -->  :  -->  :
    |        |    +-|      |->   |    |->   +-|    |->      |  |     o       o       o
    +--------+      +------+     +----+       +----+        +--+

           conv 5x5     pool 2x2     conv 5x5      pool 2x2     dense    dense   dense

    layer             output       parameters                       sees (receptive field)
    C1  conv 5x5      6 x 28x28    6*(1*25 + 1)    =    156         5 x 5
    S2  pool 2x2      6 x 14x14                                     6 x 6
    C3  conv 5x5      16 x 10x10   16*(6*25 + 1)   =  2,416         14 x 14
    S4  pool 2x2      16 x 5x5                                      16 x 16
    C5  dense         120          120*(400 + 1)   = 48,120         all: 32 x 32
    F6  dense         84           84*(120 + 1)    = 10,164
    output            10           10*(84 + 1)     =    850
                                                    61,706

A receptive field grows by (kernel - 1) times the jump, the step in the input between two
neighbours, which each pooling doubles: 5, 5+1=6, 6+4*2=14, 14+1*2=16, 16+4*4=32.

The paper centres its 20x20 digits in 32x32, so that the ends of strokes can lie in the middle of a
field; a 28x28 image is therefore padded by 2 here. Where this network differs from the paper: its
poolings had a trained factor and offset, C3 was connected to a chosen part of S2's maps (to break
the symmetry and to save work), its tanh was scaled, and its output measured distances to drawn
digits. None of these is used today; lenet_classic.py has them, and the paper's 60,000 parameters.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..functional import flatten
from .registry import register

_ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
_POOLINGS = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}


class LeNet5(nn.Module):
    """LeNet-5: (N, in_channels, image_size, image_size) to logits (N, num_classes).

    Args:
        num_classes, in_channels: sizes of the output and the input.
        image_size: 28 (padded by 2, as MNIST needs) or 32; other sizes from 16 up work too, without
            padding.
        pooling: "max", or "avg" as in the paper.
        activation: "relu"; "tanh" as in the paper; or "sigmoid" as in older textbooks.
        batch_norm: normalise after both convolutions (44 more parameters).

    Raises ValueError for an option that does not exist, a size below 1 or an image too small.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int = 28,
        pooling: str = "max",
        activation: str = "relu",
        batch_norm: bool = False,
    ):
        super().__init__()
        for name, size in (("num_classes", num_classes), ("in_channels", in_channels)):
            if type(size) is not int or size < 1:
                raise ValueError(f"LeNet5: {name} expects a positive integer, got {size!r}")
        if type(image_size) is not int or image_size < 16:
            raise ValueError(f"LeNet5: image_size expects at least 16, got {image_size!r}")
        if not isinstance(batch_norm, bool):
            raise ValueError(f"LeNet5: batch_norm expects True or False, got {batch_norm!r}")
        act = _choice("activation", activation, _ACTIVATIONS)
        pool = _choice("pooling", pooling, _POOLINGS)
        padding = 2 if image_size == 28 else 0
        side = ((image_size + 2 * padding - 4) // 2 - 4) // 2  # after S4

        def norm(channels: int) -> list[nn.Module]:
            return [nn.BatchNorm2d(channels)] if batch_norm else []

        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5, padding=padding),
            *norm(6),
            act(),
            pool(2),
            nn.Conv2d(6, 16, 5),
            *norm(16),
            act(),
            pool(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * side * side, 120),
            act(),
            nn.Linear(120, 84),
            act(),
            nn.Linear(84, num_classes),
        )

    def forward(self, x: Any) -> Any:
        return self.classifier(flatten(self.features(x), 1))


def _choice(name: str, value: str, table: dict[str, Any]) -> Any:
    if not isinstance(value, str) or value not in table:
        raise ValueError(f"LeNet5: {name} expects one of {', '.join(table)}, got {value!r}")
    return table[value]


@register(
    "lenet",
    "LeNet-5 (LeCun et al. 1998)",
    image_sizes=(28, 32),
    input_size=(1, 28, 28),
    parameters=61_706,
    cam="features",
    family="lenet",
)
def lenet(**options: Any) -> LeNet5:
    """`LeNet5(**options)`: the network of this module under the name that the command line uses."""
    return LeNet5(**options)
