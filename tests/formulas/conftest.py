"""The comparison of a displayed formula with the code."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn


def _same_as_displayed(function, inputs, y, *gradients, rtol=1e-12):
    """function(*inputs) is y(*inputs); its gradients are gradients[i](grad_y, *inputs).

    grad_y is random. Inputs are float64 arrays; a gradient that is not displayed is None.
    """
    leaves = [minicnn.tensor(a, requires_grad=True) for a in inputs]
    output = function(*leaves)
    wanted = np.asarray(y(*inputs))
    np.testing.assert_allclose(output.detach().numpy(), wanted, rtol=rtol, atol=rtol, strict=True)
    grad_y = np.random.default_rng(5).normal(size=output.shape)
    output.backward(minicnn.tensor(grad_y))
    for leaf, gradient in zip(leaves, gradients, strict=True):
        if gradient is not None:
            wanted = np.asarray(gradient(grad_y, *inputs))
            np.testing.assert_allclose(
                leaf.grad.numpy(), wanted, rtol=rtol, atol=rtol * np.abs(wanted).max(), strict=True
            )


@pytest.fixture
def formula():
    """`formula(function, inputs, y, *gradients)`: see _same_as_displayed."""
    return _same_as_displayed
