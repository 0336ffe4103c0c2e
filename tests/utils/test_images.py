"""Grids of images: values, torchvision's as well, and files that are whole or not there."""

import io
import sys

import numpy as np
import pytest
import torchvision_here

import minicnn
from minicnn import Tensor
from minicnn.utils import make_grid, save_image

rng = np.random.default_rng(3)


def test_a_grid_has_each_image_at_its_place():
    x = rng.random((5, 3, 4, 6), np.float32)
    grid = make_grid(Tensor(x), nrow=2, padding=1, pad_value=0.5).numpy()
    assert grid.shape == (3, 3 * 5 + 1, 2 * 7 + 1) and grid.dtype == np.float32
    covered = np.zeros(grid.shape[1:], bool)
    for k in range(5):
        place = np.s_[k // 2 * 5 + 1 : k // 2 * 5 + 5, k % 2 * 7 + 1 : k % 2 * 7 + 7]
        assert np.array_equal(grid[(slice(None), *place)], x[k])
        covered[place] = True
    assert (grid[:, ~covered] == 0.5).all()


CASES = [
    ((5, 3, 4, 6), {}),
    ((20, 1, 4, 6), {}),
    ((20, 1, 4, 6), {"nrow": 5, "padding": 0}),
    ((7, 2, 3, 3), {"nrow": 3, "padding": 4, "pad_value": 0.3}),
    ((1, 3, 4, 5), {}),
    ((1, 1, 4, 5), {"padding": 7}),
    ((3, 4, 5), {}),
    ((1, 4, 5), {}),
    ((4, 5), {}),
    ((4, 3, 5, 5), {"normalize": True}),
    ((4, 3, 5, 5), {"normalize": True, "value_range": (-0.5, 0.25)}),
    ((4, 3, 5, 5), {"normalize": True, "scale_each": True}),
    ((4, 1, 5, 5), {"normalize": True, "scale_each": True, "value_range": (0, 1)}),
]


@pytest.mark.parametrize(("shape", "options"), CASES, ids=str)
def test_torchvisions_grid(shape, options):
    torchvision_here.torchvision()
    import torch
    import torchvision.utils

    x = rng.standard_normal(shape).astype(np.float32)
    expected = torchvision.utils.make_grid(torch.from_numpy(x), **options).numpy()
    got = make_grid(Tensor(x), **options).numpy()
    np.testing.assert_allclose(got, expected, atol=2e-7, rtol=0, strict=True)
    if len(shape) == 4:
        listed = make_grid([Tensor(image) for image in x], **options).numpy()
        assert np.array_equal(listed, got)


def test_the_images_stay_as_they_are():
    x = Tensor(rng.standard_normal((4, 3, 5, 5)).astype(np.float32), requires_grad=True)
    before = x.detach().numpy().copy()
    for options in ({}, {"normalize": True}, {"normalize": True, "scale_each": True}):
        grid = make_grid(x, **options)
        assert not grid.requires_grad
        grid.zero_()
    assert np.array_equal(x.detach().numpy(), before)
    alike = make_grid(Tensor(np.full((2, 3, 4, 4), 7.0)), normalize=True)
    assert (alike.numpy() == 0).all()


def test_bytes_make_a_grid_of_bytes():
    grid = make_grid(Tensor(rng.integers(0, 256, (3, 3, 4, 4), np.uint8)), pad_value=255)
    assert grid.dtype == minicnn.uint8 and (grid.numpy()[:, 0] == 255).all()


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda x: make_grid(x.numpy()), TypeError, "a Tensor or a list of them"),
        (lambda x: make_grid([x, 3]), TypeError, "a Tensor or a list of them"),
        (lambda x: make_grid([]), ValueError, "one image at least"),
        (lambda x: make_grid(x[:0]), ValueError, r"\(N, C, H, W\), got"),
        (lambda x: make_grid(x[0, 0, 0]), ValueError, r"\(N, C, H, W\), got"),
        (lambda x: make_grid(x, nrow=0), ValueError, "nrow should be at least 1, got 0"),
        (lambda x: make_grid(x, nrow=2.0), TypeError, "nrow should be an int, got 2.0"),
        (lambda x: make_grid(x, padding=-1), ValueError, "padding should be at least 0"),
        (lambda x: make_grid(x.to(int), normalize=True), TypeError, "a floating type"),
        (lambda x: make_grid(x, normalize=True, value_range=3), TypeError, "two numbers, got 3"),
        (lambda x: make_grid(x, normalize=True, value_range=(1, 0)), ValueError, "least, largest"),
        (lambda x: make_grid(x, pad_value=None), TypeError, "pad_value should be a number"),
        (lambda x: make_grid([x.numpy()] * 2), TypeError, "got list of ndarray"),
    ],
)
def test_what_cannot_be(make, error, text):
    with pytest.raises(error, match=text):
        make(Tensor(np.ones((2, 3, 4, 4), np.float32)))


def test_files(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    x = Tensor(rng.uniform(-0.2, 1.2, (3, 3, 4, 6)).astype(np.float32))
    expected = np.floor(np.clip(make_grid(x, nrow=2).numpy() * 255 + 0.5, 0, 255)).astype(np.uint8)
    save_image(x, tmp_path / "a.png", nrow=2)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), expected.transpose(1, 2, 0))
    file = io.BytesIO()
    save_image(x, file, "png", nrow=2)
    assert file.getvalue() == (tmp_path / "a.png").read_bytes()
    bmp = io.BytesIO()
    save_image(x, bmp, "bmp")
    assert bmp.getvalue()[:2] == b"BM"
    unclear = Tensor(np.array([[[np.nan, np.inf], [-np.inf, 0.5]]], np.float32))
    save_image(unclear, tmp_path / "UNCLEAR.PNG")
    with Image.open(tmp_path / "UNCLEAR.PNG") as image:
        assert np.asarray(image)[..., 0].tolist() == [[0, 255], [0, 128]]
    save_image(x, str(tmp_path / "of.no.format"), format="bmp")
    with Image.open(tmp_path / "of.no.format") as image:
        assert image.format == "BMP"


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path):
    pytest.importorskip("PIL")
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    image = Tensor(np.ones((2, 3, 4, 4), np.float32))
    with pytest.raises(ValueError, match=r"Pillow cannot write \.what"):
        save_image(image, tmp_path / "a.what")
    with pytest.raises(ValueError, match="Pillow cannot write what"):
        save_image(image, path, format="what")
    with pytest.raises(TypeError, match="floating type"):
        save_image(image.to(minicnn.uint8), path)
    with pytest.raises(ValueError, match="without a suffix"):
        save_image(image, io.BytesIO())
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"old")
    with pytest.raises(OSError, match="RGBA"):
        save_image(Tensor(np.ones((2, 4, 4, 4), np.float32)), photo)
    assert photo.read_bytes() == b"old"
    photo.unlink()
    with pytest.raises(ValueError, match="1 to 4 channels, got 5"):
        save_image(Tensor(np.ones((2, 5, 4, 4), np.float32)), path)
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_data_alone_is_reached_as_before():
    assert minicnn.utils.data is sys.modules["minicnn.utils.data"]
