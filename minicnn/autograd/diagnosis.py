"""Where a gradient that failed is furthest off, and why: the second half of gradcheck's message."""

from __future__ import annotations

from typing import Any

import numpy as np


def diagnose(check: Any, i: int, g: np.ndarray, v: np.ndarray) -> str:
    """Names the worst element of g, input i's gradient that failed along v, and judges it."""
    active = np.arange(g.size)
    while active.size > 1:  # keep the half of the elements that is further off
        halves = [
            (check.compare(i, g, _only(v, half)).off, half) for half in np.array_split(active, 2)
        ]
        active = max(halves, key=lambda pair: pair[0])[1]
    e = _only(np.ones(g.shape), active)
    index = tuple(int(k) for k in np.unravel_index(active[0], g.shape))
    slope = check.compare(i, g, e)
    return (
        f"index {index}: analytic {g[index] + 0.0:.8g}, numeric {slope.numeric + 0.0:.8g}. "
        f"Judgement: {_judge(check, i, e, slope)}"
    )


def _judge(check: Any, i: int, e: np.ndarray, slope: Any) -> str:
    """Why analytic and numeric differ at the element that e picks."""
    left, right = check.slopes(i, e, slope.unit)
    if not np.isfinite([slope.numeric, left, right, *check.terms()]).all():
        return (
            "not finite: fn is NaN or infinite here or a small step away, where it has no "
            "slope to compare with; check at another point"
        )
    if _rounds(check, i, e * slope.unit):
        return (
            "float32 rounding: fn computes in single precision although its inputs are "
            "float64, so differences are noise; make its parameters and constants float64"
        )
    if slope.kink:
        return (
            f"kink or tie: the slope is {left:.6g} on the left and {right:.6g} on the right; "
            "there is no derivative here, so check at another point"
        )
    near = (left + right) / 2  # with one of the smaller steps
    doubt = max(slope.doubt, abs(near - slope.numeric) - 0.1 * abs(near) - 1e-3)
    if slope.error <= 10 * doubt:
        return (
            f"not settled: the numeric value is uncertain by {doubt:.3g}, because fn loses its "
            "digits here (large numbers that cancel) or bends too sharply, so it says nothing "
            "about the backward; check at another point or scale"
        )
    return "wrong backward: the function is smooth here and its derivative is the numeric value"


def _rounds(check: Any, i: int, e: np.ndarray) -> bool:
    """Whether fn's outputs are float32, by type or because they have no more digits.

    Looked at where x has many digits, for at x float32 may hold them by chance, and at what has
    changed on the way there.
    """
    pairs = zip(check.call()[0], check.call({i: check.x[i] + np.pi * 1e-6 * e})[0], strict=True)
    for before, after in pairs:
        y = after.array[after.array != before.array]
        if after.array.itemsize < 8 or (np.any(y % 1) and np.all(y == y.astype(np.float32))):
            return True
    return False


def _only(v: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """v, zero except at some flat indices."""
    kept = np.zeros(v.size)
    kept[indices] = v.reshape(-1)[indices]
    return kept.reshape(v.shape)
