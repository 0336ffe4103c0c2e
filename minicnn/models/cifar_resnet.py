"""The ResNets for CIFAR-10 (K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image
recognition", CVPR 2016, arXiv:1512.03385, section 4.2).

    3 x 32x32  -> 16 x 32x32 ->  n blocks  ->  n blocks  ->  n blocks  ->  64   ->  10
                  conv 3x3       16 x 32x32    32 x 16x16    64 x 8x8      mean     dense

    a block:  x --> conv 3x3, bn, ReLU --> conv 3x3, bn --> (+) --> ReLU -->
                +______________________________________________^

Depth counts the layers with weights: 1 + 3 stages * n blocks * 2 convolutions + 1 = 6n + 2. They
are narrow on purpose, sixteen channels where ImageNet's have 64: section 4.2 asks how networks
behave as they get deeper, not for a record.

                    n    parameters                   multiply-adds   error on CIFAR-10 (table 6)
                         option A     option B
    resnet20        3      269,722      272,474       40.6e6          8.75 %
    resnet32        5      464,154      466,906       68.9e6          7.51 %
    resnet44        7      658,586      661,338       97.2e6          7.17 %
    resnet56        9      853,018      855,770       125.5e6         6.97 %
    resnet110      18    1,727,962    1,730,714       252.9e6         6.43 %

    a unit sees     resnet20    resnet32    resnet44    resnet56    resnet110
    conv1           3           3           3           3           3
    layer1          15          23          31          39          75
    layer2          37          61          85          109         217
    layer3          81          137         193         249         501

Without the shortcuts (shortcut="none": the same layers, the same number of parameters) depth does
harm. The paper's figure 1 shows it, training and test error of the 56-layer plain network above
those of the 20-layer one at the end of training; its plain network of 110 layers has more than
60 % error (figure 6), and on ImageNet 34 plain layers err in 28.54 %, 18 in 27.94 % (table 2).

Where a stage begins, the shortcut must halve the side and double the channels. Option A takes
every second row and column and fills the new channels with zeros. Here it is the paper's choice
everywhere, so that a ResNet has exactly the parameters of its plain counterpart and a comparison
shows the shortcuts alone. Option B, a 1x1 convolution with batch norm, adds 2,752 parameters.

The paper trains with SGD, momentum 0.9, weight decay 1e-4, batches of 128, rate 0.1, divided by 10
after 32,000 and 48,000 of 64,000 steps; images padded by 4, cropped at random, mirrored at random.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .. import nn
from ..functional import flatten, pad
from .arguments import check_choice, check_sizes, fix_options
from .attention import attention_maker
from .registry import register
from .resnet import BasicBlock, conv1x1, conv3x3, initialize


class PaddedShortcut(nn.Module):
    """Option A: every second row and column of x, and channels of zeros behind x's own.

    (N, in_planes, H, W) to (N, out_planes, H/stride, W/stride), rounded up. No parameters.
    """

    def __init__(self, in_planes: int, out_planes: int, stride: int):
        super().__init__()
        self.in_planes, self.out_planes, self.stride = in_planes, out_planes, stride

    def forward(self, x: Any) -> Any:
        x = x[:, :, :: self.stride, :: self.stride]
        return pad(x, (0, 0, 0, 0, 0, self.out_planes - self.in_planes))

    def extra_repr(self) -> str:
        """What stands in the brackets of the layer's text."""
        return f"{self.in_planes}, {self.out_planes}, stride={self.stride}"


class PlainBlock(BasicBlock):
    """The layers of BasicBlock without its shortcut: what residual learning is compared with."""

    def forward(self, x: Any) -> Any:
        return self.relu(self.residual(x))


class CifarResNet(nn.Module):
    """3x3 convolution, three stages of BasicBlocks, average, dense layer: (N, C, H, W) to logits.

    Args:
        depth: 6n + 2, the number of layers with weights.
        num_classes, in_channels: sizes of the output and the input.
        image_size: any; the network is the same, as it averages over the map that is left.
        shortcut: where the shape changes, "A" (zeros; no parameters) or "B" (1x1 convolution and
            batch norm); or "none", the plain network without any shortcut.
        attention: "se", "cbam" or what makes a module of a number of channels; see attention.py.

    Raises ValueError for a depth that is not 6n + 2, sizes below 1, other shortcuts or attentions.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int | None = None,
        shortcut: str = "A",
        attention: str | Callable[[int], nn.Module] | None = None,
    ):
        super().__init__()
        check_sizes("CifarResNet", num_classes=num_classes, in_channels=in_channels)
        check_sizes("CifarResNet", ["image_size"], image_size=image_size)
        check_choice("CifarResNet", "shortcut", shortcut, ["A", "B", "none"])
        if type(depth) is not int or depth < 8 or depth % 6 != 2:
            raise ValueError(f"CifarResNet: depth expects 6n + 2, from 8 up, got {depth!r}")
        blocks = (depth - 2) // 6
        self.conv1 = conv3x3(in_channels, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        block = partial(
            PlainBlock if shortcut == "none" else BasicBlock,
            attention=attention_maker("CifarResNet", attention),
        )
        self.layer1 = _stage(block, 16, 16, blocks, 1, shortcut)
        self.layer2 = _stage(block, 16, 32, blocks, 2, shortcut)
        self.layer3 = _stage(block, 32, 64, blocks, 2, shortcut)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(64, num_classes)
        initialize(self)

    def forward(self, x: Any) -> Any:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(flatten(self.avgpool(x), 1))


def _stage(
    block: Any, in_planes: int, planes: int, blocks: int, stride: int, shortcut: str
) -> nn.Sequential:
    downsample: nn.Module | None = None
    if stride != 1 and shortcut == "A":
        downsample = PaddedShortcut(in_planes, planes, stride)
    elif stride != 1 and shortcut == "B":
        downsample = nn.Sequential(conv1x1(in_planes, planes, stride), nn.BatchNorm2d(planes))
    first = block(in_planes, planes, stride, downsample)
    return nn.Sequential(first, *[block(planes, planes) for _ in range(blocks - 1)])


def _registered(depth: int, parameters: int) -> Any:
    name = f"resnet{depth}"

    def make(**options: Any) -> CifarResNet:
        return CifarResNet(**fix_options(name, {"depth": depth}, options))

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""ResNet-{depth} for 32x32 images: {parameters:,} parameters.

    Args:
        weights, progress: published weights to load; see weights.py.
        options: what CifarResNet takes: num_classes, in_channels, image_size, shortcut, attention.
    """
    return register(
        name,
        f"ResNet-{depth} for 32x32 images (He et al. 2016)",
        image_sizes=(16, 28, 32, 64, 96),
        input_size=(3, 32, 32),
        parameters=parameters,
        cam="layer3",
        family="cifar_resnet",
    )(make)


resnet20 = _registered(20, 269_722)
resnet32 = _registered(32, 464_154)
resnet44 = _registered(44, 658_586)
resnet56 = _registered(56, 853_018)
resnet110 = _registered(110, 1_727_962)
