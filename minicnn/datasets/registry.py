"""The data sets by name, for the command line and for programs that let their users choose."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .cifar import CIFAR10, CIFAR100
from .digits import Digits
from .mnist import MNIST, FashionMNIST
from .strings import DigitStrings
from .svhn import SVHN
from .vision import ArrayDataset


@dataclass(frozen=True)
class DatasetInfo:
    """What a data set is. `mean` and `std` are those of its training pixels, scaled to [0, 1].

    `heads`: how many class numbers each image has, for a network with so many outputs.
    """

    name: str
    description: str
    train_size: int
    test_size: int
    classes: tuple[str, ...]
    image_size: tuple[int, int, int]  # C, H, W
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    licence: str
    needs_download: bool
    make: Callable[..., ArrayDataset]
    heads: int = 1

    @property
    def num_classes(self) -> int:
        """How many classes it has."""
        return len(self.classes)


def _svhn(root: Any, train: bool, *others: Any) -> ArrayDataset:
    return SVHN(root, "train" if train else "test", *others)


_INFOS = (
    DatasetInfo(
        name="digits",
        description="handwritten digits, small; part of minicnn",
        train_size=1437,
        test_size=360,
        classes=tuple(Digits.classes),
        image_size=(1, 8, 8),
        mean=(0.3058,),
        std=(0.3761,),
        source="E. Alpaydin, C. Kaynak (1998), UCI, https://doi.org/10.24432/C50P49",
        licence="CC BY 4.0",
        needs_download=False,
        make=Digits,
    ),
    DatasetInfo(
        name="mnist",
        description="handwritten digits",
        train_size=60000,
        test_size=10000,
        classes=tuple(MNIST.classes),
        image_size=(1, 28, 28),
        mean=(0.1307,),
        std=(0.3081,),
        source="Y. LeCun, C. Cortes, C. J. C. Burges (1998), http://yann.lecun.com/exdb/mnist/",
        licence="CC BY-SA 3.0",
        needs_download=True,
        make=MNIST,
    ),
    DatasetInfo(
        name="fashion-mnist",
        description="articles of clothing",
        train_size=60000,
        test_size=10000,
        classes=tuple(FashionMNIST.classes),
        image_size=(1, 28, 28),
        mean=(0.2860,),
        std=(0.3530,),
        source="H. Xiao, K. Rasul, R. Vollgraf (2017), https://github.com/zalandoresearch/fashion-mnist",
        licence="MIT",
        needs_download=True,
        make=FashionMNIST,
    ),
    DatasetInfo(
        name="cifar10",
        description="small photographs: animals, vehicles",
        train_size=50000,
        test_size=10000,
        classes=tuple(CIFAR10.classes),
        image_size=(3, 32, 32),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        source="A. Krizhevsky (2009), https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="no licence stated",
        needs_download=True,
        make=CIFAR10,
    ),
    DatasetInfo(
        name="cifar100",
        description="small photographs of 100 kinds of things",
        train_size=50000,
        test_size=10000,
        classes=tuple(CIFAR100.classes),
        image_size=(3, 32, 32),
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        source="A. Krizhevsky (2009), https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="no licence stated",
        needs_download=True,
        make=CIFAR100,
    ),
    DatasetInfo(
        name="svhn",
        description="digits of house numbers",
        train_size=73257,
        test_size=26032,
        classes=tuple(SVHN.classes),
        image_size=(3, 32, 32),
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
        source="Y. Netzer et al. (2011), http://ufldl.stanford.edu/housenumbers/",
        licence="non-commercial use",
        needs_download=True,
        make=_svhn,
    ),
    DatasetInfo(
        name="digit-strings",
        description="one to five digits in a row, for networks of five heads; part of minicnn",
        train_size=10000,
        test_size=2000,
        classes=tuple(DigitStrings.classes),
        image_size=(3, 40, 40),
        mean=(0.5011, 0.4994, 0.5025),
        std=(0.2779, 0.2776, 0.2755),
        source="composed of the digits above",
        licence="CC BY 4.0",
        needs_download=False,
        make=DigitStrings,
        heads=5,
    ),
)


def available() -> dict[str, DatasetInfo]:
    """The data sets that `load` knows, by name."""
    return {info.name: info for info in _INFOS}


def info(name: str) -> DatasetInfo:
    """What is known of the data set `name`. ValueError for a name that is not known."""
    infos = available()
    if name not in infos:
        close = difflib.get_close_matches(str(name).lower(), infos, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"datasets: no data set {name!r}, there are {', '.join(infos)}{hint}")
    return infos[name]


def load(
    name: str,
    root: Any = None,
    train: bool = True,
    transform: Callable | None = None,
    target_transform: Callable | None = None,
    download: bool = True,
) -> ArrayDataset:
    """The data set `name`, downloaded if need be.

    root: the folder of the data sets (default: `default_root()`); the other arguments as for MNIST.
    Raises ValueError for a name that is not known, and what the data set raises.
    """
    make: Any = info(name).make
    return make(root, train, transform, target_transform, download)
