"""Five heads that read a house number at once (I. J. Goodfellow, Y. Bulatov, J. Ibarz, S. Arnoud,
V. Shet, "Multi-digit number recognition from street view imagery using deep convolutional neural
networks", ICLR 2014, arXiv:1312.6082).

                                      +--> dense 11 --> first digit     "3"
                                      +--> dense 11 --> second          "1"
    3 x 32x32 --> backbone --> 1024 --+--> dense 11 --> third           "7"
                  shared              +--> dense 11 --> fourth          none
                                      +--> dense 11 --> fifth           none

Why. A number in a photograph used to be cut into digits first, then read digit by digit, and a
wrong cut could not be mended. This network has no cut: one backbone looks at the whole image, and a
head for each place reads the digit there, so that finding, cutting and reading are learnt together
from the numbers alone. The heads are independent given the features, so the probability of a number
is the product of its digits' and the loss is the sum of their cross-entropies (`digits_loss`).

Classes 0 to 9 are the digits; 10 means that the number is shorter. The paper has a head for the
length besides, and leaves the heads of places after the end untrained; here class 10 says both.

    backbone for images below 54x54 (default 32x32)      output       parameters      sees
    conv 5x5, batch norm, ReLU, pool 2x2                 48 x 16x16        3,696      6 x 6
    conv 5x5, batch norm, ReLU, pool 2x2                 64 x 8x8         76,928      16 x 16
    conv 5x5, batch norm, ReLU, pool 2x2                 128 x 4x4       205,056      36 x 36
    conv 5x5, batch norm, ReLU                           160 x 4x4       512,320      68 x 68
    dense, ReLU, dropout                                 1024          2,622,464      all
    five heads, dense                                    5 x 11           56,375
                                                                       3,476,839

    backbone from 54x54 up (image_size=54, the paper's)  output       parameters      sees
    conv 5x5, batch norm, ReLU, pool 2x2                 48 x 27x27        3,696      6
    conv 5x5, batch norm, ReLU, pool 2x2, stride 1       64 x 27x27       76,928      16
    conv 5x5, batch norm, ReLU, pool 2x2                 128 x 13x13     205,056      26
    conv 5x5, batch norm, ReLU, pool 2x2, stride 1       160 x 13x13     512,320      46
    conv 5x5, batch norm, ReLU, pool 2x2                 192 x 6x6       768,384      66
    conv 5x5, batch norm, ReLU, pool 2x2, stride 1       192 x 6x6       921,984      106
    conv 5x5, batch norm, ReLU, pool 2x2                 192 x 3x3       921,984      146
    conv 5x5, batch norm, ReLU, pool 2x2, stride 1       192 x 3x3       921,984      226
    dense, ReLU, dropout                                 3072          5,311,488      all
    dense, ReLU, dropout                                 3072          9,440,256
    five heads, dense                                    5 x 11          169,015

The channels, kernels, poolings and the two dense layers of 3072 are the paper's (section 5.1). It
had subtractive normalisation where batch norm is here, three linear filters a unit (maxout) for the
first ReLU, dropout in every layer, and one more layer, convolution without shared weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ..functional import cross_entropy, flatten
from .arguments import check_sizes
from .registry import register

_PAPER = 54  # the side of the paper's images
# Channels and stride of the pooling behind each convolution; 0 stands for no pooling.
_LARGE = ((48, 2), (64, 1), (128, 2), (160, 1), (192, 2), (192, 1), (192, 2), (192, 1))
_SMALL = ((48, 2), (64, 2), (128, 2), (160, 0))


class SVHNDigits(nn.Module):
    """(N, in_channels, image_size, image_size) to a tuple of `digits` logits (N, num_classes).

    Args:
        num_classes: of each head: ten digits, and one for "no digit here".
        in_channels, image_size: of the images; from 54 up the backbone is the paper's. Images of
            other sizes do not fit, as the dense layers know where in the image they look.
        digits: the number of heads.
        dropout: probability in the dense layers.

    Raises ValueError for sizes below 1 and an image below 16.
    """

    def __init__(
        self,
        num_classes: int = 11,
        in_channels: int = 3,
        image_size: int | None = None,
        digits: int = 5,
        dropout: float = 0.5,
    ):
        super().__init__()
        check_sizes("SVHNDigits", num_classes=num_classes, in_channels=in_channels, digits=digits)
        image_size = 32 if image_size is None else image_size
        if type(image_size) is not int or image_size < 16:
            raise ValueError(f"SVHNDigits: image_size expects at least 16, got {image_size!r}")
        large = image_size >= _PAPER
        layers: list[nn.Module] = []
        side = image_size
        for channels, stride in _LARGE if large else _SMALL:
            layers += _block(in_channels, channels, stride)
            in_channels, side = channels, side // 2 if stride == 2 else side
        self.features = nn.Sequential(*layers)
        width = in_channels * side * side
        hidden: list[nn.Module] = []
        for units in (3072, 3072) if large else (1024,):
            hidden += [nn.Linear(width, units), nn.ReLU(inplace=True), nn.Dropout(dropout)]
            width = units
        self.hidden = nn.Sequential(*hidden)
        self.heads = nn.ModuleList([nn.Linear(width, num_classes) for _ in range(digits)])
        self._initialize()

    def forward(self, x: Any) -> tuple[Any, ...]:
        x = self.hidden(flatten(self.features(x), 1))
        return tuple([head(x) for head in self.heads])

    def _initialize(self) -> None:
        for module in (*self.features, *self.hidden):
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if isinstance(module, nn.Linear):
                nn.init.constant_(module.bias, 0)


def _block(in_channels: int, channels: int, stride: int) -> list[nn.Module]:
    """Convolution, batch norm, ReLU and pooling, which with stride 1 keeps the size.

    It does so by a row and a column of zeros at the end, which after a ReLU exceed nothing.
    """
    convolution = nn.Conv2d(in_channels, channels, 5, padding=2, bias=False)
    layers = [convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    if stride == 1:
        layers.append(nn.ZeroPad2d((0, 1, 0, 1)))
    return [*layers, nn.MaxPool2d(2, stride)] if stride else layers


def digits_loss(outputs: Sequence[Any], targets: Any) -> Any:
    """The sum of the heads' cross-entropies: -log of the probability of the whole number.

    Args:
        outputs: a tensor of logits (N, K) for each place.
        targets: integers (N, places).

    Returns: a Tensor without dimensions, the mean over the batch.
    Raises ValueError if `targets` has not a column for each output.
    """
    if targets.ndim != 2 or targets.shape[1] != len(outputs):
        raise ValueError(
            f"digits_loss: targets expects (N, {len(outputs)}), a column for each output, got "
            f"{tuple(targets.shape)}"
        )
    losses = [cross_entropy(y, targets[:, place]) for place, y in enumerate(outputs)]
    return sum(losses[1:], start=losses[0])


@register(
    "svhn_digits",
    "Five heads for house numbers (Goodfellow et al. 2014)",
    image_sizes=(28, 32, 40, 54, 64, 96),
    input_size=(3, 32, 32),
    parameters=3_476_839,
    cam="features",
    family="svhn",
)
def svhn_digits(**options: Any) -> SVHNDigits:
    """`SVHNDigits(**options)`: a shared backbone and a head for each of five digits."""
    return SVHNDigits(**options)
