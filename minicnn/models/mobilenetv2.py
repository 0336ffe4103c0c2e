"""MobileNet v2: residual blocks turned inside out (M. Sandler, A. Howard, M. Zhu, A. Zhmoginov,
L.-C. Chen, "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, arXiv:1801.04381,
table 2 and figure 4d).

    inverted residual, t = 6, stride 1              stride 2: no sum

    x  C maps ---------------------------+
       |                                 |          The sum is also left out where the number of
     1x1 conv to 6C maps, relu6          |          channels changes.
       |                                 |
     3x3 depthwise, 6C maps, relu6       |
       |                                 |
     1x1 conv to C maps, no activation   |
       |                                 |
       + <-------------------------------+
       y  C maps

                             output            parameters    sees (receptive field)
    3x3 conv, stride 2         32 x 112x112           928      3 x 3
    1 block, t = 1             16 x 112x112           896      7 x 7
    2 blocks, first /2         24 x 56x56          13,968     19 x 19      t = 6 from here on
    3 blocks, first /2         32 x 28x28          39,696     59 x 59
    4 blocks, first /2         64 x 14x14         183,872    171 x 171
    3 blocks                   96 x 14x14         303,168    267 x 267
    3 blocks, first /2        160 x 7x7           795,264    427 x 427
    1 block                   320 x 7x7           473,920    491 x 491
    1x1 conv                 1280 x 7x7           412,160    491 x 491
    average, dense           1000               1,281,000    all
                                                3,504,872

A ResNet's bottleneck is narrow inside; this block is narrow outside and wide inside, where a
depthwise convolution makes width cheap. What is kept between blocks, the thin maps, is little
memory, and the sums join thin maps. A ReLU loses what it sets to zero: in many channels another
copy survives, in few none may, so the thin maps get no activation (the *linear* bottleneck). relu6,
min(max(x, 0), 6), keeps numbers small enough for arithmetic in 8 bits. 300 million multiply-adds.

Names, arguments, initial values and state_dict keys are torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .. import nn
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

# Rows of the paper's table 2: expansion t, channels c, repetitions n, stride s of the first.
_SETTING = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """The block of the figure: (N, inp, H, W) to (N, oup, H/stride, W/stride).

    Args:
        inp, oup: channels before and after.
        stride: 1 or 2, otherwise ValueError.
        expand_ratio: t; 1 leaves the first convolution out.
        norm_layer: called with a number of channels; None for BatchNorm2d.
    """

    def __init__(
        self,
        inp: int,
        oup: int,
        stride: int,
        expand_ratio: int,
        norm_layer: Callable[..., Any] | None = None,
    ):
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"InvertedResidual: stride expects 1 or 2, got {stride!r}")
        self.stride = stride
        self.use_res_connect = stride == 1 and inp == oup
        self.out_channels = oup
        norm, hidden = norm_layer or nn.BatchNorm2d, round(inp * expand_ratio)
        layer = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.ReLU6)
        expand = [layer(inp, hidden, kernel_size=1)] if expand_ratio != 1 else []
        self.conv = nn.Sequential(
            *expand,
            layer(hidden, hidden, stride=stride, groups=hidden),
            nn.Conv2d(hidden, oup, 1, bias=False),
            norm(oup),
        )

    def forward(self, x: Any) -> Any:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNet v2: (N, in_channels, H, W) to logits (N, num_classes).

    Args:
        num_classes: size of the output.
        width_mult: factor for the channels of every layer; of the last one only above 1.
        inverted_residual_setting: rows (t, c, n, s) as in the paper's table 2; None for its own.
        round_nearest: channels are rounded to multiples of this; 1 turns rounding off.
        block: called as InvertedResidual is; None for that.
        norm_layer: called with a number of channels; None for BatchNorm2d.
        dropout: probability in front of the dense layer.
        in_channels: channels of the images.
        stem_stride: stride of the first convolution.

    Raises ValueError for a size below 1, a width_mult that is not above 0, or rows that are not
    four numbers each.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        inverted_residual_setting: Sequence[Sequence[int]] | None = None,
        round_nearest: int = 8,
        block: Callable[..., Any] | None = None,
        norm_layer: Callable[..., Any] | None = None,
        dropout: float = 0.2,
        in_channels: int = 3,
        stem_stride: int = 2,
    ):
        super().__init__()
        check_sizes("MobileNetV2", num_classes=num_classes, in_channels=in_channels)
        check_sizes("MobileNetV2", round_nearest=round_nearest, stem_stride=stem_stride)
        check_scale("MobileNetV2", "width_mult", width_mult)
        rows = _rows_of(inverted_residual_setting)
        block, norm = block or InvertedResidual, norm_layer or nn.BatchNorm2d
        layer = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.ReLU6)
        channels = make_divisible(32 * width_mult, round_nearest)
        self.last_channel = make_divisible(1280 * max(1.0, width_mult), round_nearest)
        layers: list[nn.Module] = [layer(in_channels, channels, stride=stem_stride)]
        for t, c, n, s in rows:
            for i in range(n):
                before, channels = channels, make_divisible(c * width_mult, round_nearest)
                stride = s if i == 0 else 1
                layers.append(block(before, channels, stride, expand_ratio=t, norm_layer=norm))
        layers.append(layer(channels, self.last_channel, kernel_size=1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout), nn.Linear(self.last_channel, num_classes)
        )
        initialize(self, he_fan_out, small_normal)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x).mean((2, 3)))


def _rows_of(setting: Any) -> Sequence[Sequence[int]]:
    rows = _SETTING if setting is None else setting
    if not rows or any(not isinstance(row, Sequence) or len(row) != 4 for row in rows):
        raise ValueError(
            "MobileNetV2: inverted_residual_setting expects rows (t, c, n, s) of four numbers, "
            f"got {setting!r}"
        )
    return rows


@register(
    "mobilenet_v2",
    "MobileNet v2 (Sandler et al. 2018)",
    image_sizes=(28, 32, 64, 96, 224),
    input_size=(3, 224, 224),
    parameters=3_504_872,
    cam="features",
    family="mobilenet",
)
def mobilenet_v2(image_size: int | None = None, **options: Any) -> MobileNetV2:
    """MobileNet v2.

    Args:
        weights, progress: published weights to load; see weights.py.
        image_size: None, or 65 and above, gives the paper's network. For smaller images the first
            strides are 1, so that the last map has 3x3 places or more.
        options: what MobileNetV2 takes: num_classes, width_mult, inverted_residual_setting,
            round_nearest, dropout, in_channels.

    Raises ValueError for an image_size below 1.
    """
    rows = _rows_of(options.get("inverted_residual_setting"))
    stem = options.get("stem_stride", 2)
    stem, *strides = strides_for("mobilenet_v2", image_size, [stem, *(row[3] for row in rows)])
    options["stem_stride"] = stem
    options["inverted_residual_setting"] = [
        (*row[:3], stride) for row, stride in zip(rows, strides, strict=True)
    ]
    return MobileNetV2(**options)
