"""ShuffleNet v2: a network drawn after what was measured (N. Ma, X. Zhang, H.-T. Zheng, J. Sun,
"ShuffleNet V2: practical guidelines for efficient CNN architecture design", ECCV 2018,
arXiv:1807.11164, table 5 and figures 3c and 3d).

    stride 1:  x                            stride 2:  x
               |                                       +---------------+
             split in two halves                       |               |
        +------+------+                              3x3 dw, /2      1x1, relu
        |             |                              1x1, relu       3x3 dw, /2
        |           1x1, relu                          |             1x1, relu
        |           3x3 depthwise                      +------+--------+
        |           1x1, relu                               join
        +------+------+                                     shuffle, 2 groups
             join                                             |
             shuffle, 2 groups                                y  twice as many channels
               |
               y                            branch1 is on the left, branch2 on the right

    width 1.0                output            parameters    sees at most (receptive field)
    conv1, 3x3, stride 2       24 x 112x112           696      3 x 3
    maxpool, 3x3, stride 2     24 x 56x56                      7 x 7
    stage2: 4 units           116 x 28x28          30,192     63 x 63
    stage3: 8 units           232 x 14x14         244,180    303 x 303
    stage4: 4 units           464 x 7x7           501,352    527 x 527
    conv5, 1x1               1024 x 7x7           477,184    527 x 527
    average, dense           1000               1,025,000    all
                                                2,278,604

    width      channels of stages 2, 3, 4 and conv5     parameters     multiply-adds
     0.5        48    96   192   1024                    1,366,792      41 million
     1.0       116   232   464   1024                    2,278,604     145 million
     1.5       176   352   704   1024                    3,503,624     296 million
     2.0       244   488   976   2048                    7,393,996     583 million

Counting multiplications had led to networks that were slow for their count. The paper measured, and
gives four rules: as many channels in as out (that needs the least memory traffic), no grouped 1x1
convolutions where they can be spared, few branches, few operations of one element at a time. So the
groups of v1 became a split: half of the channels pass a unit untouched, to be used again further
on, as in DenseNet, and the shuffle mixes both halves. Nothing is added.

Names, arguments, initial values and state_dict keys are torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import nn
from ..functional import cat, channel_shuffle, chunk
from .arguments import check_sizes
from .blocks import strides_for
from .registry import register

_REPEATS = (4, 8, 4)


class InvertedResidual(nn.Module):
    """The unit of the figure: (N, inp, H, W) to (N, oup, H/stride, W/stride).

    ValueError for an odd oup, for a stride that is not 1, 2 or 3, and for a stride of 1 that is to
    change the number of channels.
    """

    def __init__(self, inp: int, oup: int, stride: int):
        super().__init__()
        if stride not in (1, 2, 3):
            raise ValueError(f"InvertedResidual: stride expects 1, 2 or 3, got {stride!r}")
        if oup % 2 or (stride == 1 and inp != oup):
            raise ValueError(
                "InvertedResidual: oup expects an even number of channels, inp itself at stride 1, "
                f"got inp={inp!r}, oup={oup!r}, stride={stride!r}"
            )
        self.stride = stride
        half = oup // 2
        self.branch1 = nn.Sequential()
        if stride > 1:
            self.branch1 = nn.Sequential(
                *_depthwise(inp, stride),
                *_pointwise(inp, half),
            )
        self.branch2 = nn.Sequential(
            *_pointwise(inp if stride > 1 else half, half),
            *_depthwise(half, stride),
            *_pointwise(half, half),
        )

    def forward(self, x: Any) -> Any:
        left, right = chunk(x, 2, 1) if self.stride == 1 else (x, x)
        return channel_shuffle(cat((self.branch1(left), self.branch2(right)), 1), 2)


def _pointwise(inp: int, oup: int) -> list[nn.Module]:
    return [nn.Conv2d(inp, oup, 1, bias=False), nn.BatchNorm2d(oup), nn.ReLU(inplace=True)]


def _depthwise(channels: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)
    return [conv, nn.BatchNorm2d(channels)]


class ShuffleNetV2(nn.Module):
    """ShuffleNet v2: (N, in_channels, H, W) to logits (N, num_classes).

    Args:
        stages_repeats: units in each of the three stages.
        stages_out_channels: of the first convolution, the three stages and the last convolution.
        num_classes: size of the output.
        inverted_residual: called as InvertedResidual is.
        in_channels: channels of the images.
        stem_strides: of the first convolution and of the pooling; a pooling of stride 1 is left
            out.

    Raises ValueError for other numbers of stages and for a size below 1.
    """

    def __init__(
        self,
        stages_repeats: Sequence[int],
        stages_out_channels: Sequence[int],
        num_classes: int = 1000,
        inverted_residual: Callable[..., Any] = InvertedResidual,
        in_channels: int = 3,
        stem_strides: tuple[int, int] = (2, 2),
    ):
        super().__init__()
        check_sizes("ShuffleNetV2", num_classes=num_classes, in_channels=in_channels)
        for name, given, wanted in (
            ("stages_repeats", stages_repeats, 3),
            ("stages_out_channels", stages_out_channels, 5),
        ):
            if len(given) != wanted:
                raise ValueError(f"ShuffleNetV2: {name} expects {wanted} numbers, got {given!r}")
        first, *stages, last = stages_out_channels
        conv_stride, pool_stride = stem_strides
        self.conv1 = nn.Sequential(
            nn.Conv2d(in_channels, first, 3, conv_stride, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
        )
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if pool_stride == 2 else nn.Identity()
        before = first
        for number, (repeats, out) in enumerate(zip(stages_repeats, stages, strict=True), start=2):
            units = [inverted_residual(before, out, 2)]
            units += [inverted_residual(out, out, 1) for _ in range(repeats - 1)]
            self.add_module(f"stage{number}", nn.Sequential(*units))
            before = out
        self.conv5 = nn.Sequential(*_pointwise(before, last))
        self.fc = nn.Linear(last, num_classes)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.conv1(x))
        x = self.stage4(self.stage3(self.stage2(x)))
        return self.fc(self.conv5(x).mean((2, 3)))


def _registered(width: str, channels: tuple[int, ...], parameters: int) -> Any:
    name = f"shufflenet_v2_x{width.replace('.', '_')}"

    def make(image_size: int | None = None, **options: Any) -> ShuffleNetV2:
        strides = strides_for(name, image_size, [2] * 5)
        options.setdefault("stem_strides", tuple(strides[:2]))
        return ShuffleNetV2(_REPEATS, channels, **options)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""ShuffleNet v2 of width {width}.

    Args:
        weights, progress: published weights to load; see weights.py.
        image_size: None, or 65 and above, gives the paper's network. The first convolution has
            stride 1 for smaller images, and up to 32 the pooling is left out too.
        options: num_classes, inverted_residual, in_channels, as ShuffleNetV2 takes them.

    Raises ValueError for an image_size below 1.
    """
    return register(
        name,
        f"ShuffleNet v2, width {width} (Ma et al. 2018)",
        image_sizes=(28, 32, 64, 96, 224),
        input_size=(3, 224, 224),
        parameters=parameters,
        cam="conv5",
        family="shufflenet",
    )(make)


shufflenet_v2_x0_5 = _registered("0.5", (24, 48, 96, 192, 1024), 1_366_792)
shufflenet_v2_x1_0 = _registered("1.0", (24, 116, 232, 464, 1024), 2_278_604)
shufflenet_v2_x1_5 = _registered("1.5", (24, 176, 352, 704, 1024), 3_503_624)
shufflenet_v2_x2_0 = _registered("2.0", (24, 244, 488, 976, 2048), 7_393_996)
