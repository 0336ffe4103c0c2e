"""Networks, one file each. `available()` lists them, `create(name, ...)` makes one by its name."""

from .lenet import LeNet5, lenet
from .registry import ModelInfo, available, create, info, list_models
from .vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn

get_model = create  # torchvision's name for it

__all__ = [
    "VGG",
    "LeNet5",
    "ModelInfo",
    "available",
    "create",
    "get_model",
    "info",
    "lenet",
    "list_models",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]
