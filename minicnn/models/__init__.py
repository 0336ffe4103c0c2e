"""Networks, one file each. `available()` lists them, `create(name, ...)` makes one by its name.

Weights that were published for them are enumerations, `ResNet18_Weights` and so on; see weights.py.
"""

from typing import Any as _Any

from .alexnet import (
    AlexNet,
    alexnet,
    alexnet_paper,
)
from .cifar_resnet import (
    CifarResNet,
    resnet20,
    resnet32,
    resnet44,
    resnet56,
    resnet110,
)
from .densenet import (
    DenseNet,
    densenet121,
    densenet161,
    densenet169,
    densenet201,
    densenet_bc_100,
)
from .googlenet import (
    GoogLeNet,
    GoogLeNetOutputs,
    googlenet,
)
from .inception import (
    Inception3,
    InceptionOutputs,
    inception_v3,
)
from .lenet import LeNet5, lenet
from .nin import (
    NiN,
    nin,
)
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
from .squeezenet import (
    SqueezeNet,
    squeezenet1_0,
    squeezenet1_1,
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
    "AlexNet",
    "BasicBlock",
    "Bottleneck",
    "CifarResNet",
    "DenseNet",
    "GoogLeNet",
    "GoogLeNetOutputs",
    "Inception3",
    "InceptionOutputs",
    "LeNet5",
    "ModelInfo",
    "NiN",
    "ResNet",
    "SqueezeNet",
    "Weights",
    "WeightsEnum",
    "alexnet",
    "alexnet_paper",
    "available",
    "create",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "densenet_bc_100",
    "get_model",
    "get_model_weights",
    "get_weight",
    "googlenet",
    "inception_v3",
    "info",
    "lenet",
    "list_models",
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
    "squeezenet1_0",
    "squeezenet1_1",
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
