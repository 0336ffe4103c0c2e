"""One test body for every executor: the fixture `device` runs it on each that this machine has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minicnn.backend import cuda, reference

# A planted mistake shows in one of these: another order of threads gives another result, or the
# checks see it.
EMULATIONS: dict[str, dict[str, Any]] = {
    "emulator-forward": {},
    "emulator-reversed": {"order": "reversed"},
    "emulator-shuffled": {"order": "shuffled", "seed": 1},
    "emulator-checked": {"checked": True},
}


@pytest.fixture(params=[*EMULATIONS, "cuda"])
def device(request):
    """A device that runs kernels, as minicnn/backend/cuda/launcher.py describes it."""
    if request.param == "cuda":
        from minicnn.backend.cuda import compiler

        if (reason := compiler.unavailable()) is not None:
            pytest.skip(reason)
        yield compiler.device(0)
        return
    emulator = pytest.importorskip("minicnn.backend.emulator")
    if emulator.compiler() is None:
        pytest.skip("no C++ compiler")
    with emulator.emulation(**EMULATIONS[request.param]) as emulated:
        yield emulated


class Both:
    """Runs a primitive on the device, and gives its results and the reference's, as lists."""

    def __init__(self, device: Any) -> None:
        self._device = device

    def on_device(self, function: Any, *arguments: Any, **options: Any) -> list[np.ndarray]:
        """The results of `function`, its arrays brought to the device and back."""
        there = [self._device.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
        results = function(*there, **options)
        results = results if isinstance(results, tuple) else (results,)
        return [np.asarray(r.get() if hasattr(r, "get") else r).view(np.ndarray) for r in results]

    def __call__(
        self, name: str, *arguments: Any, **options: Any
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        wanted = getattr(reference, name)(*arguments)
        wanted = list(wanted) if isinstance(wanted, tuple) else [wanted]
        return self.on_device(getattr(cuda, name), *arguments, **options), wanted

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


@pytest.fixture
def both(device):
    """See `Both`."""
    return Both(device)


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
