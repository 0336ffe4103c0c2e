"""Which outputs read the input through one tap of the window, and where, along one axis."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=8192)
def axis_taps(
    size: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    begin: int,
    end: int,
) -> tuple[tuple[slice, slice], ...]:
    """For each tap p: the outputs i in begin .. end-1 whose input is no padding, and those inputs.

    h = i*S + p*D - P lies in 0 .. H-1 for the outputs from ceil((P - p*D)/S) to
    floor((H-1 + P - p*D)/S), and h advances by S from one to the next. The outputs are given
    relative to `begin`.
    """
    taps = []
    for p in range(kernel):
        offset = p * dilation - padding
        first = max(begin, -(offset // stride))
        count = min(end - 1, (size - 1 - offset) // stride) - first + 1
        if count <= 0:
            taps.append((slice(0, 0), slice(0, 0)))
            continue
        start = first * stride + offset
        inputs = slice(start, start + (count - 1) * stride + 1, stride)
        taps.append((slice(first - begin, first - begin + count), inputs))
    return tuple(taps)
