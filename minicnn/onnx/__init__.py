"""ONNX."""

from .export import export
from .graph import mapped, maps

__all__ = ["export", "mapped", "maps"]
