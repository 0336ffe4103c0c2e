"""Every op of the catalog: derivatives, PyTorch's numbers, and nothing left out."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest

import minicnn
from minicnn import catalog, functional
from minicnn.autograd import Function
from minicnn.functional.arithmetic import Move
from minicnn.functional.conv import ConvReLU

OPS = catalog.ops()
DIFFERENTIABLE = [name for name, op in OPS.items() if op.gradient]
IN_TORCH = [name for name, op in OPS.items() if op.torch]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@pytest.mark.slow
def test_derivatives(name):
    row = catalog.check(OPS[name], 3)
    assert row.right, row.message


def run(library, case, gradient):
    """The outputs and the gradients of one configuration, with random cotangents."""
    tensors = case.tensors(library, gradient)
    out = case.run(library, tensors)
    outs = list(out) if isinstance(out, (tuple, list)) else [out]
    roots = [y for y in outs if getattr(y, "requires_grad", False)]
    if roots:
        rng = np.random.default_rng(1)
        cotangents = [
            library.tensor(rng.standard_normal(tuple(y.shape)), dtype=y.dtype) for y in roots
        ]
        library.autograd.backward(roots, cotangents)
    return outs, [t.grad for t in tensors]


def same(mine, theirs, rtol, where):
    assert (mine is None) == (theirs is None), f"{where}: {mine} here, {theirs} in PyTorch"
    if not isinstance(mine, minicnn.Tensor):
        assert mine == theirs, where
        return
    assert str(mine.dtype) == str(theirs.dtype).removeprefix("torch."), where
    assert tuple(mine.shape) == tuple(theirs.shape), where
    a, b = mine.numpy(force=True), theirs.numpy(force=True)
    scale = np.abs(b[np.isfinite(b)]).max(initial=1e-300) if b.dtype.kind == "f" else 0
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale, err_msg=where)


def compare(torch, case, gradient, rtol, where):
    (mine, grads), (theirs, torch_grads) = [run(lib, case, gradient) for lib in (minicnn, torch)]
    assert len(mine) == len(theirs), where
    for k, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        same(a, b, rtol, f"{where}: output {k}")
    for k, (a, b) in enumerate(zip(grads, torch_grads, strict=True)):
        same(a, b, rtol, f"{where}: gradient of array {k}")


@pytest.mark.parametrize("name", IN_TORCH)
@pytest.mark.filterwarnings("ignore")  # PyTorch's own
@pytest.mark.slow
def test_values_and_gradients_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    op = OPS[name]
    for number in range(op.count):
        case = op.case(number)
        compare(torch, case, op.gradient, 1e-9, f"{name}, configuration {number}: {case}")
    for number in range(2):
        case = op.case(number).astype(np.float32)
        compare(
            torch, case, op.gradient, 2e-5, f"{name} in float32, configuration {number}: {case}"
        )


def test_two_thousand_configurations_and_more_are_compared():
    assert sum(OPS[name].count for name in IN_TORCH) >= 2000
    assert all(OPS[name].count > 0 for name in IN_TORCH)


def test_every_public_function_is_listed():
    public = {*functional.__all__, *minicnn.nn.functional.__all__}
    missing = public - set(OPS)
    # relu_ is relu, written into its input: test_activation.py compares the two.
    missing = {name for name in missing if name.removesuffix("_") not in OPS}
    assert not missing, sorted(missing)


def all_functions():
    found = set()
    for info in pkgutil.iter_modules(functional.__path__):
        module = importlib.import_module(f"minicnn.functional.{info.name}")
        found |= {
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, Function) and value is not Function
        }
    return found


def test_every_function_is_run_by_some_op():
    ran = set().union(*[catalog.facts(op).functions for op in OPS.values()])
    elsewhere = {Move, ConvReLU}  # tests/devices/test_moving.py, tests/nn/test_fuse.py
    missing = all_functions() - ran - elsewhere
    assert not missing, f"no op of the catalog uses {sorted(f.__name__ for f in missing)}"


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_every_op_can_be_differentiated_twice(name):
    assert catalog.facts(OPS[name]).second


@pytest.mark.parametrize("name", OPS)
def test_the_section_named_is_there(name):
    op = OPS[name]
    if op.section is None:
        # Without a gradient there is nothing to derive; these two return what they are given.
        assert not op.gradient or name in ("positive", "cpu")
        return
    headings = (op.module.__doc__ or "").splitlines()
    named = [k for k, line in enumerate(headings[:-1]) if line == op.section]
    underlined = any(set(headings[k + 1]) == {"-"} for k in named)
    derived = getattr(op.module, op.section, None)
    assert underlined or (derived and issubclass(derived, Function)), op.section


@pytest.mark.parametrize("name", ["norm", "dist"])
def test_norms_can_be_checked_as_often_as_one_likes(name):
    assert catalog.check(OPS[name], 24).verdict == "right, twice"
