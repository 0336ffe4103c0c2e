"""Networks, one file each. `available()` lists them, `create(name, ...)` makes one by its name.

Weights that were published for them are enumerations, `ResNet18_Weights` and so on; see weights.py.
"""

from typing import Any as _Any

from .cifar_resnet import (
    CifarResNet,
    resnet20,
    resnet32,
    resnet44,
    resnet56,
    resnet110,
)
from .convnext import CNBlock, CNBlockConfig, ConvNeXt, convnext_tiny
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
from .lenet import LeNet5, lenet
from .mobilenetv1 import MobileNetV1, mobilenet_v1
from .mobilenetv2 import MobileNetV2, mobilenet_v2
from .mobilenetv3 import MobileNetV3, mobilenet_v3_large, mobilenet_v3_small
from .registry import (
    ModelInfo,
    available,
    create,
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
from .shufflenetv1 import ShuffleNetV1, shufflenet_v1
from .shufflenetv2 import (
    ShuffleNetV2,
    shufflenet_v2_x0_5,
    shufflenet_v2_x1_0,
    shufflenet_v2_x1_5,
    shufflenet_v2_x2_0,
)
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

get_model = create  # torchvision's name for it

__all__ = [
    "VGG",
    "BasicBlock",
    "Bottleneck",
    "CNBlock",
    "CNBlockConfig",
    "CifarResNet",
    "ConvNeXt",
    "EfficientNet",
    "LeNet5",
    "MBConv",
    "MBConvConfig",
    "MobileNetV1",
    "MobileNetV2",
    "MobileNetV3",
    "ModelInfo",
    "ResNet",
    "ShuffleNetV1",
    "ShuffleNetV2",
    "Weights",
    "WeightsEnum",
    "available",
    "convnext_tiny",
    "create",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "get_model",
    "get_model_weights",
    "get_weight",
    "info",
    "lenet",
    "list_models",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
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
    "shufflenet_v1",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]


def __getattr__(name: str) -> _Any:
    if name.endswith("_Weights"):
        from . import published

        if hasattr(published, name):
            return getattr(published, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
