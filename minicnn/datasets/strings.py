"""Strings of digits, composed from the digits that ship with minicnn: for networks of five heads.

They stand in for the house numbers of SVHN's full format (I. Goodfellow, Y. Bulatov, J. Ibarz,
S. Arnoud, V. Shet, Multi-digit number recognition from street view imagery using deep convolutional
neural networks, ICLR 2014, arXiv:1312.6082), which has a head for each of five digits: nothing has
to be downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ..autograd import Tensor
from ..backend.random import Generator
from .digits import Digits
from .vision import ArrayDataset

LONGEST = 5  # digits in a string
NO_DIGIT = 10  # the class of the places after its end
_SIDE = 40
_SIZES = {1: 24, 2: 18, 3: 13, 4: 10, 5: 8}  # side of a digit, by the length of the string
_COUNTS = {True: 10_000, False: 2_000}
_CONTRAST = 60  # grey levels at least between digits and ground


class DigitStrings(ArrayDataset):
    """Colour images of 40x40 with one to five handwritten digits side by side.

    Every length is as likely as any other. Digits, colours and places are drawn from the seed; the
    training strings use the training digits of `Digits`, the test strings the held-out ones.

    Args: root and download are accepted for uniformity and not used; train, transform and
    target_transform as for MNIST; count, how many images (default: 10,000, for test 2,000); seed.

    Attributes: data, uint8 Tensor (N, 40, 40, 3); targets, int64 Tensor (N, 5), the digits from the
    left, then 10 for each place without one; classes, 11 names; train.
    Raises ValueError for a count below 1.
    """

    classes: ClassVar[list[str]] = [*(str(digit) for digit in range(10)), "none"]

    def __init__(
        self,
        root: Any = None,
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
        *,
        count: int | None = None,
        seed: int = 0,
    ):
        super().__init__(None, transform, target_transform)
        self.train = bool(train)
        count = _COUNTS[self.train] if count is None else count
        if count < 1:
            raise ValueError(f"DigitStrings: count expects at least 1, got {count}")
        images, targets = _compose(Digits(train=self.train), count, 2 * seed + self.train)
        self.data, self.targets = Tensor(images), Tensor(targets)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


def _compose(digits: Digits, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (count, 40, 40, 3), and their digits, int64 (count, 5)."""
    from ..transforms.functional import resize

    rng = Generator().manual_seed(seed).numpy
    labels = digits.targets.array
    scaled = {n: resize(digits.data, [side, side]).array for n, side in _SIZES.items()}
    lengths = rng.integers(1, LONGEST + 1, count)
    chosen = rng.integers(0, len(labels), (count, LONGEST))
    targets = np.where(np.arange(LONGEST) < lengths[:, None], labels[chosen], NO_DIGIT)
    places = rng.random((count, 2))
    ground, front = _colours(rng, count)
    images = np.empty((count, _SIDE, _SIDE, 3), np.uint8)
    images[...] = ground[:, None, None]
    for k, n in enumerate(lengths.tolist()):
        side = _SIZES[n]
        top = int(places[k, 0] * (_SIDE - side + 1))
        left = int(places[k, 1] * (_SIDE - n * side + 1))
        ink = np.concatenate(list(scaled[n][chosen[k, :n]]), axis=1)[..., None] / np.float32(255)
        row = ground[k] + ink * (front[k] - ground[k])
        images[k, top : top + side, left : left + n * side] = np.rint(row)
    return images, targets.astype(np.int64)


def _colours(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two colours for each image, float32 (count, 3), every channel at least _CONTRAST apart."""
    ground = rng.integers(0, 256, (count, 3))
    away = rng.integers(_CONTRAST, 256 - _CONTRAST, (count, 3))
    front = np.where(ground < 128, ground + away, ground - away)
    return ground.astype(np.float32), np.clip(front, 0, 255).astype(np.float32)
