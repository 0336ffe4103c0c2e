"""ShuffleNet: cheap 1x1 convolutions, and a shuffle that lets their groups meet (X. Zhang, X. Zhou,
M. Lin, J. Sun, "ShuffleNet: an extremely efficient convolutional neural network for mobile
devices", CVPR 2018, arXiv:1707.01083, table 1 and figures 1 and 2).

    grouped, G = 3     shuffled              unit, stride 1              unit, stride 2

    1 2 3 4 5 6 ...    1 2 3 4 5 6           x ------------+             x --------------+
    |_| |_| |_|        | |_|_| | |           |             |             |               |
    a a b b c c        | |_|_|_|_|        1x1, groups      |          1x1, groups   3x3 average,
    |_| |_| |_|        a b c a b c        shuffle          |          shuffle       stride 2
    a a b b c c        |_| |_| |_|        3x3 depthwise    |          3x3 dw, /2         |
                       ab  ca  bc         1x1, groups      |          1x1, groups        |
    groups a, b, c                           +  <----------+             join  <---------+
    never meet                              relu                        relu

    groups = 3               output            parameters    sees (receptive field)
    conv1, 3x3, stride 2       24 x 112x112           696      3 x 3
    maxpool, 3x3, stride 2     24 x 56x56                      7 x 7
    stage2: 4 units           240 x 28x28          39,552     63 x 63
    stage3: 8 units           480 x 14x14         307,680    303 x 303
    stage4: 4 units           960 x 7x7           556,800    527 x 527
    average, dense           1000                 961,000    all
                                                1,865,728

In small networks the 1x1 convolutions are nearly all the work. With G groups each costs C*F/G
multiplications a place, so the same work buys more channels. But with groups alone an output would
depend on a G-th of the input only. Between two grouped convolutions the channels, counted as
g*(C/G) + c, are therefore dealt out as

    y[n, c*G + g] = x[n, g*(C/G) + c]

(derived, with its gradient, in functional/shuffle.py): each group of the second convolution gets
C/G^2 channels from every group of the first. Where a unit halves the map, it joins the averaged
input to its result instead of adding it: more channels at no cost.

    groups            1      2      3      4      8
    channels        144    200    240    272    384    in stage 2; twice and four times in 3 and 4
    multiply-adds  143M   140M   137M   133M   137M

The first 1x1 convolution of stage 2 has no groups: its input is too thin. The inner width of a unit
is a quarter of its output. The paper gives no initial values; these are the layers' own.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..functional import cat, channel_shuffle, relu
from .arguments import check_sizes
from .blocks import check_scale, make_divisible, strides_for
from .registry import register

_STEM = 24
_CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # by groups, in stage 2
_REPEATS = (4, 8, 4)


class ShuffleUnit(nn.Module):
    """The unit of the figure: (N, in_channels, H, W) to (N, out_channels, H/stride, W/stride).

    Args:
        in_channels, out_channels: equal with stride 1; more come out than go in with stride 2.
        stride: 1 adds the input, 2 joins its averages.
        groups: of both 1x1 convolutions and of the shuffle; divides out_channels / 4 and, with
            stride 2, out_channels - in_channels.
        first_groups: of the first 1x1 convolution, where it differs.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        groups: int,
        first_groups: int | None = None,
    ):
        super().__init__()
        inner, computed = out_channels // 4, out_channels - (in_channels if stride == 2 else 0)
        self.stride = stride
        self.groups = groups
        self.reduce = nn.Sequential(
            nn.Conv2d(in_channels, inner, 1, groups=first_groups or groups, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
        )
        self.expand = nn.Sequential(
            nn.Conv2d(inner, computed, 1, groups=groups, bias=False),
            nn.BatchNorm2d(computed),
        )
        self.shortcut = nn.AvgPool2d(3, 2, padding=1) if stride == 2 else nn.Identity()

    def forward(self, x: Any) -> Any:
        shuffled = channel_shuffle(self.reduce(x), self.groups)
        y, kept = self.expand(self.depthwise(shuffled)), self.shortcut(x)
        return relu(y + kept if self.stride == 1 else cat((kept, y), 1))


class ShuffleNetV1(nn.Module):
    """ShuffleNet: (N, in_channels, H, W) to logits (N, num_classes).

    Args:
        num_classes: size of the output.
        groups: G, one of 1, 2, 3, 4, 8, to each of which belong the paper's channels.
        width_mult: factor for the channels of every layer, rounded to what the groups need.
        in_channels: channels of the images.
        stem_strides: of the first convolution and of the pooling; a pooling of stride 1 is left
            out.

    Raises ValueError for other groups, a size below 1 or a width_mult that is not above 0.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        groups: int = 3,
        width_mult: float = 1.0,
        in_channels: int = 3,
        stem_strides: tuple[int, int] = (2, 2),
    ):
        super().__init__()
        check_sizes("ShuffleNetV1", num_classes=num_classes, in_channels=in_channels)
        check_scale("ShuffleNetV1", "width_mult", width_mult)
        if type(groups) is not int or groups not in _CHANNELS:
            raise ValueError(
                f"ShuffleNetV1: groups expects one of {', '.join(map(str, _CHANNELS))}, "
                f"got {groups!r}"
            )
        before = make_divisible(_STEM * width_mult, groups)
        channels = make_divisible(_CHANNELS[groups] * width_mult, 4 * groups)
        conv_stride, pool_stride = stem_strides
        self.conv1 = nn.Sequential(
            nn.Conv2d(in_channels, before, 3, conv_stride, padding=1, bias=False),
            nn.BatchNorm2d(before),
            nn.ReLU(inplace=True),
        )
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if pool_stride == 2 else nn.Identity()
        for number, repeats in enumerate(_REPEATS, start=2):
            units = [ShuffleUnit(before, channels, 2, groups, 1 if number == 2 else None)]
            units += [ShuffleUnit(channels, channels, 1, groups) for _ in range(repeats - 1)]
            self.add_module(f"stage{number}", nn.Sequential(*units))
            before, channels = channels, 2 * channels
        self.fc = nn.Linear(before, num_classes)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.conv1(x))
        x = self.stage4(self.stage3(self.stage2(x)))
        return self.fc(x.mean((2, 3)))


@register(
    "shufflenet_v1",
    "ShuffleNet (Zhang et al. 2018)",
    image_sizes=(28, 32, 64, 96, 224),
    input_size=(3, 224, 224),
    parameters=1_865_728,
    cam="stage4",
    family="shufflenet",
)
def shufflenet_v1(image_size: int | None = None, **options: Any) -> ShuffleNetV1:
    """ShuffleNet v1.

    Args:
        weights, progress: published weights to load; see weights.py.
        image_size: None, or 65 and above, gives the paper's network. The first convolution has
            stride 1 for smaller images, and up to 32 the pooling is left out too.
        options: what ShuffleNetV1 takes: num_classes, groups, width_mult, in_channels.

    Raises ValueError for an image_size below 1.
    """
    strides = strides_for("shufflenet_v1", image_size, [2] * 5)
    options.setdefault("stem_strides", tuple(strides[:2]))
    return ShuffleNetV1(**options)
