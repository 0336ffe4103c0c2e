r"""Inception v3: the ideas of GoogLeNet with factorised convolutions (C. Szegedy, V. Vanhoucke,
S. Ioffe, J. Shlens, Z. Wojna, "Rethinking the Inception architecture for computer vision",
CVPR 2016, arXiv:1512.00567, figures 5 to 10, table 1).

    A: 5x5 becomes two 3x3           C: 7x7 becomes 1x7 and 7x1       E: wide, 1x3 beside 3x1

    x -+- 1x1 ---------------\       x -+- 1x1 -----------------\     x -+- 1x1 ---------------\
       +- 1x1 -- 5x5 ---------cat       +- 1x1 -- 1x7 -- 7x1 ----cat     +- 1x1 -+- 1x3 --------cat
       +- 1x1 -- 3x3 -- 3x3 -/          +- 1x1 -- 7x1 -- 1x7 --  |       |       +- 3x1 -------/|
       +- avg -- 1x1 -------/           |        7x1 -- 1x7 ----/        +- 1x1 -- 3x3 -+- 1x3 -|
                                        +- avg -- 1x1 ---------/         |              +- 3x1 -|
                                                                         +- avg -- 1x1 --------/
    B, D: half the size: convolutions with stride 2 beside a pooling, so that no map is lost at once

A 7x7 convolution has 49 C^2 weights, 1x7 and then 7x1 have 14 C^2 and see as much. Other rules of
the paper: do not narrow early, widen the deep and small maps (E), and smooth the labels of the loss
(`label_smoothing=0.1` of cross_entropy).

    layer                            output         parameters   sees
    Conv2d_1a_3x3  stride 2          32 x 149x149          928   3
    Conv2d_2a_3x3                    32 x 147x147        9,280   7
    Conv2d_2b_3x3  pad 1             64 x 147x147       18,560   11
    maxpool1       3x3, stride 2     64 x 73x73                  15
    Conv2d_3b_1x1                    80 x 73x73          5,280   15
    Conv2d_4a_3x3                    192 x 71x71       138,624   23
    maxpool2       3x3, stride 2     192 x 35x35                 31
    Mixed_5b       A                 256 x 35x35       255,904   63
    Mixed_5c       A                 288 x 35x35       277,472   95
    Mixed_5d       A                 288 x 35x35       285,152   127
    Mixed_6a       B                 768 x 17x17     1,153,280   159
    Mixed_6b       C, 128 inside     768 x 17x17     1,297,408   351 (more than the image)
    Mixed_6c       C, 160            768 x 17x17     1,691,008   543
    Mixed_6d       C, 160            768 x 17x17     1,691,008   735
    Mixed_6e       C, 192            768 x 17x17     2,141,952   927    --> AuxLogits, in training
    Mixed_7a       D                 1280 x 8x8      1,698,304   1055
    Mixed_7b       E                 2048 x 8x8      5,044,608   1183
    Mixed_7c       E                 2048 x 8x8      6,076,800   1311
    avgpool, fc                      1000            2,049,000   all
    AuxLogits                        1000            3,326,696
                                                    27,161,264   (23,834,568 without AuxLogits)

Names, arguments, initial values and state_dict keys are torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .. import nn
from ..functional import adaptive_avg_pool2d, avg_pool2d, cat, flatten, max_pool2d
from .arguments import check_flag, check_sizes
from .googlenet import BasicConv2d, check_transform, from_imagenet
from .registry import register

Block = Callable[..., nn.Module]

_SMALL, _MEDIUM = 64, 159  # up to here, stems that halve the image once, and twice
_SMALLEST = 16


class InceptionOutputs(NamedTuple):
    """What Inception v3 gives in training: (N, num_classes) twice.

    The loss is that of `logits` and 0.4 times that of the other head, as in PyTorch's tutorial on
    fine-tuning.
    """

    logits: Any
    aux_logits: Any


class Inception3(nn.Module):
    """Inception v3: (N, in_channels, H, W) to logits (N, num_classes).

    In training, with aux_logits, it gives InceptionOutputs.

    Args:
        num_classes: size of the output.
        aux_logits: another head on Mixed_6e, whose loss is added in training.
        transform_input: inputs are normalised with ImageNet's means and deviations; bring them to
            0.5 and 0.5, with which the published weights were trained. For 3 channels.
        inception_blocks: classes to use in place of [BasicConv2d, InceptionA, InceptionB,
            InceptionC, InceptionD, InceptionE, InceptionAux].
        init_weights: initial values N(0, 0.1) (N(0, 0.001) in the other head's dense layer), cut
            off at 2 (None: True); otherwise the layers' own.
        dropout: probability in front of the last dense layer.
        in_channels: channels of the input.
        image_size: None, or 160 and more, for the paper's network, whose images should be 299x299.
            Below, the convolutions of the stem are padded and the second pooling is left out; up to
            64 the first convolution has stride 1. 32x32 images end in 3x3 maps, 96x96 in 5x5.

    Raises ValueError for bad sizes (an image_size below 16), flags and blocks.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        inception_blocks: list[Block] | None = None,
        init_weights: bool | None = True,
        dropout: float = 0.5,
        in_channels: int = 3,
        image_size: int | None = None,
    ):
        super().__init__()
        check_sizes("Inception3", num_classes=num_classes, in_channels=in_channels)
        check_flag("Inception3", aux_logits=aux_logits)
        check_transform("Inception3", transform_input, in_channels)
        stride, padding = _stem(image_size)
        conv, a, b, c, d, e, head = _blocks(inception_blocks)
        self.aux_logits = aux_logits
        self.transform_input = transform_input

        self.Conv2d_1a_3x3 = conv(in_channels, 32, kernel_size=3, stride=stride, padding=padding)
        self.Conv2d_2a_3x3 = conv(32, 32, kernel_size=3, padding=padding)
        self.Conv2d_2b_3x3 = conv(32, 64, kernel_size=3, padding=1)
        self.maxpool1 = nn.MaxPool2d(kernel_size=3, stride=2)
        self.Conv2d_3b_1x1 = conv(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = conv(80, 192, kernel_size=3, padding=padding)
        self.maxpool2 = nn.Identity() if padding else nn.MaxPool2d(kernel_size=3, stride=2)
        self.Mixed_5b = a(192, pool_features=32)
        self.Mixed_5c = a(256, pool_features=64)
        self.Mixed_5d = a(288, pool_features=64)
        self.Mixed_6a = b(288)
        self.Mixed_6b = c(768, channels_7x7=128)
        self.Mixed_6c = c(768, channels_7x7=160)
        self.Mixed_6d = c(768, channels_7x7=160)
        self.Mixed_6e = c(768, channels_7x7=192)
        self.AuxLogits: Any = head(768, num_classes) if aux_logits else None
        self.Mixed_7a = d(768)
        self.Mixed_7b = e(1280)
        self.Mixed_7c = e(2048)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(p=dropout)
        self.fc = nn.Linear(2048, num_classes)
        if init_weights or init_weights is None:
            self._initialize()

    def forward(self, x: Any) -> Any:
        if self.transform_input:
            x = from_imagenet(x)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(x))))
        x = self.Mixed_6a(x)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        aux = self.AuxLogits(x) if self.training and self.aux_logits else None
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        logits = self.fc(flatten(self.dropout(self.avgpool(x)), 1))
        return logits if aux is None else InceptionOutputs(logits, aux)

    def _initialize(self) -> None:
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                std = getattr(layer, "stddev", 0.1)
                nn.init.trunc_normal_(layer.weight, mean=0.0, std=std, a=-2, b=2)
            elif isinstance(layer, nn.BatchNorm2d):
                nn.init.ones_(layer.weight)
                nn.init.zeros_(layer.bias)


class InceptionA(nn.Module):
    """(N, in_channels, H, W) to (N, 224 + pool_features, H, W); figure 5 of the paper."""

    def __init__(self, in_channels: int, pool_features: int, conv_block: Block | None = None):
        super().__init__()
        conv = conv_block or BasicConv2d
        self.branch1x1 = conv(in_channels, 64, kernel_size=1)
        self.branch5x5_1 = conv(in_channels, 48, kernel_size=1)
        self.branch5x5_2 = conv(48, 64, kernel_size=5, padding=2)
        self.branch3x3dbl_1 = conv(in_channels, 64, kernel_size=1)
        self.branch3x3dbl_2 = conv(64, 96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = conv(96, 96, kernel_size=3, padding=1)
        self.branch_pool = conv(in_channels, pool_features, kernel_size=1)

    def forward(self, x: Any) -> Any:
        fives = self.branch5x5_2(self.branch5x5_1(x))
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pooled = self.branch_pool(avg_pool2d(x, kernel_size=3, stride=1, padding=1))
        return cat([self.branch1x1(x), fives, threes, pooled], 1)


class InceptionB(nn.Module):
    """(N, in_channels, H, W) to (N, 480 + in_channels, (H-3)//2 + 1, ...); figure 10."""

    def __init__(self, in_channels: int, conv_block: Block | None = None):
        super().__init__()
        conv = conv_block or BasicConv2d
        self.branch3x3 = conv(in_channels, 384, kernel_size=3, stride=2)
        self.branch3x3dbl_1 = conv(in_channels, 64, kernel_size=1)
        self.branch3x3dbl_2 = conv(64, 96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = conv(96, 96, kernel_size=3, stride=2)

    def forward(self, x: Any) -> Any:
        twice = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return cat([self.branch3x3(x), twice, max_pool2d(x, kernel_size=3, stride=2)], 1)


class InceptionC(nn.Module):
    """(N, in_channels, H, W) to (N, 768, H, W), channels_7x7 wide inside; figure 6."""

    def __init__(self, in_channels: int, channels_7x7: int, conv_block: Block | None = None):
        super().__init__()
        conv = conv_block or BasicConv2d
        c7 = channels_7x7
        self.branch1x1 = conv(in_channels, 192, kernel_size=1)
        self.branch7x7_1 = conv(in_channels, c7, kernel_size=1)
        self.branch7x7_2 = conv(c7, c7, kernel_size=(1, 7), padding=(0, 3))
        self.branch7x7_3 = conv(c7, 192, kernel_size=(7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = conv(in_channels, c7, kernel_size=1)
        self.branch7x7dbl_2 = conv(c7, c7, kernel_size=(7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = conv(c7, c7, kernel_size=(1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = conv(c7, c7, kernel_size=(7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = conv(c7, 192, kernel_size=(1, 7), padding=(0, 3))
        self.branch_pool = conv(in_channels, 192, kernel_size=1)

    def forward(self, x: Any) -> Any:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        pooled = self.branch_pool(avg_pool2d(x, kernel_size=3, stride=1, padding=1))
        return cat([self.branch1x1(x), once, twice, pooled], 1)


class InceptionD(nn.Module):
    """(N, in_channels, H, W) to (N, 512 + in_channels, (H-3)//2 + 1, ...)."""

    def __init__(self, in_channels: int, conv_block: Block | None = None):
        super().__init__()
        conv = conv_block or BasicConv2d
        self.branch3x3_1 = conv(in_channels, 192, kernel_size=1)
        self.branch3x3_2 = conv(192, 320, kernel_size=3, stride=2)
        self.branch7x7x3_1 = conv(in_channels, 192, kernel_size=1)
        self.branch7x7x3_2 = conv(192, 192, kernel_size=(1, 7), padding=(0, 3))
        self.branch7x7x3_3 = conv(192, 192, kernel_size=(7, 1), padding=(3, 0))
        self.branch7x7x3_4 = conv(192, 192, kernel_size=3, stride=2)

    def forward(self, x: Any) -> Any:
        threes = self.branch3x3_2(self.branch3x3_1(x))
        sevens = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return cat([threes, self.branch7x7x3_4(sevens), max_pool2d(x, kernel_size=3, stride=2)], 1)


class InceptionE(nn.Module):
    """(N, in_channels, H, W) to (N, 2048, H, W); figure 7."""

    def __init__(self, in_channels: int, conv_block: Block | None = None):
        super().__init__()
        conv = conv_block or BasicConv2d
        self.branch1x1 = conv(in_channels, 320, kernel_size=1)
        self.branch3x3_1 = conv(in_channels, 384, kernel_size=1)
        self.branch3x3_2a = conv(384, 384, kernel_size=(1, 3), padding=(0, 1))
        self.branch3x3_2b = conv(384, 384, kernel_size=(3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = conv(in_channels, 448, kernel_size=1)
        self.branch3x3dbl_2 = conv(448, 384, kernel_size=3, padding=1)
        self.branch3x3dbl_3a = conv(384, 384, kernel_size=(1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = conv(384, 384, kernel_size=(3, 1), padding=(1, 0))
        self.branch_pool = conv(in_channels, 192, kernel_size=1)

    def forward(self, x: Any) -> Any:
        once = self.branch3x3_1(x)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = self.branch_pool(avg_pool2d(x, kernel_size=3, stride=1, padding=1))
        wide = [self.branch3x3_2a(once), self.branch3x3_2b(once)]
        deep = [self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice)]
        return cat([self.branch1x1(x), *wide, *deep, pooled], 1)


class InceptionAux(nn.Module):
    """The other head: (N, in_channels, H, W), pooled to 5x5, to logits (N, num_classes); figure 8.

    17x17 maps are pooled by 5x5 windows with stride 3, as in the paper. Smaller ones, of smaller
    images, are pooled to 5x5 by windows that fit.
    """

    def __init__(self, in_channels: int, num_classes: int, conv_block: Block | None = None):
        super().__init__()
        conv = conv_block or BasicConv2d
        self.conv0 = conv(in_channels, 128, kernel_size=1)
        self.conv1 = conv(128, 768, kernel_size=5)
        self.fc = nn.Linear(768, num_classes)
        self.fc.stddev = 0.001

    def forward(self, x: Any) -> Any:
        if min(x.shape[2:]) < 17:
            x = adaptive_avg_pool2d(x, (5, 5))
        else:
            x = avg_pool2d(x, kernel_size=5, stride=3)
        x = self.conv1(self.conv0(x))
        return self.fc(flatten(adaptive_avg_pool2d(x, (1, 1)), 1))


def _stem(image_size: int | None) -> tuple[int, int]:
    """The stride of the first convolution and the padding of the stem's."""
    if image_size is None:
        return 2, 0
    if type(image_size) is not int or image_size < _SMALLEST:
        raise ValueError(
            f"Inception3: image_size expects at least {_SMALLEST} or None, got {image_size!r}"
        )
    return 1 if image_size <= _SMALL else 2, 1 if image_size <= _MEDIUM else 0


def _blocks(blocks: list[Block] | None) -> list[Block]:
    if blocks is None:
        mixed = [InceptionA, InceptionB, InceptionC, InceptionD, InceptionE]
        return [BasicConv2d, *mixed, InceptionAux]
    if len(blocks) != 7:
        raise ValueError(
            "Inception3: inception_blocks expects the classes of convolution, A, B, C, D, E and "
            f"head, got {blocks!r}"
        )
    return list(blocks)


def _with_weights(make: Callable[..., Any], options: dict[str, Any], load: Any) -> Inception3:
    """The published file holds the other head; it goes if it was not asked for."""
    head = options.get("aux_logits", True)
    check_flag("inception_v3", aux_logits=head)
    fixed = {"aux_logits": True, "init_weights": False}
    net = make(**{"transform_input": True, **options, **fixed})
    load(net)
    if not head:
        net.aux_logits, net.AuxLogits = False, None
    return net


@register(
    "inception_v3",
    "Inception v3 (Szegedy et al. 2016)",
    image_sizes=(28, 32, 64, 96, 299),
    input_size=(3, 299, 299),
    parameters=27_161_264,
    cam="Mixed_7c",
    family="inception",
    with_weights=_with_weights,
)
def inception_v3(**options: Any) -> Inception3:
    """`Inception3(**options)`.

    With published weights transform_input is True unless told otherwise.
    """
    return Inception3(**options)
