"""The data set that ships with minicnn: 1,797 handwritten digits of 8x8 pixels.

Source: E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine
Learning Repository, https://doi.org/10.24432/C50P49, licence CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/). These are the images of its test set, in its order,
as scikit-learn distributes them: written by 13 people, scanned to 32x32 bits, each pixel the number
of black bits in a 4x4 block. digits.LICENSE.txt, beside this file, says the same.

digits.bin holds 1797 * 64 pixels of 5 bits each (0..16), highest bit first, packed into bytes, then
1797 bytes of labels: 73,677 bytes in all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import resources
from typing import Any, ClassVar

import numpy as np

from ..autograd import Tensor
from .vision import ArrayDataset

_FILE = "digits.bin"
_SHA256 = "56d33f3271ebc65a373130ad7bb257338701ef457f147b90112ef99610d64eea"
_COUNT, _SIDE, _BITS = 1797, 8, 5
_PIXEL_BYTES = _COUNT * _SIDE * _SIDE * _BITS // 8


def unpack(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The images, uint8 (1797, 8, 8) of 0..16, and labels, uint8 (1797,), in digits.bin."""
    bits = np.unpackbits(np.frombuffer(content, np.uint8, _PIXEL_BYTES)).reshape(-1, _BITS)
    images = (bits @ np.array([16, 8, 4, 2, 1], np.uint8)).reshape(_COUNT, _SIDE, _SIDE)
    return images, np.frombuffer(content, np.uint8, _COUNT, _PIXEL_BYTES).copy()


def pack(images: np.ndarray, labels: np.ndarray) -> bytes:
    """The content of digits.bin; the inverse of `unpack`."""
    bits = np.unpackbits(images.astype(np.uint8).reshape(-1, 1), axis=1)[:, -_BITS:]
    return np.packbits(bits).tobytes() + labels.astype(np.uint8).tobytes()


def held_out(labels: np.ndarray) -> np.ndarray:
    """Which samples are the test set, bool (N,).

    The samples are ordered by class, keeping their order within a class, and every fifth is held
    out, beginning with the first: 360 of 1,797, and of each class's n samples n/5 rounded up or
    down.
    """
    mask = np.zeros(len(labels), bool)
    mask[np.argsort(labels, kind="stable")[::5]] = True
    return mask


class Digits(ArrayDataset):
    """Handwritten digits in 8x8 grey pixels: 1,437 for training, 360 held out.

    Part of the package: needs no files, network or Pillow (unless a transform of yours wants PIL
    images). The pixels, 0..16 in the source, are scaled to 0..255 (v * 255 / 16, halves up), so
    that ToTensor gives [0, 1] as for other images. The split is fixed; see `held_out`.

    Args: root and download are accepted for uniformity and not used; train, transform and
    target_transform as for MNIST.
    Attributes: data, uint8 Tensor (N, 8, 8); targets, int64 Tensor (N,); classes; train.
    Raises RuntimeError if the installed file is damaged.
    """

    classes: ClassVar[list[str]] = [str(digit) for digit in range(10)]

    def __init__(
        self,
        root: Any = None,
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ):
        super().__init__(None, transform, target_transform)
        self.train = bool(train)
        images, labels = unpack(_content())
        chosen = held_out(labels) != self.train
        self.data = Tensor(((images[chosen].astype(np.uint16) * 255 + 8) // 16).astype(np.uint8))
        self.targets = Tensor(labels[chosen].astype(np.int64))

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


def _content() -> bytes:
    content = resources.files(__package__).joinpath(_FILE).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != _SHA256:
        raise RuntimeError(
            f"Digits: {_FILE} is damaged, reinstall minicnn: its SHA-256 is {found}, "
            f"expected {_SHA256}"
        )
    return content
