"""`minicnn look` and `minicnn summary`: what is written, what is said, what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from command_line import call

import minicnn
from minicnn import models, nn
from minicnn.cli import look, runs
from minicnn.explain import cam_layer

FAST = ["--epochs", 1, "--batch-size", 128, "--shift", 0, "--lr", 0.005]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a LeNet for small digits."""
    folder = tmp_path_factory.mktemp("look") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "report", lambda *args: [])  # pictures take a second
        call("train", "lenet", "--data", "digits", "--out", folder, *FAST)
    return folder


def pngs(folder):
    found = {path.name: path.read_bytes()[:8] for path in Path(folder).glob("*.png")}
    assert set(found.values()) <= {PNG}
    return sorted(found)


def test_a_test_image_without_options_is_grad_cam(trained, tmp_path):
    output = call("look", trained, "test:17", "--out", tmp_path / "new")
    lines = output.splitlines()
    assert lines[0] == "lenet on digits, weights of epoch 1"
    assert lines[1].startswith("test:17  ") and lines[1].endswith("(truth: 3)")
    assert "Grad-CAM at features (5x5), for" in lines[2] and "of 28x28" in lines[2]
    assert pngs(tmp_path / "new") == ["test-17-cam.png"] and len(lines) == 3


def test_a_picture_file_and_layers(trained, tmp_path):
    from PIL import Image

    drawn = np.zeros((40, 40), np.uint8)
    drawn[5:35, 18:22] = 255
    Image.fromarray(drawn).save(tmp_path / "one.png")
    output = call("look", trained, tmp_path / "one.png", "--layer", "features.3")
    assert "16 maps of 10x10, each unit sees 14x14; the strongest is map" in output
    assert pngs(trained) == ["one-features.3.png"] and "truth" not in output


@pytest.mark.slow
def test_every_kind_of_picture(trained, tmp_path):
    kinds = ["--cam", "--saliency", "--occlusion", "--filters", "--field"]
    output = call("look", trained, "test:3", *kinds, "--class", "7", "--layer", "features.3",
                  "--out", tmp_path)  # fmt: skip
    assert pngs(tmp_path) == ["field-features.3.png", "filters-features.3.png",
                              "test-3-cam-features.3.png", "test-3-occlusion.png",
                              "test-3-saliency.png"]  # fmt: skip
    assert output.count("for 7, ") == 3 and "by theory 14x14" in output
    only = call("look", trained, "--filters", "--out", tmp_path)
    assert "weights 6x1x5x5 of features.0" in only


def test_every_layer_has_a_picture_of_its_own(trained, tmp_path):
    layers = ["--layer", "features.0", "--layer", "features.3"]
    output = call("look", trained, "test:3", "--cam", *layers, "--out", tmp_path)
    assert pngs(tmp_path) == ["test-3-cam-features.0.png", "test-3-cam-features.3.png"]
    assert "at features.0 (28x28)" in output and "at features.3 (10x10)" in output


def test_a_layer_beside_what_has_none_shows_its_maps(trained, tmp_path):
    call("look", trained, "test:3", "--saliency", "--layer", "features.3", "--out", tmp_path)
    assert pngs(tmp_path) == ["test-3-features.3.png", "test-3-saliency.png"]


class Shrinking(nn.Module):
    """As VGG, which halves images of 32x32 until one place is left."""

    def __init__(self):
        super().__init__()
        steps = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*steps, nn.Conv2d(4, 4, 3, padding=1), nn.MaxPool2d(2))

    def forward(self, x):
        return self.features(x).mean((2, 3))


@pytest.mark.parametrize(("side", "layer"), [(4, "features.3"), (8, "features")])
def test_grad_cam_of_small_images_looks_where_maps_have_places(side, layer):
    """A picture of maps that have one place alone would say nothing."""
    x = minicnn.rand(1, 3, side, side)
    size = (3, side, side)
    subject = look.Subject("small", Shrinking(), None, Path(), None, size, "features")
    ((name, _, text),) = look._cam(subject, look.Seen(x, x.array[0], "x"), look.Wishes())
    assert name == "x-cam.png" and f"Grad-CAM at {layer} (2x2)" in text


def test_of_several_outputs_the_one_that_is_explained_is_named():
    x = minicnn.rand(1, 3, 32, 32)
    net, size = models.svhn_digits(), (3, 32, 32)
    subject = look.Subject("digits", net, None, Path(), None, size, "features", heads=5)
    ((_, _, text),) = look._saliency(subject, look.Seen(x, x.array[0], "x"), look.Wishes())
    assert "(the first of 5 outputs): most at row" in text


def test_where_nothing_speaks_for_the_class_no_place_is_named():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 36, 3))
    net[2].weight.array[...] = 0
    x = minicnn.rand(1, 1, 8, 8)
    subject = look.Subject("flat", net, None, Path(), None, (1, 8, 8), "0")
    ((_, picture, text),) = look._cam(subject, look.Seen(x, x.array[0], "x"), look.Wishes())
    assert picture.values.max() == 0 and text.endswith(": no pixel speaks for it")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN"], "which image? a picture file, or test:17"),
        (["RUN", "test:360"], "expects test:0 to test:359, got 'test:360'"),
        (["RUN", "test:x"], "expects test:0 to test:359, got 'test:x'"),
        (["RUN", "test:²"], "expects test:0 to test:359, got 'test:²'"),
        (["RUN", "test:1", "--class", "²"], "--class: none of the 10 classes is '²'"),
        (["RUN", "nowhere.png"], "nowhere.png: No such file"),
        (["RUN", "test:1", "--layer", "conv1"], "no layer 'conv1', there are features, features.0"),
        (["RUN", "test:1", "--saliency", "--layer", "conv1"], "no layer 'conv1', there are"),
        (["RUN", "test:1", "--class", "ten"], "--class: none of the 10 classes is 'ten'"),
        (["RUN", "test:1", "--checkpoint", "first"], "--checkpoint expects best or last"),
        (["RUN", "--filters", "--layer", "features.1"], "'features.1' has no filters; these have"),
        (["RUN", "test:1", "--set", "pooling=avg"], "--set is for a network by name"),
        (["lenet", "test:1"], "lenet has learnt nothing yet: name a run folder, or give --weights"),
        (["lenet", "x.png", "--weights", "x.pth"], "none are published for lenet"),
        (["nowhere", "test:1"], "there is no folder nowhere"),
    ],
)
def test_errors_are_one_line_and_write_nothing(arguments, message, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = [trained if a == "RUN" else a for a in arguments]
    output = call("look", *given, "--out", "pictures", code=1)
    assert output.startswith("minicnn: ") and output.count("\n") == 1
    assert message in output and not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_network_by_its_name_with_weights(tmp_path, monkeypatch):
    """A file of the user's; the preset that belongs to the published weights prepares images."""
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    model = models.resnet18()
    minicnn.save(model.state_dict(), tmp_path / "mine.safetensors")
    pixels = np.random.default_rng(0).integers(0, 255, (300, 280, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.jpg")
    subject = look.open_subject("resnet18", "mine.safetensors")
    seen = subject.read("noise.jpg")
    assert seen.x.shape == (1, 3, 224, 224) and seen.stem == "noise"
    assert seen.picture.min() >= 0 and seen.picture.max() <= 1
    assert subject.input_size == (3, 224, 224) and len(subject.classes) == 1000
    output = call("look", "resnet18", "noise.jpg", "--weights", "mine.safetensors")
    assert "resnet18, weights mine.safetensors" in output and pngs(tmp_path) == ["noise-cam.png"]
    assert "Grad-CAM at layer4 (7x7)" in output and cam_layer(model, seen.x) == subject.cam
    refused = call("look", "resnet18", "test:1", "--weights", "mine.safetensors", code=1)
    assert "'test:1' is for run folders" in refused


@pytest.mark.slow
def test_the_readmes_pictures(trained):
    """The script draws all of its figures from a run folder, the same bytes each time."""
    path = Path(__file__).parent.parent.parent / "scripts" / "pictures.py"
    spec = importlib.util.spec_from_file_location("pictures_script", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    run = runs.open_run(trained)
    result = runs.test(run)
    drawn = dict(script.figures(run, result))
    assert list(drawn) == ["filters", "maps", "cam", "field", "mistakes"]
    again = dict(script.figures(runs.open_run(trained), result))
    assert script.png_of(drawn["field"]) == script.png_of(again["field"])
    assert script.png_of(drawn["cam"]) == script.png_of(again["cam"])
    titles = [axes.get_title() for axes in drawn["field"].axes]
    assert titles[-1].endswith("by theory 16x16") and len(titles) == 3


def test_summary_of_named_networks():
    output = call("summary", "resnet20", "--depth", 1)
    assert "layer3: Sequential" in output and "81x81" in output and "deeper than 1" in output
    wide = call("summary", "resnet20", "--input", "3x32x64", "--num-classes", 3)
    assert "1x64x8x16" in wide and "kept for backward" in wide
