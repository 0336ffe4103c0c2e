"""The matrices of Winograd's convolution, derived: few products for many outputs.

F(m,r) computes m outputs y[i] = sum over q of w[q] * d[i+q] of a kernel with r taps from n = m+r-1
inputs d with n products instead of m*r (S. Winograd, 1980; Lavin and Gray, arXiv:1509.09308).

**Polynomials.** The coefficients of s(t) = a(t) * w(t), a of m and w of r coefficients, are
s[k] = sum over i+q = k of a[i] * w[q]. A polynomial of n coefficients is known by its values at n
points, and the value of a product is the product of the values:

    s = V_n^-1 [ (V_m a) * (V_r w) ]

where * goes entry by entry and V_k evaluates k coefficients: a row (1, t, t^2, ..., t^(k-1)) for
each point t. The last point is infinity, where a polynomial's value is its highest coefficient:
the row (0, ..., 0, 1). This is Toom and Cook's multiplication; V_n^-1 is Lagrange's interpolation.

**Transposed.** For a fixed w, a -> s is a matrix S[i+q,i] = w[q]. Its transpose takes n numbers d
to y[i] = sum over k of S[k,i] * d[k] = sum over q of w[q] * d[i+q]: the convolution that we want.
Transposing each factor gives

    y = A^T [ (G w) * (B^T d) ]     A = V_m,  G = V_r,  B = V_n^-1

A row of B^T can be multiplied by a number and that of G divided by it. The numbers are chosen to
make B^T a matrix of small integers, which float32 holds exactly.

**Adjoints.** y is linear in w and in d, so with a cotangent g of y, grad_w = G^T [(A g) * (B^T d)].

**Two axes.** With the same along both axes, a tile d (n,n) gives Y = A^T [(G w G^T) * (B^T d B)] A.
A tile written as a vector of n*n numbers is multiplied by one matrix, the Kronecker product:
vec(B^T d B) = (B^T x B^T) vec(d). That has more arithmetic than two sums along the axes, but it is
one matrix product over all channels, which a CPU does faster.

**Points.** Any distinct ones do in exact arithmetic; rounding wants few and small numbers. For n=4
these are 0, 1, -1; for n=6 also 1/2 and -2, which lose less than the usual 2 and -2 (Barabasz,
Anderson, Soodhalter and Gregg, arXiv:1803.10986); for n=8 also 2 and -1/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from math import gcd, lcm
from typing import NamedTuple

import numpy as np
from numpy import ndarray

_POINTS = tuple(map(Fraction, ("0", "1", "-1", "1/2", "-2", "2", "-1/2")))

# The points of F(m,r) but infinity, by n. 1 is among them: see `Transforms.constant`.
POINTS = {n: _POINTS[: n - 1] for n in (4, 6, 8)}

Matrix = list[list[Fraction]]


def evaluation(points: Sequence[Fraction], count: int) -> Matrix:
    """V: takes `count` coefficients to the values at the points and, last, at infinity."""
    rows = [[point**k for k in range(count)] for point in points]
    return [*rows, [Fraction(int(k == count - 1)) for k in range(count)]]


def interpolation(points: Sequence[Fraction]) -> Matrix:
    """V^-1: takes values at the n-1 points and at infinity to the n coefficients, by Lagrange.

    With c the value at infinity, s(t) - c * product of (t - t_j) over all points has one
    coefficient fewer and the same values at the points, so that
    s(t) = sum over i of s(t_i) * l_i(t) + c * product of (t - t_j),
    l_i(t) = product over j != i of (t - t_j) / (t_i - t_j).
    """
    columns = []
    for i, point in enumerate(points):
        others = [other for j, other in enumerate(points) if j != i]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        columns.append([c / scale for c in _with_roots(others)] + [Fraction(0)])
    columns.append(_with_roots(points))
    return [list(row) for row in zip(*columns, strict=True)]


def _with_roots(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of the product of (t - root), lowest first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [
            high - root * low
            for high, low in zip(shifted, [*coefficients, Fraction(0)], strict=True)
        ]
    return coefficients


@cache
def winograd_1d(m: int, taps: int) -> tuple[Matrix, Matrix, Matrix]:
    """(A^T, B^T, G) of F(m,taps), exact: y = A^T [(G w) * (B^T d)]."""
    points = POINTS[m + taps - 1]
    A = evaluation(points, m)
    G = evaluation(points, taps)
    BT = [list(row) for row in zip(*interpolation(points), strict=True)]
    for i, row in enumerate(BT):
        wholes = lcm(*(entry.denominator for entry in row))
        scale = Fraction(wholes, gcd(*(int(entry * wholes) for entry in row)))
        BT[i] = [entry * scale for entry in row]
        G[i] = [entry / scale for entry in G[i]]
    return [list(row) for row in zip(*A, strict=True)], BT, G


class Transforms(NamedTuple):
    """The matrices for both axes, of n*n = (m+r-1)^2 points each."""

    data: ndarray  # (n*n, n*n): B^T x B^T, for a tile of the input
    weight: ndarray  # (n*n, r*r): G x G, for a kernel
    output: ndarray  # (m*m, n*n): A^T x A^T, for a tile of the output
    constant: int  # the point (1,1), whose value every output of the tile adds once


@cache
def transforms(m: int, taps: int, dtype: np.dtype) -> Transforms:
    """The matrices of F(m x m, taps x taps)."""
    AT, BT, G = (np.array(matrix, np.float64) for matrix in winograd_1d(m, taps))
    n = m + taps - 1
    one = POINTS[n].index(Fraction(1))
    data, weight, output = (np.kron(matrix, matrix).astype(dtype) for matrix in (BT, G, AT))
    return Transforms(data, weight, output, one * n + one)
