"""The product of two matrices, which is the library's own: cuBLAS on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launcher import device_of, prepared


def matmul(a: Any, b: Any) -> Any:
    """y[m,n] = sum over k of a[m,k] * b[k,n].  a (M,K), b (K,N); result (M,N). Or stacks."""
    dtype = np.result_type(a.dtype, b.dtype)
    device = device_of(a)
    if dtype.kind == "f" and a.ndim == b.ndim == 2:
        a, b = prepared("matmul", a=(a, None), b=(b, None))
    return device.xp.matmul(a, b).astype(dtype, copy=False)
