"""The plain networks that tutorials train on CIFAR-10: PyTorch's, and the one of Caffe.

cifar_net is the network of PyTorch's tutorial "Training a Classifier": LeNet-5 for colour images,
with ReLU. It has the tutorial's names, so that its weights load:

    layer                 output       parameters                     sees (receptive field)
    conv1  5x5, ReLU      6 x 28x28      6 * (3*25 + 1)   =    456    5 x 5
    pool   max 2x2        6 x 14x14                                   6 x 6
    conv2  5x5, ReLU      16 x 10x10    16 * (6*25 + 1)   =  2,416    14 x 14
    pool   max 2x2        16 x 5x5                                    16 x 16
    fc1    dense, ReLU    120          120 * (400 + 1)    = 48,120    all
    fc2    dense, ReLU    84            84 * (120 + 1)    = 10,164
    fc3    dense          10            10 * (84 + 1)     =    850
                                                            62,006

cifar_quick is the network of Caffe's CIFAR-10 tutorial ("cifar10_quick"), after A. Krizhevsky's
cuda-convnet. Its poolings overlap, 3x3 windows two apart, rounded up at the edge; the first takes
the maximum, before ReLU, the others the mean, after it:

    layer                    output       parameters                      sees
    conv1  5x5, padding 2    32 x 32x32   32 * (3*25 + 1)   =   2,432     5 x 5
    pool1  max 3x3, ReLU     32 x 16x16                                   7 x 7
    conv2  5x5, ReLU         32 x 16x16   32 * (32*25 + 1)  =  25,632     15 x 15
    pool2  mean 3x3          32 x 8x8                                     19 x 19
    conv3  5x5, ReLU         64 x 8x8     64 * (32*25 + 1)  =  51,264     35 x 35
    pool3  mean 3x3          64 x 4x4                                     43 x 43
    ip1    dense             64           64 * (1024 + 1)   =  65,600     all
    ip2    dense             10           10 * (64 + 1)     =     650
                                                              145,578

Both begin with the layers' own initial values. (Caffe's file draws conv1 with a deviation of 0.0001
and its dense layers with 0.1.)
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..functional import flatten, relu
from .arguments import check_sizes
from .registry import register


class CifarNet(nn.Module):
    """The network of PyTorch's tutorial: (N, C, image_size, image_size) to logits.

    Args: num_classes, in_channels, and image_size, which the dense layers are made for: at least
        16. Raises ValueError for others.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 3, image_size: int | None = None):
        super().__init__()
        image_size = _checked("CifarNet", num_classes, in_channels, image_size)
        side = ((image_size - 4) // 2 - 4) // 2
        self.conv1 = nn.Conv2d(in_channels, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * side * side, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Any) -> Any:
        x = self.pool(relu(self.conv1(x)))
        x = self.pool(relu(self.conv2(x)))
        x = flatten(x, 1)
        return self.fc3(relu(self.fc2(relu(self.fc1(x)))))


class CifarQuick(nn.Module):
    """The network of Caffe's tutorial: (N, C, image_size, image_size) to logits.

    Args: as of CifarNet.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 3, image_size: int | None = None):
        super().__init__()
        image_size = _checked("CifarQuick", num_classes, in_channels, image_size)
        side = image_size // 2 // 2 // 2  # each pooling: ceil((side - 3) / 2) + 1 = side // 2
        self.conv1 = nn.Conv2d(in_channels, 32, 5, padding=2)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(32, 32, 5, padding=2)
        self.pool2 = nn.AvgPool2d(3, 2, ceil_mode=True)
        self.conv3 = nn.Conv2d(32, 64, 5, padding=2)
        self.pool3 = nn.AvgPool2d(3, 2, ceil_mode=True)
        self.ip1 = nn.Linear(64 * side * side, 64)
        self.ip2 = nn.Linear(64, num_classes)

    def forward(self, x: Any) -> Any:
        x = relu(self.pool1(self.conv1(x)))
        x = self.pool2(relu(self.conv2(x)))
        x = self.pool3(relu(self.conv3(x)))
        return self.ip2(self.ip1(flatten(x, 1)))


def _checked(network: str, num_classes: int, in_channels: int, image_size: int | None) -> int:
    check_sizes(network, num_classes=num_classes, in_channels=in_channels)
    image_size = 32 if image_size is None else image_size
    if type(image_size) is not int or image_size < 16:
        raise ValueError(f"{network}: image_size expects at least 16, got {image_size!r}")
    return image_size


@register(
    "cifar_net",
    "The network of PyTorch's CIFAR-10 tutorial",
    image_sizes=(16, 28, 32, 64, 96),
    input_size=(3, 32, 32),
    parameters=62_006,
    cam="conv2",
    family="lenet",
)
def cifar_net(**options: Any) -> CifarNet:
    """`CifarNet(**options)`: the network of PyTorch's CIFAR-10 tutorial."""
    return CifarNet(**options)


@register(
    "cifar_quick",
    "The network of Caffe's CIFAR-10 tutorial",
    image_sizes=(16, 28, 32, 64, 96),
    input_size=(3, 32, 32),
    parameters=145_578,
    cam="conv3",
    family="lenet",
)
def cifar_quick(**options: Any) -> CifarQuick:
    """`CifarQuick(**options)`: the network of Caffe's CIFAR-10 tutorial."""
    return CifarQuick(**options)
