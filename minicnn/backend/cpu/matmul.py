"""Products of matrices on several threads, with the same bits on any number of them.

OpenBLAS splits a product of more than 2^18 multiply-adds over threads of its own, and how it does
so, and with it the order of the sums, depends on how many there are. So it is kept to one thread,
and it is shapes alone that decide how a product y (M,N) = a (M,K) @ b (K,N) is computed:

* small, up to 2^18 multiply-adds: BLAS as it is, which stays in the calling thread by itself; with
  a vector, where it does not, up to 2^13;
* middling, up to 2^25, the dense layers of a LeNet: one call. Up to there a second thread gains
  less than it takes to wake it and to hear of its end (see `threads`);
* large: in pieces that whoever is free takes, by rows or by columns:

      y[m,:] = a[m,:] @ b   for runs of rows m,   or   y[:,n] = a @ b[:,n]   for runs of columns n

BLAS begins by copying both operands into the order in which its inner loop reads them. Cut by rows,
a is copied once, run by run, but b once for every piece: beside the products of a piece that is one
part in as many as the piece has rows. So rows are cut, whose runs lie together in y, where every
piece gets many of them; where they are few, as with a dense layer of a small batch, columns.

Very few rows, as in that layer's x @ w^T with w by rows in memory: then to copy b takes longer than
the products. BLAS copies the first of two factors in a quicker way, and y^T = b^T @ a^T makes b the
first. With 16 rows and 38 million weights that takes 60% of the time.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy import ndarray

from . import scratch, threads
from .precision import working

SMALL_PRODUCT = 1 << 18  # multiply-adds; what OpenBLAS keeps in the calling thread
_SMALL_VECTOR = 1 << 13  # the same where one of the operands is a vector
LARGE_PRODUCT = 1 << 25  # from here on a second thread gains more than it costs to wake it
_PIECE = 1 << 25  # multiply-adds that a piece of a large product should have
_PIECES = 16  # at most
_MANY_ROWS = 64  # of a piece: from here on copying b for it does not matter
_FEW_ROWS = 32  # of a: up to here copying b is what takes the time
_WEIGHTS = 1 << 20  # entries of b that a piece of few rows has


def matmul(a: ndarray, b: ndarray) -> ndarray:
    """a (M,K) @ b (K,N), a new array (M,N); or stacks (*,M,K) and (*,K,N), which broadcast.

    ValueError for stacks that do not.
    """
    if a.dtype == np.float16 or b.dtype == np.float16:
        return matmul(working(a), working(b)).astype(np.result_type(a, b))
    if a.ndim > 2 or b.ndim > 2:
        return _of_stacks(a, b)
    M, K = a.shape
    N = b.shape[1]
    size = M * K * N
    if size <= (SMALL_PRODUCT if min(M, N) > 1 else _SMALL_VECTOR):
        return np.matmul(a, b)
    if size <= LARGE_PRODUCT:
        with threads.one_blas_thread:
            return np.matmul(a, b)
    if len(a) <= _FEW_ROWS and M <= N and b.T.flags.c_contiguous:
        return _turned(a, b)
    y = np.empty((M, N), np.result_type(a, b))
    rows = _pieces(M, size)
    if M >= N or len(rows) * _MANY_ROWS <= M:
        threads.each(lambda m: np.matmul(a[m], b, out=y[m]), rows)
    else:
        threads.each(lambda n: np.matmul(a, b[:, n], out=y[:, n]), _pieces(N, size))
    return y


def inner(a: ndarray, b: ndarray) -> np.number:
    """The inner product of two vectors (K,), a number: by one of BLAS's threads, as above."""
    with threads.one_blas_thread:
        return np.matmul(a, b)


def _turned(a: ndarray, b: ndarray) -> ndarray:
    """a @ b as the transpose of b^T @ a^T."""
    first, second = b.T, np.ascontiguousarray(a.T)
    y = scratch.take("turned", (len(first), len(a)), np.result_type(a, b))
    pieces = threads.pieces(len(first), b.size, _WEIGHTS)
    threads.each(lambda n: np.matmul(first[n], second, out=y[n]), pieces)
    return np.array(y.T, order="C")


def _pieces(length: int, size: int) -> list[slice]:
    """An axis of a product of `size` multiply-adds in 2 to _PIECES pieces."""
    return threads.pieces(length, size, min(max(_PIECE, size // _PIECES), size // 2))


def _of_stacks(a: ndarray, b: ndarray) -> ndarray:
    """Of each pair of matrices by one thread; large stacks in pieces along their longest axis."""
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    M, K, N = *a.shape[-2:], b.shape[-1]
    size = prod(stack) * M * K * N
    if size <= LARGE_PRODUCT:
        with threads.one_blas_thread:
            return np.matmul(a, b)
    y = np.empty((*stack, M, N), np.result_type(a, b))
    axis = stack.index(max(stack))
    a, b = [np.broadcast_to(x, (*stack, *x.shape[-2:])) for x in (a, b)]
    a, b, c = [np.moveaxis(x, axis, 0) for x in (a, b, y)]
    threads.each(lambda k: np.matmul(a[k], b[k], out=c[k]), _pieces(stack[axis], size))
    return y
