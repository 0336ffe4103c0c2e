"""The resizing matrices: their sums, symmetry and adjoints to simple cases, and Pillow's bits."""

import numpy as np
import pytest

from minicnn import Tensor
from minicnn.transforms import functional as F
from minicnn.transforms.resample import bilinear_weights, resize_bilinear, triangle_weights

SIZES = [(1, 1), (1, 5), (5, 1), (7, 7), (8, 28), (28, 8), (28, 32), (32, 28), (13, 50), (100, 33)]


@pytest.mark.parametrize("weights", [triangle_weights, bilinear_weights])
@pytest.mark.parametrize(("n", "m"), SIZES)
def test_rows_are_mirror_symmetric_averages(weights, n, m):
    w = weights(n, m)
    assert w.shape == (m, n)
    assert (w >= 0).all()
    assert np.allclose(w.sum(axis=1), 1)
    assert np.allclose(w, w[::-1, ::-1])


@pytest.mark.parametrize("weights", [triangle_weights, bilinear_weights])
def test_small_cases_by_hand(weights):
    assert np.array_equal(weights(5, 5), np.eye(5))
    # 2 -> 4 pixels: centres fall at 0.25, 0.75, 1.25, 1.75 on an axis with centres 0.5 and 1.5.
    assert np.allclose(weights(2, 4), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])


def test_antialiasing_averages_what_a_pixel_covers():
    # 4 -> 2 pixels: radius 2 around centre 1, so distances 0.5, 0.5, 1.5 weigh 3, 3, 1.
    assert np.allclose(triangle_weights(4, 2) * 7, [[3, 3, 1, 0], [0, 1, 3, 3]])
    assert np.allclose(bilinear_weights(4, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])


def test_a_linear_ramp_stays_one_inside():
    y = resize_bilinear(np.arange(20.0)[None].repeat(20, 0), (40, 40), True)
    assert np.allclose(np.diff(y[:, 1:-1], axis=1), 0.5)
    assert np.allclose(np.diff(y, axis=0), 0)


def test_dtype_and_leading_dimensions_are_kept():
    rng = np.random.default_rng(0)
    for dtype in (np.uint8, np.int16, np.float32, np.float64):
        x = (rng.random((2, 3, 9, 7)) * 200).astype(dtype)
        for antialias in (True, False):
            y = resize_bilinear(x, (5, 11), antialias)
            assert (y.shape, y.dtype) == ((2, 3, 5, 11), dtype)
            assert np.array_equal(y[1, 2], resize_bilinear(x[1, 2], (5, 11), antialias))
            same = resize_bilinear(x, (9, 7), antialias)
            assert np.array_equal(same, x)
            assert not np.shares_memory(same, x)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("n", "m"), SIZES)
def test_uint8_has_pillows_bits(n, m, channels):
    Image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(n * 100 + m)
    shape = (n, n) if channels == 1 else (n, n, 3)
    for x in (rng.integers(0, 256, shape, np.uint8), np.full(shape, 255, np.uint8)):
        wanted = np.asarray(Image.fromarray(x).resize((m, m), 2))
        assert np.array_equal(F.resize(x, (m, m)), wanted)
        planes = x if channels == 1 else np.moveaxis(x, 2, 0)
        found = F.resize(Tensor(planes), (m, m)).numpy()
        assert np.array_equal(found, wanted if channels == 1 else np.moveaxis(wanted, 2, 0))
        nearest = np.asarray(Image.fromarray(x).resize((m, m), 0))
        assert np.array_equal(F.resize(x, (m, m), "nearest"), nearest)


@pytest.mark.parametrize(
    ("size", "new"), [((8, 8), (5, 7)), ((40, 30), (7, 50)), ((9, 60), (30, 20))]
)
def test_axes_scaled_differently_are_pillows_to_one_level(size, new):
    """Pillow 13 chooses which axis comes first; the rounding in between is then another."""
    Image = pytest.importorskip("PIL.Image")
    x = np.random.default_rng(1).integers(0, 256, size, np.uint8)
    wanted = np.asarray(Image.fromarray(x).resize(new[::-1], 2)).astype(int)
    assert np.abs(F.resize(x, new) - wanted).max() <= 1


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(
    ("size", "new"), [((8, 8), (28, 28)), ((28, 20), (9, 31)), ((5, 1), (3, 4))]
)
def test_floats_equal_pytorch(size, new, antialias):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(2).standard_normal((2, 3, *size))
    for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-12)):
        t = torch.from_numpy(x.astype(dtype))
        wanted = torch.nn.functional.interpolate(
            t, new, mode="bilinear", align_corners=False, antialias=antialias
        )
        found = F.resize(Tensor(x.astype(dtype)), new, antialias=antialias)
        assert found.dtype == dtype
        assert np.allclose(found.numpy(), wanted.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("n", [1, 3, 8, 28])
def test_nearest_equals_pytorch(mode, n):
    torch = pytest.importorskip("torch")
    x = np.arange(n * n, dtype=np.float32).reshape(1, 1, n, n)
    for m in range(1, 40):
        wanted = torch.nn.functional.interpolate(torch.from_numpy(x), (m, m), mode=mode)
        assert np.array_equal(F.resize(Tensor(x), (m, m), mode).numpy(), wanted.numpy())
