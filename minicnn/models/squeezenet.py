r"""SqueezeNet: AlexNet's accuracy with a fiftieth of its parameters (F. N. Iandola, S. Han,
M. W. Moskewicz, K. Ashraf, W. J. Dally, K. Keutzer, "SqueezeNet: AlexNet-level accuracy with 50x
fewer parameters and <0.5MB model size", 2016, arXiv:1602.07360, figures 1 and 2).

                     Fire
                                      +-> expand 1x1, E -> relu --\
    x (C) --> squeeze 1x1, S -> relu -+                            cat --> 2E channels
                                      +-> expand 3x3, E -> relu --/

Three ideas: 1x1 filters in place of most 3x3 ones, which have nine times the parameters; few
channels (S, an eighth of what follows) in front of those 3x3 that stay; and late pooling, so that
the maps stay large. There are no dense layers: the last convolution has a map for each class, whose
mean is its logit, as in Network in Network.

    squeezenet1_0        output        parameters   sees
    conv 7x7, stride 2   96 x 109x109      14,208   7
    pool 3x3, stride 2   96 x 54x54                 11
    fire  S 16, E 64     128 x 54x54       11,920   19
    fire  S 16, E 64     128 x 54x54       12,432   27
    fire  S 32, E 128    256 x 54x54       45,344   35
    pool 3x3, stride 2   256 x 27x27                43
    fire  S 32, E 128    256 x 27x27       49,440   59
    fire  S 48, E 192    384 x 27x27      104,880   75
    fire  S 48, E 192    384 x 27x27      111,024   91
    fire  S 64, E 256    512 x 27x27      188,992   107
    pool 3x3, stride 2   512 x 13x13                123
    fire  S 64, E 256    512 x 13x13      197,184   155
    conv 1x1             1000 x 13x13     513,000   155
    average              1000                       all
                                        1,248,424

`squeezenet1_1`, the authors' later form, begins with 64 filters of 3x3 and pools earlier (behind
the second and the fourth fire, not the third and the seventh): 2.4 times less work, no worse. It
has 1,235,496 parameters, and a unit of its last maps sees 207 x 207.

Names, arguments, initial values and state_dict keys are torchvision's. Poolings round up, as the
authors' Caffe did.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..functional import cat, flatten
from .arguments import check_choice, check_sizes, fix_options
from .registry import register

# Widths S, E of the fires, with "M" for a pooling, behind the first convolution.
_LAYERS: dict[str, list[tuple[int, int] | str]] = {
    "1_0": ["M", *[(16, 64)] * 2, (32, 128), "M", (32, 128), *[(48, 192)] * 2, (64, 256), "M",
            (64, 256)],
    "1_1": ["M", *[(16, 64)] * 2, "M", *[(32, 128)] * 2, "M", *[(48, 192)] * 2, *[(64, 256)] * 2],
}  # fmt: skip
_FIRST = {"1_0": (96, 7), "1_1": (64, 3)}  # filters of the first convolution and their size
_SMALL = 64  # up to here the first convolution is 3x3 and keeps the size


class Fire(nn.Module):
    """(N, inplanes, H, W) to (N, expand1x1_planes + expand3x3_planes, H, W); see the figure."""

    def __init__(
        self, inplanes: int, squeeze_planes: int, expand1x1_planes: int, expand3x3_planes: int
    ):
        super().__init__()
        self.inplanes = inplanes
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, kernel_size=1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, kernel_size=1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, kernel_size=3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Any) -> Any:
        x = self.squeeze_activation(self.squeeze(x))
        ones = self.expand1x1_activation(self.expand1x1(x))
        threes = self.expand3x3_activation(self.expand3x3(x))
        return cat([ones, threes], 1)


class SqueezeNet(nn.Module):
    """SqueezeNet: (N, in_channels, H, W) to logits (N, num_classes).

    Args:
        version: "1_0", the paper's, or "1_1".
        num_classes: size of the output.
        dropout: probability in front of the last convolution.
        in_channels: channels of the input.
        image_size: None, or more than 64, for the paper's network. Up to 64 the first convolution
            is 3x3 with stride 1: 32x32 images end in maps of 4x4. The last one then has He's
            initial values and no ReLU, so that it learns from few images; behind a ReLU that is
            never above 0, a class has no gradient.

    Raises ValueError for another version and for bad sizes (an image_size below 8).
    """

    def __init__(
        self,
        version: str = "1_0",
        num_classes: int = 1000,
        dropout: float = 0.5,
        in_channels: int = 3,
        image_size: int | None = None,
    ):
        super().__init__()
        check_choice("SqueezeNet", "version", version, _LAYERS)
        check_sizes("SqueezeNet", num_classes=num_classes, in_channels=in_channels)
        if image_size is not None and (type(image_size) is not int or image_size < 8):
            raise ValueError(
                f"SqueezeNet: image_size expects at least 8 or None, got {image_size!r}"
            )
        self.num_classes = num_classes
        channels, kernel = _FIRST[version]
        small = image_size is not None and image_size <= _SMALL
        modules: list[nn.Module] = [
            nn.Conv2d(in_channels, channels, kernel_size=3, padding=1)
            if small
            else nn.Conv2d(in_channels, channels, kernel_size=kernel, stride=2),
            nn.ReLU(inplace=True),
        ]
        for layer in _LAYERS[version]:
            if isinstance(layer, str):
                modules.append(nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True))
                continue
            squeezed, expanded = layer
            modules.append(Fire(channels, squeezed, expanded, expanded))
            channels = 2 * expanded
        self.features = nn.Sequential(*modules)
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout),
            nn.Conv2d(channels, num_classes, kernel_size=1),
            nn.Identity() if small else nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d((1, 1)),
        )
        self._initialize(small)

    def forward(self, x: Any) -> Any:
        return flatten(self.classifier(self.features(x)), 1)

    def _initialize(self, small: bool) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        if not small:
            nn.init.normal_(self.classifier[1].weight, mean=0.0, std=0.01)


def _registered(version: str, parameters: int) -> Any:
    name = f"squeezenet{version}"

    def make(**options: Any) -> SqueezeNet:
        return SqueezeNet(**fix_options(name, {"version": version}, options))

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""`SqueezeNet("{version}", **options)`.

    Raises ValueError for another version.
    """
    return register(
        name,
        f"SqueezeNet {version.replace('_', '.')} (Iandola et al. 2016)",
        image_sizes=(28, 32, 64, 96, 224),
        input_size=(3, 224, 224),
        parameters=parameters,
        cam="features",
        family="squeezenet",
    )(make)


squeezenet1_0 = _registered("1_0", 1_248_424)
squeezenet1_1 = _registered("1_1", 1_235_496)
