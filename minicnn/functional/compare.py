"""Questions about numbers: comparisons, logic, bits. The answers are bools, and have no gradient.

Types meet by PyTorch's rules (operands.py), and shapes broadcast. NaN is equal to nothing, itself
included.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .operands import compare, meet, on_its_device, raw, wrapped

__all__ = [
    "allclose",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "eq",
    "equal",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "ne",
    "not_equal",
]


def eq(input: Any, other: Any) -> Any:
    """input == other, element by element, as bools."""
    return compare("eq", np.equal, input, other)


def ne(input: Any, other: Any) -> Any:
    """input != other, element by element, as bools."""
    return compare("ne", np.not_equal, input, other)


def lt(input: Any, other: Any) -> Any:
    """input < other, element by element, as bools."""
    return compare("lt", np.less, input, other)


def le(input: Any, other: Any) -> Any:
    """input <= other, element by element, as bools."""
    return compare("le", np.less_equal, input, other)


def gt(input: Any, other: Any) -> Any:
    """input > other, element by element, as bools."""
    return compare("gt", np.greater, input, other)


def ge(input: Any, other: Any) -> Any:
    """input >= other, element by element, as bools."""
    return compare("ge", np.greater_equal, input, other)


not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


def logical_and(input: Any, other: Any) -> Any:
    """True where both are not zero."""
    return compare("logical_and", np.logical_and, input, other)


def logical_or(input: Any, other: Any) -> Any:
    """True where at least one is not zero."""
    return compare("logical_or", np.logical_or, input, other)


def logical_xor(input: Any, other: Any) -> Any:
    """True where exactly one is not zero."""
    return compare("logical_xor", np.logical_xor, input, other)


@on_its_device
def logical_not(input: Any) -> Any:
    """True where `input` is zero."""
    return wrapped(np.logical_not(raw(input)), input)


@on_its_device
def isnan(input: Any) -> Any:
    """True where `input` is NaN."""
    return wrapped(np.isnan(raw(input)), input)


@on_its_device
def isinf(input: Any) -> Any:
    """True where `input` is infinite."""
    return wrapped(np.isinf(raw(input)), input)


@on_its_device
def isfinite(input: Any) -> Any:
    """True where `input` is neither NaN nor infinite."""
    return wrapped(np.isfinite(raw(input)), input)


@on_its_device
def isclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Any:
    """True where |input - other| <= atol + rtol * |other|."""
    a, b = raw(input), raw(other)
    return wrapped(np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan), input, other)


@on_its_device
def allclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """True if |input - other| <= atol + rtol * |other| everywhere. Returns a Python bool."""
    return bool(np.allclose(raw(input), raw(other), rtol=rtol, atol=atol, equal_nan=equal_nan))


@on_its_device
def equal(input: Any, other: Any) -> bool:
    """True if shapes and all elements are equal. Returns a Python bool."""
    return bool(np.array_equal(raw(input), raw(other)))


# ---------------------------------------------------------------------- bits


@on_its_device
def _bits(name: str, function: Any, input: Any, other: Any) -> Any:
    a, b = meet(name, raw(input), raw(other))
    if np.result_type(a, b).kind not in "biu":
        raise RuntimeError(f"{name}: expects bools or integers, got {np.result_type(a, b)}")
    return compare(name, function, input, other)


def bitwise_and(input: Any, other: Any) -> Any:
    """input & other, of bools or integers. RuntimeError for other types."""
    return _bits("bitwise_and", np.bitwise_and, input, other)


def bitwise_or(input: Any, other: Any) -> Any:
    """input | other, of bools or integers. RuntimeError for other types."""
    return _bits("bitwise_or", np.bitwise_or, input, other)


def bitwise_xor(input: Any, other: Any) -> Any:
    """input ^ other, of bools or integers. RuntimeError for other types."""
    return _bits("bitwise_xor", np.bitwise_xor, input, other)


@on_its_device
def bitwise_not(input: Any) -> Any:
    """~input: not for bools, all bits turned for integers. RuntimeError for other types."""
    if input.dtype.kind not in "biu":
        raise RuntimeError(f"bitwise_not: expects bools or integers, got {input.dtype}")
    return wrapped(np.invert(raw(input)), input)
