"""The comparison with PyTorch that all tests of functions use."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import minicnn


class Parity:
    """`parity(fn, *arrays)`: fn(library, *tensors) gives equal results, types and gradients."""

    def __init__(self, torch):
        self.torch = torch

    def __call__(self, fn, *arrays, grads=True, rtol=1e-10):
        mine, grads_mine = self._run(minicnn, fn, arrays, grads)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's own
            theirs, grads_theirs = self._run(self.torch, fn, arrays, grads)
        assert len(mine) == len(theirs)
        for a, b in zip(mine, theirs, strict=True):
            self.same(a, b, rtol)
        for i, (a, b) in enumerate(zip(grads_mine, grads_theirs, strict=True)):
            assert (a is None) == (b is None), f"gradient of input {i}: {a} here, {b} in PyTorch"
            if a is not None:
                self.same(a, b, rtol)

    @staticmethod
    def same(a, b, rtol=1e-10):
        """Value, shape and type of a minicnn Tensor and a torch Tensor are equal."""
        assert str(a.dtype) == str(b.dtype).removeprefix("torch.")
        assert tuple(a.shape) == tuple(b.shape)
        a, b = a.detach().numpy(), b.detach().numpy()
        scale = np.abs(b[np.isfinite(b)]).max(initial=1e-300) if b.dtype.kind == "f" else 0
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale)

    def _run(self, library, fn, arrays, grads):
        inputs = []
        for array in arrays:
            floating = isinstance(array, np.ndarray) and array.dtype.kind == "f"
            if isinstance(array, np.ndarray):
                array = library.tensor(array, requires_grad=floating and grads)
            inputs.append(array)
        outs = fn(library, *inputs)
        outs = list(outs) if isinstance(outs, (tuple, list)) else [outs]
        roots = [y for y in outs if y.requires_grad]
        if not (grads and roots):
            return outs, []
        rng = np.random.default_rng(1)
        cotangents = [
            library.tensor(np.asarray(rng.standard_normal(tuple(y.shape))).astype(str(y.dtype)
                           .removeprefix("torch."))) for y in roots
        ]  # fmt: skip
        library.autograd.backward(roots, cotangents)
        leaves = [x for x in inputs if getattr(x, "requires_grad", False)]
        return outs, [x.grad for x in leaves]

    def raises(self, fn, *arrays, match=None):
        """Both libraries refuse (minicnn alone without PyTorch); minicnn's message matches."""
        kinds = (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError)
        with pytest.raises(kinds, match=match):
            self._run(minicnn, fn, arrays, False)
        if self.torch is not None:
            with pytest.raises(kinds), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._run(self.torch, fn, arrays, False)


@pytest.fixture(scope="session")
def parity():
    return Parity(pytest.importorskip("torch"))


@pytest.fixture(scope="session")
def refuses():
    """`refuses(fn, *arrays, match=...)`: an error, and one in PyTorch too where it is installed."""
    try:
        import torch
    except ImportError:
        torch = None
    return Parity(torch).raises
