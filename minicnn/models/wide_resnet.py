"""Wide ResNet: fewer and wider blocks (S. Zagoruyko, N. Komodakis, "Wide residual networks", BMVC
2016, arXiv:1605.07146).

    a block of the paper (figure 1d), in the order of He et al., "Identity mappings in deep
    residual networks", ECCV 2016:

        x --> bn, ReLU --> conv 3x3 --> bn, ReLU --> dropout --> conv 3x3 --> (+) -->
        +----------------------------------------------------------------------^

Norm and ReLU stand before their convolution and nothing after the sum, so that the shortcuts alone
lead from the first block to the last. Where a stage changes the number of channels, the shortcut is
a 1x1 convolution of relu(bn(x)), which the branch sees too.

Why. A thin network must be made very much deeper for each step in accuracy, and its layers run one
after the other. The paper makes layers wider instead: 16 wide ones do better than a thousand thin
ones, and train several times as fast, as the work in a layer runs side by side.

    wrn_d_k, depth d = 6n + 4       wrn_16_4, n = 2           wrn_28_10, n = 4
                                    parameters      sees      parameters       sees
    conv1     32x32   16                   432         3             432          3
    layer1    32x32   16k, n blocks    121,248        11       1,640,672         19
    layer2    16x16   32k, n blocks    525,184        25       6,968,000         49
    layer3    8x8     64k, n blocks  2,098,944        53      27,862,400        109
    bn1, ReLU, mean over the map           512                     1,280
    fc                10                 2,570                     6,410
    all                              2,748,890                36,479,194
    multiply-adds                      392.6e6                    5.24e9

    error, CIFAR-10 / CIFAR-100     5.02 % / 24.03 %          4.00 % / 19.25 %
    with dropout (table 6)          5.24 % / 23.91 %          3.89 % / 18.85 %

For ImageNet the paper takes a ResNet's bottlenecks and widens their 3x3 convolutions alone, by two:
width_per_group=128. wide_resnet50_2 errs less than ResNet-152 (21.9 % against 22.16 %, top-1,
single crop, table 8) and is faster, with a third of its layers:

                          parameters     multiply-adds
    wide_resnet50_2        68,883,240    11.40e9
    wide_resnet101_2      126,886,696    22.75e9

The stages of these two, and what their units see, are those of ResNet-50 and -101 in resnet.py;
their names, arguments, initial values and state_dict keys are torchvision's.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..functional import flatten
from .arguments import check_sizes, fix_options
from .registry import register
from .resnet import Bottleneck, conv1x1, conv3x3, initialize, register_resnet


class WideBlock(nn.Module):
    """The block drawn above: (N, in_planes, H, W) to (N, planes, H/stride, W/stride)."""

    def __init__(self, in_planes: int, planes: int, stride: int, dropout: float):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv1 = conv3x3(in_planes, planes, stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = conv3x3(planes, planes)
        same = stride == 1 and in_planes == planes
        self.downsample = None if same else conv1x1(in_planes, planes, stride)

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(y)
        y = self.relu(self.bn2(self.conv1(y)))
        return self.conv2(self.dropout(y)) + shortcut


class WideResNet(nn.Module):
    """Wide ResNet for small images: (N, C, H, W) to logits (N, num_classes).

    Args:
        depth: 6n + 4.
        widen_factor: k, by which it is wider than the ResNets for CIFAR-10.
        num_classes, in_channels: sizes of the output and the input.
        image_size: any; the network is the same, as it averages over the map that is left.
        dropout: probability between the convolutions of a block; the paper takes 0 or 0.3.

    Raises ValueError for a depth that is not 6n + 4, sizes below 1 and no probability.
    """

    def __init__(
        self,
        depth: int,
        widen_factor: int = 1,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_sizes("WideResNet", num_classes=num_classes, in_channels=in_channels)
        check_sizes("WideResNet", widen_factor=widen_factor)
        check_sizes("WideResNet", ["image_size"], image_size=image_size)
        if type(depth) is not int or depth < 10 or depth % 6 != 4:
            raise ValueError(f"WideResNet: depth expects 6n + 4, from 10 up, got {depth!r}")
        blocks, k = (depth - 4) // 6, widen_factor
        self.conv1 = conv3x3(in_channels, 16)
        self.layer1 = _stage(16, 16 * k, blocks, 1, dropout)
        self.layer2 = _stage(16 * k, 32 * k, blocks, 2, dropout)
        self.layer3 = _stage(32 * k, 64 * k, blocks, 2, dropout)
        self.bn1 = nn.BatchNorm2d(64 * k)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(64 * k, num_classes)
        initialize(self)
        nn.init.constant_(self.fc.bias, 0)

    def forward(self, x: Any) -> Any:
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        x = self.relu(self.bn1(x))
        return self.fc(flatten(self.avgpool(x), 1))


def _stage(in_planes: int, planes: int, blocks: int, stride: int, dropout: float) -> nn.Sequential:
    first = WideBlock(in_planes, planes, stride, dropout)
    return nn.Sequential(first, *[WideBlock(planes, planes, 1, dropout) for _ in range(blocks - 1)])


def _registered(depth: int, widen_factor: int, parameters: int) -> Any:
    name = f"wrn_{depth}_{widen_factor}"

    def make(**options: Any) -> WideResNet:
        fixed = {"depth": depth, "widen_factor": widen_factor}
        return WideResNet(**fix_options(name, fixed, options))

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""WRN-{depth}-{widen_factor} for 32x32 images: {parameters:,} parameters.

    Args:
        weights, progress: published weights to load; see weights.py.
        options: what WideResNet takes: num_classes, in_channels, image_size, dropout.
    """
    return register(
        name,
        f"Wide ResNet-{depth}-{widen_factor} (Zagoruyko, Komodakis 2016)",
        image_sizes=(16, 28, 32, 64, 96),
        input_size=(3, 32, 32),
        parameters=parameters,
        cam="layer3",
        family="cifar_resnet",
    )(make)


wrn_16_4 = _registered(16, 4, 2_748_890)
wrn_28_10 = _registered(28, 10, 36_479_194)

wide_resnet50_2 = register_resnet(
    "wide_resnet50_2",
    "ResNet-50 with bottlenecks twice as wide (Zagoruyko, Komodakis 2016)",
    Bottleneck,
    [3, 4, 6, 3],
    68_883_240,
    module=__name__,
    width_per_group=128,
)
wide_resnet101_2 = register_resnet(
    "wide_resnet101_2",
    "ResNet-101 with bottlenecks twice as wide (Zagoruyko, Komodakis 2016)",
    Bottleneck,
    [3, 4, 23, 3],
    126_886_696,
    module=__name__,
    width_per_group=128,
)
