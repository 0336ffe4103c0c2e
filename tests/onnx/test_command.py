"""`minicnn export RUN model.onnx`."""

import dataclasses
import json

import numpy as np
import pytest
from command_line import call

from minicnn import nn
from minicnn.cli import runs
from minicnn.cli.data import load_part
from minicnn.cli.export import export_run

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with a LeNet for small digits."""
    path = tmp_path_factory.mktemp("export") / "run"
    options = ["--epochs", 1, "--batch-size", 256, "--image-size", 16, "--shift", 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "report", lambda *args: [])  # pictures take a second
        call("train", "lenet", "--data", "digits", "--out", path, *options)
    return path


def test_the_file_computes_what_the_run_does(folder, tmp_path):
    path = tmp_path / "model.onnx"
    output = call("export", folder, path)
    assert str(path) in output and "float32 (batch, 1, 16, 16)" in output
    run = runs.open_run(folder)
    result = runs.test(run)
    x = np.stack([result.images[i][0].numpy() for i in range(50)])
    (logits,) = onnxruntime.InferenceSession(path).run(None, {"input": x})
    np.testing.assert_allclose(logits, result.logits[:50], rtol=1e-4, atol=1e-5)
    known = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert json.loads(known["classes"]) == list(run.data.classes)
    assert json.loads(known["mean"]) == list(run.data.mean) and known["network"] == "lenet"


def test_pixels_in_and_probabilities_out(folder, tmp_path):
    path = tmp_path / "model.onnx"
    call("export", folder, path, "--with-preprocessing", "--softmax")
    run = runs.open_run(folder)
    images = load_part(run.data, False)
    session = onnxruntime.InferenceSession(path)
    assert session.get_inputs()[0].type == "tensor(uint8)"
    (chances,) = session.run(["probabilities"], {"input": images.data[:50]})
    wanted = np.exp(runs.test(run).logits[:50].astype(np.float64))
    np.testing.assert_allclose(chances, wanted / wanted.sum(1, keepdims=True), atol=1e-5)
    names = {t.name for t in onnx.load(path).graph.initializer}
    assert {"prepare.mean", "network.features.0.weight"} <= names


def test_several_heads(folder, tmp_path):
    """Of a network with several outputs each has a name, and is turned into probabilities."""

    class Two(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body

        def forward(self, x):
            y = self.body(x)
            return y, y * 2

    run = runs.open_run(folder)
    run.model, run.data = Two(run.model), dataclasses.replace(run.data, heads=2)
    path = tmp_path / "model.onnx"
    export_run(run, path, False, True, 17)
    session = onnxruntime.InferenceSession(path)
    assert [y.name for y in session.get_outputs()] == ["probabilities_1", "probabilities_2"]
    for chances in session.run(None, {"input": np.zeros((3, 1, 16, 16), np.float32)}):
        np.testing.assert_allclose(chances.sum(1), 1, rtol=1e-5)


def test_errors(folder, tmp_path):
    assert "there is no folder" in call("export", tmp_path / "none", tmp_path / "m.onnx", code=1)
    assert "expects best or last" in call("export", folder, "m", "--checkpoint", "x", code=1)
    assert "is a folder" in call("export", folder, tmp_path, code=1)
    assert "expects 17 to" in call("export", folder, tmp_path / "m.onnx", "--opset", 5, code=1)
    assert not [*tmp_path.iterdir()]
