"""Cross-entropy kernels against the loops."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn.backend import cuda
from minicnn.backend.cuda import softmax

SHAPES = [(5, 10), (9, 33), (2, 3, 4), (3, 2, 2, 3), (4, 1), (0, 4), (7, 2)]
IGNORED = 1


def labels(shape, C, seed=0):
    """Of every class, some of them IGNORED."""
    return np.random.default_rng(seed).integers(0, C, shape)


def check(both, x, target, weight, smooth, g):
    options = (IGNORED, smooth)
    _, m, total = both.close("cross_entropy_forward", x, target, weight, *options, ulps=64)
    for reaching in (g, g.sum()[None].reshape(())):
        both.close("cross_entropy_backward", reaching, x, target, weight, m, total, *options)


@pytest.mark.parametrize("smooth", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_each_sample(both, normal, shape, weighted, smooth):
    weight = abs(normal(shape[1])) if weighted else None
    samples = (shape[0], *shape[2:])
    target = labels(samples, shape[1])
    check(both, normal(shape) * 3 + 50, target, weight, smooth, normal(samples))


@pytest.mark.parametrize("smooth", [0.0, 0.25])
def test_a_block_for_each_sample(both, normal, smooth, monkeypatch):
    monkeypatch.setattr(softmax, "_LONG", 100)
    check(both, normal((3, 300)), labels(3, 300), abs(normal(300)), smooth, normal(3))


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_dtypes(both, normal, dtype):
    x, target = normal((4, 7), dtype), labels(4, 7).astype(np.int32)
    check(both, x, target, normal(7, dtype), 0.25, normal(4, dtype))


@pytest.mark.parametrize("smooth", [0.0, 0.25])
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_infinities_and_nan(both, normal, smooth, layout):
    x, target = normal((8, 6)) * 100, np.array([2, 3, 4, 5, 0, 5, 4, IGNORED])
    x[0, 0], x[1, :], x[2, 3], x[3, 5], x[4, 0] = -np.inf, -np.inf, np.inf, np.nan, -np.inf
    x[5, :5], x[6, 4], x[7, 2] = -np.inf, np.inf, np.nan
    if layout == "columns":  # the samples lie in the last axis
        x, target = np.ascontiguousarray(x.T)[None], target[None]
    _, m, total = both.close("cross_entropy_forward", x, target, None, IGNORED, smooth)
    g = np.float32([1]).reshape(())
    both.close("cross_entropy_backward", g, x, target, None, m, total, IGNORED, smooth)


def test_an_ignored_sample_has_gradient_zero_whatever_reaches_it(both, normal):
    x, target = normal((2, 3)), np.array([IGNORED, 2])
    _, m, total = both.close("cross_entropy_forward", x, target, None, IGNORED)
    g = np.array([np.inf, 1], np.float32)
    arguments = (g, x, target, None, m, total, IGNORED)
    [grad_x] = both.close("cross_entropy_backward", *arguments)
    assert not grad_x[0].any()


def test_labels_that_are_no_class_read_nothing(both, normal):
    x, target = normal((4, 3)), np.array([-1, 2**40, 3, 0])
    loss, m, total = both.on_device(cuda.cross_entropy_forward, x, target)
    assert np.isnan(loss).tolist() == [True, True, True, False]
    weight, g = abs(normal(3)), normal(4)
    both.on_device(cuda.cross_entropy_backward, g, x, target, weight, m, total)


def test_errors(device):
    x, target = device.zeros((2, 3), np.float32), device.zeros((3,), np.int64)
    with pytest.raises(ValueError, match=r"cross_entropy_forward: target expects shape \(2,\)"):
        cuda.cross_entropy_forward(x, target)
    with pytest.raises(TypeError, match="cross_entropy_forward: target expects integers"):
        cuda.cross_entropy_forward(x, device.zeros((2,), np.float32))
