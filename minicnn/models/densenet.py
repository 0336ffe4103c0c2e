r"""DenseNet: every layer sees the maps of all layers before it (G. Huang, Z. Liu, L. van der
Maaten, K. Q. Weinberger, "Densely connected convolutional networks", CVPR 2017, arXiv:1608.06993,
figures 1 and 2, table 1).

    a dense block of three layers; each adds k maps, the growth rate

    x (C) --+-> layer 1 --+-> layer 2 --+-> layer 3 --+--> cat: C + 3k maps
            |     k       |     k       |     k       |
            +-------------+-------------+-------------+
               all that came before is passed on beside every layer

    layer        batch norm, ReLU, 1x1 to 4k, batch norm, ReLU, 3x3 to k
    transition   batch norm, ReLU, 1x1 to half of the channels, average pooling 2x2

A residual network adds what a layer finds to what is there; a dense one puts it beside. So nothing
is overwritten, every layer has a short way to the loss, and a layer can be narrow (k = 32 maps, or
12), because it need not repeat what others know: densenet201 with 20 million parameters errs as
rarely as the ResNet of 101 layers with more than 40 (figure 3). The price is memory: all maps of a
block stay alive.

                  densenet121         densenet169         densenet201         densenet161
    growth rate   32                  32                  32                  48
    stem          64 x 56x56          64 x 56x56          64 x 56x56          96 x 56x56
    block 1        6 layers,  256      6 layers,  256      6 layers,  256      6 layers,  384
    block 2       12 layers,  512     12 layers,  512     12 layers,  512     12 layers,  768
    block 3       24 layers, 1024     32 layers, 1280     48 layers, 1792     36 layers, 2112
    block 4       16 layers, 1024     32 layers, 1664     32 layers, 1920     24 layers, 2208
    parameters    7,978,856           14,149,480          20,013,928          28,681,000

The stem is a 7x7 convolution and a pooling, each with stride 2. Blocks have maps of 56x56, 28x28,
14x14 and 7x7; the numbers are the channels behind them. What a unit sees:

    stem 11   block 1 59   block 2 255   block 3 1031, 1287, 1799, 1415
                                         block 4 2071, 3351, 3863, 2967 (more than the image)

and the network for CIFAR, DenseNet-BC with L = 100 and k = 12 (table 2), `densenet_bc_100`:

    layer                   output        parameters   sees
    conv0         3x3       24 x 32x32           648   3
    denseblock1   16        216 x 32x32      175,680   35
    transition1             108 x 16x16       23,760   36
    denseblock2   16        300 x 16x16      242,880   100
    transition2             150 x 8x8         45,600   102
    denseblock3   16        342 x 8x8        276,480   230
    norm5, dense            10                 4,114   all
                                             769,162

Names, arguments, initial values and state_dict keys are torchvision's, which has not the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ..functional import adaptive_avg_pool2d, cat, dropout, flatten, relu
from .arguments import check_choice, check_flag, check_sizes, fix_options
from .registry import register

_SMALL = 64  # up to here the stem keeps the size
_SMALLEST = 8
_OLD_KEYS = ("norm.1.", "norm.2.", "conv.1.", "conv.2.")


class DenseNet(nn.Module):
    """DenseNet: (N, in_channels, H, W) to logits (N, num_classes).

    Args:
        growth_rate: maps that a layer adds, k.
        block_config: layers in each block.
        num_init_features: channels of the stem.
        bn_size: a layer's 1x1 convolution leaves bn_size * k channels.
        drop_rate: probability of dropout behind each layer.
        num_classes: size of the output.
        memory_efficient: taken for torchvision's sake, where maps are computed again in backward;
            here they are kept. The results are the same.
        in_channels: channels of the input.
        image_size: None, or more than 64, for the stem of the ImageNet networks: 7x7 with stride 2
            and a pooling. Up to 64 the first convolution is 3x3 with stride 1, and nothing is
            pooled before the first transition: four blocks end in 4x4 maps of 32x32 images.
        stem: "imagenet"; or "cifar", the paper's for small images, whatever their size: the 3x3
            convolution alone, without norm and ReLU.

    Raises ValueError for bad sizes (an image_size below 8), rates and flags.

    A state_dict whose keys are of torchvision's first version, `norm.1.weight` in a layer rather
    than `norm1.weight`, loads too; so the published files do.
    """

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: Sequence[int] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bn_size: int = 4,
        drop_rate: float = 0,
        num_classes: int = 1000,
        memory_efficient: bool = False,
        in_channels: int = 3,
        image_size: int | None = None,
        stem: str = "imagenet",
    ):
        super().__init__()
        check_sizes(
            "DenseNet",
            growth_rate=growth_rate,
            num_init_features=num_init_features,
            bn_size=bn_size,
            num_classes=num_classes,
            in_channels=in_channels,
        )
        check_flag("DenseNet", memory_efficient=memory_efficient)
        check_choice("DenseNet", "stem", stem, ("imagenet", "cifar"))
        _check_blocks(block_config, drop_rate, image_size)
        small = image_size is not None and image_size <= _SMALL
        self.features = _stem(stem, small, in_channels, num_init_features)
        channels = num_init_features
        for i, layers in enumerate(block_config, 1):
            block = DenseBlock(layers, channels, bn_size, growth_rate, drop_rate, memory_efficient)
            self.features.add_module(f"denseblock{i}", block)
            channels += layers * growth_rate
            if i < len(block_config):
                self.features.add_module(f"transition{i}", Transition(channels, channels // 2))
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, num_classes)
        self._initialize()

    def forward(self, x: Any) -> Any:
        x = relu(self.features(x), inplace=True)
        return self.classifier(flatten(adaptive_avg_pool2d(x, (1, 1)), 1))

    def _initialize(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
            elif isinstance(layer, nn.BatchNorm2d):
                nn.init.ones_(layer.weight)
                nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)


class DenseBlock(nn.ModuleDict):
    """num_layers layers, each on the maps of all before it.

    (N, C, H, W) to (N, C + num_layers * growth_rate, H, W).
    """

    def __init__(
        self,
        num_layers: int,
        num_input_features: int,
        bn_size: int,
        growth_rate: int,
        drop_rate: float,
        memory_efficient: bool = False,
    ):
        super().__init__()
        for i in range(num_layers):
            channels = num_input_features + i * growth_rate
            layer = DenseLayer(channels, growth_rate, bn_size, drop_rate, memory_efficient)
            self.add_module(f"denselayer{i + 1}", layer)

    def forward(self, x: Any) -> Any:
        maps = [x]
        for layer in self.values():
            maps.append(layer(maps))
        return cat(maps, 1)


class DenseLayer(nn.Module):
    """The maps of all layers before, a list of (N, C_i, H, W), to (N, growth_rate, H, W)."""

    def __init__(
        self,
        num_input_features: int,
        growth_rate: int,
        bn_size: int,
        drop_rate: float,
        memory_efficient: bool = False,
    ):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(num_input_features)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(num_input_features, bn_size * growth_rate, kernel_size=1, bias=False)
        self.norm2 = nn.BatchNorm2d(bn_size * growth_rate)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(
            bn_size * growth_rate, growth_rate, kernel_size=3, padding=1, bias=False
        )
        self.drop_rate = float(drop_rate)
        self.memory_efficient = memory_efficient

    def forward(self, maps: Any) -> Any:
        x = cat(maps, 1) if isinstance(maps, list) else maps
        x = self.conv1(self.relu1(self.norm1(x)))
        x = self.conv2(self.relu2(self.norm2(x)))
        return dropout(x, self.drop_rate, self.training) if self.drop_rate > 0 else x

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Names could once hold a dot: what is norm1 was norm.1."""
        for key in list(state_dict):
            name = key[len(prefix) :]
            if name.startswith(_OLD_KEYS):
                state_dict[prefix + name.replace(".", "", 1)] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)


class Transition(nn.Sequential):
    """(N, num_input_features, H, W) to (N, num_output_features, H/2, W/2)."""

    def __init__(self, num_input_features: int, num_output_features: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(num_input_features)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(num_input_features, num_output_features, kernel_size=1, bias=False)
        self.pool = nn.AvgPool2d(kernel_size=2, stride=2)


def _stem(stem: str, small: bool, in_channels: int, channels: int) -> nn.Sequential:
    """What comes before the first block."""
    features = nn.Sequential()
    if small or stem == "cifar":
        features.conv0 = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=False)
    else:
        features.conv0 = nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False)
    if stem == "imagenet":
        features.norm0 = nn.BatchNorm2d(channels)
        features.relu0 = nn.ReLU(inplace=True)
        pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        features.pool0 = nn.Identity() if small else pool
    return features


def _check_blocks(block_config: Any, drop_rate: Any, image_size: Any) -> None:
    numbers = isinstance(block_config, (tuple, list)) and len(block_config) > 0
    if not numbers or not all(type(n) is int and n >= 1 for n in block_config):
        raise ValueError(
            f"DenseNet: block_config expects the layers of each block, got {block_config!r}"
        )
    if type(drop_rate) not in (int, float) or not 0 <= drop_rate <= 1:
        raise ValueError(f"DenseNet: drop_rate expects a number from 0 to 1, got {drop_rate!r}")
    if image_size is not None and (type(image_size) is not int or image_size < _SMALLEST):
        raise ValueError(
            f"DenseNet: image_size expects at least {_SMALLEST} or None, got {image_size!r}"
        )


def _registered(
    depth: int, growth: int, blocks: tuple[int, ...], features: int, parameters: int
) -> Any:
    name = f"densenet{depth}"
    fixed = {"growth_rate": growth, "block_config": blocks, "num_init_features": features}

    def make(**options: Any) -> DenseNet:
        return DenseNet(**fix_options(name, fixed, options))

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""DenseNet-{depth}: growth rate {growth}, blocks of {blocks} layers.

    `DenseNet(**options)` otherwise. ValueError for another growth_rate, block_config or
    num_init_features.
    """
    return register(
        name,
        f"DenseNet-{depth} (Huang et al. 2017)",
        image_sizes=(28, 32, 64, 96, 224),
        input_size=(3, 224, 224),
        parameters=parameters,
        cam="features",
        family="densenet",
    )(make)


densenet121 = _registered(121, 32, (6, 12, 24, 16), 64, 7_978_856)
densenet161 = _registered(161, 48, (6, 12, 36, 24), 96, 28_681_000)
densenet169 = _registered(169, 32, (6, 12, 32, 32), 64, 14_149_480)
densenet201 = _registered(201, 32, (6, 12, 48, 32), 64, 20_013_928)


@register(
    "densenet_bc_100",
    "DenseNet-BC for CIFAR, 100 layers, k = 12 (Huang et al. 2017)",
    image_sizes=(28, 32, 64, 96),
    input_size=(3, 32, 32),
    parameters=769_162,
    cam="features",
    family="densenet",
)
def densenet_bc_100(**options: Any) -> DenseNet:
    """DenseNet-BC of the paper's table 2: L = 100 layers, k = 12, three blocks of 16, 10 classes.

    `DenseNet(**options)` otherwise; it is the same network for every image_size. ValueError for
    another growth_rate, block_config, num_init_features or stem.
    """
    fixed = {"growth_rate": 12, "block_config": (16, 16, 16), "num_init_features": 24}
    fixed["stem"] = "cifar"
    return DenseNet(**{"num_classes": 10, **fix_options("densenet_bc_100", fixed, options)})
