"""Image data sets, by torchvision's names. `Digits` ships with minicnn; others are downloaded."""

from .archive import ArchiveError
from .cifar import CIFAR10, CIFAR100, CIFARError
from .digits import Digits
from .download import DownloadError
from .fakedata import FakeData
from .folder import DatasetFolder, ImageFolder
from .idx import IDXError, read_idx
from .mat import MATError, read_mat
from .mnist import MNIST, FashionMNIST
from .registry import DatasetInfo, available, info, load
from .strings import DigitStrings
from .svhn import SVHN
from .vision import ArrayDataset, VisionDataset, default_root

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "SVHN",
    "ArchiveError",
    "ArrayDataset",
    "CIFARError",
    "DatasetFolder",
    "DatasetInfo",
    "DigitStrings",
    "Digits",
    "DownloadError",
    "FakeData",
    "FashionMNIST",
    "IDXError",
    "ImageFolder",
    "MATError",
    "VisionDataset",
    "available",
    "default_root",
    "info",
    "load",
    "read_idx",
    "read_mat",
]
