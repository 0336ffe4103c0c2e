"""Memory formats by PyTorch's names, for the arguments `memory_format` of tutorials' code.

They are accepted and change nothing: the order of a tensor's memory is chosen by the primitives,
each for its algorithm, and cannot be seen in any result.
"""

from __future__ import annotations

from enum import Enum


class memory_format(Enum):
    """What `memory_format` may be."""

    preserve_format = "preserve_format"
    contiguous_format = "contiguous_format"
    channels_last = "channels_last"
    channels_last_3d = "channels_last_3d"

    def __repr__(self) -> str:
        return f"minicnn.{self.name}"

    __str__ = __repr__


preserve_format = memory_format.preserve_format
contiguous_format = memory_format.contiguous_format
channels_last = memory_format.channels_last
channels_last_3d = memory_format.channels_last_3d
