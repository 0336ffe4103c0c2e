"""Exchange with the outside: safetensors files, and `minicnn.save` / `minicnn.load`."""

from .safetensors import FormatError
from .storage import load, save

__all__ = ["FormatError", "load", "save"]
