"""A sparse matrix that acts along one axis: what resizing and padding multiply an axis by."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy import ndarray


class Taps:
    """The entries of a matrix A (m, n) that are not zero: A[rows[e], columns[e]] = weights[e].

    Attributes:
        shape: (m, n): it takes n numbers to m.
        rows, columns: int64, sorted by row; no pair stands there twice.
        weights: one for each entry, or None where all of them are 1 (numbers are copied).
    """

    def __init__(
        self, shape: tuple[int, int], rows: ndarray, columns: ndarray, weights: ndarray | None
    ) -> None:
        self.shape, self.rows, self.columns, self.weights = shape, rows, columns, weights

    @classmethod
    def of(cls, shape: tuple[int, int], rows: Any, columns: Any, weights: ndarray) -> Taps:
        """From entries in any order, of which those for one (row, column) are added up."""
        rows, columns, weights = np.broadcast_arrays(rows, columns, weights)
        places, entry = np.unique(rows.ravel() * shape[1] + columns.ravel(), return_inverse=True)
        sums = np.bincount(entry.ravel(), weights.ravel(), len(places)).astype(weights.dtype)
        places, sums = places[sums != 0], sums[sums != 0]
        rows, columns = np.divmod(places, shape[1])
        return cls(shape, rows, columns, None if (sums == 1).all() else sums)

    @cached_property
    def transposed(self) -> Taps:
        """The matrix with rows and columns exchanged: the adjoint."""
        order = np.argsort(self.columns, kind="stable")
        weights = None if self.weights is None else self.weights[order]
        adjoint = Taps(self.shape[::-1], self.columns[order], self.rows[order], weights)
        adjoint.transposed = self
        return adjoint

    @cached_property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        same = self.shape[0] == self.shape[1] and self.weights is None
        return same and np.array_equal(self.rows, self.columns)
