"""EfficientNet: one good small network, and a rule by which it grows (M. Tan, Q. V. Le,
"EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019,
arXiv:1905.11946, table 1 and equation 3).

    MBConv6, k5x5: MobileNet v2's block with squeeze and excitation and SiLU, x * sigmoid(x)

    x --+--------------------------------------------------------------------------------+
        |                                                                                v
        +-> 1x1, C to 6C -> 5x5 depthwise -> squeeze to C/4, excite -> 1x1, 6C to C' --> + -> y
            (not in MBConv1)                                              (no activation)
                                                                   the sum only where C' = C
                                                                   and the stride is 1

    b0                             output            parameters    sees (receptive field)
    3x3 conv, stride 2               32 x 112x112           928      3 x 3
    1 MBConv1, k3x3                  16 x 112x112         1,448      7 x 7
    2 MBConv6, k3x3, first /2        24 x 56x56          16,714     19 x 19
    2 MBConv6, k5x5, first /2        40 x 28x28          46,640     67 x 67
    3 MBConv6, k3x3, first /2        80 x 14x14         242,930    147 x 147
    3 MBConv6, k5x5                 112 x 14x14         543,148    339 x 339
    4 MBConv6, k5x5, first /2       192 x 7x7         2,026,348    787 x 787
    1 MBConv6, k3x3                 320 x 7x7           717,232    851 x 851
    1x1 conv                       1280 x 7x7           412,160    851 x 851
    average, dense                 1000               1,281,000    all
                                                      5,288,548

A network can be made deeper, wider, or be given larger images. Each by itself soon brings little;
the paper grows all three together, for F times the work by

    depth 1.2^f, width 1.1^f, resolution 1.15^f,   1.2 * 1.1^2 * 1.15^2 = 1.92, about 2, so F = 2^f

B0 was found by a search, like MobileNet v3, and the others are B0 grown. Widths are rounded to
multiples of 8 and numbers of layers up. The paper goes on to B7, of width 2.0 and depth 3.1, which
`EfficientNet` makes of stages with those factors.

          width   depth   images    dropout   parameters
    b0     1.0     1.0    224x224     0.2      5,288,548     (0.39 billion multiply-adds)
    b1     1.0     1.1    240x240     0.2      7,794,184
    b2     1.1     1.2    260x260     0.3      9,109,994
    b3     1.2     1.4    300x300     0.3     12,233,232
    b4     1.4     1.8    380x380     0.4     19,341,616

A block is left out in training with a probability that grows from 0 at the first to nearly 0.2 at
the last (stochastic depth). Receptive fields are given without squeeze and excitation, which let
every place see all.

Names, arguments, initial values and state_dict keys are torchvision's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import InitVar, dataclass
from functools import partial
from typing import Any

from .. import nn
from ..functional import flatten
from .arguments import check_sizes
from .blocks import (
    Conv2dNormActivation,
    SqueezeExcitation,
    StochasticDepth,
    he_fan_out,
    initialize,
    make_divisible,
    strides_for,
)
from .registry import register

# The paper's table 1: expansion, kernel, stride, channels in and out, layers.
_STAGES = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


@dataclass
class MBConvConfig:
    """A stage: `num_layers` blocks, of which the first changes the channels and has the stride.

    Channels are multiplied by width_mult and rounded to multiples of 8; layers are multiplied by
    depth_mult and rounded up. `block` is called as MBConv is; None for that.
    """

    expand_ratio: float
    kernel: int
    stride: int
    input_channels: int
    out_channels: int
    num_layers: int
    width_mult: InitVar[float] = 1.0
    depth_mult: InitVar[float] = 1.0
    block: Callable[..., Any] | None = None

    def __post_init__(self, width_mult: float, depth_mult: float) -> None:
        self.input_channels = self.adjust_channels(self.input_channels, width_mult)
        self.out_channels = self.adjust_channels(self.out_channels, width_mult)
        self.num_layers = math.ceil(self.num_layers * depth_mult)

    @staticmethod
    def adjust_channels(channels: int, width_mult: float, min_value: int | None = None) -> int:
        """channels * width_mult, rounded to a multiple of 8."""
        return make_divisible(channels * width_mult, 8, min_value)


class MBConv(nn.Module):
    """The block of the figure: (N, cnf.input_channels, H, W) to (N, cnf.out_channels, OH, OW).

    Args:
        cnf: an MBConvConfig with stride 1 or 2, otherwise ValueError.
        stochastic_depth_prob: probability that an image passes by, where there is a sum.
        norm_layer: called with a number of channels.
        se_layer: called with channels, the width to squeeze to, and activation=.
    """

    def __init__(
        self,
        cnf: MBConvConfig,
        stochastic_depth_prob: float,
        norm_layer: Callable[..., Any],
        se_layer: Callable[..., Any] = SqueezeExcitation,
    ):
        super().__init__()
        if cnf.stride not in (1, 2):
            raise ValueError(f"MBConv: stride expects 1 or 2, got {cnf.stride!r}")
        before, after = cnf.input_channels, cnf.out_channels
        self.use_res_connect = cnf.stride == 1 and before == after
        self.out_channels = after
        wide = cnf.adjust_channels(before, cnf.expand_ratio)
        layer = partial(Conv2dNormActivation, norm_layer=norm_layer, activation_layer=nn.SiLU)
        expand = [layer(before, wide, kernel_size=1)] if wide != before else []
        self.block = nn.Sequential(
            *expand,
            layer(wide, wide, kernel_size=cnf.kernel, stride=cnf.stride, groups=wide),
            se_layer(wide, max(1, before // 4), activation=partial(nn.SiLU, inplace=True)),
            layer(wide, after, kernel_size=1, activation_layer=None),
        )
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")

    def forward(self, input: Any) -> Any:
        y = self.block(input)
        return self.stochastic_depth(y) + input if self.use_res_connect else y


class EfficientNet(nn.Module):
    """EfficientNet: (N, in_channels, H, W) to logits (N, num_classes).

    Args:
        inverted_residual_setting: an MBConvConfig for each stage.
        dropout: probability in front of the dense layer.
        stochastic_depth_prob: what a block's probability of being left out grows to.
        num_classes: size of the output.
        norm_layer: called with a number of channels; None for BatchNorm2d.
        last_channel: width of the last convolution; None for four times the last stage's.
        in_channels: channels of the images.
        stem_stride: stride of the first convolution.

    Raises ValueError for an empty setting or a size below 1, TypeError for a setting of other
    things.
    """

    def __init__(
        self,
        inverted_residual_setting: Sequence[MBConvConfig],
        dropout: float,
        stochastic_depth_prob: float = 0.2,
        num_classes: int = 1000,
        norm_layer: Callable[..., Any] | None = None,
        last_channel: int | None = None,
        in_channels: int = 3,
        stem_stride: int = 2,
    ):
        super().__init__()
        _check_setting(inverted_residual_setting)
        check_sizes("EfficientNet", num_classes=num_classes, in_channels=in_channels)
        check_sizes("EfficientNet", ("last_channel",), last_channel=last_channel)
        check_sizes("EfficientNet", stem_stride=stem_stride)
        norm = norm_layer or nn.BatchNorm2d
        layer = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.SiLU)
        first = inverted_residual_setting[0].input_channels
        before = inverted_residual_setting[-1].out_channels
        last = last_channel or 4 * before
        self.features = nn.Sequential(
            layer(in_channels, first, stride=stem_stride),
            *_stages(inverted_residual_setting, stochastic_depth_prob, norm),
            layer(before, last, kernel_size=1),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout, inplace=True), nn.Linear(last, num_classes)
        )
        initialize(self, he_fan_out, _uniform_by_outputs)

    def forward(self, x: Any) -> Any:
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


def _stages(setting: Sequence[MBConvConfig], prob: float, norm: Any) -> list[nn.Sequential]:
    """Block i of n is left out with probability prob * i / n."""
    total, i, stages = sum(cnf.num_layers for cnf in setting), 0, []
    for cnf in setting:
        blocks, make = [], cnf.block or MBConv
        for number in range(cnf.num_layers):
            own = copy(cnf)
            if number:
                own.input_channels, own.stride = cnf.out_channels, 1
            blocks.append(make(own, prob * i / total, norm))
            i += 1
        stages.append(nn.Sequential(*blocks))
    return stages


def _uniform_by_outputs(weight: Any) -> None:
    bound = weight.shape[0] ** -0.5
    nn.init.uniform_(weight, -bound, bound)


def _check_setting(setting: Any) -> None:
    if not isinstance(setting, Sequence) or not all(isinstance(c, MBConvConfig) for c in setting):
        raise TypeError(
            "EfficientNet: inverted_residual_setting expects a list of MBConvConfig, "
            f"got {setting!r}"
        )
    if not setting:
        raise ValueError("EfficientNet: inverted_residual_setting expects one stage or more")


def _registered(
    number: int, width: float, depth: float, dropout: float, size: int, parameters: int
) -> Any:
    name = f"efficientnet_b{number}"

    def make(image_size: int | None = None, **options: Any) -> EfficientNet:
        stem, *strides = strides_for(name, image_size, [2, *(row[2] for row in _STAGES)])
        setting = [
            MBConvConfig(expand, kernel, stride, before, after, layers, width, depth)
            for (expand, kernel, _, before, after, layers), stride in zip(
                _STAGES, strides, strict=True
            )
        ]
        return EfficientNet(setting, **{"dropout": dropout, "stem_stride": stem, **options})

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""EfficientNet-B{number}: width {width}, depth {depth}.

    Args:
        weights, progress: published weights to load; see weights.py.
        image_size: None, or 65 and above, gives the paper's network. For smaller images the first
            strides are 1, so that the last map has 3x3 places or more.
        options: num_classes, dropout (default {dropout}), stochastic_depth_prob, norm_layer,
            last_channel, in_channels, as EfficientNet takes them.

    Raises ValueError for an image_size below 1.
    """
    return register(
        name,
        f"EfficientNet-B{number} (Tan, Le 2019)",
        image_sizes=(28, 32, 64, 96, size),
        input_size=(3, size, size),
        parameters=parameters,
        cam="features",
        family="efficientnet",
    )(make)


efficientnet_b0 = _registered(0, 1.0, 1.0, 0.2, 224, 5_288_548)
efficientnet_b1 = _registered(1, 1.0, 1.1, 0.2, 240, 7_794_184)
efficientnet_b2 = _registered(2, 1.1, 1.2, 0.3, 260, 9_109_994)
efficientnet_b3 = _registered(3, 1.2, 1.4, 0.3, 300, 12_233_232)
efficientnet_b4 = _registered(4, 1.4, 1.8, 0.4, 380, 19_341_616)
