"""Turning, shearing and blurring, against the formulas in the files' docstrings."""

import math

import numpy as np
import pytest

import minicnn
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
        (lambda x: F.affine(x, 0, (0, math.nan), 1, 0), ValueError, "translate should be finite"),
        (lambda x: F.affine(x, 0, (0, 0), 1e-320, 0), ValueError, "scale 1e-320 is too small"),
        (lambda x: F.affine(x, 0, ("1", "2"), 1, 0), ValueError, "translate should be two"),
        (lambda x: F.rotate(x, 10**400), ValueError, "rotate: angle should be finite, got inf"),
        (lambda x: F.rotate(x, 3, center=(math.nan, 1)), ValueError, "center should be finite"),
        (lambda x: F.rotate(x, 3, "lanczos"), ValueError, "lanczos, which resizes"),
        (lambda x: F.rotate(x, 3, fill=[None] * 4), ValueError, "one value or 3, got"),
        (lambda x: F.rotate(x, 3, fill="red"), ValueError, "fill should be a number of float32"),
        (lambda x: T.RandomRotation(3, "box"), ValueError, "RandomRotation: interpolation should"),
        (lambda x: T.RandomAffine(3, (0.5, math.nan)), ValueError, "translate should be finite"),
        (lambda x: F.gaussian_blur(x, (1, 17)), ValueError, "kernel_size 17 needs more than 8"),
        (lambda x: F.gaussian_blur(x, (3, 5, 7)), ValueError, "an int or two"),
        (lambda x: F.gaussian_blur(x, 3, (1, 2, 3)), ValueError, "a number above 0, or two"),
        (lambda x: F.gaussian_blur(x, 2), ValueError, "kernel_size should be an int or two, odd"),
        (lambda x: F.gaussian_blur(x, 3.0), TypeError, "kernel_size should be an int"),
        (lambda x: F.gaussian_blur(x, (3, 19)), ValueError, "kernel_size 19 needs more than 9"),
        (lambda x: F.gaussian_blur(x, 3, "1"), TypeError, "sigma should be a number"),
        (lambda x: F.gaussian_blur(x, 3, math.inf), ValueError, "sigma should be a number above 0"),
        (lambda x: T.GaussianBlur(3, (2, 1)), ValueError, "the smaller first"),
        (lambda x: T.RandomAffine(3, scale=(-1, 1)), ValueError, "two numbers above 0"),
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


class Twin:
    """Two generators of one seed, the second to tell what the first has given."""

    def __init__(self):
        self.given, self.told = minicnn.Generator(), minicnn.Generator()
        self.given.manual_seed(5)
        self.told.manual_seed(5)
        minicnn.manual_seed(3)
        self.next = minicnn.rand(1).item()
        minicnn.manual_seed(3)

    def numbers(self, count):
        return self.told.numpy.random(count)

    def agree(self):
        """Neither has given more than the other, and the default one nothing."""
        return (self.given.numpy.random(), minicnn.rand(1).item()) == (
            self.told.numpy.random(),
            self.next,
        )


def test_a_random_rotation_is_a_rotation_with_its_options():
    x = Tensor(rng.random((3, 7, 9)))
    for options in (
        {"interpolation": "bilinear", "expand": True, "fill": [0.1, 0.2, 0.3]},
        {"center": (1, 2), "fill": 0.5},
        {"fill": None},
    ):
        twin = Twin()
        got = T.RandomRotation((-20, 70), **options, generator=twin.given)(x)
        angle = -20 + 90 * twin.numbers(1)[0]
        wanted = F.rotate(x, angle, **{**options, "fill": options["fill"] or 0})
        assert np.array_equal(got.numpy(), wanted.numpy()) and twin.agree()


def test_a_random_affine_is_an_affine_map_with_its_options():
    x = Tensor(rng.random((3, 20, 40)))
    for options in (
        {"interpolation": "bilinear", "fill": [0.1, 0.2, 0.3], "center": (3, 9)},
        {"fill": None},
    ):
        twin = Twin()
        got = T.RandomAffine(
            (5, 60), (0.4, 0.3), (0.5, 1.5), (1, 20, -30, -5), **options, generator=twin.given
        )(x)
        u = twin.numbers(6)
        wanted = F.affine(
            x,
            5 + 55 * u[0],
            (round(-16 + 32 * u[1]), round(-6 + 12 * u[2])),
            0.5 + u[3],
            (1 + 19 * u[4], -30 + 25 * u[5]),
            **{**options, "fill": options["fill"] or 0},
        )
        np.testing.assert_allclose(got.numpy(), wanted.numpy(), atol=1e-9)
        assert twin.agree()


def test_a_random_blur_is_a_blur_with_its_numbers():
    x, twin = Tensor(rng.random((3, 7, 9))), Twin()
    got = T.GaussianBlur((3, 5), (0.5, 2.5), generator=twin.given)(x)
    wanted = F.gaussian_blur(x, (3, 5), 0.5 + 2 * twin.numbers(1)[0])
    assert np.array_equal(got.numpy(), wanted.numpy()) and twin.agree()


def test_quarter_turns_do_not_depend_on_how_they_are_written():
    """Of 4 x 7 pixels all places are halves."""
    x = Tensor(np.arange(1, 29.0).reshape(1, 4, 7))
    for turns in range(4):
        wanted = F.rotate(x, 90 * turns).numpy()
        for more in (-360, 360, 720):
            assert np.array_equal(F.rotate(x, 90 * turns + more).numpy(), wanted)


def test_what_lies_outside_does_not_spread():
    x = np.ones((1, 6, 6), np.float32)
    x[0, 0, 0] = np.nan
    moved = F.affine(Tensor(x), 0, (2, 2), 1.0, 0, "bilinear").numpy()
    assert np.isnan(moved[0, 2, 2]) and np.isnan(moved).sum() == 1


def test_integers_are_rounded_and_keep_their_sign():
    x = Tensor(np.zeros((1, 9, 9), np.uint8))
    assert F.rotate(x, 45, fill=123.675).numpy()[0, 0, 0] == 124
    assert F.rotate(x, 45, "bilinear", fill=[123.675]).numpy()[0, 0, 0] == 124
    assert F.rotate(x, 45, fill=300).numpy()[0, 0, 0] == 255
    for dtype in (np.int32, np.int64):
        most = np.iinfo(dtype).max
        full = Tensor(np.full((1, 5, 5), most, dtype))
        for y in (F.rotate(full, 30, "bilinear"), F.gaussian_blur(full, 3)):
            assert y.dtype == dtype and abs(y.numpy()[0, 2, 2] / most - 1) < 1e-12
    odd = Tensor(np.full((1, 5, 5), 2**24 + 1, np.int32))
    assert (F.gaussian_blur(odd, 3).numpy() == 2**24 + 1).all()


def test_a_frame_large_enough_is_pillows_about_any_centre():
    pytest.importorskip("PIL")
    image = np.zeros((13, 10), np.uint8)
    for angle in range(-220, 221, 23):
        for center in (None, (0, 0), (11, 3.5)):
            turned = F.rotate(image, angle, expand=True, center=center)
            picture = F.rotate(F.to_pil_image(image), angle, expand=True, center=center)
            assert turned.shape == picture.size[::-1]


def test_tensors_stay_on_their_device():
    if minicnn.backend.why_not("emulator"):
        pytest.skip(minicnn.backend.why_not("emulator"))
    x = Tensor(rng.random((3, 7, 9), np.float32))
    for change in (
        lambda t: F.rotate(t, 20, "bilinear"),
        lambda t: F.gaussian_blur(t, 3),
        F.hflip,
        lambda t: F.resize(t, 5),
    ):
        there = change(x.to("emulator"))
        assert there.device.type == "emulator"
        assert np.array_equal(there.cpu().numpy(), change(x).numpy())


# ---------------------------------------------------------------- blur


def test_a_kernel_fits_the_side_that_it_runs_along():
    x = Tensor(rng.random((1, 8, 9)))
    assert F.gaussian_blur(x, (17, 15)).shape == x.shape


@pytest.mark.parametrize("mode", ["1", "P"])
def test_what_holds_no_values_is_not_blurred(mode):
    pytest.importorskip("PIL")
    picture = F.to_pil_image(rng.integers(0, 256, (6, 6, 3), np.uint8)).convert(mode)
    with pytest.raises(ValueError, match=f"mode {mode} holds no values"):
        F.gaussian_blur(picture, 3)


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
