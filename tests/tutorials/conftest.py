"""Programs as tutorials have them, run under minicnn and, where it is installed, under PyTorch."""

from __future__ import annotations

import math
import re
import warnings

import numpy as np
import pytest

import minicnn


class Both:
    """`both(program, *args)` is what program(minicnn, *args) returns, the same as under PyTorch.

    A program returns what it would print: tensors, numbers, strings, in lists, tuples and dicts.
    """

    def __init__(self, torch):
        self.torch = torch

    def __call__(self, program, *args, rtol=1e-5):
        mine = program(minicnn, *args)
        if self.torch is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch's own, of its old forms
                theirs = program(self.torch, *args)
            compare(mine, theirs, rtol, program.__name__)
        return mine


def compare(a, b, rtol, where):
    """The results of both libraries are equal: text and integers exactly, floats to `rtol`.

    In text, a number with two decimals or more may differ by one in the last: rounding to it is
    a coin's toss where sums were made in another order.
    """
    if isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            compare(a[key], b[key], rtol, f"{where}[{key!r}]")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            compare(x, y, rtol, f"{where}[{i}]")
    elif isinstance(a, (minicnn.Tensor, np.ndarray, float)):
        if not isinstance(a, float):
            assert str(a.dtype) == str(b.dtype).removeprefix("torch."), where
            assert tuple(a.shape) == tuple(b.shape), where
        a, b = (x.detach().numpy() if hasattr(x, "detach") else np.asarray(x) for x in (a, b))
        scale = float(np.abs(b).max(initial=0)) if b.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale, err_msg=where)
    elif isinstance(a, str) and isinstance(b, str):
        assert DECIMALS.split(a) == DECIMALS.split(b), where
        for x, y in zip(DECIMALS.findall(a), DECIMALS.findall(b), strict=True):
            assert abs(float(x) - float(y)) < 1.5 * 10.0 ** -len(y.partition(".")[2]), where
    else:
        assert type(a) is type(b), where
        assert a == b, where


DECIMALS = re.compile(r"-?\d+\.\d\d+")


def spread_weights(torch, net):
    """Weights without chance, the same in both libraries: about uniform in +-sqrt(3 / fan in)."""
    with torch.no_grad():
        for k, p in enumerate(net.parameters()):
            fan_in = p[0].numel() if p.dim() > 1 else p.numel()
            n = torch.arange(p.numel(), dtype=torch.float64)
            values = (n * 0.6180339887 + 0.37 * k) % 1.0 * 2 - 1
            p.copy_(values.view(p.size()) * math.sqrt(3 / fan_in) + (p.dim() == 1))
    return net


@pytest.fixture
def both():
    try:
        import torch
    except ImportError:
        torch = None
    return Both(torch)


@pytest.fixture
def spread():
    return spread_weights
