"""Every op of the catalog on a device: it computes there, and what it does on the CPU.

A second device of the same kind, while the first is the current one, finds arrays that an op makes
where it is not: `emulator:1`, or a second GPU.
"""

from __future__ import annotations

import inspect
import sys

import numpy as np
import pytest

import minicnn
from minicnn import backend, catalog
from minicnn.backend import emulator
from minicnn.functional import creation

pytestmark = pytest.mark.slow  # a sweep

OPS = catalog.ops()
# What they return is there, wherever the input is.
FOR_THE_CPU = {"cpu", "from_numpy", *[name for name in OPS if name.endswith("Tensor")]}
BUILDS = {"conv", "pool", "norm"}  # families with a kernel for each geometry, built when first run


class Library:
    """minicnn for a case: tensors that it makes from numbers are on a device."""

    def __init__(self, device):
        self.device = device

    def __getattr__(self, name):
        value = getattr(minicnn, name)
        own = getattr(creation, name, None) is value and not name.endswith("_like")
        if not own or "device" not in inspect.signature(value).parameters:
            return value
        return lambda *args, **options: value(*args, device=self.device, **options)


# Those numbered 1 are not the current one.
GPUS = [f"cuda:{i}" for i in range(min(minicnn.cuda.device_count(), 2))]
PLACES = ["emulator:0", "emulator:1", *GPUS]


@pytest.fixture(params=PLACES)
def place(request):
    """The name of a device."""
    if (reason := backend.why_not(request.param.partition(":")[0])) is not None:
        pytest.skip(reason)
    return request.param


def test_there_is_a_gpu_to_walk_on():
    if (reason := backend.why_not("cuda")) is not None:
        pytest.skip(f"the ops were tried on the emulator alone: {reason}")
    assert "cuda:0" in PLACES


@pytest.fixture(autouse=True)
def strict(monkeypatch, request):
    """Two things that CuPy's arrays refuse are refused for the emulated ones too: to become arrays
    of NumPy by themselves, and to compute while another device is the current one."""
    parameters = getattr(request.node, "callspec", None)
    if parameters is None or not parameters.params["place"].startswith("emulator"):
        return
    arrays = emulator.arrays
    index_of = arrays._index_of

    def checked(what, values):
        index = index_of(what, values)
        if index != arrays._current.index:
            raise AssertionError(f"{what} on device {index}; {arrays._current.index} is current")
        return index

    def refusing(function):
        def make(x, *args, **options):
            caller = sys._getframe(1).f_globals["__name__"]
            above = caller.startswith("minicnn.") and "emulator" not in caller
            assert not (above and isinstance(x, emulator.EmulatedArray)), f"{caller}: np.{name}"
            return function(x, *args, **options)

        name = function.__name__
        return make

    monkeypatch.setattr(arrays, "_index_of", checked)
    for name in ("array", "asarray", "ascontiguousarray"):
        monkeypatch.setattr(np, name, refusing(getattr(np, name)))


def run(case, device, twice):
    """Inputs, outputs, gradients, and the gradients of those, of one configuration."""
    minicnn.manual_seed(5)
    library = Library(device)
    inputs = [
        minicnn.tensor(a, device=device, requires_grad=a.dtype.kind == "f") for a in case.arrays()
    ]
    out = case.run(library, inputs)
    outs = list(out) if isinstance(out, (tuple, list)) else [out]
    roots = [y for y in outs if getattr(y, "requires_grad", False)]
    leaves = [x for x in inputs if x.requires_grad]
    grads, again = [], []
    if roots:
        rng = np.random.default_rng(1)
        cotangents = [
            library.tensor(rng.standard_normal(y.shape), dtype=y.dtype, requires_grad=twice)
            for y in roots
        ]
        beside = [g.to(y.device) for g, y in zip(cotangents, roots, strict=True)]
        grads = minicnn.autograd.grad(roots, leaves, beside, create_graph=twice, allow_unused=True)
        tops = [g for g in grads if g is not None and g.requires_grad]
        if tops:
            minicnn.autograd.backward(tops, [g.detach() for g in tops])
            again = [x.grad for x in leaves + cotangents]
    return {"input": inputs, "output": outs, "gradient": grads, "second gradient": again}


def same(there, here, device, where):
    """The tensor on the device has the type, shape and numbers of the CPU's."""
    if not isinstance(here, minicnn.Tensor):
        assert there == here, where
        return
    assert str(there.device) == device, where
    assert (there.dtype, there.shape) == (here.dtype, here.shape), where
    a, b = there.numpy(force=True), here.numpy(force=True)
    if here.dtype.kind != "f":
        np.testing.assert_array_equal(a, b, where)
        return
    tolerance = {2: 1e-3, 4: 1e-5, 8: 1e-10}[here.dtype.itemsize]
    scale = np.abs(b[np.isfinite(b)]).max(initial=0.01)
    np.testing.assert_allclose(a, b, tolerance, tolerance * scale, err_msg=where)


@pytest.mark.parametrize("name", OPS)
def test_the_op_computes_on_the_device(name, place):
    op = OPS[name]
    count = min(op.count, 1 if op.family in BUILDS else 3)
    for number in range(count):
        twice = number == 0 and op.gradient
        there, here = [run(op.case(number), device, twice) for device in (place, "cpu")]
        for kind, expected in here.items():
            assert len(there[kind]) == len(expected)
            for k, (a, b) in enumerate(zip(there[kind], expected, strict=True)):
                if b is not None or a is not None:
                    where = f"{name}, configuration {number}: {kind} {k}: {op.case(number)}"
                    same(a, b, "cpu" if kind == "output" and name in FOR_THE_CPU else place, where)


@pytest.mark.parametrize("place", [p for p in PLACES if p.endswith("0")], indirect=True)
@pytest.mark.parametrize("name", [n for n in OPS if OPS[n].family not in BUILDS])
@pytest.mark.filterwarnings("ignore")  # NumPy's, on numbers that an op is not made for
def test_other_types_compute_on_the_device(name, place):
    for dtype in (np.float16, np.int64, np.uint8, np.bool_):
        case = OPS[name].case(0)
        if not any(a.dtype == np.float64 for a in case.arrays()):
            return
        case = case.astype(dtype)
        minicnn.manual_seed(5)
        try:
            here = case.run(minicnn, case.tensors(minicnn, False))
        except (TypeError, RuntimeError, ValueError, IndexError, OverflowError):
            continue  # not of this type
        minicnn.manual_seed(5)
        inputs = [minicnn.tensor(a, device=place) for a in case.arrays()]
        there = case.run(Library(place), inputs)
        pairs = zip(there, here, strict=True) if isinstance(here, tuple) else [(there, here)]
        for a, b in pairs:
            same(a, b, "cpu" if name in FOR_THE_CPU else place, f"{name} of {dtype.__name__}")
