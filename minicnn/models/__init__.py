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
from .lenet import LeNet5, lenet
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
    "CifarResNet",
    "LeNet5",
    "ModelInfo",
    "ResNet",
    "Weights",
    "WeightsEnum",
    "available",
    "create",
    "get_model",
    "get_model_weights",
    "get_weight",
    "info",
    "lenet",
    "list_models",
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
