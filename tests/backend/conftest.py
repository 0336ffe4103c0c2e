"""What the backend tests share: one test body for every executor, arrays in awkward memory orders.

A test that takes `primitives` runs on the reference, on the fast NumPy backend, and through the
kernels: on the emulator with the threads in each order, on the emulator that checks every access,
and on a GPU. One that takes `both` compares each of them with the reference. What a machine lacks
is skipped, and says so.
"""

from __future__ import annotations

import importlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minicnn import backend
from minicnn.backend import reference
from minicnn.backend.geometry import ConvGeometry, PoolGeometry

MEMORY_ORDERS = ("NCHW", "NHWC", "CHWN", "reversed", "gaps")

# A planted mistake shows in one of these: another order of threads gives another result, or the
# checks see it.
EMULATIONS: dict[str, dict[str, Any]] = {
    "emulator-forward": {},
    "emulator-reversed": {"order": "reversed"},
    "emulator-shuffled": {"order": "shuffled", "seed": 1},
    "emulator-checked": {"checked": True},
}
KERNEL_EXECUTORS = (*EMULATIONS, "cuda")
EXECUTORS = ("reference", "cpu", *KERNEL_EXECUTORS)

# Every geometry is a build on the emulator: few, shared by the tests, each awkward in its way.
CONVOLUTIONS = [
    # size, kernel, stride, padding, dilation, groups
    ((6, 7), (3, 3), 1, 1, 1, 1),
    ((7, 6), (3, 2), (2, 3), ((0, 2), (1, 0)), 1, 1),  # rows left over, asymmetric padding
    ((7, 8), (2, 3), 1, 2, (2, 1), 2),
    ((5, 5), (5, 5), 1, 0, 1, 1),  # a kernel as large as the input
    ((4, 5), (1, 1), 1, 0, 1, 2),
    ((5, 4), (1, 1), 2, 0, 1, 1),
    ((1, 9), (1, 3), 1, "same", 3, 1),
    ((9,), (3,), 2, ((1, 0),), 1, 1),  # rows left over
    ((8,), (2,), 1, 1, 3, 2),
    ((4, 5, 6), (2, 3, 2), (2, 1, 3), ((0, 1), (2, 0), (1, 1)), (1, 2, 1), 1),
    ((3, 2, 4), (3, 1, 2), 1, "same", 1, 2),
]

POOLS = [
    # size, kernel, stride, padding, dilation, ceil_mode
    ((6, 8), 2, 2, 0, 1, False),
    ((7, 5), 2, 2, 0, 1, True),
    ((7, 7), 3, 1, 1, 1, False),
    ((7, 8), (3, 2), (1, 3), (1, 0), (2, 1), True),
    ((5, 5), 5, 1, 0, 1, False),
    ((9,), 3, 2, 1, 2, True),
    ((4, 5, 3), (2, 3, 2), (1, 2, 2), (1, 1, 0), 1, True),
    ((5, 4, 3), 2, 1, 0, (1, 2, 1), False),
]


class OnDevice:
    """The primitives of backend/cuda on NumPy arrays: brought to a device, and the results back.

    An emulated device shares the memory of the arrays, with the order they lie in.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, primitive: str) -> Any:
        from minicnn.backend import cuda

        return partial(self.call, getattr(cuda, primitive))

    def running(self) -> AbstractContextManager[Any]:
        """The block in which kernels run as this executor's do."""
        if self.name == "cuda":
            return nullcontext()
        from minicnn.backend import emulator

        return emulator.emulation(**EMULATIONS[self.name])

    def there(self, x: Any) -> Any:
        """An array on the device; anything else as it is."""
        if not isinstance(x, np.ndarray):
            return x
        if self.name == "cuda":
            return backend.move(x, "cuda")
        from minicnn.backend import emulator

        return emulator.emulated(x)

    def back(self, x: Any) -> Any:
        return backend.to_numpy(x) if self.name == "cuda" else x.view(np.ndarray)

    def call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        """What `function`, on arrays of the device, makes of NumPy arrays."""
        with self.running():
            results = function(*map(self.there, arguments), **options)
            if isinstance(results, tuple):
                return tuple(map(self.back, results))
            return self.back(results)


def pytest_generate_tests(metafunc):
    """A test runs once for each executor that its fixture names.

    Kernels are compiled for every geometry, which is slow: the quick set has them on the examples
    by hand, in the usual order of threads.
    """
    if "executor" not in metafunc.fixturenames:
        return
    names = EXECUTORS if "primitives" in metafunc.fixturenames else EXECUTORS[1:]
    names = KERNEL_EXECUTORS if "device" in metafunc.fixturenames else names
    file = metafunc.definition.path.stem
    if file == "test_torch_parity":  # the emulator is compared with the reference elsewhere
        names = [n for n in names if n not in EMULATIONS]
    quick = "emulator-forward" if file == "test_by_hand" else None
    slow = set(EMULATIONS) - {quick}
    params = [pytest.param(n, marks=pytest.mark.slow if n in slow else ()) for n in names]
    metafunc.parametrize("executor", params, indirect=True, scope="session")


@pytest.fixture(scope="session")
def _checked_builds_ahead(request):
    """While a kernel runs as it is, another core builds it with the checks that a later executor
    asks for. Not in the emulator's own tests, which count what is built."""
    device = importlib.import_module("minicnn.backend.emulator.device")
    build = device.build
    checks = any("emulator-checked" in item.name for item in request.session.items)

    def build_both(file: Path, names: Any, constants: Any, checked: bool) -> Path:
        if checks and not checked and "MINICNN_EMULATOR_OPTIMIZE" in os.environ:
            pool.submit(build, file, names, constants, True)
        return build(file, names, constants, checked)

    with ThreadPoolExecutor(1) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "build", build_both)
        yield
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def executor(request, _checked_builds_ahead):
    """The primitives on NumPy arrays, as an executor computes them; skips what is not here."""
    name = request.param
    if name not in KERNEL_EXECUTORS:
        return getattr(backend, name)
    if (reason := backend.why_not(name.partition("-")[0])) is not None:
        pytest.skip(reason)
    return OnDevice(name)


@pytest.fixture(scope="session")
def primitives(executor):
    """The primitives of each executor: a test that takes it runs once for each."""
    return executor


class Both:
    """Runs a primitive, and gives its results and the reference's, as lists."""

    def __init__(self, primitives: Any) -> None:
        self._primitives = primitives

    def on_device(self, function: Any, *arguments: Any, **options: Any) -> list[np.ndarray]:
        """The results of a function of backend/cuda, its arrays brought to the device and back."""
        return _listed(self._primitives.call(function, *arguments, **options))

    def __call__(
        self, name: str, *arguments: Any, **options: Any
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        wanted = _listed(getattr(reference, name)(*arguments))
        return _listed(getattr(self._primitives, name)(*arguments, **options)), wanted

    def equal(self, name: str, *arguments: Any, **options: Any) -> list[np.ndarray]:
        """Asserts that both are the same bit for bit; gives the results."""
        results, wanted = self(name, *arguments, **options)
        for result, want in zip(results, wanted, strict=True):
            assert (result.dtype, result.shape) == (want.dtype, want.shape)
            np.testing.assert_array_equal(result, want)
        return wanted

    def close(self, name: str, *arguments: Any, ulps: float = 16, **options: Any) -> list[Any]:
        """Asserts that both agree to so many units in the last place of the largest value."""
        results, wanted = self(name, *arguments, **options)
        for result, want in zip(results, wanted, strict=True):
            assert (result.dtype, result.shape) == (want.dtype, want.shape)
            finite = np.abs(want[np.isfinite(want)])
            tolerance = ulps * np.finfo(want.dtype).eps * max(finite.max(initial=0), 1)
            np.testing.assert_allclose(result, want, rtol=0, atol=tolerance)
        return wanted


def _listed(results: Any) -> list[Any]:
    return list(results) if isinstance(results, tuple) else [results]


@pytest.fixture
def both(executor):
    """Every executor beside the reference: see `Both`."""
    return Both(executor)


@pytest.fixture
def integers():
    """A function (shape, dtype) -> small integers, whose sums are exact in any order."""
    rng = np.random.default_rng(0)
    return lambda shape, dtype=np.float32: rng.integers(-4, 5, shape).astype(dtype)


@pytest.fixture
def normal():
    """A function (shape, dtype) -> normally distributed numbers."""
    rng = np.random.default_rng(1)
    return lambda shape, dtype=np.float32: rng.standard_normal(shape).astype(dtype)


@pytest.fixture(scope="session")
def memory_orders():
    """The names that `laid_out` takes."""
    return MEMORY_ORDERS


@pytest.fixture(scope="session")
def laid_out():
    """A function (array, order) -> an equal array (N, C, *size) that lies otherwise in memory."""

    def lay_out(array, order):
        if order == "reversed":
            backwards = (slice(None, None, -1),) * array.ndim
            return np.ascontiguousarray(array[backwards])[backwards]
        if order == "gaps":
            every_other = (slice(None, None, 2),) * array.ndim
            wide = np.full([2 * n for n in array.shape], 99, array.dtype)
            wide[every_other] = array
            return wide[every_other]
        size = range(2, array.ndim)
        axes = {"NCHW": [0, 1, *size], "NHWC": [0, *size, 1], "CHWN": [1, *size, 0]}[order]
        return np.ascontiguousarray(array.transpose(axes)).transpose(np.argsort(axes))

    return lay_out


@pytest.fixture(params=CONVOLUTIONS, ids=str)
def convolution(request):
    """The geometry of a convolution, with something awkward about it."""
    size, kernel, stride, padding, dilation, groups = request.param
    x_shape, w_shape = (2, 4, *size), (6, 4 // groups, *kernel)
    return ConvGeometry.of(
        x_shape, w_shape, (6,), stride, padding, dilation, groups, f"conv{len(size)}d"
    )


@pytest.fixture(params=POOLS, ids=str)
def pooling(request):
    """The geometry of a pooling, likewise."""
    size, *options = request.param
    return PoolGeometry.of((2, 4, *size), *options, f"max_pool{len(size)}d")
