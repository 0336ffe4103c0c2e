"""Under PyTorch's and torchvision's names: minicnn.utils.data is minicnn.data; grids of images."""

from . import data
from .images import make_grid, save_image

__all__ = ["data", "make_grid", "save_image"]
