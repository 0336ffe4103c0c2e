"""Noise in the shape of a data set, for trying a training out before its data is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend.random import Generator
from .vision import ArrayDataset


class FakeData(ArrayDataset):
    """Images of noise with random classes, made when they are asked for; each depends on its index.

    Args:
        size: how many.
        image_size: (C, H, W), with C 1 or 3.
        num_classes: how many classes.
        transform, target_transform: see ArrayDataset.
        random_offset: added to the index, for other images.

    IndexError for an index that is not in 0 .. size - 1; ValueError for other channels.
    """

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        random_offset: int = 0,
    ):
        super().__init__(None, transform, target_transform)
        if image_size[0] not in (1, 3):
            raise ValueError(f"FakeData: image_size is (1 or 3, H, W), got {image_size}")
        self.size = size
        self.image_size = image_size
        self.num_classes = num_classes
        self.random_offset = random_offset

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        if not 0 <= index < self.size:
            raise IndexError(f"FakeData: index {index} is not in 0 .. {self.size - 1}")
        rng = Generator().manual_seed(int(index) + self.random_offset).numpy
        channels, height, width = self.image_size
        shape = (height, width) if channels == 1 else (height, width, channels)
        image = rng.integers(0, 256, shape, np.uint8)
        return self._item(image, int(rng.integers(self.num_classes)))

    def __len__(self) -> int:
        return self.size

    def _fetch_batch(self, indices: Any) -> None:
        return None  # there is no array to take the batch from
