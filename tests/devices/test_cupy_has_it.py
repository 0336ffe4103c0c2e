"""What the ops ask of a device's arrays, CuPy has: every function, method, keyword and type.

CuPy needs no GPU to be asked. What it computes is tried where there is one: test_every_op.py.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import minicnn
from minicnn import backend, catalog

FOLDER = Path(__file__).parent
# The emulator's own, behind a question what kind of array it is (backend/arrays.py).
OWN = {"index", "__array_interface__"}


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cupy():
    return pytest.importorskip("cupy", reason="CuPy is not installed")


@pytest.fixture(scope="module")
def calls():
    """{what was called: the ops that did}, over two configurations of each op."""
    if (reason := backend.why_not("emulator")) is not None:
        pytest.skip(reason)
    recording, walk = load("recording"), load("test_every_op")
    minicnn.zeros(1, device="emulator")
    found = {}
    for name, op in catalog.ops().items():
        mine = set()
        for number in range(min(op.count, 1 if op.family in walk.BUILDS else 2)):
            case = op.case(number)
            case = case.astype(np.float32) if number == 0 else case
            with recording.recording(mine):
                walk.run(case, "emulator:0", number == 0 and op.gradient)
        for call in mine:
            found.setdefault(call, set()).add(name)
    return found


def of_kind(calls, kind):
    chosen = {call: ops for call, ops in calls.items() if call.kind == kind}
    assert chosen, f"nothing of the kind {kind} was noted"
    return chosen


def report(wrong):
    assert not wrong, "\n".join(wrong)


def test_functions(calls, cupy):
    wrong = []
    for call, ops in of_kind(calls, "function").items():
        try:
            function = functools.reduce(getattr, call.name.split("."), cupy)
        except AttributeError:
            wrong.append(f"cupy.{call.name} is not there: {sorted(ops)}")
            continue
        if isinstance(function, cupy.ufunc):
            bad = set(call.keywords) - {"out", "dtype", "casting"}
        else:
            try:
                inspect.signature(function).bind(*[0] * call.count, **dict.fromkeys(call.keywords))
                bad = None
            except TypeError as error:
                bad = error
        if bad:
            wrong.append(f"cupy.{call.name}: {bad}: {sorted(ops)}")
    report(wrong)


def test_methods(calls, cupy):
    wrong = []
    for call, ops in of_kind(calls, "method").items():
        method = getattr(cupy.ndarray, call.name, None)
        if method is None:
            wrong.append(f"no method {call.name}: {sorted(ops)}")
            continue
        signature = (method.__doc__ or "").splitlines()[0]  # compiled: it is in the docstring
        unknown = [k for k in call.keywords if not re.search(rf"\b{k}\b", signature)]
        if unknown:
            wrong.append(f"{signature} has no {unknown}: {sorted(ops)}")
    for call, ops in of_kind(calls, "attribute").items():
        if call.name not in OWN and not hasattr(cupy.ndarray, call.name):
            wrong.append(f"no attribute {call.name}: {sorted(ops)}")
    report(wrong)


def holds(kind, dtype):
    """Whether an operand of a recorded type goes into this type of CuPy's, safely.

    Python's numbers take the type of the arrays, if that is of a kind that holds them.
    """
    if " " in kind:
        return np.can_cast(np.dtype(kind.split()[1]), dtype)
    return np.dtype(dtype).kind in {"bool": "biufc", "int": "iufc", "float": "fc"}[kind]


def result_of(ufunc, operands):
    """The type that CuPy computes in: the first that all operands go into."""
    for types in ufunc.types:
        given, result = types.split("->")
        if not set(given) <= set(np.typecodes["All"]):  # bfloat16, where ml_dtypes is installed
            continue
        if all(map(holds, operands, given)):
            return np.dtype(result[0])
    return None


def test_ufuncs(calls, cupy):
    wrong = []
    for call, ops in of_kind(calls, "ufunc").items():
        ufunc = getattr(cupy, call.name, None)
        if ufunc is None or call.method != "__call__":  # few of CuPy's have .at, .reduce or others
            wrong.append(f"{call.name}.{call.method}: {sorted(ops)}")
            continue
        if set(call.keywords) - {"out", "dtype", "casting"}:
            wrong.append(f"{call.name} takes no {call.keywords}: {sorted(ops)}")
        if not isinstance(ufunc, cupy.ufunc) or "dtype" in call.keywords:
            continue
        *operands, result = call.types
        if "out" not in call.keywords and f"array {result_of(ufunc, operands)}" != result:
            wrong.append(f"{call.name}{tuple(operands)} is {result}, in CuPy "
                         f"{result_of(ufunc, operands)}: {sorted(ops)}")  # fmt: skip
    report(wrong)


# ---------------------------------------------------------------------- CuPy's arrays themselves


def memory_of(cupy, x):
    """An array of CuPy's like x, at an address where nothing is: views of it need no GPU."""
    root = x if x.base is None else x.base
    memory = cupy.cuda.UnownedMemory(4096, root.nbytes, None, device_id=0)
    offset = x.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    pointer = cupy.cuda.MemoryPointer(memory, offset)
    return cupy.ndarray(x.shape, x.dtype, memptr=pointer, strides=x.strides)


@pytest.fixture
def no_gpu(cupy):
    if backend.why_not("cuda") is None:
        pytest.skip("there is a GPU, which would read from addresses where nothing is")


@pytest.mark.parametrize("name", catalog.ops())
@pytest.mark.filterwarnings("ignore")
def test_ops_on_cupy_s_arrays_until_they_need_a_gpu(name, cupy, no_gpu):
    case = catalog.ops()[name].case(0)
    needs_gpu = (
        cupy.cuda.runtime.CUDARuntimeError,
        cupy.cuda.driver.CUDADriverError,
        ImportError,  # of cuBLAS, which may not be installed
    )
    if not case.arrays():
        return
    here = [minicnn.from_numpy(a.copy()) for a in case.arrays()]
    there = [minicnn.Tensor(memory_of(cupy, t.array)) for t in here]
    try:
        result = case.run(minicnn, there)
    except needs_gpu:
        return
    except RuntimeError as error:
        # The last: a case's labels, or running statistics, are on the CPU.
        words = ["no GPU can be used", "driver", f"{name}: expects all tensors on one device"]
        assert any(word in str(error) for word in words)
        return
    expected = case.run(minicnn, here)
    if not isinstance(expected, (tuple, list)):
        result, expected = [result], [expected]
    for a, b in zip(result, expected, strict=True):
        if not isinstance(b, minicnn.Tensor):
            assert a == b
        elif backend.place(a.array)[0] == "cuda":
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            assert a.stride() == b.stride() or b.numel() < 2 or 1 in b.shape
