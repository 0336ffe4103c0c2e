"""Unpooling: values back to the places that they came from. Of several for one place the last."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy import ndarray

from ..geometry import Ints


def max_unpool_forward(x: ndarray, indices: ndarray, out_size: Ints) -> ndarray:
    """y[n,c,h,k] = x[n,c,i,j] for the last (i,j) with indices[n,c,i,j] = h*W + k; 0 if none has.

    x and indices (N,C,OH,OW); result (N,C,H,W) with out_size (H,W).
    """
    y = np.zeros((*x.shape[:2], *out_size), x.dtype)
    places = _places(indices, prod(out_size))
    kept = _last(places, y.size)
    y.reshape(-1)[places[kept]] = x.reshape(-1)[kept]
    return y


def max_unpool_backward(grad_y: ndarray, indices: ndarray) -> ndarray:
    """grad_x[n,c,i,j] = grad_y[n,c,h,k] if (i,j) is the last with the number h*W + k, else 0.

    grad_y (N,C,H,W), indices (N,C,OH,OW); result like those.
    """
    grad_x = np.zeros(indices.shape, grad_y.dtype)
    places = _places(indices, prod(grad_y.shape[2:]))
    kept = _last(places, grad_y.size)
    grad_x.reshape(-1)[kept] = grad_y.reshape(-1)[places[kept]]
    return grad_x


def _places(indices: ndarray, plane: int) -> ndarray:
    """Where each index lies in all of y, in reading order: (n*C + c)*plane + h*W + k."""
    N, C = indices.shape[:2]
    starts = np.arange(N * C).reshape(N, C, *[1] * (indices.ndim - 2)) * plane
    return (indices + starts).ravel()


def _last(places: ndarray, size: int) -> ndarray:
    """Which entries are the last in reading order to name their place.

    Not by y[places] = values: where a place occurs twice, NumPy does not promise which one stays.
    """
    numbers = np.arange(places.size)
    last = np.zeros(size, np.int64)
    np.maximum.at(last, places, numbers)
    return last[places] == numbers
