"""A reduction cut into parts for many blocks, and the parts' sum: kernels/parts.cu."""

from __future__ import annotations

from typing import Any

from .launcher import launch, scalar


def cut(values: int, chunk: int, most: int) -> tuple[int, int]:
    """(how many parts, how long): of about `chunk` values, longer if that were over `most` parts.

    values is 1 or more; with `most` 0 they are one part.
    """
    splits = max(1, min(-(-values // chunk), most))
    chunk = -(-values // splits)
    return -(-values // chunk), chunk


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
