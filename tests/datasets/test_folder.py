"""Folders of pictures: which files are samples, in which order, and errors that name files."""

import os
from pathlib import Path

import numpy as np
import pytest
from torchvision_here import torchvision

from minicnn import transforms as T
from minicnn.data import DataLoader
from minicnn.datasets import DatasetFolder, ImageFolder
from minicnn.datasets.folder import find_classes, has_file_allowed_extension, make_dataset

Image = pytest.importorskip("PIL.Image")


def picture(path, colour=(200, 10, 30), size=(12, 9), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)
    return path


@pytest.fixture
def root(tmp_path):
    for name in ("dog/b.png", "dog/a.JPG", "dog/inner/z.bmp", "cat/c.png", "cat/inner-2/y.png"):
        picture(tmp_path / name)
    (tmp_path / "dog" / "notes.txt").write_text("no picture")
    (tmp_path / "readme.md").write_text("not a class")
    return tmp_path


def names(data, root):
    return [(os.path.relpath(path, root).replace(os.sep, "/"), k) for path, k in data.samples]


def test_samples_are_sorted(root):
    data = ImageFolder(root)
    assert data.classes == ["cat", "dog"] and data.class_to_idx == {"cat": 0, "dog": 1}
    assert names(data, root) == [
        ("cat/c.png", 0), ("cat/inner-2/y.png", 0),
        ("dog/a.JPG", 1), ("dog/b.png", 1), ("dog/inner/z.bmp", 1),
    ]  # fmt: skip
    assert data.targets == [0, 0, 1, 1, 1] and data.imgs is data.samples
    image, target = data[0]
    assert (image.mode, image.size, target) == ("RGB", (12, 9), 0)
    assert "Dataset ImageFolder\n    Number of datapoints: 5\n    Root location: " in repr(data)


def test_equal_to_torchvision(root):
    torchvision()
    from torchvision.datasets import ImageFolder as Theirs

    mine, theirs = ImageFolder(root), Theirs(root)
    assert [(p, k) for p, k in mine.samples] == theirs.samples
    assert mine.class_to_idx == theirs.class_to_idx
    assert repr(mine) == repr(theirs)
    with pytest.raises(FileNotFoundError) as a:
        Theirs(root / "cat" / "inner-2")
    with pytest.raises(FileNotFoundError) as b:
        ImageFolder(root / "cat" / "inner-2")
    assert str(a.value) == str(b.value)


def test_transforms_and_batches(root):
    data = ImageFolder(root, T.Compose([T.Resize((8, 8)), T.ToTensor()]), lambda k: k + 5)
    x, y = next(iter(DataLoader(data, 5)))
    assert x.shape == (5, 3, 8, 8) and y.numpy().tolist() == [5, 5, 6, 6, 6]


def test_grey_and_transparent_pictures_become_rgb(root):
    for mode in ("L", "RGBA", "P", "1", "CMYK"):
        suffix = "tiff" if mode == "CMYK" else "png"
        picture(root / "cat" / f"{mode}.{suffix}", mode=mode)
    assert {image.mode for image, _ in ImageFolder(root)} == {"RGB"}


def test_rules_of_ones_own(root):
    data = ImageFolder(root, is_valid_file=lambda path: path.endswith(".txt"), allow_empty=True)
    assert names(data, root) == [("dog/notes.txt", 1)]
    with pytest.raises(FileNotFoundError, match="no valid file for the classes cat"):
        ImageFolder(root, is_valid_file=lambda path: path.endswith(".txt"))
    texts = DatasetFolder(root, lambda path: Path(path).read_text(), ".txt", allow_empty=True)
    assert texts[0] == ("no picture", 1)
    with pytest.raises(ValueError, match="either extensions or is_valid_file"):
        make_dataset(root)
    assert has_file_allowed_extension("A.PNG", (".png",)) and not has_file_allowed_extension(
        "a", "."
    )


def test_no_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="Couldn't find any class folder in"):
        find_classes(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"classes empty in .* extensions are: \.jpg"):
        ImageFolder(tmp_path)
    assert len(ImageFolder(tmp_path, allow_empty=True)) == 0


def test_a_folder_of_two_names_is_seen_by_the_first(root, monkeypatch):
    for name in ("second", "first"):
        os.symlink(root / "dog" / "inner", root / "cat" / name, target_is_directory=True)
    walk = os.walk

    def unordered(*args, **kwargs):
        for place, folders, names in walk(*args, **kwargs):
            folders.sort(reverse=True)  # as some disk may have it
            yield place, folders, names

    monkeypatch.setattr(os, "walk", unordered)
    found = [name for name, _ in names(ImageFolder(root), root)]
    assert "cat/first/z.bmp" in found and "cat/second/z.bmp" not in found


def test_links_in_circles_end(root):
    os.symlink(root / "dog", root / "dog" / "inner" / "again", target_is_directory=True)
    assert len(ImageFolder(root)) == 5


def test_broken_pictures_are_named(root, monkeypatch):
    broken = root / "cat" / "a.png"
    broken.write_text("hello")
    with pytest.raises(ValueError, match=r"a\.png is no picture that Pillow can read"):
        ImageFolder(root)[0]
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(broken)
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"a\.png cannot be read: .*truncated"):
        ImageFolder(root)[0]
    broken.unlink()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(ValueError, match=r"c\.png cannot be read: .*decompression bomb"):
        ImageFolder(root)[0]
