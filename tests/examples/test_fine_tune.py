"""examples/fine_tune.py runs, and its four ways do what they say."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minicnn
from minicnn import datasets, models

FILE = Path(__file__).parents[2] / "examples" / "fine_tune.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("fine_tune", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make(classes):
    return models.resnet20(num_classes=classes, image_size=16)


def state(net):
    return {k: v.numpy().copy() for k, v in net.state_dict().items()}


def test_images_are_those_of_the_classes(example):
    data = datasets.Digits(train=False)
    x, labels = example.images(data, [3, 7], 16, each=4)
    assert x.shape == (8, 3, 16, 16) and labels.tolist() == [0] * 4 + [1] * 4
    assert float(x.min()) >= -1 and float(x.max()) <= 1
    photos = datasets.FakeData(6, (3, 20, 20), num_classes=2)
    arrays = SimpleNamespace(
        data=np.stack([np.asarray(image) for image, _ in photos]), targets=[0, 1, 0, 1, 0, 1]
    )  # as CIFAR-10 has them
    assert example.images(arrays, [1], 16)[0].shape == (3, 3, 16, 16)
    everything, all_labels = example.images(data, list(range(10)), 8)
    assert len(everything) == len(data) == len(all_labels)


@pytest.mark.parametrize("way", ["features, new head", "whole network", "last stage and head"])
def test_what_is_learnt_and_what_stays(example, way):
    learnt = make(3)
    before = state(learnt)
    x, labels = example.images(datasets.Digits(), [5, 6], 16, each=3)
    net = example.WAYS[way](learnt, make, x, labels, 2, 1)
    assert all(np.array_equal(v, before[k]) for k, v in state(learnt).items())
    assert net.eval()(x).shape == (6, 2)
    after = state(net)
    if way == "features, new head":
        assert np.array_equal(after["0.0.weight"], before["conv1.weight"])
        return
    moved = {k.split(".")[0] for k, v in after.items() if not np.array_equal(v, before.get(k))}
    body = {"conv1", "bn1", "layer1", "layer2"}
    assert moved == {"layer3", "fc"} | (body if way == "whole network" else set())


@pytest.mark.slow
def test_it_runs(tmp_path):
    command = [sys.executable, str(FILE), "--epochs", "1", "--few-epochs", "1", "--each", "2"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    lines = out.splitlines()
    assert lines[0].endswith("0, 1, 2, 3, 4: 720 images")
    assert lines[1] == "then 5, 6, 7, 8, 9, 2 images of each:"
    assert len(lines) == 6 and all("%" in line for line in lines[2:])


def test_errors(tmp_path):
    command = [sys.executable, str(FILE), "--data", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and "none of digits, cifar10" in done.stderr
    assert minicnn.__version__
