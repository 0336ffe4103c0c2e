"""Under PyTorch's name: minicnn.utils.data is minicnn.data."""

from . import data

__all__ = ["data"]
