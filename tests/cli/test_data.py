"""How the commands prepare images: scaling, splitting, moving, and pictures from anywhere."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import datasets
from minicnn.cli import data as cli_data
from minicnn.cli.data import (
    Images,
    cut,
    describe,
    flipped,
    load_part,
    load_training,
    shifted,
    split,
)
from minicnn.cli.picture import read_picture
from minicnn.data import DataLoader


@pytest.fixture(scope="module")
def config():
    return describe("digits", None, 28, 0.1)


@pytest.fixture(scope="module")
def digits(config):
    return load_part(config, True)


def test_images_are_the_data_sets(config, digits):
    assert digits.data.shape == (1437, 1, 28, 28) and digits.data.dtype == np.uint8
    plain = datasets.Digits()
    np.testing.assert_array_equal(digits.targets, plain.targets.array)
    same = load_part(describe("digits", None, 8, 0.1), True)
    np.testing.assert_array_equal(same.data[:, 0], plain.data.array)
    # Brightness survives the scaling.
    assert digits.data.mean() == pytest.approx(same.data.mean(), rel=0.02)


def test_batches_are_normalised(config, digits):
    x, y = next(iter(DataLoader(digits, batch_size=1437)))
    assert x.dtype == np.float32 and y.dtype == np.int64
    expected = (digits.data / 255 - config.mean[0]) / config.std[0]
    np.testing.assert_allclose(x.array, expected, rtol=1e-4, atol=1e-5)
    one, label = digits[7]
    np.testing.assert_array_equal(one.array, x.array[7])
    assert label == y.array[7]


def test_config_survives_json(config):
    import json

    assert cli_data.DataConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    with pytest.raises(ValueError, match="description of its data is damaged"):
        cli_data.DataConfig.from_dict({"name": "digits"})
    for size in (0, -5, 10**9, 28.0, "28", True):
        with pytest.raises(ValueError, match="description of its data is damaged"):
            cli_data.DataConfig.from_dict({**config.as_dict(), "image_size": size})
    with pytest.raises(ValueError, match="no data set 'letters', there are digits, mnist"):
        describe("letters", None, 28, 0.1)


def test_split_is_fixed_stratified_and_complete(config, digits):
    train, validation = split(digits, config)
    assert len(train) + len(validation) == 1437 and len(validation) == 144
    shares = np.bincount(validation.targets) / np.bincount(digits.targets)
    assert shares.min() > 0.09 and shares.max() < 0.11
    rows = {image.tobytes() for image in digits.data}
    parts = [{image.tobytes() for image in part.data} for part in (train, validation)]
    assert parts[0] | parts[1] == rows and not parts[0] & parts[1]
    minicnn.manual_seed(123)
    np.testing.assert_array_equal(split(digits, config)[1].data, validation.data)


def test_split_keeps_the_order_within_a_class(config):
    """An unstable sort would choose other images on other machines."""
    targets = np.random.default_rng(0).integers(0, 10, 1000)
    images = Images(np.arange(1000).reshape(-1, 1, 1, 1), targets, config)
    order = sorted(range(1000), key=targets.tolist().__getitem__)  # Python's sort is stable
    chosen = [order[int(k)] for k in np.linspace(0, 999, 100)]
    assert sorted(chosen) == split(images, config)[1].data.ravel().tolist()


def test_no_validation(config, digits):
    from dataclasses import replace

    train, validation = split(digits, replace(config, validation=0))
    assert train is digits and validation is None


def test_shifted():
    rng = np.random.default_rng(0)
    images = rng.integers(1, 255, (400, 2, 5, 6)).astype(np.uint8)
    moved = shifted(images, 2, rng)
    seen = set()
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    for image, result in zip(padded, moved, strict=True):
        matches = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if (image[:, i : i + 5, j : j + 6] == result).all()
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) == 25
    np.testing.assert_array_equal(shifted(images, 0, rng), images)


def test_flipped():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (500, 2, 3, 5), np.uint8)
    result = flipped(images, rng)
    mirrored = (result == images[..., ::-1]).all((1, 2, 3))
    assert (mirrored | (result == images).all((1, 2, 3))).all()
    assert 210 < mirrored.sum() < 290


def test_a_limit_keeps_the_shares_of_the_classes(config, digits):
    few, validation = load_training(config, 200)
    assert (len(few), len(validation)) == (180, 20)
    assert np.bincount(few.targets).min() >= 16
    minicnn.manual_seed(77)
    np.testing.assert_array_equal(load_training(config, 200)[0].data, few.data)
    assert len(load_training(config)[0]) == 1293
    with pytest.raises(ValueError, match="--limit expects at most 1437, which there are, got"):
        load_training(config, 1438)


def test_cut():
    images = np.full((300, 2, 8, 8), 9, np.uint8)
    holes = (cut(images, 4, np.random.default_rng(0)) == 0).sum((1, 2, 3)) // 2
    assert holes.max() == 16 and holes.min() == 4 and (images == 9).all()


def test_large_sets_are_scaled_a_part_at_a_time():
    images = np.random.default_rng(0).integers(0, 256, (1030, 1, 3, 3), np.uint8)
    whole = cli_data.resize(minicnn.Tensor(images), [5, 5]).array
    np.testing.assert_array_equal(cli_data.scale(images, 5), whole)


@pytest.mark.parametrize("change", [{"shift": 2}, {"flip": True}, {"cutout": 5}])
def test_what_is_random_comes_from_the_one_seed(config, digits, change):
    images = Images(digits.data, digits.targets, config, **change)
    batches = []
    for _ in range(2):
        minicnn.manual_seed(5)
        batches.append(next(iter(DataLoader(images, batch_size=64, shuffle=True)))[0].array)
    np.testing.assert_array_equal(*batches)


# ---------------------------------------------------------------------- pictures

Image = pytest.importorskip("PIL.Image")


def digit_picture(mode="L", size=(90, 120), ink=20, paper=235):
    """A bar of ink, left of the middle, on bright paper."""
    image = Image.new("L", size, paper)
    for x in range(20, 32):
        for y in range(30, 100):
            image.putpixel((x, y), ink)
    return image.convert(mode, dither=Image.Dither.NONE)


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_paper_is_inverted_and_ink_centred(name, tmp_path, config):
    config = describe(name, None, 28, 0.1)
    digit_picture().save(tmp_path / "x.png")
    pixels = read_picture(tmp_path / "x.png", config)
    assert pixels.shape == (1, 28, 28) and pixels.dtype == np.uint8
    rows, columns = np.nonzero(pixels[0] > 100)
    assert abs(rows.mean() - 13.5) < 0.6 and abs(columns.mean() - 13.5) < 0.6
    height = rows.max() - rows.min() + 1
    assert height == 28 if name == "digits" else 19 <= height <= 21
    assert np.ptp(columns) + 1 <= 8


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "CMYK", "LA"])
def test_every_mode_looks_alike(mode, tmp_path, config):
    reference = digit_picture()
    reference.save(tmp_path / "a.png")
    suffix = "tiff" if mode == "CMYK" else "png"
    digit_picture(mode).save(tmp_path / f"b.{suffix}")
    a, b = (read_picture(tmp_path / n, config).astype(int) for n in ("a.png", f"b.{suffix}"))
    assert np.abs(a - b).max() <= 30


def test_sixteen_bits_and_transparency(tmp_path, config):
    expected = read_picture_of(digit_picture(), tmp_path, config)
    deep = Image.fromarray(np.asarray(digit_picture()).astype(np.uint16) * 256)
    assert np.abs(read_picture_of(deep, tmp_path, config) - expected).max() <= 30
    clear = Image.new("RGBA", (90, 120), (0, 0, 0, 0))
    ink = Image.new("RGBA", (12, 70), (0, 0, 0, 255))
    clear.paste(ink, (20, 30))
    assert np.abs(read_picture_of(clear, tmp_path, config) - expected).max() <= 30


def read_picture_of(image, folder, config, name="picture.png"):
    image.save(folder / name)
    return read_picture(folder / name, config).astype(int)


def test_an_image_of_the_data_sets_own_size_is_taken_as_it_is(tmp_path):
    plain = datasets.Digits(train=False)
    config = describe("digits", None, 28, 0.1)
    test = load_part(config, False)
    for i in range(0, 360, 20):
        Image.fromarray(plain.data.array[i]).save(tmp_path / "x.png")
        np.testing.assert_array_equal(read_picture(tmp_path / "x.png", config), test.data[i])


def test_blank_and_tiny_pictures(tmp_path, config):
    for size in ((1, 1), (3, 200), (50, 50)):
        for paper in (0, 255):
            pixels = read_picture_of(Image.new("L", size, paper), tmp_path, config)
            assert pixels.shape == (1, 28, 28) and np.ptp(pixels) == 0


def test_a_camera_held_upright(tmp_path, config):
    """Cameras save the picture as the sensor lies, and say in a tag how to turn it."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by 90 degrees clockwise
    upright = digit_picture()
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "x.png", exif=exif)
    expected = read_picture_of(upright, tmp_path, config)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png", config), expected)


def test_photographs_keep_their_colours(tmp_path):
    """White stays white; the middle is taken, or the whole where digits stand side by side."""
    pixels = np.full((40, 80, 3), 255, np.uint8)
    pixels[:, :20] = (200, 0, 0)
    for name, right, left in (("cifar10", 255, 255), ("digit-strings", 255, 0)):
        config = describe(name, None, 40, 0.1)
        image = read_picture_of(Image.fromarray(pixels), tmp_path, config)
        assert image.shape == (3, 40, 40)
        assert (image[:, :, 30:] == right).all() and (image[1, :, :8] == left).all()


def test_a_large_picture_brings_no_warning(tmp_path, config, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    picture = digit_picture(size=(40, 101))  # more than that, less than twice as much
    assert read_picture_of(picture, tmp_path, config).max() > 100
    with pytest.raises(ValueError, match=r"picture\.png cannot be read: .*decompression bomb"):
        read_picture_of(digit_picture(), tmp_path, config)


def test_what_is_no_picture(tmp_path, config):
    (tmp_path / "x.png").write_text("hello")
    with pytest.raises(ValueError, match=r"x\.png is no picture that Pillow can read"):
        read_picture(tmp_path / "x.png", config)
    Image.new("L", (50, 50)).save(tmp_path / "y.png")
    content = (tmp_path / "y.png").read_bytes()
    (tmp_path / "y.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"y\.png cannot be read: .*truncated"):
        read_picture(tmp_path / "y.png", config)
    with pytest.raises(ValueError, match=r"x\.tif cannot be read: it holds NaN"):
        read_picture_of(Image.new("F", (9, 9), float("nan")), tmp_path, config, "x.tif")
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "none.png", config)
