"""The weights that torchvision publishes for the networks here, as enumerations by its names.

Addresses, SHA-256 prefixes (the hexadecimal digits before ".pth"), sizes, accuracies and image
sizes are those of torchvision 0.28, https://pytorch.org/vision/stable/models.html. The accuracies,
in percent, were measured there, on the 50,000 validation images of ImageNet (ILSVRC 2012).

The names of the 1000 classes in imagenet.txt, in the order of the outputs, are those published with
the same weights: short English names of ImageNet's WordNet synsets (O. Russakovsky et al.,
"ImageNet large scale visual recognition challenge", IJCV 115, 2015).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from math import nan
from pathlib import Path

from ..transforms.presets import ImageClassification
from .weights import Weights, WeightsEnum

_SERVER = "https://download.pytorch.org/models/"


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The names of ImageNet's 1000 classes, in the order of the networks' outputs."""
    text = (Path(__file__).parent / "imagenet.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def _row(
    file: str,
    parameters: int,
    top1: float,
    top5: float,
    megabytes: float,
    crop: int = 224,
    resize: int = 256,
    interpolation: str = "bilinear",
    min_size: int = 1,
) -> Weights:
    """One file: its parameters, accuracy, size in MiB, and what its images go through."""
    return Weights(
        url=_SERVER + file,
        transforms=partial(
            ImageClassification, crop_size=crop, resize_size=resize, interpolation=interpolation
        ),
        meta={
            "categories": list(imagenet_classes()),
            "num_params": parameters,
            "min_size": (min_size, min_size),
            "_metrics": {"ImageNet-1K": {"acc@1": top1, "acc@5": top5}},
            "_file_size": megabytes,
        },
    )


def _without_classifier(weights: Weights, **preset: tuple[float, ...]) -> Weights:
    """The file of a network that tells no classes apart, whose images need another mean and std."""
    transforms = partial(weights.transforms, **preset)
    return replace(weights, transforms=transforms, meta={**weights.meta, "categories": None})


class AlexNet_Weights(WeightsEnum):
    """Of `alexnet`."""

    IMAGENET1K_V1 = _row(
        "alexnet-owt-7be5be79.pth", 61_100_840, 56.522, 79.066, 233.087, min_size=63
    )
    DEFAULT = IMAGENET1K_V1


class VGG11_Weights(WeightsEnum):
    """Of `vgg11`."""

    IMAGENET1K_V1 = _row("vgg11-8a719046.pth", 132_863_336, 69.02, 88.628, 506.84, min_size=32)
    DEFAULT = IMAGENET1K_V1


class VGG11_BN_Weights(WeightsEnum):
    """Of `vgg11_bn`."""

    IMAGENET1K_V1 = _row("vgg11_bn-6002323d.pth", 132_868_840, 70.37, 89.81, 506.881, min_size=32)
    DEFAULT = IMAGENET1K_V1


class VGG13_Weights(WeightsEnum):
    """Of `vgg13`."""

    IMAGENET1K_V1 = _row("vgg13-19584684.pth", 133_047_848, 69.928, 89.246, 507.545, min_size=32)
    DEFAULT = IMAGENET1K_V1


class VGG13_BN_Weights(WeightsEnum):
    """Of `vgg13_bn`."""

    IMAGENET1K_V1 = _row("vgg13_bn-abd245e5.pth", 133_053_736, 71.586, 90.374, 507.59, min_size=32)
    DEFAULT = IMAGENET1K_V1


class VGG16_Weights(WeightsEnum):
    """Of `vgg16`. IMAGENET1K_FEATURES is for its `features` alone: the classifier's are missing.

    Its images have values from 0 to 255 less a mean, as in VGG's paper.
    """

    IMAGENET1K_V1 = _row("vgg16-397923af.pth", 138_357_544, 71.592, 90.382, 527.796, min_size=32)
    IMAGENET1K_FEATURES = _without_classifier(
        _row("vgg16_features-amdegroot-88682ab5.pth", 138_357_544, nan, nan, 527.802, min_size=32),
        mean=(0.48235, 0.45882, 0.40784),
        std=(1 / 255, 1 / 255, 1 / 255),
    )
    DEFAULT = IMAGENET1K_V1


class VGG16_BN_Weights(WeightsEnum):
    """Of `vgg16_bn`."""

    IMAGENET1K_V1 = _row("vgg16_bn-6c64b313.pth", 138_365_992, 73.36, 91.516, 527.866, min_size=32)
    DEFAULT = IMAGENET1K_V1


class VGG19_Weights(WeightsEnum):
    """Of `vgg19`."""

    IMAGENET1K_V1 = _row("vgg19-dcbb9e9d.pth", 143_667_240, 72.376, 90.876, 548.051, min_size=32)
    DEFAULT = IMAGENET1K_V1


class VGG19_BN_Weights(WeightsEnum):
    """Of `vgg19_bn`."""

    IMAGENET1K_V1 = _row("vgg19_bn-c79401a0.pth", 143_678_248, 74.218, 91.842, 548.143, min_size=32)
    DEFAULT = IMAGENET1K_V1


class GoogLeNet_Weights(WeightsEnum):
    """Of `googlenet`."""

    IMAGENET1K_V1 = _row("googlenet-1378be20.pth", 6_624_904, 69.778, 89.53, 49.731, min_size=15)
    DEFAULT = IMAGENET1K_V1


class Inception_V3_Weights(WeightsEnum):
    """Of `inception_v3`."""

    IMAGENET1K_V1 = _row(
        "inception_v3_google-0cc3c7bd.pth",
        27_161_264,
        77.294,
        93.45,
        103.903,
        crop=299,
        resize=342,
        min_size=75,
    )
    DEFAULT = IMAGENET1K_V1


class ResNet18_Weights(WeightsEnum):
    """Of `resnet18`."""

    IMAGENET1K_V1 = _row("resnet18-f37072fd.pth", 11_689_512, 69.758, 89.078, 44.661)
    DEFAULT = IMAGENET1K_V1


class ResNet34_Weights(WeightsEnum):
    """Of `resnet34`."""

    IMAGENET1K_V1 = _row("resnet34-b627a593.pth", 21_797_672, 73.314, 91.42, 83.275)
    DEFAULT = IMAGENET1K_V1


class ResNet50_Weights(WeightsEnum):
    """Of `resnet50`."""

    IMAGENET1K_V1 = _row("resnet50-0676ba61.pth", 25_557_032, 76.13, 92.862, 97.781)
    IMAGENET1K_V2 = _row("resnet50-11ad3fa6.pth", 25_557_032, 80.858, 95.434, 97.79, resize=232)
    DEFAULT = IMAGENET1K_V2


class ResNet101_Weights(WeightsEnum):
    """Of `resnet101`."""

    IMAGENET1K_V1 = _row("resnet101-63fe2227.pth", 44_549_160, 77.374, 93.546, 170.511)
    IMAGENET1K_V2 = _row("resnet101-cd907fc2.pth", 44_549_160, 81.886, 95.78, 170.53, resize=232)
    DEFAULT = IMAGENET1K_V2


class ResNet152_Weights(WeightsEnum):
    """Of `resnet152`."""

    IMAGENET1K_V1 = _row("resnet152-394f9c45.pth", 60_192_808, 78.312, 94.046, 230.434)
    IMAGENET1K_V2 = _row("resnet152-f82ba261.pth", 60_192_808, 82.284, 96.002, 230.474, resize=232)
    DEFAULT = IMAGENET1K_V2


class Wide_ResNet50_2_Weights(WeightsEnum):
    """Of `wide_resnet50_2`."""

    IMAGENET1K_V1 = _row("wide_resnet50_2-95faca4d.pth", 68_883_240, 78.468, 94.086, 131.82)
    IMAGENET1K_V2 = _row(
        "wide_resnet50_2-9ba9bcbe.pth", 68_883_240, 81.602, 95.758, 263.124, resize=232
    )
    DEFAULT = IMAGENET1K_V2


class Wide_ResNet101_2_Weights(WeightsEnum):
    """Of `wide_resnet101_2`."""

    IMAGENET1K_V1 = _row("wide_resnet101_2-32ee1156.pth", 126_886_696, 78.848, 94.284, 242.896)
    IMAGENET1K_V2 = _row(
        "wide_resnet101_2-d733dc28.pth", 126_886_696, 82.51, 96.02, 484.747, resize=232
    )
    DEFAULT = IMAGENET1K_V2


class ResNeXt50_32X4D_Weights(WeightsEnum):
    """Of `resnext50_32x4d`."""

    IMAGENET1K_V1 = _row("resnext50_32x4d-7cdf4587.pth", 25_028_904, 77.618, 93.698, 95.789)
    IMAGENET1K_V2 = _row(
        "resnext50_32x4d-1a0047aa.pth", 25_028_904, 81.198, 95.34, 95.833, resize=232
    )
    DEFAULT = IMAGENET1K_V2


class ResNeXt101_32X8D_Weights(WeightsEnum):
    """Of `resnext101_32x8d`."""

    IMAGENET1K_V1 = _row("resnext101_32x8d-8ba56ff5.pth", 88_791_336, 79.312, 94.526, 339.586)
    IMAGENET1K_V2 = _row(
        "resnext101_32x8d-110c445d.pth", 88_791_336, 82.834, 96.228, 339.673, resize=232
    )
    DEFAULT = IMAGENET1K_V2


class ResNeXt101_64X4D_Weights(WeightsEnum):
    """Of `resnext101_64x4d`."""

    IMAGENET1K_V1 = _row(
        "resnext101_64x4d-173b62eb.pth", 83_455_272, 83.246, 96.454, 319.318, resize=232
    )
    DEFAULT = IMAGENET1K_V1


class DenseNet121_Weights(WeightsEnum):
    """Of `densenet121`."""

    IMAGENET1K_V1 = _row("densenet121-a639ec97.pth", 7_978_856, 74.434, 91.972, 30.845, min_size=29)
    DEFAULT = IMAGENET1K_V1


class DenseNet161_Weights(WeightsEnum):
    """Of `densenet161`."""

    IMAGENET1K_V1 = _row(
        "densenet161-8d451a50.pth", 28_681_000, 77.138, 93.56, 110.369, min_size=29
    )
    DEFAULT = IMAGENET1K_V1


class DenseNet169_Weights(WeightsEnum):
    """Of `densenet169`."""

    IMAGENET1K_V1 = _row("densenet169-b2777c0a.pth", 14_149_480, 75.6, 92.806, 54.708, min_size=29)
    DEFAULT = IMAGENET1K_V1


class DenseNet201_Weights(WeightsEnum):
    """Of `densenet201`."""

    IMAGENET1K_V1 = _row("densenet201-c1103571.pth", 20_013_928, 76.896, 93.37, 77.373, min_size=29)
    DEFAULT = IMAGENET1K_V1


class SqueezeNet1_0_Weights(WeightsEnum):
    """Of `squeezenet1_0`."""

    IMAGENET1K_V1 = _row("squeezenet1_0-b66bff10.pth", 1_248_424, 58.092, 80.42, 4.778, min_size=21)
    DEFAULT = IMAGENET1K_V1


class SqueezeNet1_1_Weights(WeightsEnum):
    """Of `squeezenet1_1`."""

    IMAGENET1K_V1 = _row(
        "squeezenet1_1-b8a52dc0.pth", 1_235_496, 58.178, 80.624, 4.729, min_size=17
    )
    DEFAULT = IMAGENET1K_V1


class MobileNet_V2_Weights(WeightsEnum):
    """Of `mobilenet_v2`."""

    IMAGENET1K_V1 = _row("mobilenet_v2-b0353104.pth", 3_504_872, 71.878, 90.286, 13.555)
    IMAGENET1K_V2 = _row("mobilenet_v2-7ebf99e0.pth", 3_504_872, 72.154, 90.822, 13.598, resize=232)
    DEFAULT = IMAGENET1K_V2


class MobileNet_V3_Large_Weights(WeightsEnum):
    """Of `mobilenet_v3_large`."""

    IMAGENET1K_V1 = _row("mobilenet_v3_large-8738ca79.pth", 5_483_032, 74.042, 91.34, 21.114)
    IMAGENET1K_V2 = _row(
        "mobilenet_v3_large-5c1a4163.pth", 5_483_032, 75.274, 92.566, 21.107, resize=232
    )
    DEFAULT = IMAGENET1K_V2


class MobileNet_V3_Small_Weights(WeightsEnum):
    """Of `mobilenet_v3_small`."""

    IMAGENET1K_V1 = _row("mobilenet_v3_small-047dcff4.pth", 2_542_856, 67.668, 87.402, 9.829)
    DEFAULT = IMAGENET1K_V1


class ShuffleNet_V2_X0_5_Weights(WeightsEnum):
    """Of `shufflenet_v2_x0_5`."""

    IMAGENET1K_V1 = _row("shufflenetv2_x0.5-f707e7126e.pth", 1_366_792, 60.552, 81.746, 5.282)
    DEFAULT = IMAGENET1K_V1


class ShuffleNet_V2_X1_0_Weights(WeightsEnum):
    """Of `shufflenet_v2_x1_0`."""

    IMAGENET1K_V1 = _row("shufflenetv2_x1-5666bf0f80.pth", 2_278_604, 69.362, 88.316, 8.791)
    DEFAULT = IMAGENET1K_V1


class ShuffleNet_V2_X1_5_Weights(WeightsEnum):
    """Of `shufflenet_v2_x1_5`."""

    IMAGENET1K_V1 = _row(
        "shufflenetv2_x1_5-3c479a10.pth", 3_503_624, 72.996, 91.086, 13.557, resize=232
    )
    DEFAULT = IMAGENET1K_V1


class ShuffleNet_V2_X2_0_Weights(WeightsEnum):
    """Of `shufflenet_v2_x2_0`."""

    IMAGENET1K_V1 = _row(
        "shufflenetv2_x2_0-8be3c8ee.pth", 7_393_996, 76.23, 93.006, 28.433, resize=232
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B0_Weights(WeightsEnum):
    """Of `efficientnet_b0`."""

    IMAGENET1K_V1 = _row(
        "efficientnet_b0_rwightman-7f5810bc.pth",
        5_288_548,
        77.692,
        93.532,
        20.451,
        interpolation="bicubic",
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B1_Weights(WeightsEnum):
    """Of `efficientnet_b1`."""

    IMAGENET1K_V1 = _row(
        "efficientnet_b1_rwightman-bac287d4.pth",
        7_794_184,
        78.642,
        94.186,
        30.134,
        crop=240,
        interpolation="bicubic",
    )
    IMAGENET1K_V2 = _row(
        "efficientnet_b1-c27df63c.pth", 7_794_184, 79.838, 94.934, 30.136, crop=240, resize=255
    )
    DEFAULT = IMAGENET1K_V2


class EfficientNet_B2_Weights(WeightsEnum):
    """Of `efficientnet_b2`."""

    IMAGENET1K_V1 = _row(
        "efficientnet_b2_rwightman-c35c1473.pth",
        9_109_994,
        80.608,
        95.31,
        35.174,
        crop=288,
        resize=288,
        interpolation="bicubic",
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B3_Weights(WeightsEnum):
    """Of `efficientnet_b3`."""

    IMAGENET1K_V1 = _row(
        "efficientnet_b3_rwightman-b3899882.pth",
        12_233_232,
        82.008,
        96.054,
        47.184,
        crop=300,
        resize=320,
        interpolation="bicubic",
    )
    DEFAULT = IMAGENET1K_V1


class EfficientNet_B4_Weights(WeightsEnum):
    """Of `efficientnet_b4`."""

    IMAGENET1K_V1 = _row(
        "efficientnet_b4_rwightman-23ab8bcd.pth",
        19_341_616,
        83.384,
        96.594,
        74.489,
        crop=380,
        resize=384,
        interpolation="bicubic",
    )
    DEFAULT = IMAGENET1K_V1


class ConvNeXt_Tiny_Weights(WeightsEnum):
    """Of `convnext_tiny`."""

    IMAGENET1K_V1 = _row(
        "convnext_tiny-983f1562.pth", 28_589_128, 82.52, 96.146, 109.119, resize=236, min_size=32
    )
    DEFAULT = IMAGENET1K_V1


# By the name of the network.
PUBLISHED: dict[str, type[WeightsEnum]] = {
    "alexnet": AlexNet_Weights,
    "vgg11": VGG11_Weights,
    "vgg11_bn": VGG11_BN_Weights,
    "vgg13": VGG13_Weights,
    "vgg13_bn": VGG13_BN_Weights,
    "vgg16": VGG16_Weights,
    "vgg16_bn": VGG16_BN_Weights,
    "vgg19": VGG19_Weights,
    "vgg19_bn": VGG19_BN_Weights,
    "googlenet": GoogLeNet_Weights,
    "inception_v3": Inception_V3_Weights,
    "resnet18": ResNet18_Weights,
    "resnet34": ResNet34_Weights,
    "resnet50": ResNet50_Weights,
    "resnet101": ResNet101_Weights,
    "resnet152": ResNet152_Weights,
    "wide_resnet50_2": Wide_ResNet50_2_Weights,
    "wide_resnet101_2": Wide_ResNet101_2_Weights,
    "resnext50_32x4d": ResNeXt50_32X4D_Weights,
    "resnext101_32x8d": ResNeXt101_32X8D_Weights,
    "resnext101_64x4d": ResNeXt101_64X4D_Weights,
    "densenet121": DenseNet121_Weights,
    "densenet161": DenseNet161_Weights,
    "densenet169": DenseNet169_Weights,
    "densenet201": DenseNet201_Weights,
    "squeezenet1_0": SqueezeNet1_0_Weights,
    "squeezenet1_1": SqueezeNet1_1_Weights,
    "mobilenet_v2": MobileNet_V2_Weights,
    "mobilenet_v3_large": MobileNet_V3_Large_Weights,
    "mobilenet_v3_small": MobileNet_V3_Small_Weights,
    "shufflenet_v2_x0_5": ShuffleNet_V2_X0_5_Weights,
    "shufflenet_v2_x1_0": ShuffleNet_V2_X1_0_Weights,
    "shufflenet_v2_x1_5": ShuffleNet_V2_X1_5_Weights,
    "shufflenet_v2_x2_0": ShuffleNet_V2_X2_0_Weights,
    "efficientnet_b0": EfficientNet_B0_Weights,
    "efficientnet_b1": EfficientNet_B1_Weights,
    "efficientnet_b2": EfficientNet_B2_Weights,
    "efficientnet_b3": EfficientNet_B3_Weights,
    "efficientnet_b4": EfficientNet_B4_Weights,
    "convnext_tiny": ConvNeXt_Tiny_Weights,
}
