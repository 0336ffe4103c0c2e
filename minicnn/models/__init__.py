"""Networks, one file each. `available()` lists them, `create(name, ...)` makes one by its name."""

from .cifar_resnet import CifarResNet, resnet20, resnet32, resnet44, resnet56, resnet110
from .lenet import LeNet5, lenet
from .registry import ModelInfo, available, create, info, list_models
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
from .vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn

get_model = create  # torchvision's name for it

__all__ = [
    "VGG",
    "BasicBlock",
    "Bottleneck",
    "CifarResNet",
    "LeNet5",
    "ModelInfo",
    "ResNet",
    "available",
    "create",
    "get_model",
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
