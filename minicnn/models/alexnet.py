r"""AlexNet, which won the ImageNet contest of 2012 with 15% errors where the next had 26% (A.
Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet classification with deep convolutional neural
networks", NIPS 2012, figure 2); and its narrower form for one GPU (A. Krizhevsky, "One weird trick
for parallelizing convolutional neural networks", 2014, arXiv:1404.5997), which is torchvision's.

              conv1    conv2     conv3     conv4     conv5
              +----+   +-----+   +-----+   +-----+   +-----+
           +->| 48 |-->| 128 |-->| 192 |-->| 192 |-->| 128 |--> 6x6 -+
    3 x    |  +----+   +-----+\ /+-----+   +-----+   +-----+         |
    224 ---+                   X                                     +--> 4096 --> 4096 --> 1000
    x 224  |  +----+   +-----+/ \+-----+   +-----+   +-----+         |
           +->| 48 |-->| 128 |-->| 192 |-->| 192 |-->| 128 |--> 6x6 -+
              +----+   +-----+   +-----+   +-----+   +-----+
              55x55    27x27     13x13     13x13     13x13

Two columns, because the network did not fit into the 3 GB of one GPU: they see each other's maps in
conv3 and in the dense layers alone. That is a convolution in two groups in conv2, conv4 and conv5.
`alexnet_paper` is this network, 96 filters wide; `alexnet` is the narrower one, in one column.

    layer                             alexnet                    alexnet_paper            sees
                                      output       parameters    output      parameters
    conv1  11x11, stride 4, pad 2     64 x 55x55       23,296    96 x 55x55      34,944   11 x 11
    pool   3x3, stride 2              64 x 27x27                 96 x 27x27               19 x 19
    conv2  5x5, pad 2                 192 x 27x27     307,392    256 x 27x27    307,456   51 x 51
    pool   3x3, stride 2              192 x 13x13                256 x 13x13              67 x 67
    conv3  3x3, pad 1                 384 x 13x13     663,936    384 x 13x13    885,120   99 x 99
    conv4  3x3, pad 1                 256 x 13x13     884,992    384 x 13x13    663,936   131 x 131
    conv5  3x3, pad 1                 256 x 13x13     590,080    256 x 13x13    442,624   163 x 163
    pool   3x3, stride 2              256 x 6x6                  256 x 6x6                195 x 195
    dense                             4096         37,752,832    4096        37,752,832   all
    dense                             4096         16,781,312    4096        16,781,312
    dense                             1000          4,097,000    1000         4,097,000
                                                   61,100,840                60,965,224

What was new: ReLU, with which it trained six times faster than with tanh (the paper's figure 1);
dropout in the two dense layers that hold nine of ten parameters; poolings that overlap; random
crops and mirror images; and GPUs. Local response normalisation (section 3.3) divides each map by
what its neighbours at the same place do:

    y[n,c,i,j] = x[n,c,i,j] / (2 + 1e-4 * sum over c' = c-2 .. c+2 of x[n,c',i,j]^2)^0.75

It gained the paper one point. Later networks left it out, and batch normalisation took its place.

Names, arguments and state_dict keys are torchvision's. Initial values are the layers' own, as
there; the paper drew N(0, 0.01) and set biases to 0 or 1. torchvision drops out before the first
two dense layers, the paper after them.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..functional import flatten
from .arguments import check_choice, check_flag, check_sizes, fix_options
from .registry import register

# Channels of the five convolutions, by those of the first.
_WIDTHS = {64: (64, 192, 384, 256, 256), 96: (96, 256, 384, 384, 256)}
_SIZES = (28, 32, 64, 96, 224)
_SMALL = 64  # up to here the first convolution is 5x5 and keeps the size


class AlexNet(nn.Module):
    """AlexNet: (N, in_channels, H, W) to logits (N, num_classes).

    Args:
        num_classes: size of the output.
        dropout: probability in the two hidden dense layers.
        filters: 64, or 96 as in the paper of 2012: the channels of the first convolution.
        groups: 1, or 2 for the paper's two columns.
        lrn: local response normalisation behind the first two ReLUs. It has no parameters, and the
            state_dict keys stay the same.
        in_channels: channels of the input.
        image_size: None, or 224 and more, for the paper's network. Below, the dense layers see the
            map that is left and are 512 wide; up to 64 the first convolution is 5x5 with stride 1.

    Raises ValueError for options that do not exist and for an image_size below 16.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        dropout: float = 0.5,
        filters: int = 64,
        groups: int = 1,
        lrn: bool = False,
        in_channels: int = 3,
        image_size: int | None = None,
    ):
        super().__init__()
        check_sizes("AlexNet", num_classes=num_classes, in_channels=in_channels)
        check_choice("AlexNet", "filters", filters, _WIDTHS)
        check_choice("AlexNet", "groups", groups, (1, 2))
        check_flag("AlexNet", lrn=lrn)
        side, hidden = _pooled_side(image_size), 4096 if (image_size or 224) >= 224 else 512
        small = image_size is not None and image_size <= _SMALL
        a, b, c, d, e = _WIDTHS[filters]
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, a, 5, padding=2)
            if small
            else nn.Conv2d(in_channels, a, kernel_size=11, stride=4, padding=2),
            _relu(lrn),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(a, b, kernel_size=5, padding=2, groups=groups),
            _relu(lrn),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(b, c, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(c, d, kernel_size=3, padding=1, groups=groups),
            nn.ReLU(inplace=True),
            nn.Conv2d(d, e, kernel_size=3, padding=1, groups=groups),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((side, side))
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout),
            nn.Linear(e * side * side, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(p=dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x: Any) -> Any:
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


def _relu(lrn: bool) -> nn.Module:
    """ReLU, and the normalisation with it as one module, so that the layers keep their numbers."""
    relu = nn.ReLU(inplace=True)
    # The paper multiplies the sum of the squares by 1e-4; LocalResponseNorm their mean, of size 5.
    return nn.Sequential(relu, nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)) if lrn else relu


def _pooled_side(image_size: int | None) -> int:
    """The side of the map behind the last pooling; 6 for the paper's network."""
    if image_size is None:
        return 6
    if type(image_size) is not int or image_size < 16:
        raise ValueError(f"AlexNet: image_size expects at least 16 or None, got {image_size!r}")
    side = image_size if image_size <= _SMALL else (image_size + 2 * 2 - 11) // 4 + 1
    for _ in range(3):
        side = (side - 3) // 2 + 1
    return min(side, 6)


@register(
    "alexnet",
    "AlexNet for one GPU, 64 filters (Krizhevsky 2014)",
    image_sizes=_SIZES,
    input_size=(3, 224, 224),
    parameters=61_100_840,
    cam="features",
    family="alexnet",
)
def alexnet(**options: Any) -> AlexNet:
    """`AlexNet(**options)`, 64 filters wide unless told otherwise."""
    return AlexNet(**options)


@register(
    "alexnet_paper",
    "AlexNet in two columns, 96 filters, with LRN (Krizhevsky et al. 2012)",
    image_sizes=_SIZES,
    input_size=(3, 224, 224),
    parameters=60_965_224,
    cam="features",
    family="alexnet",
)
def alexnet_paper(**options: Any) -> AlexNet:
    """`AlexNet(filters=96, groups=2, lrn=True)` with the other options: the paper's network.

    `lrn=False` leaves the normalisation out. Raises ValueError for other filters or groups.
    """
    fixed = fix_options("alexnet_paper", {"filters": 96, "groups": 2}, options)
    return AlexNet(**{"lrn": True, **fixed})
