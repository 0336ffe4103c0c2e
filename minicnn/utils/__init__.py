"""Under PyTorch's and torchvision's names: minicnn.utils.data is minicnn.data; grids of images."""

from typing import Any

from . import data

__all__ = ["data", "make_grid", "save_image"]


def __getattr__(name: str) -> Any:
    if name in ("make_grid", "save_image"):  # loaded by those who look at images
        from . import images

        return getattr(images, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
