"""`minicnn train NAME --data FOLDER`: any folder of pictures, and data of several heads."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from command_line import call

from minicnn import datasets, models, nn
from minicnn.cli import folder, runs
from minicnn.cli.data import describe, load_part, load_training

Image = pytest.importorskip("PIL.Image")

COLOURS = {"blue": (20, 30, 220), "red": (220, 30, 20)}


def fill(place, count=10, size=(20, 14), classes=COLOURS):
    """Noisy pictures of a colour for each class."""
    rng = np.random.default_rng(0)
    for name, colour in classes.items():
        (place / name).mkdir(parents=True)
        for k in range(count):
            noise = rng.integers(-20, 20, (size[1], size[0], 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(place / name / f"{k:02}.png")
    return place


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "report", lambda *args: [])  # pictures take a second
    return tmp_path


FAST = ["--epochs", 3, "--batch-size", 8, "--image-size", 16, "--shift", 1, "--lr", 0.004]


def test_train_on_a_folder(here):
    fill(here / "colours" / "train", 20)
    fill(here / "colours" / "val", 5)
    text = call("train", "lenet", "--data", "colours", *FAST)
    assert "training lenet on colours: runs/lenet-colours" in text
    assert "10 of 10 test images" in text
    config = json.loads((here / "runs" / "lenet-colours" / "config.json").read_text())
    assert config["data"]["classes"] == ["blue", "red"]
    assert config["data"]["directory"] == str(here / "colours")
    assert "10 of 10" in call("evaluate", "runs/lenet-colours")
    Image.new("RGB", (40, 33), (230, 20, 10)).save(here / "x.png")
    assert "x.png  red" in call("predict", "runs/lenet-colours", "x.png")
    text = call("train", "--data", "colours/", "--out", "runs/lenet-colours", "--resume")
    assert "resuming lenet on colours" in text
    assert "--data fashion-mnist" not in text  # nothing that it has to do with


def test_a_folder_that_was_moved(here):
    fill(here / "my colours", 5)
    call("train", "lenet", "--data", "my colours", "--out", "run", *FAST, "--scheduler", "none")
    (here / "my colours").rename(here / "elsewhere")
    text = call("evaluate", "run", code=1)
    assert f"no folder {here / 'my colours'}" in text and "--data-dir" in text
    assert "of 2 test images" in call("evaluate", "run", "--data-dir", "elsewhere")
    again = ["train", "--out", "run", "--resume"]
    call(*again, code=1)
    assert "epoch 4/4" in call(*again, "--epochs", 4, "--data", "elsewhere")
    assert "epoch 5/5" in call(*again, "--epochs", 5, "--data-dir", "elsewhere")
    assert "holds a run with the data set 'my colours', not 'digits'" in call(
        *again, "--data", "digits", code=1
    )


def test_hidden_files_and_folders_are_passed_over(here):
    place = fill(here / "some" / "train", 4)
    fill(here / "some" / "val", 2)
    (place / "red" / "._00.png").write_bytes(b"what macOS leaves on foreign disks")
    (place / ".ipynb_checkpoints").mkdir()
    (here / "some" / "val" / ".hidden").mkdir()
    config = describe("some", None, 16, 0)
    assert config.classes == ("blue", "red")
    assert len(load_part(config, True)) == 8 and len(load_part(config, False)) == 4


def test_parts(here):
    alone = fill(here / "alone", 10)
    config = describe(str(alone), None, 16, 0.2)
    train, validation = load_training(config)
    test = load_part(config, False)
    assert (len(train), len(validation), len(test)) == (13, 3, 4)
    assert np.bincount(test.targets).tolist() == [2, 2]
    assert train.data.shape == (13, 3, 16, 16) and train.data.dtype == np.uint8
    parts = here / "parts"
    for part, count in (("train", 6), ("valid", 3), ("test", 2)):
        fill(parts / part, count)
    config = describe(str(parts), None, 16, 0.2)
    train, validation = load_training(config, limit=8)
    assert (len(train), len(validation), len(load_part(config, False))) == (8, 6, 4)
    fill(parts / "test", 1, classes={"green": (0, 255, 0)})
    with pytest.raises(ValueError, match=r"test holds the class 'green', which train/ does not"):
        load_part(config, False)


def test_the_square_in_the_middle_is_taken(here):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, 8:24] = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    fill(here / "a", 1)
    (here / "a" / "one").mkdir(parents=True)
    Image.fromarray(pixels).save(here / "a" / "one" / "x.png")
    config = describe(str(here / "a"), None, 16, 0.1)
    config = replace(config, native_size=16)
    images = folder.read_pictures([str(here / "a" / "one" / "x.png")], config)
    np.testing.assert_array_equal(images[0], pixels[:, 8:24].transpose(2, 0, 1))


def test_what_is_refused(here):
    assert "no data set 'colors', there are digits" in call(
        "train", "lenet", "--data", "colors", code=1
    )
    (here / "empty").mkdir()
    text = call("train", "lenet", "--data", "empty", code=1)
    assert "expected train/ and val/ (or test/)" in text and "Couldn't find any class" in text
    fill(here / "only" / "train", 4)
    text = call("train", "lenet", "--data", "only", *FAST, code=1)
    assert "has no pictures to test by: none of test/, val/" in text
    assert not (here / "runs").exists()
    fill(here / "one" / "alone", 4, classes={"red": (9, 9, 9)})
    text = call("train", "lenet", "--data", "one", *FAST, code=1)
    assert "there is one class alone, 'alone'; expected two or more" in text
    place = fill(here / "some", 4)
    (place / "red" / "zz.jpg").write_text("no picture")
    text = call("train", "lenet", "--data", "some", *FAST, code=1)
    assert "zz.jpg is no picture that Pillow can read" in text
    assert "leave out --data-dir" in call(
        "train", "lenet", "--data", "some", "--data-dir", ".", code=1
    )


def test_memory_is_bounded(here, monkeypatch):
    fill(here / "some", 4)
    monkeypatch.setattr(folder, "_MOST_BYTES", 3000)
    text = call("train", "lenet", "--data", "some", *FAST, code=1)
    assert "6 images of 16 x 16 take" in text and "smaller --image-size, or --limit" in text


# ---------------------------------------------------------------- several heads


class FiveHeads(nn.Module):
    """The smallest network that gives five outputs."""

    def __init__(self, num_classes=11, in_channels=3, image_size=None):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, 8, 5, 4), nn.ReLU(), nn.Flatten())
        side = (image_size - 5) // 4 + 1
        self.heads = nn.ModuleList(nn.Linear(8 * side * side, num_classes) for _ in range(5))

    def forward(self, x):
        y = self.body(x)
        return tuple(head(y) for head in self.heads)


@pytest.mark.slow
def test_train_five_heads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models.registry, "_infos", dict(models.registry._infos))
    facts = {"image_sizes": (40,), "input_size": (3, 40, 40), "parameters": 0, "cam": "body.0"}
    models.registry.register("five_heads", "a test", **facts, family="test")(FiveHeads)
    data = ["--data", "digit-strings", "--limit", 300]
    text = call("train", "five_heads", *data, "--epochs", 2, "--out", "run")
    assert "train digit accuracy" in text and "of 2000 test images" in text
    assert (tmp_path / "run" / "mistakes.png").stat().st_size > 1000
    assert "  none " in call("evaluate", "run")
    Image.fromarray(datasets.DigitStrings(train=False, count=1).data.numpy()[0]).save("x.png")
    assert "x.png  " in call("predict", "run", "x.png")


def test_other_networks_have_too_few(here):
    text = call("train", "lenet", "--data", "digit-strings", code=1)
    assert "has 5 targets for each image" in text and "lenet has 1" in text
    assert not (here / "runs").exists()


def test_five_heads_need_data_with_five_targets(here):
    text = call("train", "svhn_digits", "--data", "digits", code=1)
    assert "digits has 1 target for each image, svhn_digits has 5 outputs" in text
    assert "--data digit-strings" in text
    assert not (here / "runs").exists()
    assert (runs.usual_data("svhn_digits"), runs.usual_data("lenet")) == ("digit-strings", "digits")
