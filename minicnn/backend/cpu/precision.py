"""Half precision is for storage alone: sums are taken in float32 and rounded once at the end."""

from __future__ import annotations

import numpy as np
from numpy import ndarray


def working_dtype(*dtypes: np.dtype) -> np.dtype:
    """What to compute in: the common dtype, float32 instead of float16."""
    dtype = np.result_type(*dtypes)
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def working(x: ndarray) -> ndarray:
    """x in the dtype to compute in; x itself where that is its own."""
    return x.astype(np.float32) if x.dtype == np.float16 else x
