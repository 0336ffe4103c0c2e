"""Sums of what the splits of a reduction leave behind: kernels/parts.cu."""

from __future__ import annotations

from typing import Any

from .launcher import launch, scalar


def total(device: Any, parts: Any) -> Any:
    """The sum over the first axis, in ascending order."""
    if parts.shape[0] == 1:
        return parts[0]
    sums = device.empty(parts.shape[1:], parts.dtype)
    sizes = {"splits": parts.shape[0], "count": sums.size}
    constants, count = scalar(parts.dtype), sums.size
    launch(
        device, "parts.cu", "add_parts", constants, threads=count, parts=parts, sum=sums, **sizes
    )
    return sums
