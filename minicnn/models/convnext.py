"""ConvNeXt: a ResNet with what vision transformers had shown to help (Z. Liu, H. Mao, C.-Y. Wu,
C. Feichtenhofer, T. Darrell, S. Xie, "A ConvNet for the 2020s", CVPR 2022, arXiv:2201.03545,
figure 4 and table 9).

    block, C channels

    x --+---------------------------------------------------------------------------------+
        |                                                                                 v
        +-> 7x7 depthwise -> layer norm -> dense C to 4C -> GELU -> dense 4C to C -> * g -> + -> y

    norm and dense layers work on the channels of each place by itself; g has a number for each
    channel and starts at 1e-6, so that a block starts as almost nothing (layer scale)

    convnext_tiny                  output            parameters    sees (receptive field)
    patches: 4x4 conv, stride 4      96 x 56x56           4,896       4 x 4
    3 blocks                         96 x 56x56         237,888      76 x 76
    norm, 2x2 conv, stride 2        192 x 28x28          74,112      80 x 80
    3 blocks                        192 x 28x28         918,144     224 x 224
    norm, 2x2 conv, stride 2        384 x 14x14         295,680     232 x 232
    9 blocks                        384 x 14x14      10,817,280    1096 x 1096
    norm, 2x2 conv, stride 2        768 x 7x7         1,181,184    1112 x 1112
    3 blocks                        768 x 7x7        14,289,408    1688 x 1688
    average, norm, dense           1000                 770,536    all
                                                     28,589,128

The paper turns a ResNet-50 into this step by step and measures each one. A first layer that cuts
the image into patches of 4x4; numbers of blocks 3, 3, 9, 3; depthwise convolutions, which mix
places while the dense layers mix channels, as attention and its dense layers do; a wide inside, as
in MobileNet v2; 7x7 kernels, in front of the dense layers, where they are cheap; GELU for ReLU, one
a block; layer norm for batch norm, and fewer of both. In the end a plain convolutional network was
as good as a transformer of its size (Swin), with nothing but the parts of ResNets.

4.5 billion multiply-adds. The paper's larger ones differ in channels and blocks alone, and
`ConvNeXt` makes them: 3, 3, 27, 3 blocks of these channels (small), or of 128 to 1024 (base).

Names, arguments, initial values and state_dict keys are torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .. import nn
from ..functional import ones
from .arguments import check_sizes
from .blocks import (
    Conv2dNormActivation,
    LayerNorm2d,
    Permute,
    StochasticDepth,
    initialize,
)
from .registry import register

# Channels in and out of a stage, and its blocks.
_TINY = ((96, 192, 3), (192, 384, 3), (384, 768, 9), (768, None, 3))
_STRIDES = (4, 2, 2, 2)  # of the patches, and in front of stages 2, 3 and 4


class CNBlock(nn.Module):
    """The block of the figure: (N, dim, H, W) to the same.

    Args:
        dim: channels.
        layer_scale: what the factors of the channels start at.
        stochastic_depth_prob: probability that an image passes by in training.
        norm_layer: called with dim, for x (N, H, W, dim); None for LayerNorm with eps=1e-6.
    """

    def __init__(
        self,
        dim: int,
        layer_scale: float,
        stochastic_depth_prob: float,
        norm_layer: Callable[..., Any] | None = None,
    ):
        super().__init__()
        norm = norm_layer or partial(nn.LayerNorm, eps=1e-6)
        self.block = nn.Sequential(
            nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim),
            Permute([0, 2, 3, 1]),
            norm(dim),
            nn.Linear(dim, 4 * dim),
            nn.GELU(),
            nn.Linear(4 * dim, dim),
            Permute([0, 3, 1, 2]),
        )
        self.layer_scale = nn.Parameter(ones(dim, 1, 1) * layer_scale)
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")

    def forward(self, input: Any) -> Any:
        return self.stochastic_depth(self.layer_scale * self.block(input)) + input


@dataclass
class CNBlockConfig:
    """A stage: `num_layers` blocks of `input_channels`, then a layer that halves the map and makes
    them `out_channels`; None for no such layer."""

    input_channels: int
    out_channels: int | None
    num_layers: int


class ConvNeXt(nn.Module):
    """ConvNeXt: (N, in_channels, H, W) to logits (N, num_classes).

    Args:
        block_setting: a CNBlockConfig for each stage.
        stochastic_depth_prob: what a block's probability of being left out grows to, from 0.
        layer_scale: what the factors of the blocks' channels start at.
        num_classes: size of the output.
        block: called as CNBlock is, without a norm_layer; None for that.
        norm_layer: called with a number of channels, for x (N, C, H, W); None for LayerNorm2d with
            eps=1e-6.
        in_channels: channels of the images.
        strides: side of the patches, then the strides between the stages.

    Raises ValueError for an empty setting, a size below 1, or too few strides; TypeError for a
    setting of other things.
    """

    def __init__(
        self,
        block_setting: Sequence[CNBlockConfig],
        stochastic_depth_prob: float = 0.0,
        layer_scale: float = 1e-6,
        num_classes: int = 1000,
        block: Callable[..., Any] | None = None,
        norm_layer: Callable[..., Any] | None = None,
        in_channels: int = 3,
        strides: Sequence[int] = _STRIDES,
    ):
        super().__init__()
        _check_setting(block_setting, strides)
        check_sizes("ConvNeXt", num_classes=num_classes, in_channels=in_channels)
        make, norm = block or CNBlock, norm_layer or partial(LayerNorm2d, eps=1e-6)
        patch, *between = strides
        layers: list[nn.Module] = [
            Conv2dNormActivation(
                in_channels,
                block_setting[0].input_channels,
                norm_layer=norm,
                activation_layer=None,
                kernel_size=patch,
                stride=patch,
                padding=0,
                bias=True,
            )
        ]
        probs = iter(_rising(stochastic_depth_prob, sum(c.num_layers for c in block_setting)))
        for cnf in block_setting:
            dim = cnf.input_channels
            blocks = [make(dim, layer_scale, next(probs)) for _ in range(cnf.num_layers)]
            layers.append(nn.Sequential(*blocks))
            if cnf.out_channels is not None:
                s = between.pop(0)
                layers.append(nn.Sequential(norm(dim), nn.Conv2d(dim, cnf.out_channels, s, s)))
        last = block_setting[-1].out_channels or block_setting[-1].input_channels
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(norm(last), nn.Flatten(1), nn.Linear(last, num_classes))
        initialize(self, _truncated, _truncated)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.avgpool(self.features(x)))


def _rising(prob: float, blocks: int) -> list[float]:
    """From 0 at the first block to `prob` at the last."""
    return [prob * i / max(1, blocks - 1) for i in range(blocks)]


def _truncated(weight: Any) -> None:
    nn.init.trunc_normal_(weight, std=0.02)


def _check_setting(setting: Any, strides: Sequence[int]) -> None:
    if not isinstance(setting, Sequence) or not all(isinstance(c, CNBlockConfig) for c in setting):
        raise TypeError(f"ConvNeXt: block_setting expects a list of CNBlockConfig, got {setting!r}")
    if not setting:
        raise ValueError("ConvNeXt: block_setting expects one stage or more")
    needed = 1 + sum(cnf.out_channels is not None for cnf in setting)
    if len(strides) < needed:
        raise ValueError(f"ConvNeXt: strides expects {needed} numbers, got {strides!r}")


def _strides_for(network: str, image_size: int | None) -> list[int]:
    """Patches of 2x2 below 96x96, and below 48x48 the last strides 1, as few as leave 3x3."""
    strides = list(_STRIDES)
    if image_size is None:
        return strides
    if type(image_size) is not int or image_size < 2:
        raise ValueError(
            f"{network}: image_size expects an integer from 2 up or None, got {image_size!r}"
        )
    strides[0] = 4 if image_size >= 96 else 2
    for i in (3, 2, 1):
        side = image_size
        for stride in strides:
            side //= stride
        if side < 3:
            strides[i] = 1
    return strides


@register(
    "convnext_tiny",
    "ConvNeXt, tiny (Liu et al. 2022)",
    image_sizes=(28, 32, 64, 96, 224),
    input_size=(3, 224, 224),
    parameters=28_589_128,
    cam="features",
    family="convnext",
)
def convnext_tiny(image_size: int | None = None, **options: Any) -> ConvNeXt:
    """ConvNeXt, tiny.

    Args:
        weights, progress: published weights to load; see weights.py.
        image_size: None, or 96 and above, gives the paper's network. Smaller images are cut into
            patches of 2x2, and the last strides are 1 where fewer than 3x3 places would be left.
        options: num_classes, stochastic_depth_prob (default 0.1), layer_scale, block, norm_layer,
            in_channels, as ConvNeXt takes them.

    Raises ValueError for an image_size below 2.
    """
    setting = [CNBlockConfig(*row) for row in _TINY]
    strides = _strides_for("convnext_tiny", image_size)
    return ConvNeXt(setting, **{"stochastic_depth_prob": 0.1, "strides": strides, **options})
