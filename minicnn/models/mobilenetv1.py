"""MobileNet: convolutions for phones, split into a spatial and a channel part (A. Howard, M. Zhu,
B. Chen, D. Kalenichenko, W. Wang, T. Weyand, M. Andreetto, H. Adam, "MobileNets: efficient
convolutional neural networks for mobile vision applications", 2017, arXiv:1704.04861, table 1).

    a convolution                         depthwise separable: the same reach in two steps

    C maps   +----+                       C maps   +----+               +----+
             | 3x3|  every output         each     | 3x3|  C maps of    | 1x1|  mixes the
             | of |  sums 9*C products    by its   | of |  9 products   | of |  C maps in
             | all|                       own      | one|  each         | all|  each place
             +----+                       kernel   +----+               +----+
    9*C*F multiplications a place         9*C                      +    C*F

                             output            parameters    sees (receptive field)
    3x3 conv, stride 2         32 x 112x112           928      3 x 3
    1 block                    64 x 112x112         2,528      7 x 7
    2 blocks, first /2        128 x 56x56          27,200     19 x 19
    2 blocks, first /2        256 x 28x28         103,552     43 x 43
    6 blocks, first /2        512 x 14x14       1,478,912    219 x 219
    2 blocks, first /2       1024 x 7x7         1,593,856    315 x 315
    average, dense           1000               1,025,000    all
                                                4,231,976

The ratio of the two is 1/F + 1/9: about an eighth of the work for 3x3 kernels, which is the paper's
point; it lost 1.1 points of accuracy on ImageNet. Two numbers then trade accuracy for speed: the
width multiplier, which scales the channels of every layer, and the resolution of the images. The
network as it stands takes 569 million multiply-adds, 325, 149 and 41 million at widths 0.75, 0.5
and 0.25 (tables 6 and 7 of the paper). 95% of its work is 1x1 convolutions: plain matrix products.

The last stride in the paper's table 1 (2, from 7x7 to 7x7) is a misprint for 1. The paper gives no
initial values; these are the ones of MobileNet v2 here.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..functional import flatten
from .arguments import check_sizes
from .blocks import (
    Conv2dNormActivation,
    check_scale,
    he_fan_out,
    initialize,
    make_divisible,
    small_normal,
    strides_for,
)
from .registry import register

# Channels and strides of the depthwise separable convolutions; a full one with 32 comes before.
_CHANNELS = (64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)
_STRIDES = (2, 1, 2, 1, 2, 1, 2, *[1] * 5, 2, 1)


class DepthwiseSeparable(nn.Sequential):
    """A 3x3 convolution of each channel by itself, then a 1x1 one of all: (N, C, H, W) to
    (N, out_channels, OH, OW); batch norm and ReLU after each."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__(
            Conv2dNormActivation(in_channels, in_channels, stride=stride, groups=in_channels),
            Conv2dNormActivation(in_channels, out_channels, kernel_size=1),
        )


class MobileNetV1(nn.Module):
    """MobileNet: (N, in_channels, H, W) to logits (N, num_classes).

    Args:
        num_classes: size of the output.
        width_mult: factor for the channels of every layer, rounded to multiples of 8.
        dropout: probability in front of the dense layer.
        in_channels: channels of the images.
        strides: those of the first convolution and of the 13 blocks; None for the paper's.

    Raises ValueError for a size below 1, a width_mult that is not above 0, another number of
    strides.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        dropout: float = 0.0,
        in_channels: int = 3,
        strides: Any = None,
    ):
        super().__init__()
        check_sizes("MobileNetV1", num_classes=num_classes, in_channels=in_channels)
        check_scale("MobileNetV1", "width_mult", width_mult)
        first, *others = _STRIDES if strides is None else strides
        if len(others) != len(_CHANNELS):
            raise ValueError(f"MobileNetV1: strides expects {len(_STRIDES)}, got {strides!r}")
        wide = [make_divisible(c * width_mult, 8) for c in (32, *_CHANNELS)]
        self.features = nn.Sequential(
            Conv2dNormActivation(in_channels, wide[0], stride=first),
            *map(DepthwiseSeparable, wide[:-1], wide[1:], others),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(wide[-1], num_classes))
        initialize(self, he_fan_out, small_normal)

    def forward(self, x: Any) -> Any:
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


@register(
    "mobilenet_v1",
    "MobileNet (Howard et al. 2017)",
    image_sizes=(28, 32, 64, 96, 224),
    input_size=(3, 224, 224),
    parameters=4_231_976,
    cam="features",
    family="mobilenet",
)
def mobilenet_v1(image_size: int | None = None, **options: Any) -> MobileNetV1:
    """MobileNet v1.

    Args:
        weights, progress: published weights to load; see weights.py.
        image_size: None, or 65 and above, gives the paper's network. For smaller images the first
            strides are 1, so that the last map has 3x3 places or more.
        options: what MobileNetV1 takes: num_classes, width_mult, dropout, in_channels.

    Raises ValueError for an image_size below 1.
    """
    options.setdefault("strides", strides_for("mobilenet_v1", image_size, _STRIDES))
    return MobileNetV1(**options)
