"""Every op of the catalog on inputs in other memory orders: the same values, the same gradients."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import catalog

OPS = catalog.ops()
VIEWS = {"view", "view_as"}  # refuse memory that is not in order, as they should

ORDERS = {
    "Fortran": lambda a: np.array(a, order="F"),
    "every other element": lambda a: np.repeat(a, 2, -1)[..., ::2] if a.ndim else a,
    "backwards": lambda a: np.flip(np.flip(a).copy()),
}


def run(case, order, gradient):
    tensors = [
        minicnn.from_numpy(np.asarray(order(a))).requires_grad_(gradient and a.dtype.kind == "f")
        for a in case.arrays()
    ]
    before = [t.array.copy() for t in tensors]
    out = case.run(minicnn, tensors)
    outs = list(out) if isinstance(out, (tuple, list)) else [out]
    roots = [y for y in outs if getattr(y, "requires_grad", False)]
    rng = np.random.default_rng(1)
    for k, y in enumerate(roots):
        cotangent = np.asarray(order(np.asarray(rng.standard_normal(y.shape), y.dtype)))
        y.backward(minicnn.from_numpy(cotangent), retain_graph=k < len(roots) - 1)
    for t, a in zip(tensors, before, strict=True):
        np.testing.assert_array_equal(t.array, a, "an input was changed")
    values = [y.numpy(force=True) if isinstance(y, minicnn.Tensor) else y for y in outs]
    return values + [t.grad.array for t in tensors if t.grad is not None]


@pytest.mark.parametrize("name", [n for n in OPS if n not in VIEWS and not n.startswith("empty")])
def test_memory_order_does_not_matter(name):
    op = OPS[name]
    for number in range(3):
        case = op.case(number)
        expected = run(case, np.array, op.gradient)
        for order, arrange in ORDERS.items():
            found = run(op.case(number), arrange, op.gradient)
            where = f"{name} ({order}), configuration {number}: {case}"
            for a, b in zip(found, expected, strict=True):
                if not isinstance(b, np.ndarray):
                    assert a == b, where
                    continue
                np.testing.assert_allclose(a, b, 1e-12, 1e-13, err_msg=where)
