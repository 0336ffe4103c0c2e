"""Image data sets, by torchvision's names. `Digits` ships with minicnn; MNIST is downloaded."""

from .digits import Digits
from .download import DownloadError
from .idx import IDXError, read_idx
from .mnist import MNIST, FashionMNIST, default_root
from .registry import DatasetInfo, available, info, load
from .vision import ArrayDataset, VisionDataset

__all__ = [
    "MNIST",
    "ArrayDataset",
    "DatasetInfo",
    "Digits",
    "DownloadError",
    "FashionMNIST",
    "IDXError",
    "VisionDataset",
    "available",
    "default_root",
    "info",
    "load",
    "read_idx",
]
