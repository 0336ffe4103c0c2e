"""Network in Network: a small dense network at every place, and no dense layers at the end
(M. Lin, Q. Chen, S. Yan, "Network in network", ICLR 2014, arXiv:1312.4400, figure 2).

           mlpconv                                   global average pooling
         +-----------------+
         | conv KxK  -> F1 |     +---------+     +-----------------+      the mean of each map
    x -> | conv 1x1  -> F2 | --> | mlpconv | --> | mlpconv to one  | -->  is the logit of its
         | conv 1x1  -> F3 |     +---------+     | map for a class |      class
         +-----------------+                     +-----------------+
          ReLU behind each, but not behind the last one of all

A filter of a convolution is a linear model of its patch. The paper puts a multilayer perceptron in
its place, which slides over the image just so; its dense layers are 1x1 convolutions. The last maps
are one for each class, and each map's mean is the class's logit: a dense layer, where networks had
most of their parameters and overfitted, is not needed any more. GoogLeNet, ResNet and all that came
after have 1x1 convolutions and global average pooling from here.

The paper's network for CIFAR-10, which is what images of up to 64x64 are given:

    layer                        output        parameters                           sees
    mlpconv1  5x5, pad 2         192 x 32x32   192*(3*25 + 1)     =  14,592         5 x 5
              1x1                160 x 32x32   160*(192 + 1)      =  30,880
              1x1                96 x 32x32    96*(160 + 1)       =  15,456
    pool      max 3x3, stride 2  96 x 16x16                                         7 x 7
    mlpconv2  5x5, pad 2         192 x 16x16   192*(96*25 + 1)    = 460,992         15 x 15
              1x1, 1x1           192 x 16x16   2 * 192*(192 + 1)  =  74,112
    pool      avg 3x3, stride 2  192 x 8x8                                          19 x 19
    mlpconv3  3x3, pad 1         192 x 8x8     192*(192*9 + 1)    = 331,968         27 x 27
              1x1                192 x 8x8     192*(192 + 1)      =  37,056
              1x1                10 x 8x8      10*(192 + 1)       =   1,930
    average                      10                                                 all
                                                                    966,986

and the authors' for ImageNet:

    layer                        output         parameters                               sees
    mlpconv1  11x11, stride 4    96 x 55x55     34,944 + 2 *   9,312  =    53,568        11 x 11
    pool      max 3x3, stride 2  96 x 27x27                                              19 x 19
    mlpconv2  5x5, pad 2         256 x 27x27    614,656 + 2 *  65,792 =   746,240        51 x 51
    pool      max 3x3, stride 2  256 x 13x13                                             67 x 67
    mlpconv3  3x3, pad 1         384 x 13x13    885,120 + 2 * 147,840 = 1,180,800        99 x 99
    pool      max 3x3, stride 2  384 x 6x6                                               131 x 131
    mlpconv4  3x3, pad 1         1024 x 6x6     3,539,968 + 1,049,600 + 1,025,000        195 x 195
              1x1, 1x1           1000 x 6x6                           = 5,614,568
    average                      1000                                                    all
                                                                        7,595,176

The images are padded by 2 there, so that 224x224 gives the 55x55 which the authors' 227x227 gave.
Their program has a ReLU behind the last maps too. A class whose map it leaves empty has no gradient
any more, and training easily ends there; it is left out.

Initial values are He's, as ReLU asks for; the authors drew N(0, 0.05) with a rate for each layer
that they tuned by hand. torchvision has no NiN: names are minicnn's.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..functional import flatten
from .arguments import check_sizes
from .registry import register

_SMALL = 64  # up to here the network for CIFAR-10


class NiN(nn.Module):
    """Network in Network: (N, in_channels, H, W) to logits (N, num_classes).

    Args:
        num_classes, in_channels: sizes of the output and the input.
        dropout: probability between the mlpconvs: behind every pooling for small images, behind the
            last one otherwise.
        image_size: None, or more than 64, for the network for ImageNet; otherwise that for
            CIFAR-10. Any size from 8 up works with the latter, any from 63 up with the former.

    Raises ValueError for sizes that are too small.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        dropout: float = 0.5,
        in_channels: int = 3,
        image_size: int | None = None,
    ):
        super().__init__()
        check_sizes("NiN", num_classes=num_classes, in_channels=in_channels)
        if image_size is not None and (type(image_size) is not int or image_size < 8):
            raise ValueError(f"NiN: image_size expects at least 8 or None, got {image_size!r}")
        if image_size is None or image_size > _SMALL:
            self.features = nn.Sequential(
                mlpconv(in_channels, (96, 96, 96), 11, stride=4, padding=2),
                nn.MaxPool2d(3, stride=2),
                mlpconv(96, (256, 256, 256), 5, padding=2),
                nn.MaxPool2d(3, stride=2),
                mlpconv(256, (384, 384, 384), 3, padding=1),
                nn.MaxPool2d(3, stride=2),
                nn.Dropout(dropout),
                mlpconv(384, (1024, 1024, num_classes), 3, padding=1, last=True),
            )
        else:
            self.features = nn.Sequential(
                mlpconv(in_channels, (192, 160, 96), 5, padding=2),
                nn.MaxPool2d(3, stride=2, ceil_mode=True),
                nn.Dropout(dropout),
                mlpconv(96, (192, 192, 192), 5, padding=2),
                nn.AvgPool2d(3, stride=2, ceil_mode=True),
                nn.Dropout(dropout),
                mlpconv(192, (192, 192, num_classes), 3, padding=1, last=True),
            )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self._initialize()

    def forward(self, x: Any) -> Any:
        return flatten(self.avgpool(self.features(x)), 1)

    def _initialize(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)


def mlpconv(
    in_channels: int,
    widths: tuple[int, int, int],
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    last: bool = False,
) -> nn.Sequential:
    """A convolution and two 1x1 ones behind it, of these widths, each with a ReLU.

    The last mlpconv of a network gives logits, without ReLU.
    """
    first, second, third = widths
    layers = [
        nn.Conv2d(in_channels, first, kernel, stride=stride, padding=padding),
        nn.ReLU(inplace=True),
        nn.Conv2d(first, second, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(second, third, 1),
    ]
    return nn.Sequential(*layers) if last else nn.Sequential(*layers, nn.ReLU(inplace=True))


@register(
    "nin",
    "Network in Network (Lin, Chen, Yan 2014)",
    image_sizes=(28, 32, 64, 96, 224),
    input_size=(3, 224, 224),
    parameters=7_595_176,
    cam="features",
    family="nin",
)
def nin(**options: Any) -> NiN:
    """`NiN(**options)`: the network of this module under the name that the command line uses."""
    return NiN(**options)
