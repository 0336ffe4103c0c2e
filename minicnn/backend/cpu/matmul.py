"""A product of two matrices that does not wait for a busy core.

OpenBLAS hands products of more than 2^18 multiply-adds to a second thread and then waits for it. On
an idle machine that is up to twice as fast; where the other core has work of its own it costs a
time slice of the scheduler, thousands of microseconds for a product of a hundred. So products of a
middling size, the dense layers of a LeNet, are cut into pieces that stay in the calling thread:

    y[m,:] = a[m,:] @ b   for runs of rows m, or   y[:,n] = a @ b[:,n]   for runs of columns n

whichever of the two is longer: pieces that are long both ways are quicker. Large products are left
to BLAS and its threads.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from numpy.lib.stride_tricks import as_strided

SMALL_PRODUCT = 1 << 18  # multiply-adds; what OpenBLAS keeps in the calling thread
_LARGE_PRODUCT = 1 << 25  # from here on a second thread gains more than a wait costs


def matmul(a: ndarray, b: ndarray) -> ndarray:
    """a (M,K) @ b (K,N), a new array (M,N)."""
    M, K = a.shape
    N = b.shape[1]
    size = M * K * N
    if size <= SMALL_PRODUCT or size >= _LARGE_PRODUCT:
        return np.matmul(a, b)
    if M >= N:
        return _by_rows(a, b, SMALL_PRODUCT // (K * N))
    return _by_rows(b.T, a.T, SMALL_PRODUCT // (K * M)).T


def _by_rows(a: ndarray, b: ndarray, step: int) -> ndarray:
    if step == 0:  # K * N alone is too large
        return np.matmul(a, b)
    M, K = a.shape
    N = b.shape[1]
    pieces, rest = divmod(M, step)
    y = np.empty((M, N), np.result_type(a, b))
    stacked = as_strided(a, (pieces, step, K), (a.strides[0] * step, *a.strides))
    np.matmul(stacked, b, out=y[: pieces * step].reshape(pieces, step, N))
    if rest:
        np.matmul(a[-rest:], b, out=y[-rest:])
    return y
