"""What a unit sees, as the networks' docstrings say: the pixels that its gradient reaches."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn
from minicnn import models, nn


class Reached(Exception):
    """The layer has run; what comes behind it is not needed."""


def field(net, path: str, side: int, channels: int = 3) -> int:
    """Side of the square of an image that one unit of the module `path`, in the middle, sees.

    With positive weights nothing cancels, and an average in place of each maximum sees all of its
    window.
    """
    for name, layer in list(net.named_modules()):
        if isinstance(layer, nn.MaxPool2d):
            settings = layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode
            net.set_submodule(name, nn.AvgPool2d(*settings))
    for p in net.double().eval().parameters():
        p.array[...] = np.abs(p.array) + 1e-3 if p.ndim > 1 else (1 if p.array.any() else 0)
    reached = []

    def stop(module, x, y):
        reached.append(y)
        raise Reached

    net.get_submodule(path).register_forward_hook(stop)
    x = minicnn.ones(1, channels, side, side, dtype=minicnn.float64).requires_grad_()
    with pytest.raises(Reached):
        net(x)
    y = reached[0]
    y[0, :, y.shape[2] // 2, y.shape[3] // 2].sum().backward()
    touched = np.argwhere(x.grad.array[0].any(0))
    assert touched.min() > 0 and touched.max() < side - 1  # the border cuts nothing off
    height, width = touched.max(0) - touched.min(0) + 1
    assert height == width
    return int(height)


def filled(tensor, values):
    tensor.array[...] = np.resize(values, tensor.shape)
    return tensor


def small_vgg(depth):
    """VGG's layers with two channels each: the windows are what counts."""
    kinds = {"vgg11": (1, 1, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
    layers = [x for n in kinds[depth] for x in [*[2] * n, "M"]]
    return nn.Sequential(models.vgg.make_layers(layers))


@pytest.mark.parametrize(
    ("make", "path", "sees"),
    [
        (lambda: models.alexnet(image_size=96), "features", 195),
        (lambda: models.alexnet_paper(image_size=96), "features.8", 131),
        (lambda: small_vgg("vgg11"), "0", 150),
        (lambda: small_vgg("vgg16"), "0", 212),
        (lambda: small_vgg("vgg19"), "0", 268),
        (lambda: models.nin(image_size=32), "features", 27),
        (models.nin, "features.5", 131),
        (models.squeezenet1_0, "features.5", 35),
        (models.squeezenet1_0, "features", 155),
        (models.squeezenet1_1, "features", 207),
        (models.googlenet, "inception3b", 59),
        (models.googlenet, "inception4a", 107),
        (models.inception_v3, "Conv2d_4a_3x3", 23),
        (models.inception_v3, "Mixed_5b", 63),
        (models.densenet121, "features.denseblock1", 59),
        (models.densenet_bc_100, "features.transition1", 36),
    ],
)
@pytest.mark.slow
def test_a_unit_sees_what_is_said(make, path, sees, monkeypatch):
    fill = np.random.default_rng(0).uniform(0.01, 0.1, 1 << 20)
    for kind in ("trunc_normal_", "kaiming_uniform_"):  # slow for millions; any positive ones do
        monkeypatch.setattr(nn.init, kind, lambda x, *args, **kwargs: filled(x, fill))
    assert field(make(), path, sees + 40) == sees
