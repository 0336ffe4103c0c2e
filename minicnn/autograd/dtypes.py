"""Data types are NumPy's; the rules by which two of them meet are PyTorch's.

PyTorch sorts types into four kinds, bool < integer < floating < complex. Tensors with dimensions
rank before 0-dimensional tensors, and those before Python numbers: a lower rank changes the
result's type only where it is of a higher kind. So float32 * 2.0 stays float32, an integer tensor
plus 0.5 becomes the default floating type, and int64 * float32 is float32 (NumPy says float64).
"""

from __future__ import annotations

from typing import Any

import numpy as np

dtype = np.dtype  # what `isinstance(x.dtype, minicnn.dtype)` asks for
bool = np.dtype("bool")
uint8, int8 = np.dtype("uint8"), np.dtype("int8")
int16 = short = np.dtype("int16")
int32 = int = np.dtype("int32")
int64 = long = np.dtype("int64")
float16 = half = np.dtype("float16")
float32 = float = np.dtype("float32")
float64 = double = np.dtype("float64")
complex64, complex128 = np.dtype("complex64"), np.dtype("complex128")

_KIND = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
_default = float32


def get_default_dtype() -> np.dtype:
    """The floating type of new tensors: float32 unless `set_default_dtype` changed it."""
    return _default


def set_default_dtype(dtype: Any) -> None:
    """Sets the floating type of new tensors. TypeError if `dtype` is not floating."""
    global _default
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        raise TypeError(f"set_default_dtype: only floating types can be the default, got {dtype}")
    _default = dtype


def is_floating(dtype: np.dtype) -> Any:
    """True for float16, float32, float64 (and complex, which the complex-step checks use)."""
    return dtype.kind in "fc"


def result_type(*operands: Any) -> np.dtype:
    """The type in which `operands` (arrays, tensors, Python numbers) meet, by PyTorch's rules."""
    ranks: list[Any] = [None, None, None]  # the type of each rank: arrays, 0-d arrays, numbers
    for x in operands:
        dtype = getattr(x, "dtype", None)
        if dtype is None:
            rank, dtype = 2, np.dtype(type(x))
            dtype = _default if dtype.kind == "f" else int64 if dtype.kind in "iu" else dtype
        else:
            rank = 0 if x.ndim else 1
        ranks[rank] = dtype if ranks[rank] is None else _meet(ranks[rank], dtype)
    result: Any = None
    for dtype in ranks:
        if dtype is not None and (result is None or _KIND[dtype.kind] > _KIND[result.kind]):
            result = dtype
    return result


def _meet(a: np.dtype, b: np.dtype) -> np.dtype:
    if _KIND[a.kind] == _KIND[b.kind]:
        return np.promote_types(a, b)
    return a if _KIND[a.kind] > _KIND[b.kind] else b
