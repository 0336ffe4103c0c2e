"""Networks, one file each. `available()` lists them, `create(name, ...)` makes one by its name.

Weights that were published for them are enumerations, `ResNet18_Weights` and so on; see weights.py.
"""

from typing import Any as _Any

from .alexnet import AlexNet, alexnet, alexnet_paper
from .attention import CBAM, SqueezeExcite
from .attention_resnet import (
    cbam_resnet18,
    cbam_resnet50,
    se_resnet18,
    se_resnet50,
)
from .cifar_net import (
    CifarNet,
    CifarQuick,
    cifar_net,
    cifar_quick,
)
from .cifar_resnet import (
    CifarResNet,
    resnet20,
    resnet32,
    resnet44,
    resnet56,
    resnet110,
)
from .convnext import (
    CNBlock,
    CNBlockConfig,
    ConvNeXt,
    convnext_tiny,
)
from .densenet import (
    DenseNet,
    densenet121,
    densenet161,
    densenet169,
    densenet201,
    densenet_bc_100,
)
from .efficientnet import (
    EfficientNet,
    MBConv,
    MBConvConfig,
    efficientnet_b0,
    efficientnet_b1,
    efficientnet_b2,
    efficientnet_b3,
    efficientnet_b4,
)
from .googlenet import GoogLeNet, GoogLeNetOutputs, googlenet
from .inception import Inception3, InceptionOutputs, inception_v3
from .lenet import LeNet5, lenet
from .lenet_classic import LeNetClassic, lenet_classic
from .mobilenetv1 import MobileNetV1, mobilenet_v1
from .mobilenetv2 import MobileNetV2, mobilenet_v2
from .mobilenetv3 import MobileNetV3, mobilenet_v3_large, mobilenet_v3_small
from .nin import NiN, nin
from .registry import (
    ModelInfo,
    available,
    create,
    get_model,
    info,
    list_models,
)
from .resnet import (
    BasicBlock,
    Bottleneck,
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
)
from .resnext import resnext50_32x4d, resnext101_32x8d, resnext101_64x4d
from .shufflenetv1 import ShuffleNetV1, shufflenet_v1
from .shufflenetv2 import (
    ShuffleNetV2,
    shufflenet_v2_x0_5,
    shufflenet_v2_x1_0,
    shufflenet_v2_x1_5,
    shufflenet_v2_x2_0,
)
from .squeezenet import SqueezeNet, squeezenet1_0, squeezenet1_1
from .svhn_digits import SVHNDigits, digits_loss, svhn_digits
from .vgg import (
    VGG,
    vgg11,
    vgg11_bn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_bn,
    vgg19,
    vgg19_bn,
)
from .weights import (
    Weights,
    WeightsEnum,
    get_model_weights,
    get_weight,
)
from .wide_resnet import (
    WideResNet,
    wide_resnet50_2,
    wide_resnet101_2,
    wrn_16_4,
    wrn_28_10,
)

__all__ = [
    "CBAM",
    "VGG",
    "AlexNet",
    "BasicBlock",
    "Bottleneck",
    "CNBlock",
    "CNBlockConfig",
    "CifarNet",
    "CifarQuick",
    "CifarResNet",
    "ConvNeXt",
    "DenseNet",
    "EfficientNet",
    "GoogLeNet",
    "GoogLeNetOutputs",
    "Inception3",
    "InceptionOutputs",
    "LeNet5",
    "LeNetClassic",
    "MBConv",
    "MBConvConfig",
    "MobileNetV1",
    "MobileNetV2",
    "MobileNetV3",
    "ModelInfo",
    "NiN",
    "ResNet",
    "SVHNDigits",
    "ShuffleNetV1",
    "ShuffleNetV2",
    "SqueezeExcite",
    "SqueezeNet",
    "Weights",
    "WeightsEnum",
    "WideResNet",
    "alexnet",
    "alexnet_paper",
    "available",
    "cbam_resnet18",
    "cbam_resnet50",
    "cifar_net",
    "cifar_quick",
    "convnext_tiny",
    "create",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "densenet_bc_100",
    "digits_loss",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "get_model",
    "get_model_weights",
    "get_weight",
    "googlenet",
    "inception_v3",
    "info",
    "lenet",
    "lenet_classic",
    "list_models",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "nin",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet110",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "se_resnet18",
    "se_resnet50",
    "shufflenet_v1",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0",
    "squeezenet1_0",
    "squeezenet1_1",
    "svhn_digits",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "wrn_16_4",
    "wrn_28_10",
]


def __dir__() -> list[str]:
    from . import published

    return sorted([*globals(), *(kind.__name__ for kind in published.PUBLISHED.values())])


def __getattr__(name: str) -> _Any:
    if name.endswith("_Weights"):
        from . import published

        if hasattr(published, name):
            return getattr(published, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
