"""VGG: depth out of 3x3 convolutions alone (K. Simonyan, A. Zisserman, "Very deep convolutional
networks for large-scale image recognition", ICLR 2015, arXiv:1409.1556, table 1).

    224x224   conv3-64   (x1 or 2)             each conv3-F: 3x3, padding 1, F channels, ReLU
      pool                                     each pool: max 2x2, halves height and width
    112x112   conv3-128  (x1 or 2)
      pool
    56x56     conv3-256  (x2, 3 or 4)
      pool
    28x28     conv3-512  (x2, 3 or 4)
      pool
    14x14     conv3-512  (x2, 3 or 4)
      pool
    7x7x512   dense 4096, dropout, dense 4096, dropout, dense 1000

Two 3x3 convolutions see 5x5 and three see 7x7, with fewer parameters (27 C^2 against 49 C^2) and
more nonlinearities than one large kernel: that is the paper's point.

              layers              parameters     with batch norm   a unit of the last map sees
    vgg11  A   8 conv + 3 dense   132,863,336    132,868,840       150 x 150
    vgg13  B  10 conv + 3 dense   133,047,848    133,053,736       156 x 156
    vgg16  D  13 conv + 3 dense   138,357,544    138,365,992       212 x 212
    vgg19  E  16 conv + 3 dense   143,667,240    143,678,248       268 x 268

Names, arguments, initial values and state_dict keys are torchvision's.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..functional import flatten
from .arguments import check_sizes
from .registry import register

# Channels of the convolutions, "M" a pooling: columns A, B, D and E of the paper's table 1.
_LAYERS: dict[str, list[int | str]] = {
    "A": [64, "M", 128, "M", *[256] * 2, "M", *[512] * 2, "M", *[512] * 2, "M"],
    "B": [*[64] * 2, "M", *[128] * 2, "M", *[256] * 2, "M", *[512] * 2, "M", *[512] * 2, "M"],
    "D": [*[64] * 2, "M", *[128] * 2, "M", *[256] * 3, "M", *[512] * 3, "M", *[512] * 3, "M"],
    "E": [*[64] * 2, "M", *[128] * 2, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"],
}
_SIZES = (28, 32, 64, 96, 224)


class VGG(nn.Module):
    """`features`, pooled to 7x7, then three dense layers: (N, C, H, W) to logits (N, num_classes).

    Args:
        features: the convolutions; `make_layers` builds them.
        num_classes: size of the output.
        init_weights: initial values as torchvision's (He's for convolutions, N(0, 0.01) for dense
            layers); otherwise the layers' own.
        dropout: probability in the two hidden dense layers.
        pooled_size: side of the map that the dense layers see.
        hidden: width of the hidden dense layers.
    """

    def __init__(
        self,
        features: nn.Module,
        num_classes: int = 1000,
        init_weights: bool = True,
        dropout: float = 0.5,
        pooled_size: int = 7,
        hidden: int = 4096,
    ):
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((pooled_size, pooled_size))
        self.classifier = nn.Sequential(
            nn.Linear(512 * pooled_size * pooled_size, hidden),
            nn.ReLU(True),
            nn.Dropout(p=dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(True),
            nn.Dropout(p=dropout),
            nn.Linear(hidden, num_classes),
        )
        if init_weights:
            self._initialize(small=hidden < 4096)

    def forward(self, x: Any) -> Any:
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))

    def _initialize(self, small: bool) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(layer, nn.Linear) and small:
                # 0.01 suits a fan of 4096 and more; with 512 it shrinks the signal sixfold a layer.
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0, 0.01)
            elif isinstance(layer, nn.BatchNorm2d):
                nn.init.constant_(layer.weight, 1)
            else:
                continue
            if layer.bias is not None:
                nn.init.constant_(layer.bias, 0)


def make_layers(
    cfg: list[int | str],
    batch_norm: bool = False,
    in_channels: int = 3,
    image_size: int | None = None,
) -> nn.Sequential:
    """The convolutions and poolings that `cfg` lists.

    A pooling that would leave nothing of an image of `image_size` becomes an Identity, so that the
    numbers of the layers, which are state_dict keys, stay the same.
    """
    modules: list[nn.Module] = []
    side = image_size
    for layer in cfg:
        if isinstance(layer, str):
            modules.append(nn.Identity() if side == 1 else nn.MaxPool2d(kernel_size=2, stride=2))
            side = side if side is None or side == 1 else side // 2
            continue
        modules.append(nn.Conv2d(in_channels, layer, kernel_size=3, padding=1))
        if batch_norm:
            modules.append(nn.BatchNorm2d(layer))
        modules.append(nn.ReLU(inplace=True))
        in_channels = layer
    return nn.Sequential(*modules)


def _vgg(
    name: str, column: str, batch_norm: bool, image_size: int | None = None, **options: Any
) -> VGG:
    check_sizes(name, optional=("image_size",), image_size=image_size)
    small = image_size is not None and image_size < 224
    in_channels = options.pop("in_channels", 3)
    check_sizes(name, in_channels=in_channels, num_classes=options.get("num_classes", 1000))
    layers = _LAYERS[column]
    features = make_layers(layers, batch_norm, in_channels, image_size if small else None)
    if small:
        options.setdefault("pooled_size", max(1, image_size // 2 ** layers.count("M")))
        options.setdefault("hidden", 512)
    return VGG(features, **options)


def _registered(depth: int, column: str, batch_norm: bool, parameters: int) -> Any:
    name = f"vgg{depth}_bn" if batch_norm else f"vgg{depth}"

    def make(**options: Any) -> VGG:
        return _vgg(name, column, batch_norm, **options)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""VGG-{depth}{" with batch normalisation" if batch_norm else ""}.

    Args:
        weights, progress: published weights to load; see weights.py.
        image_size: None, or 224, gives the paper's network. A smaller one (28, 32, 64, 96 ...)
            gives the variant for small images: the dense layers see the map that is left, 1x1 for
            32x32, and are 512 wide; a pooling that would leave nothing is left out.
        options: in_channels (default 3), and what VGG takes: num_classes, init_weights, dropout.

    Raises ValueError for sizes below 1.
    """
    return register(
        name,
        f"VGG-{depth}{' with batch norm' if batch_norm else ''} (Simonyan, Zisserman 2015)",
        image_sizes=_SIZES,
        input_size=(3, 224, 224),
        parameters=parameters,
        cam="features",
        family="vgg",
    )(make)


vgg11 = _registered(11, "A", False, 132_863_336)
vgg11_bn = _registered(11, "A", True, 132_868_840)
vgg13 = _registered(13, "B", False, 133_047_848)
vgg13_bn = _registered(13, "B", True, 133_053_736)
vgg16 = _registered(16, "D", False, 138_357_544)
vgg16_bn = _registered(16, "D", True, 138_365_992)
vgg19 = _registered(19, "E", False, 143_667_240)
vgg19_bn = _registered(19, "E", True, 143_678_248)
