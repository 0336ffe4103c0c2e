"""Deterministic transforms equal torchvision's: to the bit on 8 bits, to 1e-6 on floats."""

import numpy as np
import pytest

from minicnn import Tensor
from minicnn import transforms as T
from minicnn.transforms import functional as F

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

rng = np.random.default_rng(7)
BYTES = rng.integers(0, 256, (3, 9, 12), np.uint8)
BYTES[:, 0] = [[0], [0], [0]]
BYTES[:, 1] = [[255], [255], [255]]
BYTES[:, 2] = 77  # grey
IMAGES = {
    "uint8": BYTES,
    "uint8 grey": BYTES[:1],
    "float32": rng.random((3, 9, 12), np.float32),
    "float64 batch": rng.random((2, 3, 9, 12)),
}
KINDS = [*IMAGES, "RGB", "L"]
FACTORS = [
    *[("adjust_brightness", f) for f in (0.0, 0.3, 1.0, 1.7)],
    *[("adjust_contrast", f) for f in (0.0, 0.3, 1.0, 1.7)],
    *[("adjust_saturation", f) for f in (0.0, 0.3, 1.0, 1.7)],
    *[("adjust_hue", f) for f in (-0.5, -0.21, 0.0, 0.1, 0.37, 0.5)],
]
CALLS = [
    *[(name, (factor,)) for name, factor in FACTORS],
    ("crop", (2, 3, 4, 5)),
    ("crop", (-2, -3, 6, 7)),
    ("crop", (7, 9, 6, 7)),
    ("crop", (20, 20, 3, 2)),
    ("crop", (-30, 4, 3, 2)),
    ("hflip", ()),
    ("vflip", ()),
    ("resized_crop", (1, 2, 5, 7, [8, 6])),
    ("resized_crop", (1, 2, 5, 7, [3, 3])),
    ("five_crop", ([4, 5],)),
    ("ten_crop", ([4, 5],)),
    ("ten_crop", ([4, 5], True)),
    ("rgb_to_grayscale", (3,)),
]


def pair(kind):
    """An image of the kind, and the same for torchvision."""
    if kind in IMAGES:
        return Tensor(IMAGES[kind]), torch.from_numpy(IMAGES[kind])
    image = (
        Image.fromarray(BYTES.transpose(1, 2, 0)) if kind == "RGB" else Image.fromarray(BYTES[0])
    )
    return image, image


def values(image):
    if isinstance(image, Tensor):
        return image.numpy()
    return np.asarray(image)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "arguments"), CALLS, ids=str)
def test_functions(tv, kind, name, arguments):
    mine, theirs = pair(kind)
    before = values(mine).copy()
    if name == "rgb_to_grayscale" and kind == "uint8 grey":
        pytest.skip(
            "torchvision leaves the one channel of a Tensor alone, whatever it is asked for"
        )
    got = getattr(F, name)(mine, *arguments)
    expected = getattr(tv.functional, name)(theirs, *arguments)
    if not isinstance(got, tuple):
        got, expected = (got,), (expected,)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        a, b = values(a), values(b)
        assert a.dtype == b.dtype and a.shape == b.shape
        if name == "resized_crop" and kind.startswith("uint8"):
            # Tensors of bytes are resized to Pillow's bits; PyTorch rounds between the two axes.
            assert np.abs(a.astype(int) - b).max() <= 1
        elif a.dtype == np.uint8:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(values(mine), before)


WARPS = [
    ("rotate", (30,), {}),
    ("rotate", (-100.5,), {"expand": True}),
    ("rotate", (180,), {"expand": True}),
    ("rotate", (17.3,), {"center": [2, 7]}),
    ("affine", (25, [0, 0], 1.0, 0), {}),
    ("affine", (0, [3, -2], 1.0, [0, 0]), {}),
    ("affine", (-33.3, [2, 1], 0.7, [20.0, -10.0]), {}),
    ("affine", (190.1, [-1, 4], 1.9, [35.0]), {"center": [3, 3]}),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["NEAREST", "BILINEAR"])
@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize(("name", "arguments", "options"), WARPS, ids=str)
def test_warps(tv, kind, mode, filled, name, arguments, options):
    mine, theirs = pair(kind)
    before = values(mine).copy()
    fill = [7] if kind in ("L", "uint8 grey") else [0, 50, 200]
    fill = [0, 0.25, 0.75] if "float" in kind else fill
    options = {**options, "fill": fill if filled else None}
    how = getattr(tv.InterpolationMode, mode)
    got = getattr(F, name)(mine, *arguments, interpolation=mode.lower(), **options)
    expected = getattr(tv.functional, name)(theirs, *arguments, interpolation=how, **options)
    a, b = values(got), values(expected)
    assert a.dtype == b.dtype and a.shape == b.shape
    if a.dtype != np.uint8 or mode == "NEAREST":
        # PyTorch's places are in single precision: 1e-7 of some 10 pixels.
        np.testing.assert_allclose(a, b, atol=4e-6, rtol=0)
    else:  # a sum that lies between two integers may be rounded either way
        assert np.abs(a.astype(int) - b).max() <= 1 and (a != b).mean() < 0.01
    np.testing.assert_array_equal(values(mine), before)


def test_sizes_of_what_is_turned(tv):
    for size in ((4, 10), (5, 7), (8, 8), (3, 4)):
        image = np.zeros((1, *size), np.float32)
        for angle in range(-360, 361, 15):
            got = F.rotate(Tensor(image), angle, expand=True)
            expected = tv.functional.rotate(torch.from_numpy(image), angle, expand=True)
            assert got.shape == tuple(expected.shape), (size, angle)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("arguments", [(3,), ([5, 3],), (7, 1.3), ([1, 9], [0.4, 2.0])], ids=str)
def test_blurs(tv, kind, arguments):
    mine, theirs = pair(kind)
    before = values(mine).copy()
    a = values(F.gaussian_blur(mine, *arguments))
    b = values(tv.functional.gaussian_blur(theirs, *arguments))
    assert a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_allclose(a, b, atol=0 if a.dtype == np.uint8 else 1e-6, rtol=0)
    np.testing.assert_array_equal(values(mine), before)


@pytest.mark.parametrize("kind", ["float32", "float64 batch", "RGB"])
@pytest.mark.parametrize("antialias", [None, False, True])
@pytest.mark.filterwarnings("ignore:Anti-alias option is always applied")
def test_antialias(tv, kind, antialias):
    """None is False for Tensors, True for PIL images."""
    mine, theirs = pair(kind)
    for name, arguments in (("resize", ([4, 5],)), ("resized_crop", (1, 1, 8, 9, [3, 4]))):
        got = values(getattr(F, name)(mine, *arguments, antialias=antialias))
        expected = values(getattr(tv.functional, name)(theirs, *arguments, antialias=antialias))
        np.testing.assert_allclose(got, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", list(IMAGES))
def test_erase(tv, kind):
    mine, theirs = pair(kind)
    patch = IMAGES[kind][..., :4, :3] // 2
    for v, w in ((patch, torch.from_numpy(patch)), (0, torch.tensor(0))):
        got = F.erase(mine, 2, 3, 4, 3, v)
        assert np.array_equal(got.numpy(), tv.functional.erase(theirs, 2, 3, 4, 3, w).numpy())
    copy = Tensor(IMAGES[kind].copy())
    assert F.erase(copy, 0, 0, 9, 12, 1, inplace=True) is copy and (copy.numpy() == 1).all()


MAKERS = [
    lambda t: t.RandomCrop(8),
    lambda t: t.RandomCrop((8, 6), padding=4),
    lambda t: t.RandomHorizontalFlip(),
    lambda t: t.RandomVerticalFlip(0.3),
    lambda t: t.RandomResizedCrop(224),
    lambda t: t.RandomResizedCrop((8, 4), scale=(0.123456, 0.7), antialias=None),
    lambda t: t.ColorJitter(0.5),
    lambda t: t.ColorJitter(2, (0.1, 0.2), 0, 0.25),
    lambda t: t.RandomGrayscale(),
    lambda t: t.RandomErasing(),
    lambda t: t.RandomErasing(1, (0.1, 0.2), (1, 2), "random", True),
    lambda t: t.RandomErasing(value=(1, 2, 3)),
    lambda t: t.RandomApply([t.Grayscale(), t.RandomVerticalFlip()], p=0.3),
    lambda t: t.RandomChoice([t.Grayscale(), t.RandomVerticalFlip()]),
    lambda t: t.RandomChoice([t.Grayscale(), t.RandomVerticalFlip()], p=[1, 2]),
    lambda t: t.RandomOrder([t.Grayscale(), t.RandomVerticalFlip()]),
    lambda t: t.RandomRotation(10),
    lambda t: t.RandomRotation((-5, 40), t.InterpolationMode.BILINEAR, True, (3, 4), (1, 2, 3)),
    lambda t: t.RandomAffine(0),
    lambda t: t.RandomAffine(15, (0.1, 0.2), (0.8, 1.2), 10, t.InterpolationMode.BILINEAR, 7),
    lambda t: t.RandomAffine((0, 90), shear=(1, 2, 3, 4), center=(5, 6)),
    lambda t: t.GaussianBlur(5),
    lambda t: t.GaussianBlur((3, 7), 1.5),
    lambda t: t.FiveCrop(3),
    lambda t: t.TenCrop((3, 4), True),
]


@pytest.mark.parametrize("make", MAKERS)
def test_reprs(tv, make):
    assert repr(make(T)) == repr(make(tv))


SMALL = np.zeros((9, 9, 3), np.uint8)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda t: t.ColorJitter(-1), ValueError),
        (lambda t: t.ColorJitter(hue=0.6), ValueError),
        (lambda t: t.ColorJitter(hue=(-0.6, 0.1)), ValueError),
        (lambda t: t.ColorJitter(brightness=(0.5, 0.1)), ValueError),
        (lambda t: t.ColorJitter("much"), TypeError),
        (lambda t: t.RandomErasing(value="noise"), ValueError),
        (lambda t: t.RandomErasing(value={}), TypeError),
        (lambda t: t.RandomErasing(p=2), ValueError),
        (lambda t: t.RandomErasing(p="2"), TypeError),
        (lambda t: t.RandomCrop(20)(t.ToTensor()(SMALL)), ValueError),
        (lambda t: t.FiveCrop(20)(t.ToTensor()(SMALL)), ValueError),
        (lambda t: t.functional.adjust_hue(t.ToTensor()(SMALL), 1), ValueError),
        (lambda t: t.functional.adjust_contrast(t.ToTensor()(SMALL), -1), ValueError),
        (lambda t: t.RandomChoice(t.Grayscale()), TypeError),
        (lambda t: t.RandomRotation(-3), ValueError),
        (lambda t: t.RandomRotation((1, 2, 3)), ValueError),
        (lambda t: t.RandomRotation({1}), TypeError),
        (lambda t: t.RandomRotation(3, fill={}), TypeError),
        (lambda t: t.RandomRotation(3, center=(1,)), ValueError),
        (lambda t: t.RandomAffine(3, translate=(0.1, 1.1)), ValueError),
        (lambda t: t.RandomAffine(3, translate=(0.1,)), ValueError),
        (lambda t: t.RandomAffine(3, scale=(0, 1)), ValueError),
        (lambda t: t.RandomAffine(3, shear=(1, 2, 3)), ValueError),
        (lambda t: t.GaussianBlur(4), ValueError),
        (lambda t: t.GaussianBlur((3, 0)), ValueError),
        (lambda t: t.GaussianBlur(3, 0), ValueError),
        (lambda t: t.GaussianBlur(3, (2, 1)), ValueError),
        (lambda t: t.functional.gaussian_blur(t.ToTensor()(SMALL), [3, 5, 7]), ValueError),
        (lambda t: t.functional.gaussian_blur(t.ToTensor()(SMALL), 3, [0.0, 1.0]), ValueError),
        (lambda t: t.functional.rotate(t.ToTensor()(SMALL), "30"), TypeError),
        (lambda t: t.functional.rotate(t.ToTensor()(SMALL), 30, fill=[1, 2]), ValueError),
        (lambda t: t.functional.affine(t.ToTensor()(SMALL), 0, [1], 1, 0), ValueError),
        (lambda t: t.functional.affine(t.ToTensor()(SMALL), 0, [1, 1], 0, 0), ValueError),
        (lambda t: t.functional.affine(t.ToTensor()(SMALL), 0, [1, 1], 1, [1, 2, 3]), ValueError),
    ],
)
def test_what_both_refuse(tv, make, error):
    for module in (tv, T):
        with pytest.raises(error):
            make(module)


def test_laws_of_the_random_rectangles(tv):
    """Means of places and sizes over many draws: torchvision's, to three standard errors."""
    n, image, theirs = 4000, Tensor(np.zeros((3, 40, 60), np.uint8)), torch.zeros(3, 40, 60)
    torch.manual_seed(0)
    scale, ratio = (0.05, 0.6), (0.4, 2.0)
    for name, extra in (("RandomResizedCrop", ()), ("RandomErasing", ([0.0],))):
        mine = [getattr(T, name).get_params(image, scale, ratio, *extra)[:4] for _ in range(n)]
        other = [
            getattr(tv, name).get_params(theirs, scale, list(ratio), *extra)[:4] for _ in range(n)
        ]
        a, b = np.array(mine, float), np.array(other, float)
        assert (np.abs(a.mean(0) - b.mean(0)) < 3.5 * np.sqrt(2) * b.std(0) / np.sqrt(n)).all()
        assert np.abs(a.std(0) / b.std(0) - 1).max() < 0.05
