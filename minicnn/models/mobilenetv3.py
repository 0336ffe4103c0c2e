"""MobileNet v3: blocks of v2, chosen by a search (A. Howard, M. Sandler, G. Chu, L.-C. Chen,
B. Chen, M. Tan, W. Wang, Y. Zhu, R. Pang, V. Vasudevan, Q. V. Le, H. Adam, "Searching for
MobileNetV3", ICCV 2019, arXiv:1905.02244, tables 1 and 2, figures 4 and 5).

    x --+--------------------------------------------------------------------------------+
        |                                                                                v
        +-> 1x1 conv, -> 3x3 or 5x5  -> squeeze and excite -> 1x1 conv, narrower, -----> + -> y
            wider        depthwise      (in some blocks)      no activation

    the last stage: the average comes before the widest layer, which so has one place to compute

    7x7x160 -> 1x1 conv, 960 -> average -> dense 1280 -> dense classes

    large                    output            parameters    sees (receptive field)
    3x3 conv, stride 2         16 x 112x112           464      3 x 3
    1 block, 3x3               16 x 112x112           464      7 x 7
    2 blocks, 3x3, first /2    24 x 56x56           7,880     19 x 19
    3 blocks, 5x5, first /2    40 x 28x28          52,312     99 x 99      squeeze, excite
    4 blocks, 3x3, first /2    80 x 14x14         130,824    211 x 211     h-swish from here on
    2 blocks, 3x3             112 x 14x14         600,544    275 x 275     squeeze, excite
    3 blocks, 5x5, first /2   160 x 7x7         2,023,944    595 x 595     squeeze, excite
    1x1 conv, average         960                 155,520    all
    dense, dense             1280, 1000         2,511,080
                                                5,483,032    217 million multiply-adds

    small                    output            parameters    sees (receptive field)
    3x3 conv, stride 2         16 x 112x112           464      3 x 3
    1 block, 3x3, /2           16 x 56x56             744      7 x 7       squeeze, excite
    2 blocks, 3x3, first /2    24 x 28x28           9,280     31 x 31
    3 blocks, 5x5, first /2    40 x 14x14         128,264    191 x 191     h-swish and squeeze,
    2 blocks, 5x5              48 x 14x14          51,768    319 x 319     excite from here on
    3 blocks, 5x5, first /2    96 x 7x7           680,040    639 x 639
    1x1 conv, average         576                  56,448    all
    dense, dense             1024, 1000         1,615,848
                                                2,542,856    56 million multiply-adds

What was new beside the search: h-swish, x * relu6(x + 3) / 6, a piecewise stand-in for
x * sigmoid(x) that is cheap where exp is not, used in the deeper half of the network only, where
maps are small; a hard sigmoid in squeeze and excitation, with a quarter of the block's inner width;
16 filters in the first layer instead of 32; and the cheap last stage of the figure. Receptive
fields are given without squeeze and excitation, which let every place see all.

`reduced_tail` halves the channels of the last stage, and `dilated` gives its kernels dilation 2 in
place of the stride: both are for detection and segmentation, where the map must stay large.

Names, arguments, initial values and state_dict keys are torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .. import nn
from ..functional import flatten
from .arguments import check_sizes
from .blocks import (
    Conv2dNormActivation,
    SqueezeExcitation,
    check_scale,
    he_fan_out,
    initialize,
    make_divisible,
    small_normal,
    strides_for,
)
from .registry import register

# Rows of the paper's tables 1 and 2: kernel, expansion, channels out, squeeze and excitation,
# nonlinearity, stride.
_LARGE = (
    (3, 16, 16, False, "RE", 1),
    (3, 64, 24, False, "RE", 2),
    (3, 72, 24, False, "RE", 1),
    (5, 72, 40, True, "RE", 2),
    (5, 120, 40, True, "RE", 1),
    (5, 120, 40, True, "RE", 1),
    (3, 240, 80, False, "HS", 2),
    (3, 200, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 480, 112, True, "HS", 1),
    (3, 672, 112, True, "HS", 1),
    (5, 672, 160, True, "HS", 2),
    (5, 960, 160, True, "HS", 1),
    (5, 960, 160, True, "HS", 1),
)
_SMALL = (
    (3, 16, 16, True, "RE", 2),
    (3, 72, 24, False, "RE", 2),
    (3, 88, 24, False, "RE", 1),
    (5, 96, 40, True, "HS", 2),
    (5, 240, 40, True, "HS", 1),
    (5, 240, 40, True, "HS", 1),
    (5, 120, 48, True, "HS", 1),
    (5, 144, 48, True, "HS", 1),
    (5, 288, 96, True, "HS", 2),
    (5, 576, 96, True, "HS", 1),
    (5, 576, 96, True, "HS", 1),
)
_STEM = 16
_TAIL = 3  # rows of the last stage
# Trainings on images below this are short; averages of batch norm that move by a hundredth a step
# (momentum 0.01) would still be near their start when they end. They move by a tenth.
_SMALL_IMAGE = 96

_HardExcitation = partial(SqueezeExcitation, scale_activation=nn.Hardsigmoid)


class InvertedResidualConfig:
    """What one block is; widths are multiplied by width_mult and rounded to multiples of 8.

    Args:
        input_channels, expanded_channels, out_channels: before, inside and after.
        kernel, stride, dilation: of the depthwise convolution; a dilation above 1 replaces the
            stride.
        use_se: squeeze and excitation inside.
        activation: "HS" for Hardswish, "RE" for ReLU; ValueError for another.
        width_mult: factor for the three widths.
    """

    def __init__(
        self,
        input_channels: int,
        kernel: int,
        expanded_channels: int,
        out_channels: int,
        use_se: bool,
        activation: str,
        stride: int,
        dilation: int,
        width_mult: float,
    ):
        if activation not in ("HS", "RE"):
            raise ValueError(
                f"InvertedResidualConfig: activation expects 'HS' or 'RE', got {activation!r}"
            )
        self.input_channels = self.adjust_channels(input_channels, width_mult)
        self.kernel = kernel
        self.expanded_channels = self.adjust_channels(expanded_channels, width_mult)
        self.out_channels = self.adjust_channels(out_channels, width_mult)
        self.use_se = use_se
        self.use_hs = activation == "HS"
        self.stride = stride
        self.dilation = dilation

    @staticmethod
    def adjust_channels(channels: int, width_mult: float) -> int:
        """channels * width_mult, rounded to a multiple of 8."""
        return make_divisible(channels * width_mult, 8)


class InvertedResidual(nn.Module):
    """The block of the figure, as `cnf` says.

    Args:
        cnf: an InvertedResidualConfig with stride 1 or 2, otherwise ValueError.
        norm_layer: called with a number of channels.
        se_layer: called with the number of channels and the width to squeeze them to.
    """

    def __init__(
        self,
        cnf: InvertedResidualConfig,
        norm_layer: Callable[..., Any],
        se_layer: Callable[..., Any] = _HardExcitation,
    ):
        super().__init__()
        if cnf.stride not in (1, 2):
            raise ValueError(f"InvertedResidual: stride expects 1 or 2, got {cnf.stride!r}")
        self.use_res_connect = cnf.stride == 1 and cnf.input_channels == cnf.out_channels
        self.out_channels = cnf.out_channels
        wide = cnf.expanded_channels
        layer = partial(
            Conv2dNormActivation,
            norm_layer=norm_layer,
            activation_layer=nn.Hardswish if cnf.use_hs else nn.ReLU,
        )
        self.block = nn.Sequential()
        if wide != cnf.input_channels:
            self.block.append(layer(cnf.input_channels, wide, kernel_size=1))
        self.block.append(
            layer(
                wide,
                wide,
                kernel_size=cnf.kernel,
                stride=1 if cnf.dilation > 1 else cnf.stride,
                dilation=cnf.dilation,
                groups=wide,
            )
        )
        if cnf.use_se:
            self.block.append(se_layer(wide, make_divisible(wide // 4, 8)))
        self.block.append(layer(wide, cnf.out_channels, kernel_size=1, activation_layer=None))

    def forward(self, input: Any) -> Any:
        return input + self.block(input) if self.use_res_connect else self.block(input)


class MobileNetV3(nn.Module):
    """MobileNet v3: (N, in_channels, H, W) to logits (N, num_classes).

    Args:
        inverted_residual_setting: an InvertedResidualConfig for each block.
        last_channel: width of the hidden dense layer.
        num_classes: size of the output.
        block: called as InvertedResidual is; None for that.
        norm_layer: called with a number of channels; None for BatchNorm2d with eps=0.001 and
            momentum=0.01.
        dropout: probability in front of the last layer.
        in_channels: channels of the images.
        stem_stride: stride of the first convolution.

    Raises ValueError for an empty setting or a size below 1, TypeError for a setting of other
    things.
    """

    def __init__(
        self,
        inverted_residual_setting: Sequence[InvertedResidualConfig],
        last_channel: int,
        num_classes: int = 1000,
        block: Callable[..., Any] | None = None,
        norm_layer: Callable[..., Any] | None = None,
        dropout: float = 0.2,
        in_channels: int = 3,
        stem_stride: int = 2,
    ):
        super().__init__()
        _check_setting(inverted_residual_setting)
        check_sizes("MobileNetV3", num_classes=num_classes, in_channels=in_channels)
        check_sizes("MobileNetV3", last_channel=last_channel, stem_stride=stem_stride)
        block = block or InvertedResidual
        norm = norm_layer or partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
        layer = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.Hardswish)
        first = inverted_residual_setting[0].input_channels
        last = inverted_residual_setting[-1].out_channels
        self.features = nn.Sequential(
            layer(in_channels, first, stride=stem_stride),
            *(block(cnf, norm) for cnf in inverted_residual_setting),
            layer(last, 6 * last, kernel_size=1),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * last, last_channel),
            nn.Hardswish(inplace=True),
            nn.Dropout(p=dropout, inplace=True),
            nn.Linear(last_channel, num_classes),
        )
        initialize(self, he_fan_out, small_normal)

    def forward(self, x: Any) -> Any:
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


def _check_setting(setting: Any) -> None:
    if not isinstance(setting, Sequence) or not all(
        isinstance(cnf, InvertedResidualConfig) for cnf in setting
    ):
        raise TypeError(
            "MobileNetV3: inverted_residual_setting expects a list of InvertedResidualConfig, "
            f"got {setting!r}"
        )
    if not setting:
        raise ValueError("MobileNetV3: inverted_residual_setting expects one block or more")


def _mobilenet_v3(
    name: str,
    rows: Sequence[tuple[int, int, int, bool, str, int]],
    last_channel: int,
    image_size: int | None = None,
    width_mult: float = 1.0,
    reduced_tail: bool = False,
    dilated: bool = False,
    **options: Any,
) -> MobileNetV3:
    check_scale(name, "width_mult", width_mult)
    stem = options.get("stem_stride", 2)
    stem, *strides = strides_for(name, image_size, [stem, *(row[5] for row in rows)])
    if image_size is not None and image_size < _SMALL_IMAGE:
        options.setdefault("norm_layer", partial(nn.BatchNorm2d, eps=0.001))
    shrink = 2 if reduced_tail else 1
    setting, before = [], _STEM
    for i, ((kernel, expanded, out, se, act, _), stride) in enumerate(
        zip(rows, strides, strict=True)
    ):
        from_tail = i - (len(rows) - _TAIL)
        if from_tail >= 0:
            out //= shrink
        if from_tail > 0:
            expanded //= shrink
        dilation = 2 if dilated and from_tail >= 0 else 1
        setting.append(
            InvertedResidualConfig(
                before, kernel, expanded, out, se, act, stride, dilation, width_mult
            )
        )
        before = out
    last = InvertedResidualConfig.adjust_channels(last_channel // shrink, width_mult)
    return MobileNetV3(setting, last, **{**options, "stem_stride": stem})


def _registered(size: str, rows: Any, last_channel: int, parameters: int) -> Any:
    name = f"mobilenet_v3_{size}"

    def make(**options: Any) -> MobileNetV3:
        return _mobilenet_v3(name, rows, last_channel, **options)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""MobileNet v3, {size}.

    Args:
        weights, progress: published weights to load; see weights.py.
        image_size: None, or 65 and above, gives the paper's network. For smaller images the first
            strides are 1, so that the last map has 3x3 places or more; below 96, batch norm's
            running averages have momentum 0.1 instead of 0.01.
        width_mult: factor for the channels of every layer, rounded to multiples of 8.
        reduced_tail: half as many channels in the last stage.
        dilated: dilation 2 in the last stage, in place of its stride.
        options: num_classes, dropout, norm_layer, in_channels, as MobileNetV3 takes them.

    Raises ValueError for an image_size below 1 or a width_mult not above 0.
    """
    return register(
        name,
        f"MobileNet v3, {size} (Howard et al. 2019)",
        image_sizes=(28, 32, 64, 96, 224),
        input_size=(3, 224, 224),
        parameters=parameters,
        cam="features",
        family="mobilenet",
    )(make)


mobilenet_v3_large = _registered("large", _LARGE, 1280, 5_483_032)
mobilenet_v3_small = _registered("small", _SMALL, 1024, 2_542_856)
