"""Every network of the registry as an ONNX file, computed by onnxruntime."""

import io

import numpy as np
import pytest

import minicnn
from minicnn import models, nn

pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

NAMES = models.list_models()
QUICK = {"lenet"}


def fill(net, side):
    """Weights that keep the size of what goes through, and the statistics of that.

    With others, numbers grow from block to block, and rounding errors with them.
    """
    noise = np.random.default_rng(0).standard_normal(100_003).astype(np.float32)
    for name, tensor in net.state_dict().items():
        array = tensor.array
        values = np.resize(noise, array.shape)
        if array.ndim > 1:
            array[...] = values * np.sqrt(2 / max(array[0].size, 1))
        elif array.dtype.kind == "f":
            array[...] = 1 + 0.3 * np.tanh(values) if name.endswith("weight") else 0.1 * values
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with minicnn.no_grad():
        net.train()(minicnn.randn(4, 3, side, side))
    for name, tensor in net.state_dict().items():
        if name.endswith("running_var"):  # four samples may be all but equal
            tensor.array.clip(0.1, out=tensor.array)


def outputs(result):
    return [y for y in result if y is not None] if isinstance(result, tuple) else [result]


def worst(found, wanted):
    """The largest difference, over the largest number."""
    pairs = zip(found, wanted, strict=True)
    return max(np.abs(z - y).max() / np.abs(y).max() for z, y in pairs)


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_onnxruntime_computes_the_same(name, unfilled, exact_convolution):
    side = models.info(name).image_sizes[0]
    net = models.create(name, num_classes=7, in_channels=3, image_size=side)
    fill(net, side)
    file = io.BytesIO()
    sample = minicnn.randn(1, 3, side, side)
    minicnn.onnx.export(net, sample, file, check=False)  # it is checked here, more closely
    assert all(module.training for module in net.modules())
    options = onnxruntime.SessionOptions()  # optimising a graph takes longer than computing it
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(file.getvalue(), options)
    net.eval()
    for batch in (1, 3):  # numbers of samples that export has not seen
        x = minicnn.randn(batch, 3, side, side)
        with minicnn.no_grad():
            wanted = outputs(net(x))
        found = session.run(None, {"input": x.numpy()})
        wanted = [y.numpy() for y in wanted]
        assert [y.shape for y in wanted] == [z.shape for z in found]
        for y in wanted:
            assert np.isfinite(y).all() and y.std() > 1e-3 * np.abs(y).max()
        if worst(found, wanted) > 1e-5:
            # A net that magnifies rounding errors: both are as far from what doubles give.
            with minicnn.no_grad():
                exact = [y.numpy() for y in outputs(net.double()(x.double()))]
            net.float()
            assert worst(found, exact) < 2 * worst(wanted, exact) < 2e-4
