"""The compiled primitives against minicnn's, and that minicnn is as it was afterwards."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import minicnn
from minicnn.backend import cpu
from minicnn.nn import functional as F


@pytest.fixture(scope="module")
def compiled():
    pytest.importorskip("numba", reason="Numba is not installed")
    from benchmarks import compiled

    return compiled


@pytest.mark.slow
@pytest.mark.parametrize("pool", [F.max_pool2d, F.avg_pool2d])
@pytest.mark.parametrize("channels", [8, 64])
def test_every_compiled_primitive_gives_what_minicnns_does(compiled, pool, channels):
    """`checked` raises where a result differs; each primitive is to be met."""
    met = set()

    def noted(kernel, original):
        def kernel_noted(*arguments, **options):
            result = kernel(*arguments, **options)
            if result is not None:
                met.add(original.__name__)
            return result

        return compiled.checked(kernel_noted, original)

    nn = minicnn.nn
    net = nn.Sequential(
        *(nn.BatchNorm2d(channels), nn.ReLU()),
        nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 3, 2, 1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
    )
    x = np.random.default_rng(0).standard_normal((64, 16, 16, channels), np.float32)
    with compiled.replaced(noted):
        y = pool(net(minicnn.from_numpy(x.transpose(0, 3, 1, 2)).requires_grad_()), 2)
        (y**2 + y).mean().backward()
    others = {"max_pool_backward", "avg_pool_backward"} - {pool.__name__[:8] + "_backward"}
    assert met == {kernel.__name__ for _, kernel in compiled.PRIMITIVES} - others


def test_a_wrong_primitive_is_found(compiled):
    def off(x):
        return x + np.float32(1e-3)

    with pytest.raises(AssertionError, match="double: differs"):
        compiled.checked(off, double)(np.ones(3, np.float32))


def double(x):
    return x * np.float32(1)


def test_minicnns_primitives_come_back(compiled):
    before = cpu.batch_norm_forward
    with pytest.raises(KeyError), compiled.replaced():
        assert cpu.batch_norm_forward is not before
        raise KeyError
    assert cpu.batch_norm_forward is before


@pytest.mark.slow
def test_without_numba_it_says_so(root):
    code = "import sys; sys.modules['numba'] = None; sys.argv = ['x']; import benchmarks.compiled"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "benchmarks.compiled needs Numba: pip install numba\n"
