"""Turning, shearing and blurring, against the formulas in the files' docstrings."""

import math

import numpy as np
import pytest

from minicnn import Tensor
from minicnn import transforms as T
from minicnn.transforms import blur, warp
from minicnn.transforms import functional as F

rng = np.random.default_rng(11)


def turn(a):
    return np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])


def test_the_way_back_undoes_equation_1():
    for _ in range(50):
        a, u, v = np.radians(rng.uniform(-80, 80, 3))
        s, c, t, p = rng.uniform(0.3, 3), *rng.uniform(-9, 9, (3, 2))
        along_x = np.array([[1, -math.tan(u)], [0, 1]])
        along_y = np.array([[1, 0], [-math.tan(v), 1]])
        moved = s * turn(a) @ along_y @ along_x @ (p - c) + c + t
        back = warp.inverse(*np.degrees([a]), t, s, np.degrees([u, v]), c)
        np.testing.assert_allclose(back @ [*moved, 1], p, atol=1e-11)


def bilinear_by_loops(x, back, fill):
    """One channel (H, W): each output pixel on its own, from the four around its place."""
    H, W = x.shape
    y = np.empty((H, W))
    for i in range(H):
        for j in range(W):
            px, py = back @ [j + 0.5, i + 0.5, 1]
            q = m = 0.0
            for r in range(H):
                for c in range(W):
                    share = max(0, 1 - abs(px - c - 0.5)) * max(0, 1 - abs(py - r - 0.5))
                    q, m = q + share * x[r, c], m + share
            y[i, j] = q if fill is None else m * q + (1 - m) * fill
    return y


@pytest.mark.parametrize("fill", [None, 0, 0.7])
def test_bilinear_by_loops(fill):
    x = rng.random((7, 9))
    for angle, translate, scale, shear in [
        (0, (0, 0), 1, (0, 0)),
        (33, (1, -2), 1.3, (10, -20)),
        (-170, (0.5, 0.25), 0.6, (-30, 5)),
    ]:
        back = warp.inverse(angle, translate, scale, shear, (4.5, 3.5))
        got = F.affine(Tensor(x[None]), angle, translate, scale, shear, "bilinear", fill)
        np.testing.assert_allclose(got.numpy()[0], bilinear_by_loops(x, back, fill), atol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("size", [8, 9])
def test_quarter_turns_and_whole_shifts_are_exact(mode, size):
    x = rng.integers(0, 256, (3, size, size), np.uint8)
    for quarters in range(-4, 5):
        got = F.rotate(Tensor(x), 90 * quarters, mode, expand=True, fill=9)
        assert np.array_equal(got.numpy(), np.rot90(x, quarters, axes=(1, 2)))
    moved = F.affine(Tensor(x), 0, (2, -1), 1.0, 0, mode, fill=[1, 2, 3]).numpy()
    assert np.array_equal(moved[:, :-1, 2:], x[:, 1:, :-2])
    edge = np.array([1, 2, 3])[:, None]
    assert (moved[:, -1] == edge).all() and (moved[:, :, :2] == edge[..., None]).all()


def test_arrays_are_turned_as_tensors_and_pil_images_by_pillow():
    image = rng.integers(0, 256, (20, 24, 3), np.uint8)
    tensor = Tensor(np.ascontiguousarray(image.transpose(2, 0, 1)))
    for mode in ("nearest", "bilinear"):
        turned = F.rotate(image, 21, mode)
        assert np.array_equal(turned.transpose(2, 0, 1), F.rotate(tensor, 21, mode).numpy())
    assert np.array_equal(F.rotate(image[..., 0], 21), F.rotate(image, 21)[..., 0])
    pytest.importorskip("PIL")
    picture = F.to_pil_image(image)
    assert np.array_equal(F.rotate(picture, 21, "bicubic", fill=(1, 2, 3)),
                          picture.rotate(21, 3, fillcolor=(1, 2, 3)))  # fmt: skip
    assert np.array_equal(F.rotate(picture, 21, fill=5), F.rotate(picture, 21, fill=(5, 5, 5)))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda x: F.rotate(x, math.nan), ValueError, "rotate: angle should be finite"),
        (lambda x: F.rotate(x, 3, "bicubic"), ValueError, "bicubic interpolation needs a PIL"),
        (lambda x: F.rotate(x, 3, "cubist"), ValueError, "interpolation should be one of"),
        (lambda x: F.rotate(x, 3, center=4), ValueError, "center should be two numbers"),
        (lambda x: F.rotate(x[:, :0], 3), ValueError, "image has no pixels"),
        (lambda x: F.affine(x, 0, (1, 1), 1.0, None), ValueError, "shear should be two numbers"),
        (lambda x: F.affine(x, 0, 3, 1.0, 0), ValueError, "translate should be two numbers"),
        (lambda x: F.affine(x, 0, (0, 0), "2", 0), TypeError, "scale should be a number"),
        (lambda x: F.gaussian_blur(x, 2), ValueError, "kernel_size should be odd"),
        (lambda x: F.gaussian_blur(x, 3.0), TypeError, "kernel_size should be an int"),
        (lambda x: F.gaussian_blur(x, (3, 19)), ValueError, "kernel_size 19 needs more than 9"),
        (lambda x: F.gaussian_blur(x, 3, "1"), TypeError, "sigma should be a number"),
        (lambda x: F.gaussian_blur(x, 3, math.inf), ValueError, "sigma should be above 0"),
        (lambda x: T.GaussianBlur(3, (2, 1)), ValueError, "the smaller first"),
        (lambda x: T.RandomAffine(3, scale=(-1, 1)), ValueError, "scale expects two numbers"),
    ],
)
def test_what_cannot_be(make, error, text):
    with pytest.raises(error, match=text):
        make(Tensor(rng.random((3, 8, 9), np.float32)))


def test_angles_come_from_the_whole_range():
    angles = [T.RandomRotation.get_params([-10, 30]) for _ in range(400)]
    assert -10 <= min(angles) < -8 and 28 < max(angles) <= 30
    moves = [
        T.RandomAffine.get_params([0, 0], (0.1, 0.2), (0.5, 2), (1, 2, 3, 4), (30, 20))
        for _ in range(400)
    ]
    _, shifts, scales, shears = zip(*moves, strict=True)
    assert {dx for dx, _ in shifts} == set(range(-3, 4))
    assert {dy for _, dy in shifts} == set(range(-4, 5))
    assert 0.5 <= min(scales) < 0.55 and 1.9 < max(scales) <= 2
    assert all(1 <= u <= 2 and 3 <= v <= 4 for u, v in shears)
    plain = T.RandomAffine.get_params([5, 5], None, None, None, (30, 20))
    assert plain == (5.0, (0, 0), 1.0, (0.0, 0.0))


# ---------------------------------------------------------------- blur


def test_blur_by_its_definition():
    x, (KX, KY), (sx, sy) = rng.random((2, 6, 8)), (5, 3), (1.1, 0.6)
    padded = np.pad(x, [(0, 0), (1, 1), (2, 2)], mode="reflect")
    expected = np.zeros_like(x)
    for k in range(KY):
        for l in range(KX):  # noqa: E741
            weight = math.exp(-((k - 1) ** 2) / (2 * sy**2) - (l - 2) ** 2 / (2 * sx**2))
            expected += weight * padded[:, k : k + 6, l : l + 8]
    total = np.outer(*(np.exp(-np.arange(-(K // 2), K // 2 + 1) ** 2 / (2 * s**2))
                       for K, s in ((KY, sy), (KX, sx)))).sum()  # fmt: skip
    got = F.gaussian_blur(Tensor(x), (KX, KY), (sx, sy)).numpy()
    np.testing.assert_allclose(got, expected / total, atol=1e-14)
    assert abs(blur.weights(9, 1.7).sum() - 1) < 1e-15


def test_blur_keeps_what_is_even_and_what_it_was_given():
    even = Tensor(np.full((3, 5, 6), 77, np.uint8))
    assert np.array_equal(F.gaussian_blur(even, 5, 2.0).numpy(), even.numpy())
    x = Tensor(rng.random((3, 5, 6), np.float32))
    before = x.numpy().copy()
    same = F.gaussian_blur(x, 1)
    assert np.array_equal(same.numpy(), before)
    same.numpy()[:] = 0
    F.gaussian_blur(x, 3)
    assert np.array_equal(x.numpy(), before)
